"""Packets that are too large, make no sense or break the rules, and handlers that fail: one session pays."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytest
from helpers import WAIT, Hostile, echo, failure, frame, scene, sock_of, until
from test_codec_hostile import HOSTILE
from together import link_of

from securelink import (
    CodecError,
    ConnectionClosed,
    Identity,
    LimitExceeded,
    ProtocolError,
    Refused,
    RequestFailed,
)
from securelink.codes import Code
from securelink.wire.fields import Content, Kind, Mode
from securelink.wire.messages import Close
from securelink.wire.packets import Packet, encode_packet, join_packets

pytestmark = pytest.mark.usefixtures("tidy", "not_kept")

LIMIT = 10_000  # max_packet of the servers here


def of_size(size: int) -> bytes:
    """Data that makes a packet of exactly so many bytes."""
    return bytes(size - len(encode_packet(Packet("echo", bytes(size), None, 1.0))) + size)


# --- too large ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encryption", ["required", "off"])
def test_the_largest_packet_passes_and_the_next_one_does_not(
    encryption: str, identity: Identity
) -> None:
    """The limit is inclusive, known on both sides, and one byte more is an error of the sender alone."""
    with scene(identity, encryption=encryption, max_packet=LIMIT) as stage:
        client = stage.neighbour
        session = stage.session(client)
        link = link_of(session)
        assert link is not None
        largest = link.writer.max_packets
        assert LIMIT - 64 < largest < LIMIT
        assert echo(client, of_size(largest))
        sends: list[Any] = [client.send, session.send, stage.server.broadcast]
        for send in sends:
            error = failure(
                LimitExceeded, lambda send=send: send("echo", of_size(largest + 1)),  # type: ignore[misc]
                f"a packet of {largest + 1} bytes is larger than the {largest}",
                "send it in pieces, or raise max_packet=",
            )  # fmt: skip
            assert error.limit == "max_packet"
        assert echo(client, "nothing happened")


def test_a_server_that_announces_more_than_the_client_wants(identity: Identity) -> None:
    """A client may hold its own limit against a server's."""
    with scene(identity) as stage:
        client = stage.client(max_packet=100_000)
        failure(
            ProtocolError, client.connect, "the server wants packets of 2097152 bytes, over our 100000",
            "raise max_packet= of the client, or lower it on the server",
        )  # fmt: skip
        until(stage.alone)


