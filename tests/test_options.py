"""Arguments: every one is looked at when it is given, refused in one way, and never made to fit in silence."""

from __future__ import annotations

import inspect
import math
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from helpers import failure
from inside import listener_of

from securelink import ANYONE, Client, Collector, ConfigError, Identity, Server, aio, unseal
from securelink import options as checks
from securelink.app import declared
from securelink.limits import FOREVER_SECONDS
from securelink.testing import Network

NUMBERS: tuple[Any, ...] = (
    True,
    False,
    "20",
    None,
    math.nan,
    math.inf,
    -math.inf,
    -5,
    [],
    10**400,
    1j,
    Fraction(7, 2),
)
WHOLE: tuple[Any, ...] = (*(value for value in NUMBERS if value is not None), 5.0, b"5", 0)
TEXTS = (2, None, b"2", True, 2.0, ["a"], "x" * 256, "é" * 128, "\ud800")
WORDS: tuple[Any, ...] = (None, "", "Required", "known ", 1, True, b"off", ["off"], {}, {"off": 1})
FLAGS: tuple[Any, ...] = (None, 0, 1, "no", "False", [], 1.0)
PATHS = ("", b"keys", 3, True, ["keys"], "a\0b")

SERVER: dict[str, tuple[Any, ...]] = {
    "workers": (*WHOLE, None, 2, 65, -3),
    "backlog": (*WHOLE, None, -1, 65_536),
    "max_packet": (*WHOLE, None, 2047, 2**24),
    "max_connections": (*(value for value in WHOLE if value != 10**400), None, -1),
    "max_rate": (*WHOLE, None, -1),
    "max_byte_rate": (*WHOLE, None, -1),
    "max_rooms": (*(value for value in WHOLE if value != 10**400), None, -1),
    "max_suspended": (*(value for value in WHOLE if value != 10**400), None, -1),
    "max_unsent": (*WHOLE, None, 2**30 + 1),
    "max_unacked": (*WHOLE, None, 2**20 - 1, 2**30 + 1),
    "max_unhandled": (*WHOLE, None, 2**30 + 1),
    "max_memory": (*(value for value in WHOLE if value != 10**400), None, -1),
    "room_capacity": tuple(value for value in WHOLE if value != 10**400),
    "heartbeat": (*NUMBERS[:-1], 0, 0.99, 300.1, Fraction(5)),
    "tick_rate": (*(value for value in NUMBERS if value is not None), 0, 0.0, 1000.5, -1),
    "application": TEXTS,
    "version": TEXTS,
    "encryption": WORDS,
    "client_keys": WORDS,
    "overlap": FLAGS,
    "strict_types": FLAGS,
    "keys": (*PATHS, None),
    "passphrase": (5, True, ["secret"]),
    "authenticate": ("password", "", 5, True, b"tokens", ["tokens"]),
}
CLIENT: dict[str, tuple[Any, ...]] = {
    "max_unsent": (*WHOLE, None, 2**30 + 1),
    "max_unacked": (*WHOLE, None, 2**20 - 1, 2**30 + 1),
    "max_packet": (*WHOLE, None, 1, 2047, 2**24),
    "application": TEXTS,
    "version": TEXTS,
    "encryption": WORDS,
    "trust": tuple(value for value in WORDS if value is not None),
    "strict_types": FLAGS,
    "keys": PATHS,
    "known_servers": PATHS,
    "session": PATHS,
    "passphrase": (5, True, ["secret"]),
    "token": (5, True, ["secret"]),
    "pin": (5, True, "", b"SHA256:", ["SHA256:"]),
}


def cases(options: dict[str, tuple[Any, ...]]) -> list[Any]:
    """One parameter set for each wrong value."""
    return [
        pytest.param(name, value, id=f"{name}-{number}")
        for name, values in options.items()
        for number, value in enumerate(values)
    ]


def refused(name: str, call: Callable[[], object]) -> ConfigError:
    """The one error that a wrong argument ends with: it names it and says what is possible."""
    error = failure(ConfigError, call, "")
    assert name in error.message
    assert error.hint
    assert len(error.message) < 200
    return error


@pytest.mark.parametrize(("name", "value"), cases(SERVER))
def test_a_wrong_option_of_a_server(name: str, value: Any, identity: Identity) -> None:
    """It is one `ConfigError` with a hint, when the server is made, whatever kind of wrong it is."""
    options = {"keys": identity, name: value}
    refused(name, lambda: Server("127.0.0.1", 0, **options))


@pytest.mark.parametrize(("name", "value"), cases(CLIENT))
def test_a_wrong_option_of_a_client(name: str, value: Any) -> None:
    """It is one `ConfigError`, when the client is made."""
    error = failure(ConfigError, lambda: Client("127.0.0.1", 5050, **{name: value}), "")
    assert error.hint
    assert len(error.message) < 200


