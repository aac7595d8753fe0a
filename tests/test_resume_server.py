"""Sessions of the threaded server go on over new connections: nothing is lost or doubled, and nobody gets in by it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from caller import Caller
from helpers import WAIT, until
from inside import listener_of, tokens_of
from together import serving

from securelink import Client, Refused, Server, Session
from securelink.codes import Code
from securelink.errors import ConfigError, ConnectionClosed
from securelink.keys import Identity
from securelink.protocol import Closed
from securelink.session import channel_of
from securelink.wire.fields import Mode

MODES = pytest.mark.parametrize("mode", [Mode.REQUIRED, Mode.OFF])


class Watch:
    """
    What a server told of its sessions, in order.

    Attributes:
        seen: Events and the names of packets.
        reasons: Codes with which sessions ended.
    """

    def __init__(self, server: Server) -> None:
        self.seen: list[str] = []
        self.reasons: list[Any] = []
        self.lock = threading.Lock()
        server.on_connect(lambda session: self.seen.append("connect"))
        server.on_suspend(lambda session: self.seen.append("suspend"))
        server.on_resume(lambda session, replayed: self.seen.append(f"resume {replayed}"))
        server.on_disconnect(self._left)
        server.on_message(lambda session, packet: self.seen.append(packet.action))

    def _left(self, session: Session) -> None:
        self.seen.append("disconnect")
        self.reasons.append(session.code)


@contextlib.contextmanager
def scene(
    identity: Identity, mode: Mode = Mode.REQUIRED, **options: Any
) -> Iterator[tuple[Server, Watch, Caller]]:
    """A server that keeps sessions, what it tells, and a client that has one."""
    encryption = "off" if mode == Mode.OFF else "required"
    options.setdefault("resume", 60)
    with serving(identity, encryption=encryption, **options) as server:
        watch = Watch(server)
        caller = Caller(server.address[1], mode)
        try:
            caller.come()
            until(lambda: server.sessions)
            yield server, watch, caller
        finally:
            caller.leave()


def only(server: Server) -> Session:
    """Its only session."""
    (session,) = server.sessions.values()
    return session


def away(server: Server, caller: Caller) -> Session:
    """The session of a client that has lost its connection, as the server knows; "hello" was its last word."""
    session = only(server)
    caller.say("hello")
    caller.pump(lambda: channel_of(session).core.numbering.incoming.accepted)
    caller.cut()
    until(lambda: not session.connected)
    return session


@MODES
def test_a_session_goes_on_after_a_cut(identity: Identity, mode: Mode) -> None:
    """Both sides talk on while the line is dead: each packet arrives once and in order; user, data and rooms stay."""
    with scene(identity, mode) as (server, watch, caller):
        session = only(server)
        session.data["score"] = 7
        session.join("lobby")
        caller.say("a")
        session.send("A")
        caller.pump(lambda: caller.handled[-1] == ["A"] and "a" in watch.seen)
        caller.cut()
        until(lambda: "suspend" in watch.seen)
        assert (session.connected, session.ended, session.code) == (False, False, None)
        assert server.room("lobby").broadcast("B") == 1
        session.send("C")
        caller.say("b", "c")
        assert caller.come()
        caller.pump(lambda: len(caller.handled[-1]) == 3 and "c" in watch.seen)
        assert caller.handled == [["A", "B", "C"]]
        assert only(server) is session
        assert session.connected
        assert (session.data, session.rooms) == ({"score": 7}, ["lobby"])
        assert watch.seen[:3] == ["connect", "a", "suspend"]
        assert watch.seen[3].startswith("resume")
        assert watch.seen[4:] == ["b", "c"]


def test_a_connection_that_seems_alive_is_taken_over(identity: Identity) -> None:
    """The client's address has changed, say: the old connection is closed without a word; its late end is nobody's."""
    with scene(identity) as (server, watch, caller):
        session, old = only(server), caller.sock
        before = session.address
        caller.say("a")
        caller.pump(lambda: "a" in watch.seen)
        caller.say("b")
        assert caller.come()
        caller.pump(lambda: "b" in watch.seen)
        old.settimeout(WAIT)
        with contextlib.suppress(ConnectionResetError):
            while old.recv(1 << 16):
                pass
        old.close()
        assert session.address == caller.sock.getsockname() != before
        assert [event for event in watch.seen if not event.startswith("resume")] == [
            "connect", "a", "b",
        ]  # fmt: skip
        caller.say("c")
        caller.pump(lambda: "c" in watch.seen)
        assert session.connected


def test_two_attempts_race(identity: Identity) -> None:
    """Of two the one that began later has the session; the other hears BUSY, and that is no failure of its address."""
    with scene(identity) as (server, watch, caller):
        session = away(server, caller)
        caller.dial()
        first, engine = caller.sock, caller.tries
        caller.pump(lambda: engine.state.name == "AUTH_SENT" or caller.opened[1:])
        if len(caller.opened) > 1:
            pytest.fail("the first attempt is through before the second began")
        assert caller.come()
        first.close()
        caller.say("b")
        caller.pump(lambda: "b" in watch.seen)
        assert only(server) is session
        assert listener_of(server).gate.failed == 0


def test_cut_after_cut(identity: Identity) -> None:
    """Drop after drop, with and without traffic in between, and so fast that the server has noticed nothing."""
    with scene(identity) as (server, watch, caller):
        session = only(server)
        for number in range(12):
            if number % 3:
                caller.say(f"up {number}")
                session.send(f"down {number}")
            if number % 2:
                caller.cut()
            assert caller.come()
        sent = [number for number in range(12) if number % 3]
        caller.pump(lambda: len(caller.handled[-1]) == len(sent))
        until(lambda: sum(name.startswith("up") for name in watch.seen) == len(sent))
        assert caller.handled == [[f"down {number}" for number in sent]]
        assert [name for name in watch.seen if name.startswith("up")] == [f"up {n}" for n in sent]


def test_a_request_survives(identity: Identity) -> None:
    """The server asks, the line breaks, the answer comes over the next one."""
    with scene(identity) as (server, _, caller):
        session = away(server, caller)
        future = session.request_later("what", timeout=WAIT)
        threading.Timer(0.1, session.send, ("after",)).start()
        caller.come()
        caller.pump(lambda: "after" in caller.handled[-1])
        assert not future.done()
        assert caller.handled[-1][0] == "what"
        future.cancel()


def test_the_hook_decides_again(identity: Identity) -> None:
    """It sees whose session is asked for; its refusal leaves the session to its owner, and so does another user."""
    asked: list[Any] = []
    answer: list[Any] = ["ann"]

    def authenticate(hello: Any) -> Any:
        asked.append(hello.resumed)
        if answer[0] is None:
            raise Refused("not now")
        return answer[0]

    with scene(identity, authenticate=authenticate) as (server, watch, caller):
        session = away(server, caller)
        answer[0] = None
        caller.dial()
        kept = caller.resumption
        caller.pump(lambda: any(isinstance(event, Closed) for event in caller.events))
        assert asked == [None, session]
        assert not session.connected
        assert not session.ended
        caller.resumption = kept
        answer[0] = "bob"
        assert not caller.come()
        until(lambda: len(server.sessions) == 2)
        assert not session.ended
        until(lambda: watch.seen.count("connect") == 2)


def test_a_user_that_cannot_be_compared_resumes_nothing(identity: Identity) -> None:
    """Nobody is let into a session because a comparison failed."""

    class Odd:
        def __eq__(self, other: object) -> bool:
            raise ZeroDivisionError

        __hash__ = None  # type: ignore[assignment]  # as Python does it

    with scene(identity, authenticate=lambda hello: Odd()) as (server, _, caller):
        away(server, caller)
        assert not caller.come()
        until(lambda: len(server.sessions) == 2)


def test_a_kick_works_while_the_client_is_away(identity: Identity) -> None:
    """The session is over at once, with its reason; the ticket is worth nothing."""
    with scene(identity) as (server, watch, caller):
        session = away(server, caller)
        session.join("lobby")
        session.kick("out")
        until(lambda: "disconnect" in watch.seen)
        assert (session.code, session.text, session.clean) == (Code.KICKED, "out", True)
        assert not server.sessions
        assert not server.rooms
        with pytest.raises(ConnectionClosed):
            session.send("x")
        assert not caller.come()
        assert watch.seen.count("disconnect") == 1


def test_on_resume_may_refuse(identity: Identity) -> None:
    """As on_connect may: the session ends with its words."""
    with scene(identity) as (server, watch, caller):

        @server.on_resume
        def no(session: Session, replayed: int) -> None:
            raise Refused("changed my mind")

        session = away(server, caller)
        caller.come()
        caller.pump(lambda: any(isinstance(event, Closed) for event in caller.events))
        caller.cut()
        until(lambda: "disconnect" in watch.seen)
        assert (session.code, session.text) == (Code.REFUSED, "changed my mind")


def test_its_time_ends_once(identity: Identity) -> None:
    """Who does not come back in time has left: one event, with a reason of its own, after all that came."""
    with scene(identity, resume=1) as (server, watch, caller):
        session = away(server, caller)
        until(lambda: "disconnect" in watch.seen)
        assert watch.reasons == [Code.EXPIRED]
        assert "no other one in time" in session.reason
        assert not caller.come()
        until(lambda: watch.seen.count("connect") == 2)
        assert watch.seen[:4] == ["connect", "hello", "suspend", "disconnect"]


def test_a_grace_of_its_own(identity: Identity) -> None:
    """A session may be kept for less time than others; it leaves once, when that is over, and not before."""
    with scene(identity) as (server, watch, caller):
        session = only(server)
        assert session.grace == 60
        session.grace = 1
        session = away(server, caller)
        assert server.stats()["sessions_suspended"] == 1
        assert caller.come()  # in time
        assert server.stats()["sessions_suspended"] == 0
        began = time.monotonic()
        caller.cut()
        until(lambda: "disconnect" in watch.seen)
        assert time.monotonic() - began >= 1.0
        assert watch.reasons == [Code.EXPIRED]
        assert session.ended
        assert not caller.come()
        assert watch.seen.count("disconnect") == 1
        stats = server.stats()
        assert (stats["connections_lost_total"], stats["sessions_resumed_total"]) == (2, 1)


def test_a_grace_may_change_while_the_client_is_away(identity: Identity) -> None:
    """It counts from the break; 0 keeps nothing."""
    with scene(identity) as (server, watch, caller):
        session = away(server, caller)
        session.grace = 1
        until(lambda: watch.reasons == [Code.EXPIRED])
        caller.come()
        until(lambda: server.sessions)
        session = only(server)
        session.grace = 0
        caller.say("hello")
        caller.pump(lambda: watch.seen.count("hello") == 2)
        caller.cut()
        until(lambda: watch.reasons == [Code.EXPIRED, Code.BROKEN])
        assert watch.seen.count("suspend") == 1


@pytest.mark.parametrize("grace", [61, -1, 0.5, "5", None, True])
def test_a_grace_that_cannot_be(identity: Identity, grace: Any) -> None:
    """No session is kept for longer than the server says, for its client knows of that only."""
    with scene(identity) as (server, _, _):
        session = only(server)
        with pytest.raises(ConfigError, match="grace"):
            session.grace = grace
        assert session.grace == 60


def test_without_resume_a_cut_is_the_end(identity: Identity) -> None:
    """No ticket, no waiting."""
    with scene(identity, resume=0) as (_, watch, caller):
        assert caller.resumption is None
        caller.cut()
        until(lambda: "disconnect" in watch.seen)
        assert watch.reasons == [Code.BROKEN]
        assert "suspend" not in watch.seen


def test_who_never_got_welcome_is_not_waited_for_long(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client may not know that there is a session: it would be in the server twice."""
    monkeypatch.setattr("securelink.threads.suspensions.UNKNOWN_SECONDS", 0.2)
    with scene(identity) as (server, watch, caller):
        other = Caller(caller.port)
        other.dial()
        other.pump(lambda: other.tries.state.name == "AUTH_SENT")
        until(lambda: len(server.sessions) == 2)
        other.cut()
        until(lambda: "disconnect" in watch.seen)
        assert only(server).connected