@pytest.mark.parametrize("mode", [Mode.REQUIRED, Mode.OFF])
def test_a_record_announced_too_long_ends_its_session(
    mode: Mode, identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """A peer that announces one byte more than allowed is told off before a byte of it is stored."""
    with (
        scene(identity, encryption="optional", max_packet=LIMIT) as stage,
        Hostile(stage.port, mode).open() as peer,
    ):
        kind = Kind.SEALED if mode else Kind.PLAIN
        peer.sock.sendall(bytes((kind,)) + (LIMIT + 1).to_bytes(3))
        assert peer.ending() == (Code.PROTOCOL, "")
        peer.sock.close()
        until(stage.alone)
    assert (
        "the peer announced a frame of 10,001 bytes, the limit is 10,000 (max_packet)"
        in caplog.text
    )
    assert "send larger things in pieces, or raise max_packet" in caplog.text


@pytest.mark.parametrize(
    ("action", "data", "says", "hint"),
    [
        ("", 1, "has 0 characters, allowed are 1 to 255", "short name"),
        ("x" * 256, 1, "has 256 characters, allowed are 1 to 255", "short name"),
        ("echo", object(), "cannot be sent: .*type object", "use None, bool"),
        ("echo", 2**64, "int that does not fit 64 bits", "str or as bytes"),
        ("echo", "\ud800", "lone surrogates", "as bytes"),
        ("echo", {"a": [{"b": print}]}, "cannot be sent: .*function", "use None, bool"),
    ],
)
def test_what_cannot_be_sent_is_an_error_of_the_sender(
    action: str, data: Any, says: str, hint: str, identity: Identity
) -> None:
    """A packet that cannot be encoded is refused where it is sent; the session goes on."""
    with scene(identity) as stage:
        session = stage.session(stage.neighbour)
        sends: list[Any] = [stage.neighbour.send, session.send, stage.server.broadcast]
        for send in sends:
            failure(CodecError, lambda send=send: send(action, data), says, hint)  # type: ignore[misc]


# --- nonsense inside good records ---------------------------------------------------------------------------


def test_hostile_packets_end_their_own_session(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """Bombs of every kind, from a client with a session: it is ended with a code; nothing crashes, nobody waits."""
    with scene(identity) as stage:
        for name, bomb in HOSTILE.items():
            with Hostile(stage.port).open() as peer:
                peer.send(Content.DATA, bomb)
                assert peer.ending() == (Code.UNREADABLE, ""), name
            stage.check_neighbour()
        until(stage.alone)
    assert caplog.text.count("sent a packet that cannot be read") == len(HOSTILE)
    assert not [record for record in caplog.records if record.levelno > logging.WARNING]


def test_a_client_told_of_its_own_nonsense(identity: Identity) -> None:
    """A client of ours whose packet cannot be read gets the reason, not a broken connection."""
    with scene(identity) as stage:
        client = stage.client().connect()
        link = link_of(client)
        assert link.connection.sender is not None
        sock_of(link).sendall(link.connection.sender.packets([b"\xc1"]))
        error = failure(ConnectionClosed, lambda: client.receive(WAIT), "could not read a packet")
        assert error.code == Code.UNREADABLE
        client.close()


def test_good_packets_before_a_bad_one_are_handled(identity: Identity) -> None:
    """What came before the nonsense reaches the handlers; what comes after it does not."""
    heard: list[Any] = []
    with scene(identity) as stage, Hostile(stage.port).open() as peer:
        stage.server.on("say", lambda session, packet: heard.append(packet.data))
        good = [join_packets([encode_packet(Packet("say", number))]) for number in (1, 2)]
        records = [good[0], b"\xc1", good[1]]
        peer.sock.sendall(b"".join(peer.seal(Content.DATA, record) for record in records))
        assert peer.ending() == (Code.UNREADABLE, "")
        assert heard == [1]


# --- records out of order -------------------------------------------------------------------------------------

ACK_7 = (7).to_bytes(8)
RECORDS: dict[str, tuple[list[tuple[int, bytes]], str]] = {
    "an ack of what was never sent": ([(Content.ACK, ACK_7)], "acknowledges 7 records after 0, of 0"),
    "data with such an ack": ([(Content.DATA_ACK, ACK_7 + b"\x90")], "acknowledges 7 records"),
    "data with half an ack": ([(Content.DATA_ACK, b"\x00")], "DATA_ACK record is too short"),
    "an ack of the wrong size": ([(Content.ACK, b"\x00" * 7)], "ACK record of the wrong size"),
    "a ping of the wrong size": ([(Content.PING, b"\x00" * 9)], "PING record of the wrong size"),
    "a pong of the wrong size": ([(Content.PONG, b"")], "PONG record of the wrong size"),
    "a welcome": ([(Content.WELCOME, b"")], "content 3 while open"),
    "a second proof": ([(Content.CLIENT_AUTH, b"")], "content 2 while open"),
    "a proof of a server": ([(Content.SERVER_AUTH, b"")], "content 1 while open"),
    "an unknown content": ([(99, b"")], "content 99 while open"),
    "a key update with a body": ([(Content.KEY_UPDATE, b"x")], "KEY_UPDATE record of the wrong"),
    "a CLOSE that counts too many": (
        [(Content.CLOSE, Close(0, 5).encode()[1:])], "CLOSE counts 5 records, 0 arrived",
    ),
    "a CLOSE with a long text": ([(Content.CLOSE, bytes(9 + 1025))], "impossible length"),
    "a CLOSE with bad text": ([(Content.CLOSE, bytes(9) + b"\xff")], "CLOSE record has bad UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDS)
def test_records_that_break_the_rules(
    name: str, identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """What must not come in an open session ends it; the log names the rule, the peer gets one code."""
    records, says = RECORDS[name]
    with scene(identity) as stage, Hostile(stage.port).open() as peer:
        peer.sock.sendall(b"".join(peer.seal(content, body) for content, body in records))
        assert peer.ending() == (Code.PROTOCOL, "")
        peer.sock.close()
        until(stage.alone)
    assert says in caplog.text


def test_a_flood_of_key_updates(identity: Identity, caplog: pytest.LogCaptureFixture) -> None:
    """A peer that changes its key again and again is stopped: each change costs us work."""
    with scene(identity) as stage, Hostile(stage.port).open() as peer:
        assert peer.engine.sender is not None
        update = peer.engine.sender.records.update
        peer.sock.sendall(update() + update())
        assert peer.ending() == (Code.PROTOCOL, "")
        peer.sock.close()
        until(stage.alone)
    assert "a flood of key updates" in caplog.text


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (frame(Kind.SEALED, b""), "a sealed record is too short"),
        (frame(Kind.SEALED, bytes(16)), "a sealed record is too short"),
        (frame(Kind.SEALED, bytes(40)), "a record failed authentication"),
        (frame(Kind.PLAIN, bytes(16) + b"\x04\x90"), "a frame of type 4 while open"),
        (frame(Kind.CLIENT_HELLO, bytes(40)), "a frame of type 1 while open"),
        (frame(Kind.ALERT, b"\x00"), "a frame of type 5 while open"),
        (b"\x00\x00\x00\x00", "a frame of type 0 while open"),
        (b"GET / HTTP/1.1\r\n\r\n", "announced a frame of"),
    ],
)
def test_frames_that_nobody_sealed(
    data: bytes, says: str, identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """In an encrypted session nothing counts that is not sealed: it ends, and the log says what came."""
    with scene(identity) as stage, Hostile(stage.port).open() as peer:
        peer.sock.sendall(data)
        assert peer.ending() == (Code.PROTOCOL, "")
        peer.sock.close()
        until(stage.alone)
    assert says in caplog.text


@pytest.mark.parametrize("token", [bytes(16), b"\xff" * 16, b""])
def test_a_plaintext_record_needs_its_token(
    token: bytes, identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """In plaintext mode a record without the session's own token ends the session: a mix-up or an injection."""
    heard: list[Any] = []
    with (
        scene(identity, encryption="off") as stage,
        Hostile(stage.port, Mode.OFF).open() as peer,
    ):
        stage.server.on("say", lambda session, packet: heard.append(packet.data))
        body = bytes((Content.DATA,)) + join_packets([encode_packet(Packet("say", 1))])
        peer.sock.sendall(frame(Kind.PLAIN, token + body))
        assert peer.ending() == (Code.PROTOCOL, "")
        peer.sock.close()
        until(stage.alone)
        assert heard == []
    assert "a plaintext record carries the token of another session" in caplog.text


# --- handlers ------------------------------------------------------------------------------------------------


def leave(*_: Any) -> None:
    """What beginners write to end a handler."""
    sys.exit("bye")


def divide(*_: Any) -> None:
    """A bug."""
    raise ZeroDivisionError("the bug of this test")


@pytest.mark.parametrize("handler", [divide, leave])
def test_a_handler_that_raises_hurts_nobody(
    handler: Any, identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """An error in a handler is logged with its traceback; its session, the others and the threads go on."""
    with scene(identity) as stage:
        stage.server.on("fail", handler)
        with stage.client() as client:
            for number in range(8):  # more in a second would not all be shown
                client.send("fail")
                assert echo(client, number)
                assert echo(stage.neighbour, number)
    tracebacks = [record for record in caplog.records if record.exc_info]
    assert len(tracebacks) == 8
    assert caplog.text.count(f"in {handler.__name__}") == 8


def test_listeners_that_raise_hurt_nobody(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """So it is with listeners of events: the next listener is called all the same."""
    with scene(identity) as stage:
        seen: list[str] = []
        stage.check_neighbour()  # its own events are over
        for name in ("on_connect", "on_message", "on_disconnect"):
            hook = getattr(stage.server, name)
            hook(divide)
            hook(lambda *_, name=name: seen.append(name))
        with stage.client() as client:
            assert echo(client, 1)
        until(lambda: "on_disconnect" in seen)
        assert seen == ["on_connect", "on_message", "on_disconnect"]
        assert caplog.text.count("ZeroDivisionError: the bug of this test") == 3


def test_a_failing_request_is_answered(identity: Identity) -> None:
    """Who asks a handler that fails learns that it failed, not why; who asks for nothing known learns that."""
    with scene(identity) as stage, stage.client() as client:
        stage.server.on("fail", divide)
        error = failure(
            RequestFailed, lambda: client.request("fail"), "handler failed; its log says why"
        )
        assert (error.reason, error.text) == ("error", "")
        error = failure(RequestFailed, lambda: client.request("nothing"), "no handler")
        assert echo(client, "goes on")


def test_a_clients_handler_that_raises(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """A client's handler may fail too: logged, and the session goes on."""
    with scene(identity) as stage, stage.client() as client:
        client.on("fail", divide)
        stage.session(client).send("fail")
        until(lambda: "ZeroDivisionError: the bug of this test" in caplog.text)
        assert echo(client, "goes on")


def test_an_authenticate_that_exits_refuses(identity: Identity) -> None:
    """Even a hook that calls exit() refuses, and costs no thread."""

    def authenticate(hello: Any) -> str:
        if hello.credentials is None:
            leave()
        return "somebody"

    with scene(identity, authenticate=authenticate, neighbour={"credentials": 1}) as stage:
        for _ in range(15):
            failure(Refused, stage.client().connect, "the server could not check the credentials")
        with stage.client(credentials=2) as client:
            assert echo(client, 1)


def test_who_was_kicked_can_do_nothing_more(identity: Identity) -> None:
    """After a kick nothing that the client still sends is handled, and it hears the reason."""
    heard: list[Any] = []
    with scene(identity) as stage, Hostile(stage.port).open() as peer:
        stage.server.on("say", lambda session, packet: heard.append(packet.data))
        until(lambda: len(stage.server.sessions) == 2)
        (session,) = (
            one for one in stage.server.sessions.values() if one.token != stage.neighbour.token
        )
        session.kick("too loud")
        assert peer.ending() == (Code.KICKED, "too loud")
        for number in range(100):
            peer.send(Content.DATA, join_packets([encode_packet(Packet("say", number))]))
            peer.send(Content.PING, bytes(8))
        stage.check_neighbour()
        peer.sock.close()
        until(stage.alone)
        assert heard == []
