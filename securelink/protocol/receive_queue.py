"""
What has arrived at a session and waits for its turn: records as bytes, and events among them, in order.

Records are decoded when their turn comes, so a peer makes us hold its wire bytes, not the many times larger objects.
Bounds: `full` while more waits than the session may keep (it is not read then), `is_flooded` when even more does, and a
number of packets in a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ..errors import CodecError
from ..limits import HANGUP_FACTOR
from ..wire.packets import Packet, decode_packets
from ..wire.weight import opened_size
from .bounds import Bounds
from .requests import Requests

Record = bytes | memoryview
Happening = Callable[[], None]


class Partly:
    """A record of which some packets, replies, were given to those that waited for them."""

    __slots__ = ("record", "taken")

    def __init__(self, record: Record, taken: frozenset[int]) -> None:
        self.record = record
        self.taken = taken  # places of these packets in the record

    def __len__(self) -> int:
        return len(self.record)


class Rest:
    """
    A record whose turn has come: its packets, until all of them are handled, perhaps in the session's next turn.

    Bytes are known of the record alone. What a packet took of them is not its share: one may have nearly all.
    """

    __slots__ = ("_held", "_record", "at", "charged", "packets", "size")

    def __init__(self, packets: list[Packet], record: Record) -> None:
        self.packets = packets
        self._record: Record = record  # kept for an estimate that is seldom asked for
        self._held = 0
        self.size = len(record)  # bytes of the record
        self.charged = False  # whether it is counted with what waits for `receive`
        self.at = 0  # the next one to handle

    @property
    def held(self) -> int:
        """What is kept of it in memory, in bytes; about, for only the packets themselves know."""
        if not self._held:
            self._held = opened_size(self._record, self.packets)
        return self._held


class ReceiveQueue:
    """
    The records of one session whose turn has not come.

    Args:
        bounds: How much may wait.
        requests: Replies are given to those that wait for them, ahead of their turn.

    Attributes:
        items: In order: records, what is left of one, and calls to be made.
        in_bytes: Of all records so far. Written by the receiving half only.
        out_bytes: Of those whose turn has come. Written by the running thread only.
        full: More waits than the session may keep.
        dropping: What comes is not wanted any more.
        opened: The record that is being handled.
        handled: Packets whose turn has come.
        is_over_rate: More of them in this second than may be.
    """

    __slots__ = (
        "_before", "_requests", "bounds", "dropping", "full", "handled", "in_bytes", "is_over_rate", "items", "opened",
        "out_bytes",
    )  # fmt: skip

    def __init__(self, bounds: Bounds, requests: Requests) -> None:
        self.bounds = bounds
        self._requests = requests
        self.items: deque[Record | Partly | Rest | Happening] = deque()
        self.in_bytes = 0
        self.out_bytes = 0
        self.full = False
        self.dropping = False
        self.opened: Rest | None = None
        self.handled = 0  # packets; written by the running thread only
        self.is_over_rate = False
        self._before = 0  # the same when this second began; written by whoever keeps the time

    # By the receiving half.

    def deliver(self, record: Record) -> None:
        """Take an accepted record."""
        if self.dropping:
            return
        item: Record | Partly = record
        if self._requests.expected:
            taken, only = self._give_replies(record)
            if only:
                return
            if taken:
                item = Partly(record, taken)
        self.in_bytes += len(record)
        self.items.append(item)
        bounds = self.bounds
        if (
            self.in_bytes - self.out_bytes > bounds.inbox_bytes
            or len(self.items) > bounds.inbox_records
        ):
            self.full = True
            if not self.items:
                self.full = False  # it was emptied between the two lines; nobody else would notice

    def _give_replies(self, record: Record) -> tuple[frozenset[int], bool]:
        """
        While a reply is waited for, records are looked into at once: it must not queue behind what its waiter blocks.

        The record is kept as bytes all the same, and decoded again when its turn comes: as objects it could be
        seventy times larger.

        Returns:
            The places of the replies in it that somebody waited for, and whether there is nothing else.
        """
        try:
            packets = decode_packets(record, self.bounds.elements)
        except CodecError:
            return frozenset(), False  # reported when its turn comes
        resolve, alone = self._requests.resolve, len(packets) == 1
        taken = frozenset(
            n for n, packet in enumerate(packets) if resolve(packet, record, alone=alone)
        )
        return taken, bool(taken) and len(taken) == len(packets)

    # By whoever runs it.

    def open(self, record: Record | Partly) -> list[Packet]:
        """
        The packets of a record whose turn has come; it is counted, readable or not.

        Raises:
            CodecError: It is no array of packets.
        """
        packets: list[Packet] = []
        try:
            if not self.dropping:
                if isinstance(record, Partly):
                    packets = decode_packets(record.record, self.bounds.elements)
                    packets = [packet for n, packet in enumerate(packets) if n not in record.taken]
                else:
                    packets = decode_packets(record, self.bounds.elements)
        finally:
            self.out_bytes += len(record)
            self.handled += len(packets) or 1
            self.is_over_rate = self.handled - self._before > self.bounds.rate
        return packets

    def take(self) -> list[Packet]:
        """
        The packets of the oldest record, for a shell that hands over whole records.

        Raises:
            CodecError: It is no array of packets. It is gone, and counted.
        """
        item = self.items.popleft()
        if isinstance(item, (bytes, memoryview, Partly)):
            packets = self.open(item)
        elif isinstance(item, Rest):
            packets = item.packets[item.at :]
        else:
            item()
            packets = []
        if self.full:
            self.make_room()
        return packets

    def drop(self) -> None:
        """What waits is not wanted any more; calls that are to be made stay. By whoever may run it."""
        items = self.items
        for place in range(len(items)):  # others may append meanwhile, but nobody takes
            item = items[place]
            if isinstance(item, (bytes, memoryview, Partly)):
                self.out_bytes += len(item)
                items[place] = Rest([], b"")
            elif isinstance(item, Rest):
                items[place] = Rest([], b"")
        self.opened = None

    def make_room(self) -> bool:
        """After something was handled while it was full: whether there is room again."""
        bounds = self.bounds
        if self.waiting > bounds.inbox_bytes // 2 or len(self.items) > bounds.inbox_records // 2:
            return False
        self.full = False
        return True

    # Looked at by anybody.

    @property
    def waiting(self) -> int:
        """Bytes of the records whose turn has not come."""
        return self.in_bytes - self.out_bytes

    @property
    def is_flooded(self) -> bool:
        """Whether so much waits that not even a peer that hung up, or lets us wait in `send`, is read."""
        return self.waiting > self.bounds.inbox_bytes * HANGUP_FACTOR

    def next_second(self) -> None:
        """The rate is counted anew."""
        self._before = self.handled
        self.is_over_rate = False
