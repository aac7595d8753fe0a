"""Names with several addresses, names that nobody answers for, ports that are taken."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import WAIT, failure, until

from securelink import (
    Client,
    ConfigError,
    ConnectFailed,
    Identity,
    LimitExceeded,
    LinkTimeout,
    SecureLinkError,
    Server,
)
from securelink.streams import names, reach, sockets
from securelink.streams.names import resolve
from securelink.streams.reach import connect, interleaved
from securelink.streams.sockets import listen
from securelink.streams.tcp import TCP

pytestmark = pytest.mark.usefixtures("tidy")

V4, V6 = socket.AF_INET, socket.AF_INET6
NO_FAMILY = getattr(socket, "AF_IPX", 4)
PATIENT = 20.0  # seconds; what must not be waited for takes longer


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Names of this test: each a list of (family, address), or a function that gives one."""
    known: dict[str, Any] = {}
    real = socket.getaddrinfo

    def look_up(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if host not in known:
            return real(host, port, *arguments, **options)
        found = known[host]() if callable(known[host]) else known[host]
        return [(family, socket.SOCK_STREAM, 6, "", address) for family, address in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


@contextlib.contextmanager
def black_hole() -> Iterator[tuple[str, int]]:
    """An address that answers no SYN: a listener whose backlog is full."""
    with contextlib.ExitStack() as stack:
        hole = stack.enter_context(socket.socket())
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
        with socket.socket() as probe:
            probe.settimeout(0.5)
            with pytest.raises(TimeoutError):
                probe.connect(hole.getsockname())
        yield hole.getsockname()


@pytest.fixture
def place() -> Iterator[tuple[str, int]]:
    """An address that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()


@contextlib.contextmanager
def refused_place() -> Iterator[tuple[str, int]]:
    """An address that refuses."""
    with socket.socket() as bound:  # held, so that nobody else gets the port
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()


# --- several addresses -------------------------------------------------------------------------------------------


def test_an_address_that_swallows_packets_costs_a_moment(
    hosts: dict[str, Any], place: tuple[str, int]
) -> None:
    """The second address is tried a quarter of a second after the first, which is still silent."""
    with black_hole() as hole:
        hosts["two.test"] = [(V4, hole), (V4, place)]
        began = time.monotonic()
        with connect("two.test", place[1], PATIENT) as sock:
            assert sock.getpeername() == place
        assert time.monotonic() - began < PATIENT / 2


def test_several_silent_addresses_do_not_add_up(
    hosts: dict[str, Any], place: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All attempts go on side by side: the one that answers wins, wherever it stands."""
    monkeypatch.setattr(reach, "ATTEMPT_SECONDS", 0.01)
    with black_hole() as hole:
        hosts["many.test"] = [(V4, hole)] * 8 + [(V4, place)] + [(V4, hole)] * 3
        with connect("many.test", place[1], PATIENT) as sock:
            assert sock.getpeername() == place


@pytest.mark.parametrize("first", ["no family", "refused", "odd address", "unreachable"])
def test_an_address_that_fails_is_passed_over_at_once(
    first: str, hosts: dict[str, Any], place: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is wrong with an address, the next is tried without waiting."""
    monkeypatch.setattr(reach, "ATTEMPT_SECONDS", PATIENT)
    with refused_place() as refusing:
        bad = {
            "no family": (NO_FAMILY, ("::1", 1)),
            "refused": (V4, refusing),
            "odd address": (V4, ("127.0.0.1",)),
            "unreachable": (V4, ("255.255.255.255", 1)),
        }[first]
        hosts["two.test"] = [bad, (V4, place)]
        began = time.monotonic()
        connect("two.test", place[1], PATIENT).close()
        assert time.monotonic() - began < PATIENT / 2


def test_a_client_reaches_its_server_by_any_address(
    hosts: dict[str, Any], identity: Identity
) -> None:
    """The same through `Client.connect`."""
    with black_hole() as hole, Server("127.0.0.1", 0, keys=identity) as server:
        hosts["two.test"] = [(NO_FAMILY, ("::1", 1)), (V4, hole), (V4, server.address)]
        with Client("two.test", server.address[1], pin=identity.fingerprint) as client:
            assert client.ping(WAIT) < WAIT


def test_when_all_addresses_fail_the_error_says_most(hosts: dict[str, Any]) -> None:
    """Refused says more than a family that is missing; silence is a timeout."""
    with refused_place() as refusing, black_hole() as hole:
        hosts["none.test"] = [(V4, refusing), (NO_FAMILY, ("::1", 1))]
        failure(
            ConnectFailed,
            lambda: connect("none.test", 9, PATIENT),
            "none.test:9: connection refused",
            "nothing li",
        )
        hosts["none.test"] = [(V4, refusing), (V4, hole)]
        failure(
            LinkTimeout,
            lambda: connect("none.test", 9, 0.6),
            "none.test:9 did not answer within 0.6 s",
            "firewall",
        )
        hosts["none.test"] = [(NO_FAMILY, ("::1", 1))]
        failure(
            ConnectFailed, lambda: connect("none.test", 9, PATIENT), "cannot connect to none.test:9"
        )


def test_families_alternate() -> None:
    """RFC 8305, section 4: a family of which nothing works delays the other by one attempt, not by all."""
    places = [(V6, "a"), (V6, "b"), (V6, "c"), (V4, "d"), (V4, "e")]
    assert [address for _, address in interleaved(places)] == ["a", "d", "b", "e", "c"]


def test_losers_are_closed(hosts: dict[str, Any], place: tuple[str, int]) -> None:
    """Of all attempts one socket is left."""
    with black_hole() as hole:
        hosts["two.test"] = [(V4, hole), (V4, hole), (V4, place)]
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
        with connect("two.test", place[1], PATIENT):
            if before is not None:
                assert len(os.listdir("/proc/self/fd")) == before + 1


def test_a_connection_to_itself_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port without a listener may be picked for the connection that goes to it; that is refused, not connected."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    prepared = sockets.prepare

    def from_the_same_port(sock: socket.socket) -> None:
        prepared(sock)
        sock.bind(("127.0.0.1", port))

    monkeypatch.setattr(reach, "prepare", from_the_same_port)
    failure(ConnectFailed, lambda: connect("127.0.0.1", port, WAIT), "refused", "nothing listens")


# --- without waiting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answers", [True, False])
def test_a_connection_that_is_under_way(answers: bool) -> None:
    """It can be waited for with others; then it is there once, or it is said why not."""
    with contextlib.ExitStack() as stack:
        if answers:
            port = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        else:
            port = stack.enter_context(refused_place())[1]
        opening = TCP.begin("127.0.0.1", port)
        assert opening is not None
        stack.callback(opening.close)
        assert opening.wait(read=False, write=True, timeout=WAIT)
        if answers:
            stream = opening.done()
            assert stream is not None
            assert stream.peer == ("127.0.0.1", port)
            assert stream.local == stream.sock.getsockname()
            opening.close()  # it is not the opening's any more
            assert stream.send(b"x", stream.at_once) == 1
            stream.close()
            assert stream.local == ("", 0)
        else:
            failure(ConnectFailed, opening.done, f"127.0.0.1:{port}: connection refused", "listens")


def test_a_connection_that_is_given_up() -> None:
    """Nobody has answered: its socket is closed."""
    with black_hole() as hole:
        opening = TCP.begin(*hole)
        assert opening is not None
        assert opening.done() is None
        assert not opening.wait(read=False, write=True, timeout=0.01)
        number = opening.fileno()
        os.fstat(number)
        opening.close()
        with pytest.raises(OSError, match="descriptor"):
            os.fstat(number)
        assert opening.fileno() == -1


def test_a_name_is_looked_up_and_that_waits() -> None:
    """So only addresses can be reached without waiting."""
    assert TCP.begin("localhost", 1) is None


# --- names -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def no_answer(hosts: dict[str, Any], *unanswered: str) -> Iterator[Callable[[], int]]:
    """The name server does not answer for these names until the block ends; gives how often it was asked."""
    over, asked = threading.Event(), [0]

    def hang() -> Any:
        asked[0] += 1
        over.wait(60)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    for name in unanswered:
        hosts[name] = hang
    try:
        yield lambda: asked[0]
    finally:
        over.set()


def test_a_name_server_that_does_not_answer(hosts: dict[str, Any]) -> None:
    """connect() keeps its time also while the name is looked up; the next attempt asks no second time."""
    with no_answer(hosts, "slow.test") as asked:
        for _ in range(5):
            began = time.monotonic()
            failure(
                LinkTimeout,
                lambda: Client("slow.test", 5050).connect(0.1),
                "the name 'slow.test'",
                "name server",
            )
            assert time.monotonic() - began < PATIENT
        assert asked() == 1


def test_lookups_are_bounded(hosts: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that are not answered take so many threads and no more; addresses need none."""
    monkeypatch.setattr(names, "MAX_LOOKUPS", 3)
    slow = [f"slow{number}.test" for number in range(3)]
    with no_answer(hosts, *slow):
        for name in slow:
            failure(LinkTimeout, lambda name=name: resolve(name, 1, 0.01), name)  # type: ignore[misc]
        error = failure(LimitExceeded, lambda: resolve("other.test", 1, 0.01), "3 names", "network")
        assert error.limit == "MAX_LOOKUPS"
        assert resolve("127.0.0.1", 1, 0.0) == [(V4, ("127.0.0.1", 1))]
        assert resolve("::1", 1, 0.0)[0][0] == V6

        def answered() -> bool:
            try:
                return bool(resolve("localhost", 1, WAIT))
            except LimitExceeded:
                return False

    until(answered)


def test_no_thread_for_a_lookup(hosts: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without a thread to give: an error of ours, and the next attempt asks again."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as context:
        context.setattr(threading.Thread, "start", refuse)
        failure(ConnectFailed, lambda: resolve("any.test", 1, WAIT), "no more threads")
    hosts["any.test"] = [(V4, ("127.0.0.1", 1))]
    assert resolve("any.test", 1, WAIT) == [(V4, ("127.0.0.1", 1))]


@pytest.mark.parametrize(
    ("host", "hint"),
    [
        ("http://game.invalid", "without scheme"), ("game.invalid/path", "without scheme"), ("[::1]", "brackets"),
        (" game.invalid", "white space"), ("game.invalid\n", "white space"), ("a..b", "spelling"), ("a\0b", "spelling"),
        ("x." + "y" * 70, "spelling"),
    ],
)  # fmt: skip
def test_what_is_no_name(host: str, hint: str) -> None:
    """What people paste for a host is an error of ours that says what to change, on both sides."""
    failure(ConnectFailed, lambda: resolve(host, 1, WAIT), "is not known here", hint)
    with pytest.raises(SecureLinkError):
        Client(host, 5050).connect(WAIT)
    failure(
        ConnectFailed, lambda: listen(host, 0, 1), "cannot listen on", "address of this machine"
    )


# --- listening ---------------------------------------------------------------------------------------------------


def test_listening_on_every_address_of_a_name(hosts: dict[str, Any], identity: Identity) -> None:
    """A server on a name is reached by each of its addresses, on one port, also one that the system chose."""
    hosts["both.test"] = [(V4, ("127.0.0.1", 0)), (V4, ("127.0.0.2", 0)), (V4, ("127.0.0.1", 0))]
    with Server("both.test", 0, keys=identity) as server:
        for address in ("127.0.0.1", "127.0.0.2"):
            with Client(address, server.address[1], pin=identity.fingerprint) as client:
                client.ping(WAIT)
        assert sorted(server.places) == [
            ("127.0.0.1", server.address[1]), ("127.0.0.2", server.address[1]),
        ]  # fmt: skip
    assert server.places == []


def test_an_address_that_is_not_here_is_left_out(hosts: dict[str, Any]) -> None:
    """Of a name's addresses those that this machine has are enough; none is an error."""
    foreign = (V4, ("192.0.2.1", 0))
    hosts["some.test"] = [foreign, (NO_FAMILY, ("::1", 0)), (V4, ("127.0.0.1", 0))]
    (sock,) = listen("some.test", 0, 1)
    assert sock.getsockname()[0] == "127.0.0.1"
    sock.close()
    hosts["some.test"] = [foreign]
    failure(
        ConnectFailed,
        lambda: listen("some.test", 0, 1),
        "cannot listen on some.test:0",
        "no address of this",
    )


def test_a_port_that_is_taken_on_one_address_is_taken(hosts: dict[str, Any]) -> None:
    """The port that was asked for must be free on all addresses; what was opened before is closed again."""
    with socket.create_server(("127.0.0.2", 0)) as other:
        port = other.getsockname()[1]
        hosts["both.test"] = [(V4, ("127.0.0.1", port)), (V4, ("127.0.0.2", port))]
        failure(ConnectFailed, lambda: listen("both.test", port, 1), "address already in use")
        socket.create_server(("127.0.0.1", port)).close()


def test_a_port_of_this_very_program(identity: Identity) -> None:
    """Two servers in one program, or one started twice: the hint does not send people to look for another program."""
    with Server("127.0.0.1", 0, keys=identity) as first:
        second = Server(*first.address, keys=identity)
        error = failure(ConnectFailed, second.start, "address already in use", "this very program")
        assert error.__cause__ is not None
        assert getattr(error.__cause__, "errno", 0) == errno.EADDRINUSE
    second.start()
    second.stop()
    with socket.create_server(("127.0.0.1", 0)) as plain:
        failure(
            ConnectFailed,
            Server(*plain.getsockname(), keys=identity).start,
            "in use",
            "this very program",
        )


def test_a_port_of_another_program(identity: Identity, other_program: int) -> None:
    """Somebody else has it, and we have only a connection from or to that port."""
    with socket.create_connection(("127.0.0.1", other_program)):
        failure(
            ConnectFailed,
            Server("127.0.0.1", other_program, keys=identity).start,
            "in use",
            "another program",
        )


@pytest.fixture
def other_program() -> Iterator[int]:
    """The port of a process that listens."""
    code = (
        "import socket, sys; s = socket.create_server(('127.0.0.1', 0));"
        "print(s.getsockname()[1], flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield int(process.stdout.readline())
        process.stdin.close()
        process.wait(WAIT)


# --- a server that the same thread drives ------------------------------------------------------------------------


def test_connecting_to_a_server_that_this_thread_drives(identity: Identity) -> None:
    """It would wait for itself: it is told so at once. Another thread may, and so may this one to another server."""
    server = Server("127.0.0.1", 0, keys=identity)
    server.update()
    client = Client(*server.address, pin=identity.fingerprint)
    for _ in range(2):
        began = time.monotonic()
        failure(
            ConfigError,
            lambda: client.connect(PATIENT),
            "this thread drives the server",
            "another thread",
        )
        failure(
            ConfigError,
            lambda: client.connect(PATIENT, retry=True),
            "this thread drives the server",
        )
        assert time.monotonic() - began < PATIENT / 2
    with Server("127.0.0.1", 0, keys=identity) as other:
        Client(*other.address, pin=identity.fingerprint).connect().close()
    done: list[bool] = []
    thread = threading.Thread(target=lambda: done.append(client.connect().connected))
    thread.start()
    until(lambda: done, meanwhile=server.update)
    thread.join()
    assert done == [True]
    closing = threading.Thread(target=client.close)
    closing.start()
    until(lambda: not closing.is_alive(), meanwhile=server.update)
    server.stop()
    failure(ConnectFailed, lambda: client.connect(WAIT), "refused")
