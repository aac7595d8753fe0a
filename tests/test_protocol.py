"""Open sessions: packets, acknowledgements, sizes, CLOSE."""

from __future__ import annotations

import tracemalloc

import pytest
from engines import Pair, Role, actions, opened, other, packets, sent, split_frames

from securelink.codes import Code
from securelink.errors import ConnectionClosed
from securelink.keys import Identity
from securelink.limits import (
    HEADER_SIZE,
    MAX_CLOSE_TEXT,
    MAX_FRAME_BODY,
    MAX_HANDSHAKE_BODY,
    MIN_PACKET,
    RECORD_TARGET,
)
from securelink.protocol import Closed, Ended, Pinged, Ponged, State
from securelink.wire.fields import Content, Mode
from securelink.wire.messages import Close
from securelink.wire.packets import Packet, decode_packets, encode_packet

OFF, REQUIRED = Mode.OFF, Mode.REQUIRED
ROLES: tuple[Role, ...] = ("client", "server")
both_roles = pytest.mark.parametrize("role", ROLES)
both_modes = pytest.mark.parametrize("mode", [REQUIRED, OFF])


# --- packets and acknowledgements -------------------------------------------------------------------


@both_modes
@both_roles
def test_packets_arrive_in_order(role: Role, mode: Mode, identity: Identity) -> None:
    """What one side sends arrives on the other, in order, several packets in one record."""
    pair = opened(identity, mode)
    pair.post(role, sent(pair, role, "a"))
    pair.post(role, sent(pair, role, "b", "c", "d"))
    assert actions(pair, other(role)) == [["a"], ["b", "c", "d"]]
    assert pair.engine(other(role)).numbering.incoming.accepted == 2


@both_modes
def test_acknowledgements_ride_along(mode: Mode, identity: Identity) -> None:
    """A record acknowledges what was accepted since the last one; when there is nothing new it carries no count."""
    pair = opened(identity, mode)
    pair.post("client", sent(pair, "client", "one"))
    client, server = pair.client.numbering, pair.server.numbering
    assert client.outgoing.unconfirmed
    answer = sent(pair, "server", "answer")
    again = sent(pair, "server", "answer")
    assert len(answer) == len(again) + 8
    pair.post("server", answer + again)
    assert client.outgoing.unconfirmed == []
    assert (server.incoming.confirmed, client.outgoing.acknowledged) == (1, 1)
    assert actions(pair, "client") == [["answer"], ["answer"]]


@both_modes
def test_an_acknowledgement_alone(mode: Mode, identity: Identity) -> None:
    """ACK is sent once for what was accepted, and not at all when the peer knows already."""
    pair = opened(identity, mode)
    assert pair.sender("server").ack() == b""
    pair.post("client", sent(pair, "client", "a") + sent(pair, "client", "b"))
    pair.post("server", pair.sender("server").ack())
    assert pair.client.numbering.outgoing.acknowledged == 2
    assert pair.sender("server").ack() == b""


def test_unconfirmed_is_what_the_peer_may_not_have(identity: Identity) -> None:
    """What was sent and not acknowledged is kept unchanged, to be sent again."""
    pair = opened(identity)
    encoded = packets("a", "b")
    pair.post("client", pair.sender("client").packets(encoded[:1]))
    pair.post("server", pair.sender("server").ack())
    pair.sender("client").packets(encoded[1:])
    (kept,) = pair.client.numbering.outgoing.unconfirmed
    assert [packet.action for packet in decode_packets(kept)] == ["b"]


@pytest.mark.parametrize("content", [Content.ACK, Content.DATA_ACK])
@pytest.mark.parametrize("count", [0, 3, 2**64 - 1])
def test_wrong_acknowledgements(content: Content, count: int, identity: Identity) -> None:
    """A count that falls or exceeds what was sent ends the connection, and no packet of that record is accepted."""
    pair = opened(identity)
    pair.post("server", sent(pair, "server", "a") + sent(pair, "server", "b"))
    pair.post("client", pair.sender("client").ack())
    body = content.to_bytes(1) + count.to_bytes(8) + (b"\x90" if content == 5 else b"")
    pair.feed("server", pair.forge("server", body))
    assert f"acknowledges {count} records after 2" in str(pair.failure("server"))
    assert pair.server.numbering.incoming.accepted == 0


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b"\x05" + bytes(8), "DATA_ACK record is too short"),
        (b"\x06" + bytes(7), "ACK record of the wrong size"),
        (b"\x06" + bytes(9), "ACK record of the wrong size"),
        (b"\x07" + bytes(7), "PING record of the wrong size"),
        (b"\x07" + bytes(9), "PING record of the wrong size"),
        (b"\x08", "PONG record of the wrong size"),
        (b"\x08" + bytes(9), "PONG record of the wrong size"),
        (b"\x09\x00", "KEY_UPDATE record of the wrong size"),
        (b"\x0a" + bytes(8), "CLOSE record has an impossible length"),
    ],
)
@both_modes
def test_records_of_the_wrong_size(
    record: bytes, message: str, mode: Mode, identity: Identity
) -> None:
    """A control record has one size; another one ends the connection."""
    pair = opened(identity, mode)
    pair.feed("client", pair.forge("client", record))
    assert message in str(pair.failure("client"))


