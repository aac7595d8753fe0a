"""What waits in a receive queue: records, what is left of one, and calls to be made."""

from __future__ import annotations

from collections.abc import Callable

from ..wire.packets import Packet
from ..wire.weight import opened_size
from .acknowledgements import Record as Record

Happening = Callable[[], object]


class Partly:
    """A record of which some packets, replies, were given to those that waited for them, or are about to be."""

    __slots__ = ("is_used_up", "is_waited_for", "record", "taken")

    def __init__(self, record: Record, taken: frozenset[int]) -> None:
        self.record = record
        self.taken = taken  # places of these packets in the record
        self.is_used_up = False  # there are no others
        self.is_waited_for = False  # it is looked into: which these are is not known yet

    def __len__(self) -> int:
        return len(self.record)


#: The items of a queue that are records.
RECORDS = (bytes, memoryview, Partly)


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


#: Those that are no calls.
ARRIVED = (*RECORDS, Rest)
