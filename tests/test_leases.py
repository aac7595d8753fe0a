"""Logins that hold for a time: when it is over the session ends, wherever its client is, unless it is renewed."""

from __future__ import annotations

import gc
import math
import threading
import time
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from caller import Caller
from helpers import WAIT, failure, until
from kept import Place
from logins import hello
from together import joined, serving

from securelink import Client, Code, ConnectionClosed, Identity, Refused, Session
from securelink.app.leases import Leases
from securelink.auth import Hello, Lease
from securelink.errors import ConfigError

pytestmark = pytest.mark.usefixtures("quick")

OVER = "this login has expired; log in again"
LONG = 1e6  # seconds


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers look for logins that are over more often."""
    monkeypatch.setattr("securelink.app.leases.SWEEP_SECONDS", 0.02)


class Hook:
    """
    An `authenticate` that lets everybody in for a time.

    Attributes:
        left: For so many seconds from now.
        ends: The times that it has given.
        renew: See `Hello.expires`.
    """

    def __init__(self, left: float, renew: Callable[[Any], Any] | None = None) -> None:
        self.left = left
        self.ends: list[float] = []
        self.renew = renew

    def __call__(self, hello: Hello) -> str:
        self.ends.append(time.time() + self.left)
        hello.expires(self.ends[-1], self.renew)
        return "ann"

    def passed(self) -> bool:
        """Whether the first time is well over."""
        return time.time() > self.ends[0] + 0.2


def test_a_session_ends_with_its_login(identity: Identity) -> None:
    """Both sides are told once why; another one, whose login holds for longer, stays."""
    hook = Hook(LONG)
    with serving(identity, authenticate=hook) as server, joined(server) as (other,):
        hook.left = 0.3
        ends: list[Any] = []
        server.on_disconnect(lambda session: ends.append((session.code, session.text)))
        with joined(server) as (client,):
            error = failure(ConnectionClosed, lambda: client.receive(WAIT), OVER)
            assert error.code == Code.REFUSED
            assert time.time() >= hook.ends[1]
        until(lambda: ends)
        assert ends == [(Code.REFUSED, OVER)]
        assert other.connected


def test_it_ends_while_its_client_is_away(identity: Identity) -> None:
    """What the session holds is free then, and its client finds nothing."""
    hook = Hook(0.5)
    sessions: list[Session] = []
    with serving(identity, authenticate=hook, resume=60) as server:
        server.on_connect(sessions.append)
        caller = Caller(server.address[1])
        caller.come()
        caller.cut()
        until(lambda: sessions)
        (session,) = sessions
        until(lambda: session.ended)
        assert time.time() >= hook.ends[0]
        assert session.code == Code.REFUSED
        assert not caller.come()
        caller.leave()


def test_who_comes_back_has_the_time_that_he_is_given_then(identity: Identity) -> None:
    """A resume asks the hook: its answer counts, be it longer or for ever, and no longer that of the first login."""
    hook = Hook(1.0)
    with serving(identity, authenticate=hook, resume=60) as server:
        caller = Caller(server.address[1])
        caller.come()
        until(lambda: server.sessions)
        (session,) = server.sessions.values()
        caller.cut()
        hook.left = LONG
        assert caller.come()
        until(hook.passed)
        assert session.connected
        hook.left = 0.3
        caller.cut()
        assert caller.come()
        until(lambda: session.ended)
        assert session.code == Code.REFUSED
        caller.leave()


def asked(client: Client, answers: list[Any]) -> None:
    """Let a client answer "token", from a thread of its own as in any program with handlers."""
    client.on("token", lambda packet: answers.pop(0))


def test_a_login_that_is_renewed_holds(identity: Identity) -> None:
    """The client is asked before the end, in its session's turn, and the session goes on without a break."""
    asking: list[float] = []

    def renew(session: Session) -> float:
        asking.append(time.time())
        assert session.request("token", timeout=WAIT) == "fresh"
        return time.time() + LONG

    hook = Hook(3.0, renew)  # the last quarter of it is for the answer
    with serving(identity, authenticate=hook) as server:
        client = Client("127.0.0.1", server.address[1], pin=server.fingerprint)
        asked(client, ["fresh"])
        with client:
            until(lambda: asking)
            assert asking[0] < hook.ends[0]
            until(hook.passed)
            assert client.connected
            assert len(asking) == 1


def test_a_renewal_may_refuse(identity: Identity) -> None:
    """The session ends at once, with the words of the refusal."""

    def renew(session: Session) -> float:
        raise Refused("banned meanwhile")

    hook = Hook(20.0, renew)
    hook.left = 3.0  # the last quarter of it is left when the hook is asked
    with serving(identity, authenticate=hook) as server, joined(server) as (client,):
        error = failure(ConnectionClosed, lambda: client.receive(WAIT), "banned meanwhile")
        assert error.code == Code.REFUSED
        assert time.time() < hook.ends[0]