@both_modes
@both_roles
def test_ping_and_pong(role: Role, mode: Mode, identity: Identity) -> None:
    """Eight bytes go there and come back."""
    pair = opened(identity, mode)
    pair.post(role, pair.sender(role).control(Content.PING, b"12345678"))
    assert pair.items[other(role)][-1] == Pinged(b"12345678")
    pair.post(other(role), pair.sender(other(role)).control(Content.PONG, b"12345678"))
    assert pair.items[role][-1] == Ponged(b"12345678")


# --- sizes ------------------------------------------------------------------------------------------


def test_before_welcome_a_frame_has_8_kib(identity: Identity) -> None:
    """Both sides refuse a longer frame when its header is there, before they store it."""
    waiting: dict[Role, State] = {"client": State.WAIT_AUTH, "server": State.WAIT_CLIENT}
    for role, state in waiting.items():
        for size in (MAX_HANDSHAKE_BODY, MAX_HANDSHAKE_BODY + 1, MAX_FRAME_BODY):
            pair = Pair(identity).until(role, state)
            pair.feed(role, b"\x03" + size.to_bytes(3))
            if size == MAX_HANDSHAKE_BODY:
                assert pair.engine(role).state is state
            else:
                assert f"{size:,} bytes, the limit before" in str(pair.failure(role))


def test_a_hello_of_8_kib_is_the_longest(identity: Identity) -> None:
    """The cap holds for the very first frame; the memory of a server follows what arrived."""
    opening = b"\x01" + (MAX_HANDSHAKE_BODY + 1).to_bytes(3) + b"SECLINK\x1a"
    pair = Pair(identity)
    pair.feed("server", opening)
    assert "limit before the session is open" in str(pair.failure("server"))
    pair = Pair(identity)
    tracemalloc.start()
    pair.feed("server", b"\x01" + MAX_HANDSHAKE_BODY.to_bytes(3) + b"SECLINK\x1a")
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert pair.server.state is State.START
    assert grown < 2000


@both_modes
@both_roles
@pytest.mark.parametrize("limit", [MIN_PACKET, 70_000])
def test_the_largest_packet(limit: int, role: Role, mode: Mode, identity: Identity) -> None:
    """The largest packet of a session arrives; a frame one byte over the limit is refused by its header."""
    pair = opened(identity, mode, max_packet=limit)
    sender, receiver = pair.sender(role), other(role)
    empty = len(encode_packet(Packet("x", bytes(1000)))) - 1000
    size = sender.max_packets - empty - (2 if sender.max_packets > 65536 + empty else 0)
    largest = encode_packet(Packet("x", bytes(size)))
    assert len(largest) == sender.max_packets
    pair.post(receiver, sent(pair, receiver, "an acknowledgement is due as well"))
    frame = sender.packets([largest])
    assert len(frame) <= HEADER_SIZE + limit
    pair.post(role, frame)
    assert actions(pair, receiver) == [["x"]]
    body = bytes(limit - sender.records.overhead)
    pair.feed(receiver, sender.records.seal(b"\x04" + body))
    assert pair.engine(receiver).state is State.OPEN
    pair.feed(receiver, sender.records.seal(b"\x04" + body + b"\0"))
    assert f"{limit + 1:,} bytes, the limit" in str(pair.failure(receiver))


@both_modes
@pytest.mark.parametrize("limit", [MIN_PACKET, 2 * 1024 * 1024])
def test_many_packets_make_few_records(limit: int, mode: Mode, identity: Identity) -> None:
    """Packets are joined up to about 60 KiB, or what the session's limit allows, in order and never split."""
    pair = opened(identity, mode, max_packet=limit)
    names = [f"{number:05}" for number in range(10_000)]
    frames = split_frames(pair.sender("client").packets(packets(*names)))
    target = min(limit, RECORD_TARGET)
    assert all(len(frame) <= HEADER_SIZE + min(limit, target + 100) for frame in frames)
    assert len(frames) < 2 * sum(map(len, packets(*names))) / target
    pair.post("client", b"".join(frames))
    assert [name for record in actions(pair, "server") for name in record] == names


