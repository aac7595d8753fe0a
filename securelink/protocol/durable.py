"""
A session whose packets outlive the process: what a turn has changed in it is handed to a store, and only after that
leaves this process.

A record gets its number when the turn ends, before it is written to the store; it is sent from `again`, as after a
resume. What has arrived is acknowledged when it is handled *and* the store has it. While nothing carries the session,
or its client takes nothing, packets wait in the queue, without a number, and are in the store as that: so the number of
records sent is what the client may have, and a client that has more shows that the store went back in time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, NamedTuple

from ..limits import RECORD_TARGET
from ..wire.packets import join_packets
from .acknowledgements import Incoming, Numbering, Outgoing
from .arrived import Record
from .bounds import Bounds
from .receive_queue import ReceiveQueue
from .requests import Requests
from .send_queue import Mark, SendQueue, Slot, bytes_of, is_gone
from .sender import batches
from .session_core import SessionCore

Numbered = list[tuple[int, bytes]]


class DurableIncoming(Incoming):
    """
    Counts what the store has.

    Attributes:
        stored: Records that are handled, as the store has it: what an acknowledgement says.
        published: Records that are handled, with all that their handlers sent.
    """

    __slots__ = ("published", "stored")

    def __init__(self) -> None:
        super().__init__()
        self.stored = 0
        self.published = 0

    def handled(self) -> int:
        """See `Incoming`."""
        return self.stored

    def through(self) -> int:
        """How many records, from the first, are handled, whether or not the store has it."""
        return super().handled()

    def stop(self) -> None:
        """See `Incoming`."""
        if self._final is None:
            through = self.through()
            super().stop()
            self._final = through


class DurableOutgoing(Outgoing):
    """Forgets what is acknowledged only when the turn ends: the store forgets it in the same step."""

    __slots__ = ()

    def release(self) -> None:
        """Not by whoever writes."""

    def settle(self) -> None:
        """By the leader: drop what the peer has acknowledged."""
        super().release()

    def rewind(self, count: int) -> None:
        """See `Outgoing`."""
        self.check_stated(count)
        self.settle()
        super().rewind(count)


class DurableSendQueue(SendQueue):
    """
    Its packets have numbers, for the store alone. They are put and taken under a lock of who has it.

    Attributes:
        stored: The packets below this number are in the store, unless they are in records.
    """

    counts_gone: ClassVar = True  # numbers are places in the queue
    __slots__ = ("_first_stored", "_numbers", "_replaced", "stored")

    def __init__(
        self, bounds: Bounds, outgoing: Outgoing, guard: AbstractContextManager[Any]
    ) -> None:
        super().__init__(bounds, outgoing, guard)
        self.ready = ()  # nobody writes them before they are in records
        self.stored = self._first_stored = self._trimmed
        self._numbers: dict[str, int] = {}
        self._replaced: set[int] = set()

    def put(self, encoded: bytes, latest: Mark = None) -> None:
        """See `SendQueue`."""
        if isinstance(latest, str):
            if self.replaces(latest):
                self._replaced.add(self._numbers[latest])
            else:
                self._numbers[latest] = self._trimmed + len(self.packets)
        super().put(encoded, latest)

    def restore(self, queued: Sequence[bytes]) -> None:
        """Queue the packets that the store has; an empty one was dropped, and still has its place."""
        for encoded in queued:
            if encoded:
                self.put(encoded)
            else:
                self._put_gone()
        self.stored += len(queued)

    def _sweep(self) -> None:
        """See `SendQueue`. The others move behind the places of what is gone, and the store gets them anew."""
        left = [entry for entry in self.packets if not is_gone(entry)]
        gone = len(self.packets) - len(left)
        first = self._trimmed + gone
        slots = self._latest or {}
        numbers = {
            entry.key: first + place
            for place, entry in enumerate(left)
            if isinstance(entry, Slot) and slots.get(entry.key) is entry
        }
        nothing = set[int]()
        self._numbers, self._replaced = numbers, nothing
        self._gone = 0
        self._outgoing.queued += gone
        self._trimmed = self.stored = first
        self.packets[:] = left

    def release(self) -> None:
        """See `SendQueue`."""
        first = self._trimmed + len(self.packets)
        for place, entry in enumerate(self._held or ()):
            if isinstance(entry, Slot):
                self._numbers[entry.key] = first + place
        super().release()

    def changed(self) -> tuple[Numbered, int]:
        """What waits and the store does not have, and below which number it may forget: 0 for nothing."""
        self.trim()
        with self.guard:
            return self._changed()

    def _changed(self) -> tuple[Numbered, int]:
        first, end = self._trimmed, self._trimmed + len(self.packets)
        below = first if self._first_stored < min(first, self.stored) else 0
        fresh = set(range(max(first, self.stored), end))
        fresh.update(number for number in self._replaced if first <= number < end)
        rows = [
            (first + place, bytes_of(entry))
            for place, entry in enumerate(self.packets if fresh else ())
            if first + place in fresh
        ]
        self._replaced.clear()
        if len(self._numbers) > 2 * len(self.packets):
            self._numbers = {key: n for key, n in self._numbers.items() if n >= first}
        self.stored, self._first_stored = end, first
        return rows, below


class DurableReceiveQueue(ReceiveQueue):
    """
    Keeps what has arrived until the store has it, or has that it is handled.

    Attributes:
        log: Accepted records and their numbers.
    """

    __slots__ = ("log",)

    def __init__(self, bounds: Bounds, requests: Requests, incoming: Incoming) -> None:
        super().__init__(bounds, requests, incoming)
        self.log: deque[tuple[int, Record]] = deque()

    def deliver(self, record: Record) -> None:
        """See `ReceiveQueue`."""
        if not self.dropping:
            self.log.append((self._delivered + 1, record))
        super().deliver(record)


class Changes(NamedTuple):
    """
    What a turn has changed in the packets of a session, for a store; see `Change` there.

    Attributes:
        counts: Records handled, accepted, sent, acknowledged; packets of the queue in records; requests.
    """

    counts: tuple[int, int, int, int, int, int]
    received: Numbered
    received_below: int
    sent: Numbered
    sent_below: int
    queued: Numbered
    queued_below: int


class DurableCore(SessionCore):
    """
    A session that a store keeps. A turn of it is `take`, a commit, and `committed`: in one step of who reads.

    Args:
        bounds: How much it may keep.
        guard: See `SessionCore`.
    """

    __slots__ = ("_formed", "_incoming", "_log", "_outgoing", "_queue", "_spilled", "_stored_below")

    def __init__(self, bounds: Bounds, guard: AbstractContextManager[Any] | None = None) -> None:
        numbering = Numbering()
        self._outgoing = numbering.outgoing = DurableOutgoing()
        self._incoming = numbering.incoming = DurableIncoming()
        super().__init__(bounds, guard, numbering)
        self._queue = self.sending = DurableSendQueue(bounds, self._outgoing, self.requests.guard)
        received = DurableReceiveQueue(bounds, self.requests, self._incoming)
        self.receiving = received
        self._log = received.log
        self._formed: list[bytes] = []  # records of this turn
        self._spilled = 0  # up to this number the store has what was accepted
        self._stored_below = 0  # and of what was sent it has forgotten what is below this number

    def restore(
        self,
        counts: Sequence[int],
        received: Sequence[bytes],
        sent: Numbered,
        queued: Sequence[bytes],
    ) -> None:
        """
        Go on where another process was, before anything is sent or received. What had arrived waits for its turn.

        Args:
            counts: As in `Changes`.
            received: Those behind the handled ones.
            sent: Those that it had kept.
            queued: What was not in records.
        """
        handled, _, highest, acknowledged, in_records, asked = counts
        incoming = self._incoming
        incoming.accepted = incoming.stored = incoming.published = handled
        receiving = DurableReceiveQueue(self.bounds, self.requests, incoming)
        kept = [record for number, record in sent if number > acknowledged]
        self._outgoing.restore(highest, in_records, kept)
        self._stored_below = acknowledged + 1
        self._queue = self.sending = DurableSendQueue(
            self.bounds, self._outgoing, self.sending.guard
        )
        self._queue.restore(queued)
        self.requests.go_on_from(asked)
        self._log = receiving.log
        for record in received:
            incoming.accepted += 1
            receiving.deliver(record)
        self._spilled = incoming.accepted
        self.receiving = receiving

    def publish(self) -> None:
        """What is handled by now counts: all that its handlers sent is in the queues."""
        self._incoming.published = self._incoming.through()

    def form(self, budget: int, max_packets: int) -> None:
        """Put packets that wait into records, up to `budget` bytes."""
        encoded = self._queue.take(budget)
        if not encoded:
            return
        for batch in batches(encoded, min(RECORD_TARGET, max_packets)):
            record = join_packets(batch)
            self._outgoing.keep(record, len(batch))
            self._formed.append(record)
        self._queue.trim()

    def take(self, *, spill: bool) -> Changes:
        """
        What has changed since the last time.

        Args:
            spill: Whether the store is to have what was accepted and is not handled: when it is to be said that it
                was accepted, or the client may be gone. Otherwise the client has it, for it is not acknowledged.
        """
        incoming, outgoing, log = self._incoming, self._outgoing, self._log
        handled, before = incoming.published, incoming.stored
        while log and log[0][0] <= handled:
            log.popleft()
        received: Numbered = []
        if spill:
            known = max(self._spilled, handled)
            received = [(number, bytes(record)) for number, record in log if number > known]
        received_below = handled + 1 if self._spilled > before and handled > before else 0
        self._spilled = max(self._spilled, handled, received[-1][0] if received else 0)
        outgoing.settle()
        first = outgoing.sent - len(self._formed) + 1
        sent = list(enumerate(self._formed, first))
        acknowledged = outgoing.acknowledged
        sent_below = acknowledged + 1 if acknowledged >= self._stored_below else 0
        self._stored_below = max(self._stored_below, acknowledged + 1)
        queued, queued_below = self._queue.changed()
        asked = self.requests.asked
        numbers = (handled, self._spilled, outgoing.sent, acknowledged, outgoing.queued, asked)
        return Changes(numbers, received, received_below, sent, sent_below, queued, queued_below)

    def committed(self, handled: int) -> None:
        """The store has it: so many records are handled, and what was put into records may go out."""
        self._incoming.stored = handled
        if self._formed:
            self._outgoing.send_later(self._formed)
            self._formed.clear()

    @property
    def waits(self) -> bool:
        """Whether something waits that could be put into records."""
        return bool(self.sending.packets)
