"""The sending half of an open connection."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from ..errors import ConnectionClosed
from ..limits import RECORD_TARGET, WRITE_BUDGET
from ..wire.fields import Content
from ..wire.messages import Close
from ..wire.packets import join_packets
from .acknowledgements import Numbering, Record
from .key_update import LOOK_SECONDS
from .records import RecordSender
from .send_queue import SendQueue

_DATA = Content.DATA.to_bytes(1)
_DATA_ACK = Content.DATA_ACK.to_bytes(1)
_ONE = join_packets([b""])  # the header of an array of one packet
_DATA_ONE = _DATA + _ONE
_VIEW_FROM = 16 * 1024  # bytes of a packet from which a view costs less than a copy
_SHARED_MOST = 256 * 1024  # bytes of a record that is remembered, until the next one

# The last record that any session has sent, behind what it holds: those that send the same, as in a broadcast, keep one
# object until it is acknowledged, not a copy each. Replaced as a whole, by any thread.
_last_lone: list[tuple[bytes, Record, bytes]] = [(b"", b"", b"")]  # the last is its plaintext
_last_joined: list[tuple[list[bytes], bytes]] = [([], b"")]


class Sender:
    """
    The sending half of an open connection. One thread at a time, under the connection's send lock.

    Attributes:
        closed: True after `close`: nothing more may be sealed.
    """

    __slots__ = (
        "_incoming",
        "_key_watched_at",
        "_outgoing",
        "_target",
        "closed",
        "max_packets",
        "records",
    )

    def __init__(self, records: RecordSender, numbering: Numbering, max_packet: int) -> None:
        self.records = records
        self._outgoing = numbering.outgoing
        self._incoming = numbering.incoming
        self.closed = False
        self._key_watched_at = inf
        # The room beside content byte, acknowledgement and the largest array header.
        self.max_packets = max_packet - records.overhead - 8 - 5
        self._target = min(RECORD_TARGET, self.max_packets)

    def packets(self, encoded: list[bytes]) -> bytes:
        """
        Number, keep and seal packets; as few records as RECORD_TARGET allows, a packet is never split.

        Args:
            encoded: Packets from `encode_packet`, each at most `max_packets` bytes.

        Returns:
            The frames, one after the other.

        Raises:
            ConnectionClosed: `close` was called before.
        """
        return self._records(encoded, 0)

    def queued(self, queue: SendQueue) -> bytes:
        """
        As `packets`, for those that wait in the session's queue, up to WRITE_BUDGET bytes.

        They leave the queue only after they are kept: if this raises, or Ctrl-C interrupts it, each of them is in the
        one or in the other, and none in both. One count tells, see `Outgoing.keep`.
        """
        lone = queue.lone()  # as usual
        if lone is not None:
            frames = self.packet(lone, 1)
        else:
            encoded = queue.take()
            if not encoded:
                return b""
            frames = self._records(encoded, 1)
        queue.trim()
        return frames

    def _records(self, encoded: list[bytes], queued: int) -> bytes:
        if len(encoded) == 1:
            return self.packet(encoded[0], queued)
        if sum(map(len, encoded)) <= self._target:
            last = _last_joined[0]
            if last[0] != encoded:
                _last_joined[0] = last = (encoded[:], join_packets(encoded))
            return self._data(last[1], queued * len(encoded))
        return b"".join(
            [
                self._data(join_packets(batch), queued * len(batch))
                for batch in batches(encoded, self._target)
            ]
        )

    def packet(self, encoded: bytes, queued: int = 0) -> bytes:
        """As `packets`, for a single packet in its own record; `queued`: 1 if it is from the queue."""
        last = _last_lone[0]
        if last[0] is not encoded:
            size = len(encoded)
            if size < _VIEW_FROM:
                last = (encoded, _ONE + encoded, b"")
            else:  # copied once, not twice: what is kept is a view of what is sealed
                plaintext = _DATA_ONE + encoded
                last = (encoded, memoryview(plaintext)[1:], plaintext)
            if size <= _SHARED_MOST:
                _last_lone[0] = last
        return self._data(last[1], queued, last[2])

    def _data(self, packets: Record, queued: int, plaintext: bytes = b"") -> bytes:
        """
        Number, keep and seal one record.

        Args:
            packets: An array of packets.
            queued: How many of them are from the queue.
            plaintext: The record without an acknowledgement, if it is there already.
        """
        if self.closed:
            raise _after_close()
        records = self.records
        prefix = b"".join(self._all_again()) if self._outgoing.again else b""
        if records.due:
            prefix += records.update()
        self._outgoing.keep(packets, queued)
        incoming = self._incoming
        handled = incoming.done + incoming.early  # as `Incoming.handled`, and in its order
        if incoming.kept:
            handled = incoming.handled()
        if handled > incoming.confirmed:
            incoming.confirmed = handled
            frame = records.seal(_DATA_ACK + handled.to_bytes(8) + packets)
        else:
            frame = records.seal(plaintext or _DATA + packets)
        return prefix + frame if prefix else frame

    def again(self, budget: int) -> bytes:
        """
        Records that the last connection may have lost, unchanged and sealed anew, up to `budget` bytes. No other
        numbered record can go before them.

        Raises:
            ConnectionClosed: `close` was called before.
        """
        if self.closed:
            raise _after_close()
        frames: list[bytes] = []
        waiting, records = self._outgoing.again, self.records
        while waiting and budget > 0:
            packets = waiting.pop()  # first: the peer may only acknowledge what was sent
            budget -= len(packets)
            if records.due:
                frames.append(records.update())
            frames.append(records.seal(_DATA + packets))
        return b"".join(frames)

    def _all_again(self) -> Iterator[bytes]:
        while self._outgoing.again:
            yield self.again(WRITE_BUDGET)

    def watch_key(self, now: float) -> None:
        """By whoever keeps the time: a key is replaced before it is an hour old (RFC 9846 5.5)."""
        if self._key_watched_at == inf:
            self._key_watched_at = now
        if now - self._key_watched_at >= LOOK_SECONDS:
            self._key_watched_at = now
            self.records.want_update()

    def control(self, content: Content, payload: bytes = b"") -> bytes:
        """
        A PING or PONG.

        Raises:
            ConnectionClosed: `close` was called before.
        """
        if self.closed:
            raise _after_close()
        prefix = self.records.update() if self.records.due else b""
        return prefix + self.records.seal(content.to_bytes(1) + payload)

    def ack(self) -> bytes:
        """An ACK of all handled records, or b"" if the peer knows already or CLOSE was sent."""
        handled = self._incoming.handled()
        if handled <= self._incoming.confirmed or self.closed:
            return b""
        self._incoming.confirmed = handled
        return self.control(Content.ACK, handled.to_bytes(8))

    def close(self, code: int, text: str = "", delay: int = 0) -> bytes:
        """The CLOSE, last in this direction, see `Close`; an acknowledgement that is due goes before it."""
        if self.closed:
            return b""
        last = b"".join(self._all_again()) + self.ack()
        self.closed = True
        return last + self.records.seal(Close(code, self._outgoing.sent, text, delay).encode())


def batches(packets: list[bytes], target: int) -> Iterator[list[bytes]]:
    """The packets of one record after the other, of `target` bytes at most; a larger packet has one for itself."""
    batch: list[bytes] = []
    size = 0
    for packet in packets:
        if batch and size + len(packet) > target:
            yield batch
            batch, size = [], 0
        batch.append(packet)
        size += len(packet)
    yield batch


def _after_close() -> ConnectionClosed:
    return ConnectionClosed("nothing can be sent after CLOSE", clean=True)
