"""Why a session ended: both sides can say it, and name who broke what."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from helpers import WAIT, Hostile, failure, scene, until
from inside import listener_of
from together import channel_of, joined, link_of, serving, session_of

from securelink import Client, Code, ConnectionClosed, Identity, ProtocolError, Server, Session
from securelink.protocol.bounds import Bounds
from securelink.protocol.events import FAULTY
from securelink.protocol.records import INTERFERES
from securelink.streams.base import BREAK
from securelink.streams.tcp import TcpStream
from securelink.testing.relay import Relay
from securelink.wire.fields import Content

pytestmark = pytest.mark.usefixtures("tidy", "not_kept")

BROKEN = "the connection broke: the peer vanished or the network failed"
Why = tuple[int | None, str, bool, str]


def why(end: Session | Client) -> Why:
    """All that a session or client says of its end."""
    return end.code, end.text, end.clean, end.reason


@pytest.mark.pure  # it lowers a bound of a module
def test_no_descriptor_is_closed_under_a_sender(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system may give its number to the next connection, and a record would go to a stranger."""
    monkeypatch.setattr("securelink.threads.send_right.RIGHT_SECONDS", 0.02)
    stopped, go_on = threading.Event(), threading.Event()
    numbers: list[int] = []
    with serving(identity) as server, joined(server) as (client,):
        session = session_of(server, client)
        link = link_of(session)
        stream = link.stream
        assert isinstance(stream, TcpStream)
        send = stream.send

        def slow(*arguments: Any) -> int:
            stopped.set()  # the system lets other threads run just now
            assert go_on.wait(WAIT)
            numbers.append(stream.fileno())
            return send(*arguments)

        stream.send = slow
        sender = threading.Thread(target=session.send, args=("late",))
        sender.start()
        assert stopped.wait(WAIT)
        link.loop.call(link.lost)
        until(lambda: not (session.connected or client.connected))  # it is over, at once
        until(lambda: link not in listener_of(server).links)
        go_on.set()
        sender.join()
        until(lambda: stream.fileno() < 0)
    assert numbers[0] >= 0


def leave(server: Server, client: Client) -> None:
    """The client says goodbye."""
    client.close()


def kick(server: Server, client: Client) -> None:
    """The application ends the session, with words."""
    session_of(server, client).kick("no \x1b[2Jcheating")


def kick_silently(server: Server, client: Client) -> None:
    """The same, without words."""
    session_of(server, client).kick()


def stop(server: Server, client: Client) -> None:
    """The server ends."""
    server.stop()


def cut(server: Server, client: Client) -> None:
    """The connection breaks under both."""
    link_of(client).stream.shutdown(BREAK)


def babble(server: Server, client: Client) -> None:
    """The client breaks a rule inside the encrypted channel."""
    link_of(client).control(Content.PING, b"seven b")


def be_unreadable(server: Server, client: Client) -> None:
    """The client sends what is no packet."""
    channel_of(client).post(b"\xc1", timeout=None)
    channel_of(
        client
    ).core.sending.drop()  # nor could the client, when it lists what is unconfirmed


SAFE = r"no \x1b[2Jcheating"
RULE = "a PING record of the wrong size"
ENDS: dict[Callable[[Server, Client], None], tuple[Why, Why]] = {
    leave: (
        (Code.NORMAL, "", True, "closed normally"),
        (Code.NORMAL, "", True, "closed by this side"),
    ),
    kick: ((Code.KICKED, SAFE, True, SAFE), (Code.KICKED, SAFE, True, SAFE)),
    kick_silently: ((Code.KICKED, "", True, "kicked"), (Code.KICKED, "", True, "kicked")),
    stop: (
        (Code.SHUTDOWN, "", True, "the server is shutting down"),
        (Code.SHUTDOWN, "", True, "the server is shutting down"),
    ),
    cut: ((Code.BROKEN, "", False, BROKEN), (Code.BROKEN, "", False, BROKEN)),
    babble: (
        (Code.PROTOCOL, "", False, f"the peer broke the protocol: {RULE}"),
        (Code.PROTOCOL, "", True, "the peer says that we broke the protocol"),
    ),
    be_unreadable: (
        (Code.UNREADABLE, "", True, "a packet of the peer could not be read"),
        (Code.UNREADABLE, "", True, "the peer could not read a packet of ours"),
    ),
}


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_both_sides_say_why(end: Callable[[Server, Client], None], identity: Identity) -> None:
    """Reason, code, text and clean tell each kind of end from the others, on both sides, in and after the hook."""
    told: list[Why] = []
    with serving(identity) as server:
        server.on_disconnect(lambda session: told.append(why(session)))
        with joined(server) as (client,):
            client.on_disconnect(lambda: told_client.append(why(client)))
            told_client: list[Why] = []
            session = session_of(server, client)
            assert why(client) == why(session) == (None, "", False, "")
            end(server, client)
            until(lambda: told and told_client)
        server_says, client_says = ENDS[end]
        assert told[0][:3] == server_says[:3]
        assert told[0][3].startswith(server_says[3])
        assert told_client == [client_says]
        assert why(session) == told[0]
        assert why(client) == client_says
        assert session.info()["reason"] == session.reason
        if told[0][0] is not None:
            assert isinstance(told[0][0], Code)