@pytest.mark.parametrize(
    ("call", "name", "hint"),
    [
        (lambda **options: Server(**options), "prot", "did you mean port=?"),
        (lambda **options: Client("127.0.0.1", 5050, **options), "credential", "credentials=?"),
        (lambda **options: aio.Server(**options), "Keys", "did you mean keys=?"),
        (lambda **options: aio.Client("127.0.0.1", 5050, **options), "zzz", "help(Client)"),
    ],
)
def test_an_option_that_there_is_not(call: Callable[..., object], name: str, hint: str) -> None:
    """It is the same kind of error, and says which one may be meant, and where all are; nothing of the value."""
    error = failure(ConfigError, lambda: call(**{name: "a secret"}), f"no option '{name}'")
    assert hint in error.hint
    assert "lists all" in error.hint
    assert "secret" not in str(error)


def test_values_without_a_name() -> None:
    """Beside host and port each option has its name."""
    made: Any = Server
    failure(ConfigError, lambda: made("127.0.0.1", 0, "keys"), "Server takes host and port without")


@pytest.mark.parametrize("kind", [Client, aio.Client])
def test_a_client_without_a_host(kind: Any) -> None:
    """What is missing is the same kind of error as what is wrong, and names the class that was called."""
    failure(ConfigError, kind, "Client needs host", r"help\(Client\)")
    failure(ConfigError, lambda: kind(port=5050), "Client needs host")


def test_a_wrong_secret_is_not_shown(identity: Identity) -> None:
    """What was given as a passphrase or token by mistake stays out of the error."""
    wrong = ["hunter2hunter2"]
    for call in (
        lambda: Server(keys=identity, passphrase=wrong),  # type: ignore[arg-type]
        lambda: Client("127.0.0.1", 5050, passphrase=wrong),  # type: ignore[arg-type]
        lambda: Client("127.0.0.1", 5050, token=wrong),  # type: ignore[arg-type]
    ):
        assert "hunter2" not in str(failure(ConfigError, call, "is a list"))


def test_every_option_is_declared() -> None:
    """What stands in no table is checked nowhere: only what needs another argument, or a file, is looked at later."""
    for kind, table, later in (
        (Server, declared.SERVER, {"host", "port", "authenticate", "fanout"}),
        (Client, declared.CLIENT, {"host", "port", "pin"}),
    ):
        assert set(inspect.signature(kind).parameters) - later == set(table)


@pytest.mark.parametrize("mode", ["required", "off"])
def test_no_secret_is_shown(identity: Identity, mode: str) -> None:
    """What a server or client keeps of its options shows no passphrase, token or password."""
    server = Server(keys=identity, passphrase="hunter2", encryption=mode)
    clients = [
        Client("127.0.0.1", 5050, encryption=mode, passphrase="hunter2", token="hunter2"),
        Client("127.0.0.1", 5050, encryption=mode, credentials={"password": "hunter2"}),
    ]
    for one in (server, *clients):
        assert "hunter2" not in repr(one) + repr(vars(one))
    for client in clients:
        assert "hunter2" not in repr(vars(vars(client)["_connector"]))


@pytest.mark.parametrize(
    "host", [None, 5050, b"localhost", ["localhost"], "x" * 256, "127.0.0.1:5050", "[::1]:5050"]
)
def test_a_wrong_host(host: Any, identity: Identity) -> None:
    """What is no name, or has a port in it, is refused by both sides, with what to write."""
    for call in (
        lambda: Server(host, 5050, keys=identity),
        lambda: Client(host, 5050),
    ):
        assert "host" in refused("", call).message
    refused("the host is an empty text", lambda: Client("", 5050))


def test_a_bound_is_written_out(identity: Identity) -> None:
    """Large ones are read digit by digit, not as powers of ten; parts of one are not rounded away."""
    error = refused("max_packet", lambda: Server("", 0, keys=identity, max_packet=1))
    assert "from 2,048 to 16,777,215 (bytes)" in error.hint
    error = refused("heartbeat", lambda: Server("", 0, keys=identity, heartbeat=-5))
    assert "from 1 to 300 (seconds)" in error.hint


@pytest.mark.parametrize("port", ["5050", 5050.0, True, -1, 65536, 10**30, b"5050", math.nan])
def test_a_wrong_port(port: Any, identity: Identity) -> None:
    """What is no port of TCP is refused by both sides; 0 is one for a server only."""
    for call in (lambda: Server("", port, keys=identity), lambda: Client("127.0.0.1", port)):
        refused("is not a TCP port", call)
    refused("is not a TCP port", lambda: Client("127.0.0.1", 0))
    refused("port", lambda: Client("127.0.0.1"))
    assert Server("", 0, keys=identity).port == 0
    refused("is not a TCP port", lambda: Server("", None, keys=identity))  # type: ignore[arg-type]