@pytest.mark.parametrize("answer", [None, "soon", math.nan, ValueError("a fault"), -1.0])
def test_a_renewal_that_fails_is_none(
    identity: Identity, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The session ends at the time that was said before, and the log has the fault."""

    def renew(session: Session) -> float:
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    hook = Hook(0.5, renew)
    with serving(identity, authenticate=hook) as server, joined(server) as (client,):
        failure(ConnectionClosed, lambda: client.receive(WAIT), OVER)
        assert time.time() >= hook.ends[0]
    assert "was not renewed" in caplog.text


def test_a_handler_that_takes_long_does_not_prolong_it(identity: Identity) -> None:
    """The renewal waits for the session's turn, the end does not."""
    leave = threading.Event()
    hook = Hook(0.5, lambda session: time.time() + LONG)
    with serving(identity, authenticate=hook) as server:
        server.on_connect(lambda session: leave.wait(WAIT))  # from the beginning
        with joined(server) as (client,):
            failure(ConnectionClosed, lambda: client.receive(WAIT), OVER)
            leave.set()


def test_one_that_can_be_renewed_waits_for_its_client(identity: Identity) -> None:
    """A client that is away cannot be asked, and is asked when it comes back: its session waits as long as others."""
    asking: list[Session] = []

    def renew(session: Session) -> float:
        asking.append(session)
        return time.time() + LONG

    hook = Hook(2.0, renew)  # it would be asked after 1.5
    with serving(identity, authenticate=hook, resume=60) as server:
        caller = Caller(server.address[1])
        caller.come()
        until(lambda: server.sessions)
        (session,) = server.sessions.values()
        caller.cut()
        until(lambda: not session.connected)
        until(hook.passed)
        assert not session.ended
        hook.left = LONG
        assert caller.come()
        assert not asking
        assert session.connected
        caller.leave()


def test_the_next_process_ends_it(place: Place) -> None:
    """The end of a login is kept with the session: it holds in the next process, though nobody was asked there."""
    hook = Hook(3.0)
    with place.running(authenticate=hook):
        client = place.client(reconnect=False)
        client.connect(WAIT)
        client.send("count", "a")
        assert client.receive(WAIT) is not None
    with place.running(authenticate=hook):
        until(lambda: f"disconnect {Code.REFUSED!r}" in place.seen)
        assert time.time() >= hook.ends[0]
    assert place.seen.count("restore") == 1
    client.close()


@pytest.mark.parametrize("at", [math.nan, math.inf, 0, -1, "tomorrow", None, 2**60, True])
def test_impossible_times(at: Any) -> None:
    """A time that would never come is an error of the hook, which refuses the client, and not a login for ever."""
    with pytest.raises(ConfigError):
        hello().expires(at)


def test_impossible_renewals() -> None:
    """A function that would not run, or not with a session, is an error of the hook too."""

    def renew(session: Session) -> Any:
        yield LONG

    for wrong in (renew, lambda: LONG, "renew"):
        with pytest.raises(ConfigError):
            hello().expires(time.time() + LONG, wrong)  # type: ignore[arg-type]


class Turns:
    """A loop whose turns the test makes, and the channel of a session in it."""

    stopping = False

    def __init__(self) -> None:
        self.commands: list[Callable[[], None]] = []
        self.call = self.commands.append

    def call_later(self, seconds: float, command: Callable[[], None]) -> None:
        self.commands.append(command)

    def turn(self) -> float:
        """Do what is to be done; the longest of it, in milliseconds of this thread."""
        commands = self.commands.copy()
        self.commands.clear()
        longest = 0.0
        for command in commands:
            began = time.thread_time()
            command()
            longest = max(longest, 1000 * (time.thread_time() - began))
        return longest


class Leasing:
    """The channel of a session, as far as the end of its login needs it."""

    def __init__(self, turns: Turns, until: float) -> None:
        self.loop: Any = turns
        session = SimpleNamespace(connected=True)
        self.owner = SimpleNamespace(lease=Lease(until), session=session, name="one")

    def note(self, event: Callable[[], object]) -> None:
        raise AssertionError("nothing is to be renewed")


@pytest.mark.cost
def test_many_logins_at_the_same_moment() -> None:
    """Ten thousand that end together end in many turns, and those that do not end cost none."""
    turns = Turns()
    ended: list[Any] = []
    leases = Leases(lambda channel, event, refusal: ended.append(channel))
    now = time.time()
    staying = [Leasing(turns, now + LONG + number) for number in range(10_000)]
    for channel in staying:
        leases.began(channel)
    assert turns.turn() < 5.0
    for number in range(10_000):
        leases.began(Leasing(turns, now - number % 7))
    count = 0
    while len(ended) < 10_000:
        turns.turn()
        count += 1
    assert count > 2
    assert not set(ended) & set(staying)


def test_sessions_that_are_over_are_forgotten() -> None:
    """Clients that come and go all day leave nothing behind, however long their logins would hold."""
    turns = Turns()
    leases = Leases(lambda channel, event, refusal: None)
    seen = []
    for _ in range(1000):
        channel = Leasing(turns, time.time() + LONG)
        seen.append(weakref.ref(channel))
        leases.began(channel)
        leases.began(channel)
        leases.ended(channel)
    del channel
    gc.collect()
    assert sum(reference() is not None for reference in seen) < 100


async def renew_later(session: Session) -> float:
    """A renewal that a server with threads cannot run."""
    return time.time() + LONG


def test_a_coroutine_is_no_renewal_in_threads(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """A server with threads could never run it: the hook that gives one lets nobody in, and the log says why."""
    with serving(identity, authenticate=Hook(LONG, renew_later)) as server:
        client = Client("127.0.0.1", server.address[1], pin=server.fingerprint)
        failure(Refused, client.connect, "could not check the credentials")
    assert "renew is a coroutine function (async def)" in caplog.text


def test_what_gives_a_coroutine_renews_nothing_in_threads(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """As one that is hidden in a plain function: the session ends at the time that was said before."""
    hook = Hook(0.5, lambda session: renew_later(session))
    with serving(identity, authenticate=hook) as server, joined(server) as (client,):
        failure(ConnectionClosed, lambda: client.receive(WAIT), OVER)
    assert "which is never run" in caplog.text