def test_join_tokens_and_resume(identity: Identity) -> None:
    """A token for one use opens one session, over any number of connections; one that was revoked resumes none."""
    with serving(identity, resume=60, authenticate="tokens") as server:
        watch = Watch(server)
        token = server.create_token(uses=1)
        caller = Caller(server.address[1], credentials={"token": token})
        try:
            caller.come()
            until(lambda: server.sessions)
            for _ in range(3):
                caller.cut()
                assert caller.come()
            assert len(server.sessions) == 1
            caller.cut()
            assert tokens_of(server).revoke(token)
            caller.dial()
            caller.pump(lambda: any(isinstance(event, Closed) for event in caller.events))
            assert watch.seen.count("connect") == 1
        finally:
            caller.leave()


def test_stop_ends_those_who_are_away(identity: Identity) -> None:
    """Each hears of it once, as those who are there do."""
    with scene(identity) as (server, watch, caller):
        away(server, caller)
        assert server.stop()
        assert watch.reasons == [Code.SHUTDOWN]


def test_drain_does_not_wait_for_them(identity: Identity) -> None:
    """Nobody can come back to a server that accepts nobody."""
    with scene(identity) as (server, watch, caller):
        away(server, caller)
        assert server.drain(WAIT)
        assert watch.reasons == [Code.RESTART]