def test_what_is_possible_is_taken_as_it_is(identity: Identity) -> None:
    """The edges of each range are inside, and nothing is rounded or cut."""
    for options in (
        {"workers": 3, "backlog": 1, "max_packet": 2048, "heartbeat": 1, "tick_rate": 1e-3},
        {
            "workers": 64,
            "backlog": 65_535,
            "max_packet": 2**24 - 1,
            "heartbeat": 300,
            "tick_rate": 1000,
        },
        {"max_connections": 1, "max_rate": 1, "room_capacity": 1, "application": "x" * 255},
    ):
        server = Server("::1", 0, keys=identity, **options)
        assert server.tick_rate == options.get("tick_rate")
        with Network() as net:
            net.serve(server)
            assert listener_of(server).settings.heartbeat == options.get("heartbeat", 20)


def test_a_rate_that_is_set_later_is_looked_at_too(identity: Identity) -> None:
    """`tick_rate` refuses when it is set what it refuses when the server is made, and keeps its value."""
    server = Server(keys=identity, tick_rate=20)
    for wrong in ("20", True, math.nan, 0, -1, math.inf):

        def attempt(wrong: Any = wrong) -> None:
            server.tick_rate = wrong

        refused("tick_rate", attempt)
    assert server.tick_rate == 20


@pytest.mark.parametrize("timeout", ["5", True, math.nan, [], b"1", 1j])
def test_a_time_out_that_is_none(timeout: Any, identity: Identity) -> None:
    """What is no number of seconds is refused at once, before anything is waited for."""
    server = Server("127.0.0.1", 0, keys=identity)
    for call in (
        lambda: server.stop(timeout),
        lambda: server.drain(timeout),
        lambda: server.on_connect.wait(timeout),
        lambda: Collector(server.on_message).take(timeout),
    ):
        refused("timeout", call)


@pytest.mark.parametrize("timeout", ["5", True, math.nan, []])
def test_a_session_is_asked_with_a_wrong_time_out(
    timeout: Any, identity: Identity, tmp_path: Path
) -> None:
    """`send`, `request` and `ping` of a session refuse it, also when there is nothing to wait for."""
    with (
        Server("127.0.0.1", 0, keys=identity) as server,
        Client("127.0.0.1", server.address[1], known_servers=tmp_path / "known"),
    ):
        (session,) = server.sessions.values() or (server.on_connect.wait(60)[0],)
        refused("timeout", lambda: session.send("note", timeout=timeout))
        refused("timeout", lambda: session.request("ask", timeout=timeout))
        refused("timeout", lambda: session.ping(timeout))


def test_time_outs_without_end() -> None:
    """Infinity and more than any system can wait for are possible; what is past already stays so."""
    for forever in (math.inf, 1e300, 10**400):
        assert checks.seconds("timeout", forever) == FOREVER_SECONDS
    assert checks.seconds("timeout", -3) == -3
    assert checks.seconds_or_none("timeout", None) is None


def test_other_numbers_of_public_functions(identity: Identity) -> None:
    """Sizes of keys, limits of collectors and ages of sealed packets are looked at in the same way."""
    server = Server(keys=identity)
    for bits in (True, "3072", 3072.0, 1024, 8193, None):
        refused("bits", lambda bits=bits: Identity.generate(bits))  # type: ignore[misc]
    for limit in (True, "5", 0, -1, 1.0):
        refused("limit", lambda limit=limit: Collector(server.on_message, limit))  # type: ignore[misc]
    for age in (True, "5", 0, -1, math.nan, math.inf):
        refused("max_age", lambda age=age: unseal(b"", identity, sender=ANYONE, max_age=age))  # type: ignore[misc]


def test_a_value_that_cannot_be_shown() -> None:
    """A value whose `repr()` fails, is huge or has control characters does not spoil the error."""

    class Odd:
        def __repr__(self) -> str:
            raise OSError

    assert "an Odd is not" in refused("x", lambda: checks.whole("x", Odd(), 1)).message
    assert len(refused("x", lambda: checks.whole("x", "y" * 10**6, 1)).message) < 200
    shown = refused("x", lambda: checks.word("x", "\x1b[2J\u202e", ("on", "off")))
    assert shown.message.isprintable()


def test_a_program_that_only_starts_its_server_is_told(tmp_path: Path) -> None:
    """When the last line is `start()`, the log says that the server ends with the program; its hooks run."""
    program = (
        "from securelink import Server\n"
        "server = Server('127.0.0.1', 0, encryption='off')\n"
        "server.on_stop(lambda: print('stopped', flush=True))\n"
        "server.start(){}\n"
    )
    ended = "the program has ended, and the server ends with it"
    for rest, told in (("", True), ("\nserver.stop()", False)):
        done = subprocess.run(
            [sys.executable, "-c", program.format(rest)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert (ended in done.stderr) is told
        assert ("serve_forever()" in done.stderr) is told
        assert done.stdout == "stopped\n"
