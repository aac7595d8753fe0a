"""Log lines that a peer can cause are bounded, and counted where they are not shown."""

from __future__ import annotations

import logging
import math
import socket
import time
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import WAIT, Hostile, Scene, failure, scene, until
from inside import bytes_below

from securelink import Client, Identity, JoinTokens, Refused, Server
from securelink.auth import Passwords
from securelink.auth.throttle import NameThrottle
from securelink.limits import (
    FAILED_WINDOW,
    LOG_KINDS,
    MAX_NAME_FAILURES,
    MAX_NAME_PLACES,
    MAX_NAME_TRIES,
    PROBE_LOG_SECONDS,
)
from securelink.logs.floods import FloodFilter
from securelink.tools.console import Console, Operators
from securelink.wire.fields import Content
from securelink.wire.packets import Packet, encode_packet, join_packets

LOG_BURST = 100  # in these tests
pytestmark = pytest.mark.usefixtures("tidy")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the filters see; a test may set it."""
    now = [float(math.ceil(time.monotonic()))]  # with a fraction, differences could be rounded down
    monkeypatch.setattr("securelink.logs.floods.LOG_BURST", LOG_BURST)
    monkeypatch.setattr("securelink.logs.floods.time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def shown(flood: FloodFilter, text: str, times: int, level: int = logging.WARNING) -> int:
    """How many of these lines the filter lets through."""
    record = logging.LogRecord("securelink.server", level, "", 0, text, ("x",), None)
    return sum(flood.filter(record) for _ in range(times))


def test_a_kind_of_lines_is_bounded(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    """So many lines of a kind at once, then one a second, with the number of the others; another kind is not hidden."""
    flood = FloodFilter()
    assert shown(flood, "from %s", 5000) == LOG_BURST
    assert shown(flood, "another from %s", 1) == 1
    clock[0] += 1.0
    assert shown(flood, "from %s", 5000) == 1
    assert "4900 more lines like the next one were not shown" in caplog.text
    clock[0] += 3600.0
    assert shown(flood, "from %s", 5000) == LOG_BURST
    assert "4999 more lines" in caplog.text


def test_kinds_are_bounded_too(clock: list[float]) -> None:
    """Lines that all differ cost no more memory than so many kinds."""
    flood = FloodFilter()
    for number in range(3 * LOG_KINDS):
        shown(flood, f"line {number}", 1)
    assert bytes_below(flood).count(b"line ") == LOG_KINDS


def test_each_of_our_loggers_has_it() -> None:
    """Every logger of the library counts, so no line that a peer can cause is left out."""
    for name in ("securelink", "securelink.server", "securelink.client"):
        assert any(isinstance(f, FloodFilter) for f in logging.getLogger(name).filters)


def test_a_guest_cannot_flood_by_commands(
    identity: Identity, clock: list[float], caplog: pytest.LogCaptureFixture, tmp_path: object
) -> None:
    """A client that is no operator and sends commands without end writes a bounded number of lines."""
    with scene(identity) as stage:
        Operators(f"{tmp_path}/authorized_operators").serve(stage.server, Console(stage.server))
        with Hostile(stage.port).open() as client:
            for number in range(LOG_BURST + 50):
                command = Packet("~console", "kick everybody", id=number)
                client.send(Content.DATA, join_packets([encode_packet(command)]))
            until(lambda: "is no operator" in caplog.text)
    assert 1 <= caplog.text.count("is no operator") <= LOG_BURST


def turned_away(stage: Scene) -> int:
    """How many connections the server has had no room for."""
    count: int = stage.server.stats()["limits_reached_total"]["connections"]
    return count


def test_turning_away_writes_bounded_lines(
    identity: Identity, clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """Nor does who knocks at a full server."""

    with scene(identity, max_connections=1) as stage:
        for _ in range(LOG_BURST + 50):
            socket.create_connection(("127.0.0.1", stage.port)).close()
        until(lambda: turned_away(stage) == LOG_BURST + 50)  # all of them are accepted by now
        until(stage.alone)
    assert caplog.text.count("too many connections (max_connections)") == LOG_BURST


def test_a_probe_is_in_the_log_once(
    identity: Identity, clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """A health check, or a balancer that connects and leaves: the log says it, and ten minutes later how often."""
    caplog.set_level(logging.INFO, logger="securelink.server")

    def lines() -> list[str]:
        return [line for line in caplog.messages if line.startswith("handshake with")]

    with Server("127.0.0.1", 0, keys=identity, authenticate=JoinTokens()) as server:
        here = ("127.0.0.1", server.address[1])

        def check(times: int, **options: Any) -> None:
            for _ in range(times):
                with pytest.raises(Refused):
                    Client(*here, pin=identity.fingerprint, **options).connect(WAIT)

        check(5)
        until(lambda: len(lines()) == 1)
        clock[0] += PROBE_LOG_SECONDS
        check(1)
        until(lambda: len(lines()) == 2)
        assert "(4 times more since that was said)" in lines()[1]
        for _ in range(5):
            with socket.create_connection(here):
                pass
        check(2, token=str(uuid.uuid4()))  # a guess is said each time
        until(lambda: sum("token" in line for line in lines()[2:]) == 2)
        assert len(lines()) <= 5


# --- wrong passwords for one name ----------------------------------------------------------------------------


def let_in(throttle: NameThrottle, name: str, host: str) -> None:
    """A login with the right password."""
    tried = throttle.charge(name, host)
    assert tried is not None
    throttle.right(tried, host)


def test_a_name_is_not_guessed_from_everywhere() -> None:
    """Passwords for one name are bounded over all addresses; where it was right before its owner still gets in."""
    now = [0.0]
    throttle = NameThrottle(lambda: now[0])
    let_in(throttle, "ada", "192.0.2.1")
    tried = [
        throttle.charge("ada", f"10.0.{number % 200}.1") is not None
        for number in range(2 * MAX_NAME_TRIES + 100)
    ]
    assert tried == [True] * MAX_NAME_TRIES + [False] * (MAX_NAME_TRIES + 100)
    assert throttle.charge("ada", "192.0.2.1")
    assert throttle.charge("bert", "10.0.0.1")
    now[0] += 60.0
    assert throttle.charge("ada", "10.0.0.1")


def test_forty_addresses_do_not_use_up_a_name() -> None:
    """Where its owner was never let in he has a first try, whatever others did; who had one has no other."""
    throttle = NameThrottle(lambda: 0.0)
    tried = [throttle.charge("ada", f"10.0.0.{number % 40}") for number in range(4000)]
    assert len(tried) - tried.count(None) == MAX_NAME_FAILURES + 20  # twenty of them had no try yet
    let_in(throttle, "ada", "192.0.2.1")
    assert throttle.charge("ada", "192.0.2.2")
    assert throttle.charge("ada", "192.0.2.2") is None


def test_a_network_of_ipv6_has_one_first_try() -> None:
    """Who has a /48 has 65,536 addresses, and one first try."""
    throttle = NameThrottle(lambda: 0.0)
    tried = [throttle.charge("ada", f"2001:db8:1:{number:x}::1") for number in range(200)]
    assert len(tried) - tried.count(None) == MAX_NAME_FAILURES
    let_in(throttle, "ada", "2001:db8:2::1")


def test_logins_of_others_push_no_place_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The places of a name are its own: one user who comes from everywhere makes nobody else's forgotten."""
    monkeypatch.setattr("securelink.auth.throttle.MAX_NAMES_COUNTED", 50)
    throttle = NameThrottle(lambda: 0.0)
    let_in(throttle, "ada", "192.0.2.1")
    for number in range(3 * MAX_NAME_PLACES):
        let_in(throttle, "eve", f"10.0.0.{number}")
    for number in range(MAX_NAME_TRIES):
        throttle.charge("ada", f"10.0.1.{number}")
    assert throttle.charge("ada", "10.0.2.1") is None
    assert throttle.charge("ada", "192.0.2.1")
    assert bytes_below(throttle).count(b"10.0.0.") == MAX_NAME_PLACES