def test_a_new_session_has_no_end_yet(identity: Identity) -> None:
    """Before the first session and during each later one there is nothing to say."""
    with serving(identity) as server:
        client = Client(*server.address, pin=identity.fingerprint)
        assert why(client) == (None, "", False, "")
        client.connect()
        session_of(server, client).kick("out")
        until(lambda: client.code == Code.KICKED)
        client.connect()
        assert why(client) == (None, "", False, "")
        client.close()


def test_too_slow_is_told_from_both_sides(identity: Identity) -> None:
    """Who is ended for taking too little is told so; who ends it says that it was the other."""
    told: list[Why] = []
    with serving(identity) as server, joined(server) as (client,):
        server.on_disconnect(lambda session: told.append(why(session)))
        session = session_of(server, client)
        channel_of(session).end(Code.TOO_SLOW)
        until(lambda: told and client.code is not None)
        assert told[0][3].startswith("the peer is too slow")
        assert client.reason.startswith("the peer says that we are too slow")


# --- who broke what ----------------------------------------------------------------------------------------------


RULES: dict[str, tuple[int, bytes]] = {
    "a PING record of the wrong size": (Content.PING, b"123"),
    "a PONG record of the wrong size": (Content.PONG, b""),
    "an ACK record of the wrong size": (Content.ACK, bytes(3)),
    "the peer acknowledges 9 records": (Content.ACK, (9).to_bytes(8)),
    "a DATA_ACK record is too short": (Content.DATA_ACK, b"12"),
    "CLOSE counts": (Content.CLOSE, bytes(1) + (7).to_bytes(8)),
    "a KEY_UPDATE record of the wrong size": (Content.KEY_UPDATE, b"1"),
    "content 99 while": (99, b""),
    "content 2 while": (Content.CLIENT_AUTH, b""),
}


