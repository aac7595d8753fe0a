"""Numbering and retention: nothing is dropped before the peer has it, nothing is kept longer."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securelink.errors import ProtocolError
from securelink.protocol.acknowledgements import Incoming, Numbering, Outgoing
from securelink.protocol.records import PlainSender
from securelink.protocol.sender import Sender
from securelink.wire.fields import Content
from securelink.wire.packets import Packet, encode_packet, join_packets


def test_a_record_is_kept_until_it_is_acknowledged() -> None:
    """Sent records stay, unchanged and in order, until the peer says that it has them."""
    outgoing = Outgoing()
    for record in (b"one", b"second", b"3"):
        outgoing.keep(record)
    assert (outgoing.sent, outgoing.unacked) == (3, 10)
    assert outgoing.unconfirmed == [b"one", b"second", b"3"]
    outgoing.acknowledge(2)
    assert outgoing.unacked == 10  # the sending half has not looked yet
    outgoing.release()
    assert (outgoing.unacked, outgoing.unconfirmed) == (1, [b"3"])
    outgoing.acknowledge(3)
    assert outgoing.unconfirmed == []
    outgoing.release()
    assert (outgoing.sent, outgoing.acknowledged, outgoing.unacked) == (3, 3, 0)


def test_an_acknowledgement_may_be_repeated() -> None:
    """The same count twice changes nothing."""
    outgoing = Outgoing()
    outgoing.keep(b"one")
    outgoing.acknowledge(0)
    outgoing.acknowledge(1)
    outgoing.acknowledge(1)
    assert outgoing.unconfirmed == []


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (0, "acknowledges 0 records after 1, of 2 sent"),
        (3, "acknowledges 3 records after 1, of 2 sent"),
        (2**64 - 1, "of 2 sent"),
    ],
)
def test_an_acknowledgement_neither_falls_nor_runs_ahead(count: int, message: str) -> None:
    """A count that falls, or exceeds what was sent, is the peer's error, and drops nothing."""
    outgoing = Outgoing()
    outgoing.keep(b"one")
    outgoing.keep(b"two")
    outgoing.acknowledge(1)
    with pytest.raises(ProtocolError, match=message):
        outgoing.acknowledge(count)
    assert outgoing.acknowledged == 1
    assert outgoing.unconfirmed == [b"two"]


@given(st.lists(st.binary(max_size=9) | st.integers(0, 12), max_size=40))
@settings(max_examples=200, deadline=None)
def test_counts_and_bytes_agree(steps: list[bytes | int]) -> None:
    """Whatever is sent and acknowledged: what is kept is what was sent less what was acknowledged."""
    outgoing, sent, acknowledged = Outgoing(), list[bytes](), 0
    for step in steps:
        if isinstance(step, bytes):
            outgoing.keep(step)
            sent.append(step)
        elif acknowledged <= step <= len(sent):
            outgoing.acknowledge(step)
            acknowledged = step
        else:
            with pytest.raises(ProtocolError):
                outgoing.acknowledge(step)
        if len(sent) % 3:
            outgoing.release()  # by its own clock, as the sending half does
        assert outgoing.sent == len(sent)
    assert outgoing.unconfirmed == sent[acknowledged:]
    outgoing.release()
    assert outgoing.unacked == sum(map(len, sent[acknowledged:]))


def test_a_session_begins_with_nothing() -> None:
    """Both directions of a new session are at zero, and share nothing."""
    numbering = Numbering()
    assert isinstance(numbering.incoming, Incoming)
    assert (numbering.incoming.accepted, numbering.incoming.confirmed) == (0, 0)
    assert (numbering.outgoing.sent, numbering.outgoing.acknowledged) == (0, 0)
    assert numbering.outgoing.unconfirmed == []
    assert numbering.outgoing is not Numbering().outgoing


@pytest.mark.pure  # it replaces what a compiled class holds
def test_interrupted_while_keeping() -> None:
    """Ctrl-C between two steps of keeping a record lets none be taken for acknowledged."""

    class Interrupted(deque[bytes | memoryview]):
        def append(self, item: bytes | memoryview) -> None:
            super().append(item)
            raise KeyboardInterrupt

    outgoing = Outgoing()
    outgoing.keep(b"one")
    outgoing._kept = Interrupted(outgoing._kept)  # noqa: SLF001  # what it interrupts
    with pytest.raises(KeyboardInterrupt):
        outgoing.keep(b"two")
    assert outgoing.unconfirmed == [b"one", b"two"]


@pytest.mark.parametrize("size", [10, 70_000])
@pytest.mark.parametrize("acked", [False, True])
def test_a_packet_of_any_size_is_kept_as_it_was_sent(size: int, acked: bool) -> None:
    """What is sealed, kept, and sent again over another connection is the same record, also with an acknowledgement."""
    numbering, packet = Numbering(), encode_packet(Packet("blob", bytes(size)))
    if acked:
        numbering.incoming.accepted = 3  # handled as soon as accepted: there is no inbox
    sender = Sender(PlainSender(), numbering, 100_000)
    first = Content.DATA_ACK.to_bytes(1) + (3).to_bytes(8) if acked else Content.DATA.to_bytes(1)
    record = join_packets([packet])
    assert sender.packet(packet) == PlainSender().seal(first + record)
    assert [bytes(kept) for kept in numbering.outgoing.unconfirmed] == [record]
    assert numbering.outgoing.unacked == len(record)
    numbering.outgoing.rewind(0)
    again = Sender(PlainSender(), numbering, 100_000).again(1 << 20)
    assert again == PlainSender().seal(Content.DATA.to_bytes(1) + record)