def test_right_passwords_are_no_wrong_ones() -> None:
    """Many logins of one user at once, the first from this place, leave nothing counted when all were right."""
    throttle = NameThrottle(lambda: 0.0)
    for _ in range(3):
        tries = [throttle.charge("ada", "192.0.2.1") for _ in range(MAX_NAME_FAILURES)]
        for tried in tries:
            assert tried is not None
            throttle.right(tried, "192.0.2.1")
    tries = [throttle.charge("ada", f"10.0.0.{number}") for number in range(MAX_NAME_FAILURES)]
    assert None not in tries


def test_the_tables_of_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many names are made up, and however long they are, what is kept has a bound."""
    monkeypatch.setattr("securelink.auth.throttle.MAX_NAMES_COUNTED", 50)
    throttle = NameThrottle()
    for number in range(500):
        throttle.charge(f"{number:03}" + "x" * 4000, "2001:db8::1")
        throttle.right((f"{number:03}", ""), f"2001:db8:{number:x}::1")
    tables = (throttle._tries, throttle._strangers, throttle._places)  # noqa: SLF001  # each for itself
    assert [len(table) for table in tables] == [50] * 3
    assert b"x" * (65 - 2) not in bytes_below(throttle)


def test_a_throttled_name_costs_no_check(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After too many wrong passwords no more are computed, for a name that exists as for one that does not."""
    monkeypatch.setattr("securelink.auth.throttle.MAX_NAME_FAILURES", 3)
    passwords = Passwords(cost=2)
    passwords.add("ada", "correct horse")
    with Server("127.0.0.1", 0, keys=identity, authenticate=passwords) as server:
        for name in ("ada", "nobody"):
            texts = []
            for _ in range(5):
                client = Client(
                    "127.0.0.1",
                    server.address[1],
                    pin=server.fingerprint,
                    credentials={"user": name, "password": "wrong"},
                )
                texts.append(failure(Refused, client.connect, "").text)
            assert (
                texts
                == ["wrong user name or password"] * 3
                + ["too many wrong passwords for this user name; try again in a minute"] * 2
            )


def test_a_place_that_was_right_is_bounded_too() -> None:
    """Behind a tunnel everybody is at one place: that the owner of a name was let in there makes no guess free."""
    now = [0.0]
    throttle = NameThrottle(lambda: now[0])
    let_in(throttle, "ada", "127.0.0.1")
    tried = [throttle.charge("ada", "127.0.0.1") for _ in range(40)]
    assert 40 - tried.count(None) == MAX_NAME_FAILURES
    assert throttle.charge("ada", "192.0.2.1")  # other places have what is theirs
    now[0] += FAILED_WINDOW
    for _ in range(3 * MAX_NAME_FAILURES):
        let_in(throttle, "ada", "127.0.0.1")  # who knows the password is never stopped