def test_a_memory_that_went_back_ends_the_session(identity: Identity) -> None:
    """A client that has accepted more than was ever sent has another memory of it than the server."""
    with scene(identity) as (server, watch, caller):
        away(server, caller)
        caller.core.numbering.incoming.accepted += 5
        caller.dial()
        caller.pump(lambda: caller.core.connection is None)
        until(lambda: "disconnect" in watch.seen)
        assert watch.reasons == [Code.PROTOCOL]


def test_bounds(identity: Identity) -> None:
    """So many wait for their clients, and of one address so many: the oldest go, those with a user last."""
    with scene(identity, max_suspended=3) as (server, watch, caller):
        callers = [caller, *(Caller(caller.port, user=f"user {n}") for n in range(4))]
        try:
            for one in callers[1:]:
                one.come()
            until(lambda: len(server.sessions) == 5)
            until(lambda: all(link.connection.controls for link in listener_of(server).links))
            for one in callers:
                one.cut()
            until(lambda: watch.seen.count("disconnect") == 2)
            until(lambda: listener_of(server).suspensions.tickets.suspended == 3)  # type: ignore[union-attr]
            assert set(watch.reasons) == {Code.EXPIRED}
            assert len(server.sessions) == 3
        finally:
            for one in callers[1:]:
                one.leave()


def test_todays_client_can_talk_to_it(identity: Identity) -> None:
    """A client that resumes nothing takes the ticket and says nothing of it."""
    with (
        serving(identity, resume=60) as server,
        Client("127.0.0.1", server.address[1], pin=server.fingerprint) as client,
    ):
        client.send("echo", 1)
        packet = client.receive(WAIT)
        assert packet is not None
        assert packet.data == 1