@pytest.mark.parametrize("rule", RULES)
def test_the_server_names_the_client_that_broke_a_rule(
    rule: str, identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """The log and the session say that the peer did it, and no path is suspected: none could."""
    gone: list[Session] = []
    with scene(identity) as stage:
        stage.server.on_disconnect(gone.append)
        with Hostile(stage.port).open() as peer:
            peer.send(*RULES[rule])
            assert peer.ending() == (Code.PROTOCOL, "")
            until(lambda: gone)
        assert gone[0].reason.startswith(f"the peer broke the protocol: {rule}")
        error = failure(ConnectionClosed, lambda: gone[0].send("x"), "the peer broke the")
        assert (error.code, error.hint) == (Code.PROTOCOL, FAULTY)
        until(stage.alone)
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert any(rule in text and "the peer broke the protocol" in text for text in warnings)
    assert "says that we broke" not in caplog.text
    assert "interferes" not in caplog.text


@pytest.mark.parametrize("rule", [rule for rule in RULES if "content 2" not in rule])
def test_every_later_call_names_the_server_that_broke_a_rule(rule: str, identity: Identity) -> None:
    """After the server broke the protocol no call of the client says that we did."""
    content, body = RULES[rule]
    with serving(identity) as server, joined(server) as (client,):
        link = link_of(session_of(server, client))
        assert link is not None
        assert link.connection.sender is not None
        frame = link.connection.sender.records.seal(content.to_bytes(1) + body)
        link.writer.queue_raw(frame)
        link.writer.flush()
        error: Any = failure(ProtocolError, lambda: client.receive(WAIT), rule, "same version")
        assert error.code == Code.PROTOCOL
        calls: list[Callable[[], object]] = [
            lambda: client.receive(WAIT), client.poll, lambda: client.wait_for("x", WAIT), lambda: next(iter(client)),
            lambda: client.send("x"), lambda: client.request("x"), client.ping,
        ]  # fmt: skip
        for call in calls:
            with pytest.raises((ProtocolError, ConnectionClosed)) as caught:
                call()
            assert isinstance(caught.value, ProtocolError | ConnectionClosed)
            assert caught.value.code == Code.PROTOCOL
            assert f"the peer broke the protocol: {rule}" in caught.value.message
            assert caught.value.hint == FAULTY
        assert client.reason.startswith(f"the peer broke the protocol: {rule}")


def test_what_the_path_can_cause_is_not_blamed_on_the_other_side(identity: Identity) -> None:
    """A frame header is in clear: a wrong one may be the work of anybody on the path, and the hint says so."""
    with serving(identity) as server, Relay("127.0.0.1", server.address[1]) as relay:
        client = Client("127.0.0.1", relay.port, pin=identity.fingerprint).connect()
        relay.to_client.hook = lambda chunk: b"\x09" + chunk[1:]
        until(lambda: server.broadcast("x"))
        error = failure(ProtocolError, lambda: client.receive(WAIT), "somebody on the path")
        assert error.hint == INTERFERES
        assert client.reason.startswith("the peer, or somebody on the path to it, broke")
        client.close()


def test_plaintext_blames_nobody_for_sure(identity: Identity) -> None:
    """Without encryption everything may have been changed on the way."""
    with (
        Server("127.0.0.1", 0, encryption="off") as server,
        Client("127.0.0.1", server.address[1], encryption="off") as client,
    ):
        until(lambda: server.sessions)
        link = link_of(session_of(server, client))
        assert link is not None
        link.control(Content.PING, b"123")
        error = failure(ProtocolError, lambda: client.receive(WAIT), "somebody on the path")
        assert error.hint == INTERFERES


def test_an_end_keeps_no_frames(identity: Identity) -> None:
    """What is kept of a broken rule is its words, not the packets that were being read."""
    with serving(identity) as server, joined(server) as (client,):
        session = session_of(server, client)
        babble(server, client)
        until(lambda: session.code is not None)
        outcome = channel_of(session).outcome
        assert outcome is not None
        failed = outcome.failed
        assert failed is not None
        assert failed.error.__traceback__ is None
        assert failed.error.__context__ is None


# --- rooms -------------------------------------------------------------------------------------------------------


def test_rooms_are_known_in_on_disconnect(identity: Identity) -> None:
    """Who leaves can be told to its rooms: it knows them still, and is not in them any more."""
    seen: list[Any] = []
    with serving(identity) as server:
        server.on_connect(lambda session: [session.join("lobby"), session.join("chess")])

        @server.on_disconnect
        def gone(session: Session) -> None:
            members = [len(server.room(name)) for name in session.rooms]
            reached = [server.room(name).broadcast("left") for name in session.rooms]
            seen.append((session.rooms, members, reached, session.leave("lobby")))

        with joined(server, 2) as (first, second):
            for client in (first, second):
                until(lambda client=client: len(session_of(server, client).rooms) == 2)  # type: ignore[misc]
            session = session_of(server, first)
            first.close()
            until(lambda: seen)
            assert seen == [(["lobby", "chess"], [1, 1], [1, 1], False)]
            assert session.rooms == ["lobby", "chess"]
            with pytest.raises(ConnectionClosed):
                session.join("third")
        until(lambda: len(seen) == 2)
        assert server.rooms == []


def test_a_room_that_was_left_before_is_not_told(identity: Identity) -> None:
    """Only the rooms of the last moment count, also when there are none."""
    seen: list[list[str]] = []
    with serving(identity) as server:
        server.on_connect(lambda session: [session.join("a"), session.leave("a")])
        server.on_disconnect(lambda session: seen.append(session.rooms))
        with joined(server):
            pass
        until(lambda: seen)
        assert seen == [[]]


def test_a_session_ended_for_its_backlog_says_so(identity: Identity) -> None:
    """`Bounds` that are exceeded end the session with TOO_SLOW, clean, on the side that ends it."""
    with serving(identity) as server, joined(server) as (client,):
        session = session_of(server, client)
        channel_of(session).bounds = Bounds(unsent=1, hard_unsent=1, hard_unacked=1)
        until(lambda: session.code is not None or server.broadcast("x", bytes(100_000)) is None)
        assert (session.code, session.clean) == (Code.TOO_SLOW, True)