def test_the_longest_farewell_fits_the_smallest_session(identity: Identity) -> None:
    """A text of 1,024 bytes arrives whole whatever the packet limit is."""
    pair = opened(identity, max_packet=MIN_PACKET)
    text = "x" * MAX_CLOSE_TEXT
    pair.post("server", pair.sender("server").close(Code.KICKED, text))
    assert pair.items["client"][-1] == Closed(Code.KICKED, text)


def test_a_client_has_a_limit_of_its_own(identity: Identity) -> None:
    """A WELCOME that demands larger frames than the client allows is refused with both numbers."""
    pair = Pair(identity, max_packet=100_000, client_max_packet=99_999).run()
    error = pair.failure("client")
    assert "100000" in error.message
    assert "99999" in error.message
    assert "max_packet" in error.hint


# --- CLOSE ------------------------------------------------------------------------------------------


@both_modes
@both_roles
def test_close_is_the_last_word(role: Role, mode: Mode, identity: Identity) -> None:
    """CLOSE comes after all packets and the acknowledgement that is due; nothing can be sent after it."""
    pair = opened(identity, mode)
    pair.post(other(role), sent(pair, other(role), "to be acknowledged"))
    sender = pair.sender(role)
    pair.post(role, sent(pair, role, "last") + sender.close(Code.NORMAL, "bye"))
    assert pair.items[other(role)][-1] == Closed(Code.NORMAL, "bye")
    assert pair.engine(other(role)).state is State.CLOSED
    assert pair.engine(other(role)).numbering.outgoing.unconfirmed == []
    assert sender.closed
    assert sender.close(Code.NORMAL) == sender.ack() == b""
    with pytest.raises(ConnectionClosed, match="after CLOSE"):
        sender.packets(packets("x"))
    with pytest.raises(ConnectionClosed, match="after CLOSE"):
        sender.control(Content.PING)


def test_after_our_close_the_peer_may_finish(identity: Identity) -> None:
    """Who has said CLOSE goes on reading: packets under way, then the peer's own CLOSE."""
    pair = opened(identity)
    under_way = sent(pair, "server", "under way")
    closing = pair.sender("client").close(Code.NORMAL)
    pair.post("server", under_way)
    assert actions(pair, "client") == [["under way"]]
    assert pair.sender("client").ack() == b""  # accepted after our CLOSE: too late to say so
    pair.server.close(Code.NORMAL, "too", now=pair.now)
    pair.post("client", closing)
    assert pair.items["client"][-1] == Closed(Code.NORMAL, "too")
    assert pair.client.state is pair.server.state is State.CLOSED


def test_nothing_counts_after_close(identity: Identity) -> None:
    """What follows the peer's CLOSE is not looked at, however well sealed."""
    pair = opened(identity)
    sender = pair.sender("client")
    closing = sender.close(Code.NORMAL)
    late = sender.records.seal(b"\x04" + b"".join((b"\x91", *packets("late"))))
    assert pair.feed("server", closing + late) == [Closed(Code.NORMAL, "")]
    assert pair.feed("server", late) == []
    assert pair.feed("server", b"") == [Ended()]
    assert pair.server.numbering.incoming.accepted == 0


@pytest.mark.parametrize("count", [0, 2, 2**64 - 1])
def test_close_counts(count: int, identity: Identity) -> None:
    """A CLOSE that counts other than what arrived is an error: something is missing."""
    pair = opened(identity)
    pair.post("client", sent(pair, "client", "one"))
    pair.feed("server", pair.forge("server", Close(Code.NORMAL, count).encode()))
    assert f"CLOSE counts {count} records, 1 arrived" in str(pair.failure("server"))


def test_a_code_from_a_newer_peer(identity: Identity) -> None:
    """An unknown code still closes."""
    pair = opened(identity)
    pair.feed("client", pair.forge("client", Close(250, 0).encode()))
    assert pair.items["client"][-1] == Closed(250, "")


# --- too late ---------------------------------------------------------------------------------------------


def test_a_late_stranger_learns_nothing() -> None:
    """When the handshake takes too long a client of ours is told, and whatever else it may be gets no byte."""
    stranger = Pair(None, client_mode=OFF, server_mode=OFF).server
    stranger.receive_data(b"\x01\x00", 0.0)
    assert stranger.overdue() == b""
    client = Pair(None, client_mode=OFF, server_mode=OFF)
    client.until("server", State.WAIT_CLIENT)
    assert client.server.overdue() != b""
