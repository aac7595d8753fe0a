"""
What has arrived at a session and waits for its turn: records as bytes, and events among them, in order.

Records are decoded when their turn comes, so a peer makes us hold its wire bytes, not the many times larger objects.
Bounds: `full` while more waits than the session may keep (it is not read then), `is_flooded` when even more does, and
the packets and bytes of a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ..errors import CodecError
from ..limits import ACK_BYTES, HANGUP_FACTOR, MAX_AT_ONCE
from ..wire.packets import Decoding, Packet, begin_decoding, decode_at_once
from .acknowledgements import Incoming
from .arrived import RECORDS, Happening, Partly, Record, Rest
from .bounds import Bounds
from .rate_limit import later_mark
from .requests import Requests


class ReceiveQueue:
    """
    The records of one session whose turn has not come.

    Args:
        bounds: How much may wait.
        requests: Replies are given to those that wait for them, ahead of their turn.
        incoming: The session's count of accepted records; which of them are handled is counted here.

    Attributes:
        incoming: The same.
        items: In order: records, what is left of one, and calls to be made.
        in_bytes: Of all records so far. Written by the receiving half only.
        out_bytes: Of those whose turn has come. Written by the running thread only.
        full: More waits than the session may keep.
        dropping: What comes is not wanted any more.
        opened: The record that is being handled.
        opening: The first one, whose turn has come, while it is decoded in steps.
        on_look: Called with this when a record is to be looked into in steps: the receiving half calls `look_on` until
            that is False. None: it is done at once.
        handled: Packets whose turn has come.
        is_over_rate: More of them, or of their bytes, than may be: reading pauses.
    """

    __slots__ = (
        "_byte_mark", "_delivered", "_look", "_packet_mark", "_requests", "_unlooked", "bounds", "dropping", "full",
        "handled", "in_bytes", "incoming", "is_over_rate", "items", "on_look", "opened", "opening", "out_bytes",
    )  # fmt: skip

    def __init__(self, bounds: Bounds, requests: Requests, incoming: Incoming) -> None:
        self.bounds = bounds
        self.incoming = incoming
        incoming.queue()
        self._delivered = incoming.accepted  # records; written by the receiving half only
        self._requests = requests
        self.items: deque[Record | Partly | Rest | Happening] = deque()
        self.in_bytes = 0
        self.out_bytes = 0
        self.full = False
        self.dropping = False
        self.opened: Rest | None = None
        self.opening: Decoding | None = None
        # By the receiving half only: records that are looked into in steps, and the first of them.
        self._unlooked: deque[Partly] | None = None
        self._look: Decoding | None = None
        self.on_look: Callable[[ReceiveQueue], None] | None = None
        self.handled = 0  # packets; written by the running thread only
        self.is_over_rate = False
        # Up to where packets and bytes may count until `pass_time`; written by whoever keeps the time.
        self._packet_mark, self._byte_mark = bounds.rate, bounds.byte_rate

    # By the receiving half.

    def deliver(self, record: Record) -> None:
        """Take an accepted record."""
        if self.dropping:
            return
        item: Record | Partly = record
        size = len(record)
        self._delivered += 1
        if self._requests.expected:
            left = self._looked_into(record)
            if left is None:
                self.incoming.hand_over(self._delivered, size)
                return
            item = left
        self.in_bytes += size
        items, bounds = self.items, self.bounds
        items.append(item)
        if self.in_bytes - self.out_bytes > bounds.inbox_bytes or len(items) > bounds.inbox_records:
            self.full = True
            if not items:
                self.full = False  # it was emptied between the two lines; nobody else would notice

    def _looked_into(self, record: Record) -> Record | Partly | None:
        """
        While a reply is waited for, records are looked into at once: it must not queue behind what its waiter blocks.

        The record is kept as bytes all the same, and decoded again when its turn comes: as objects it could be
        seventy times larger.

        Returns:
            What is left to be handled. None when the record was nothing but replies that somebody waited for.
        """
        try:
            found = begin_decoding(record, self.bounds.elements)
        except CodecError:
            return record  # reported when its turn comes
        if isinstance(found, Decoding):
            return self._look_later(record, found)
        taken = self._give_replies(record, found)
        if not taken:
            return record
        return Partly(record, taken) if len(taken) < len(found) else None

    def _give_replies(self, record: Record, packets: list[Packet]) -> frozenset[int]:
        """Give those that somebody waits for to him; their places in the record."""
        resolve, alone = self._requests.resolve, len(packets) == 1
        return frozenset(
            n for n, packet in enumerate(packets) if resolve(packet, record, alone=alone)
        )

    def _look_later(self, record: Record, found: Decoding) -> Partly:
        """
        A record that takes long to be looked into: in steps, so that the reading thread serves others meanwhile.

        It has its place among the others at once, and its turn when it was looked into.
        """
        item = Partly(record, frozenset())
        item.is_waited_for = True
        if self._unlooked is None:
            self._unlooked = deque()
        self._unlooked.append(item)
        if self.on_look is None:
            while self.look_on():
                pass
        elif len(self._unlooked) == 1:
            self._look = found
            self.on_look(self)
        return item

    def look_on(self) -> bool:
        """By the receiving half, after `on_look`: one step more; False when there is nothing to look into."""
        unlooked = self._unlooked
        if not unlooked:
            return False
        if self.dropping or not self._requests.expected:
            self.look_no_more()
            return False
        item = unlooked[0]
        found, self._look = self._look, None  # from the beginning again, if Ctrl-C comes
        try:
            if found is None:
                begun = begin_decoding(item.record, self.bounds.elements)
                if isinstance(begun, Decoding):
                    self._look = begun
                    return True
                packets = begun
            elif found.go_on():
                packets = found.packets
            else:
                self._look = found
                return True
            item.taken = self._give_replies(item.record, packets)
            item.is_used_up = len(item.taken) == len(packets)
        except CodecError:
            pass  # reported when its turn comes
        unlooked.popleft().is_waited_for = False
        return bool(unlooked)

    def look_no_more(self) -> None:
        """By the receiving half: nobody waits for what is in these records."""
        self._look = None
        while self._unlooked:
            self._unlooked.popleft().is_waited_for = False

    # By whoever runs it.

    def begin(self, record: bytes) -> Rest | None:
        """
        The first item, a record whose turn has come, if one call decodes it, as usual: it is counted, and no item any
        more. None: it is for `open`.
        """
        size = len(record)
        if size > MAX_AT_ONCE or self.dropping:
            return None
        try:
            found = decode_at_once(record, self.bounds.elements)
        except CodecError:
            return None  # which meets it again
        handled = self.handled + (len(found) or 1)
        rest = Rest(found, record)
        # As `_count`, and behind the last call: where Ctrl-C comes, it is still an item, or the caller has it.
        self.handled = handled
        self.out_bytes = out_bytes = self.out_bytes + size
        self.is_over_rate = handled > self._packet_mark or out_bytes > self._byte_mark
        del self.items[0]
        return rest

    def open(self, record: Record | Partly) -> list[Packet] | None:
        """
        The packets of a record whose turn has come; it is counted, readable or not. Replies that were taken are among
        them, in their places, like those that come too late.

        Returns:
            None when it takes long, and one step was done: call this again with the same record, which is still counted
            as waiting.

        Raises:
            CodecError: It is no array of packets.
        """
        taken = 0
        try:
            if isinstance(record, Partly):
                taken = len(record.taken)
            found = self._open_on(record)
            if isinstance(found, Decoding):
                self.opening = found
                return None
        except CodecError:
            self._count(record, 1)
            raise
        self._count(record, len(found) - taken if found else 1)
        return found

    def _open_on(self, record: Record | Partly) -> list[Packet] | Decoding:
        """Open a record that is not wanted, or was begun, or of which some packets are taken."""
        opening, self.opening = self.opening, None  # from the beginning again, if Ctrl-C comes
        if self.dropping:
            return []
        if opening is not None:
            return opening.packets if opening.go_on() else opening
        if not isinstance(record, Partly):
            return begin_decoding(record, self.bounds.elements)
        return [] if record.is_used_up else begin_decoding(record.record, self.bounds.elements)

    def _count(self, record: Record | Partly, packets: int) -> None:
        self.out_bytes += len(record)
        self.handled += packets
        self.is_over_rate = self.handled > self._packet_mark or self.out_bytes > self._byte_mark

    def take(self) -> list[Packet]:
        """
        The packets of the oldest record, for a shell that hands over whole records: they are handled herewith.

        Raises:
            CodecError: It is no array of packets. It is gone, and nothing counts as handled from there on.
        """
        item = self.items.popleft()
        packets: list[Packet] | None
        if isinstance(item, RECORDS):
            try:
                packets = self.open(item)
                while packets is None:
                    packets = self.open(item)
                if isinstance(item, Partly):
                    packets = [packet for n, packet in enumerate(packets) if n not in item.taken]
            except CodecError:
                self.incoming.stop()
                raise
            self.finish(len(item))
        elif isinstance(item, Rest):
            packets = item.packets[item.at :]
            self.finish(item.size)
        else:
            item()
            packets = []
        if self.full:
            self.make_room()
        return packets

    def finish(self, size: int) -> None:
        """A record has had its turn. Written out in `Inbox`."""
        incoming = self.incoming
        incoming.done += 1
        if incoming.ahead or incoming.kept:
            incoming.go_past(size)

    def refuse(self) -> None:
        """From now on nothing is wanted any more: what is dropped is not handled. Any thread."""
        self.incoming.stop()
        self.dropping = True

    def drop(self) -> None:
        """What waits is not wanted any more; calls that are to be made stay. By whoever may run it."""
        items = self.items
        for place in range(len(items)):  # others may append meanwhile, but nobody takes
            item = items[place]
            if isinstance(item, RECORDS):
                self.out_bytes += len(item)
                items[place] = Rest([], b"")
            elif isinstance(item, Rest):
                items[place] = Rest([], b"")
        self.opened = self.opening = None

    def make_room(self) -> bool:
        """After something was handled while it was full: whether there is room again."""
        bounds = self.bounds
        if self.waiting > bounds.inbox_bytes // 2 or len(self.items) > bounds.inbox_records // 2:
            return False
        self.full = False
        return True

    # Looked at by anybody.

    @property
    def held_in_steps(self) -> int:
        """Bytes in memory of what is decoded of records that are not decoded to their end."""
        held = 0
        for decoding in (self.opening, self._look):
            if decoding is not None:
                held += decoding.held
        return held

    @property
    def waiting(self) -> int:
        """Bytes of the records whose turn has not come."""
        return self.in_bytes - self.out_bytes

    @property
    def is_flooded(self) -> bool:
        """Whether so much waits that not even a peer that hung up, or lets us wait in `send`, is read."""
        return self.waiting > self.bounds.inbox_bytes * HANGUP_FACTOR

    def may_owe(self) -> bool:
        """
        Whether an acknowledgement may be due: false where each record is answered by one that takes it along. Asked
        once for what has had its turn together; `Incoming.owes` remembers it for what the program takes one by one.
        """
        incoming = self.incoming
        return (
            incoming.accepted - incoming.confirmed >= incoming.at_once
            or self.out_bytes - incoming.told_bytes >= ACK_BYTES
        )

    def bound_by(self, bounds: Bounds) -> None:
        """From now on these are its bounds."""
        self._packet_mark += bounds.rate - self.bounds.rate
        self._byte_mark += bounds.byte_rate - self.bounds.byte_rate
        self.bounds = bounds

    def pass_time(self, seconds: float) -> None:
        """
        So many seconds have passed since the last call, and so much more may come: the buckets of two rates, which hold
        what one second allows, or all of a longer time without a call. So what a peer wrote while it was away, and
        sends afterwards, is paid for by that time.

        What was too much delays its sender by DEBT_SECONDS at most.
        """
        bounds = self.bounds
        self._packet_mark = later_mark(self._packet_mark, self.handled, bounds.rate, seconds)
        self._byte_mark = later_mark(self._byte_mark, self.out_bytes, bounds.byte_rate, seconds)
        self.is_over_rate = self.handled > self._packet_mark or self.out_bytes > self._byte_mark

    @property
    def rates(self) -> tuple[int, int]:
        """How many packets and bytes have come lately, as the rates count them; see `pass_time`."""
        bounds = self.bounds
        return (
            max(0, self.handled + bounds.rate - self._packet_mark),
            max(0, self.out_bytes + bounds.byte_rate - self._byte_mark),
        )
