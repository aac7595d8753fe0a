"""
The send queue of a session: encoded packets without numbers; and the bounds of waiting data.

`unsent` counts bytes that the stream has not taken yet, `unacked` bytes that the peer has not acknowledged. Beyond
the first bound of either a `send` waits, which is the back-pressure (`threads/back_pressure.py`); beyond the hard one
the session is ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sized
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from ..limits import WRITE_BUDGET
from .acknowledgements import Outgoing
from .bounds import Bounds


class Slot:
    """
    An entry that may be replaced until it is put into a record (`latest=`), or dropped (`Loose`).

    Attributes:
        key: The same.
        encoded: The packet; b"" when it was dropped.
    """

    __slots__ = ("encoded", "key")

    def __init__(self, key: str, encoded: bytes) -> None:
        self.key = key
        self.encoded = encoded


class Loose:
    """
    Given instead of the key of a packet: it may be dropped for a later one with the same key (`full="oldest"`).

    Attributes:
        key: The same.
    """

    __slots__ = ("key",)

    def __init__(self, key: str) -> None:
        self.key = key


Mark = str | Loose | None  # what may become of a packet that waits

#: Shared by all sessions without such packets, for an empty dict has 64 bytes. Nothing is put into it.
_NOTHING: dict[str, Any] = {}

_FEW = 64  # dropped entries that are not worth going through the others


class SendQueue:
    """
    The packets of one session that wait to be sent.

    Args:
        bounds: The bounds of the session.
        outgoing: The session's count of sent records.
        guard: Held while the queue changes; a lock where threads share it.

    Attributes:
        packets: Oldest first; read-only for others. Always the same object.
        size: Their bytes, and the characters of the keys of replaceable ones; with those that are held back.
        guard: The same.
        ready: Those of them that may be written now. Always the same object.
        tail: Sealed bytes that the stream has not taken yet. The shell updates it.
        replaced: How many packets were replaced before they were sent.
        counts_gone: Whether those that were dropped count as `Outgoing.queued` when they leave the queue.
    """

    counts_gone: ClassVar = False

    __slots__ = (
        "_gone", "_held", "_held_slots", "_latest", "_loose", "_outgoing", "_trimmed", "bounds", "guard", "packets",
        "ready", "replaced", "size", "tail",
    )  # fmt: skip

    def __init__(
        self, bounds: Bounds, outgoing: Outgoing, guard: AbstractContextManager[Any]
    ) -> None:
        self.bounds = bounds
        self._outgoing = outgoing
        self.guard = guard
        # Lists, though what is oldest goes first: it goes in large pieces, and an empty deque has 700 bytes more.
        self.packets: list[bytes | Slot] = []
        self.ready: Sized = self.packets
        self.size = 0
        self.tail = self.replaced = 0
        self._latest: dict[str, Slot] | None = None  # None: there was never a `Slot`
        self._loose: dict[str, deque[Slot]] = _NOTHING
        self._gone = 0  # entries that were dropped, and are still in `packets`
        self._trimmed = outgoing.queued  # how many have left, in the whole session
        self._held: list[bytes | Slot] | None = None
        self._held_slots: dict[str, Slot] = _NOTHING

    def put(self, encoded: bytes, latest: Mark = None) -> None:
        """
        Queue a packet.

        Args:
            encoded: From `encode_packet`.
            latest: A key; a waiting packet with the same key is replaced in its place. Or see `Loose`.
        """
        size = len(encoded)
        # Ctrl-C comes after calls: each step ends with one, and has no other behind its first change.
        with self.guard:
            if latest is None:
                self.size += size
                self.packets.append(encoded)
                return
            if isinstance(latest, Loose):
                self._put_loose(encoded, latest.key)
                return
            if self._latest is None:
                self._latest = {}
            slot = self._latest.get(latest)
            if slot is None:
                slot = Slot(latest, encoded)
                size += len(latest)  # the key is kept as long as the packet
                self.size += size
                self._latest[latest] = slot
                self.packets.append(slot)
                return
            size -= len(slot.encoded)
            self.size += size
            self.replaced += 1
            slot.encoded = encoded

    def _put_loose(self, encoded: bytes, key: str) -> None:
        if self._latest is None:
            self._latest = {}
        if self._loose is _NOTHING:
            self._loose = {}
        waiting = self._loose.get(key)
        if waiting is None:
            waiting = self._loose[key] = deque()
        slot = Slot(key, encoded)
        size = len(encoded) + len(key)
        self.size += size
        self.packets.append(slot)
        waiting.append(slot)  # last: without it the packet stays whatever comes

    def _put_gone(self) -> None:
        """Put an entry that was dropped, in the place of its packet."""
        if self._latest is None:
            self._latest = {}
        self._gone += 1
        self.packets.append(Slot("", b""))

    def make_room(self, size: int, key: str) -> int | None:
        """
        Drop the oldest waiting packets that are `Loose` with this key until one of `size` bytes has room: one for which
        there is none though all of them go is not worth that.

        Returns:
            How many were dropped; None: there is no room, and none was.
        """
        with self.guard:
            waiting = self._loose.get(key, ())
            excess = self._excess(size)
            count = freed = 0
            for slot in waiting:
                if freed >= excess:
                    break
                freed += len(slot.encoded) + len(key)
                count += 1
            if freed < excess:
                return None
            for _ in range(count):
                self._drop_oldest(key)
            if count and not waiting:
                del self._loose[key]
            if self._gone > _FEW and self._gone > len(self.packets) // 2:
                self._sweep()
            return count

    def _excess(self, size: int) -> int:
        """
        How many bytes have to go before one of this size has room. Beyond the bound of what is not acknowledged no
        more is to wait than did before.
        """
        bounds = self.bounds
        unsent, unacked = self.size + self.tail, self._outgoing.unacked
        excess = min(unsent, unsent + size - bounds.unsent)  # it always fits into an empty session
        if unacked and unacked + size > bounds.unacked:
            excess = max(excess, size)
        return max(excess, 0)

    def _drop_oldest(self, key: str) -> None:
        waiting = self._loose[key]
        slot = waiting[0]
        size = len(slot.encoded) + len(key)
        self.size -= size
        self._gone += 1
        slot.encoded = b""
        waiting.popleft()

    def _sweep(self) -> None:
        """Take what was dropped out of `packets`, in one call: whatever interrupts it, nothing else is gone."""
        left = [entry for entry in self.packets if not is_gone(entry)]
        self._gone = 0
        self.packets[:] = left

    # Until the application has let a session in, what others send to it is held back: counted, and not sent.

    def hold_back(self) -> None:
        """From now on `put_held` takes packets, until `release`."""
        self._held, self._held_slots = [], {}

    def put_held(self, encoded: bytes, latest: Mark) -> bool:
        """
        As `put`, for a packet that is held back; one that is `Loose` stays. False: nothing is held back any more.
        """
        size = len(encoded)
        with self.guard:
            held = self._held
            if held is None:
                return False
            if latest is None or isinstance(latest, Loose):
                self.size += size
                held.append(encoded)
                return True
            slot = self._held_slots.get(latest)
            if slot is None:
                self.size += size + len(latest)
                slot = self._held_slots[latest] = Slot(latest, encoded)
                held.append(slot)
            else:
                self.size += size - len(slot.encoded)
                self.replaced += 1
                slot.encoded = encoded
            return True

    def release(self) -> None:
        """What was held back follows what waits, and nothing is held back any more."""
        with self.guard:
            held, self._held = self._held, None
            if held is not None:
                if self._held_slots:
                    self._latest = {**(self._latest or {}), **self._held_slots}
                    self._held_slots = _NOTHING
                self.packets.extend(held)

    def supersede(self, latest: str) -> None:
        """A packet with this key is to go ahead of those that are held back: one of them with that key is older."""
        with self.guard:
            slot = self._held_slots.pop(latest, None)
            if slot is not None and self._held is not None:
                self._held.remove(slot)
                self.size -= len(slot.encoded) + len(latest)

    def lone(self) -> bytes | None:
        """The packet for the next record, as `take`, if there is only one, and no `Slot`. It needs no guard."""
        if self._trimmed != self._outgoing.queued:
            self.trim()
        packets = self.packets
        if len(packets) != 1:
            return None
        try:
            entry = packets[0]
        except IndexError:
            return None  # `drop` was faster
        return None if isinstance(entry, Slot) else entry

    def take(self, budget: int = WRITE_BUDGET) -> list[bytes]:
        """
        The packets for the next records, oldest first, up to `budget` bytes: they are replaced no more, and stay until
        `trim`. By the sending half.
        """
        if self._trimmed != self._outgoing.queued or self._gone:
            self.trim()
        with self.guard:
            latest = self._latest
            if latest is None and self.size <= budget:
                everything: list[Any] = [*self.packets]  # there was never a `Slot`
                return everything
            taken: list[bytes] = []
            size = 0
            for entry in self.packets:
                if size >= budget:
                    break
                if isinstance(entry, Slot):
                    if not entry.encoded:
                        continue
                    self._unmark(entry)
                    entry = entry.encoded
                taken.append(entry)
                size += len(entry)
        return taken

    def _unmark(self, slot: Slot) -> None:
        """The packet is put into a record: it is neither replaced nor dropped any more."""
        key = slot.key
        if self._latest is not None and self._latest.get(key) is slot:
            del self._latest[key]
            return
        waiting = self._loose.get(key)
        if not waiting or waiting[0] is not slot:
            return
        if len(waiting) == 1:
            del self._loose[key]
        else:
            waiting.popleft()

    def trim(self) -> None:
        """Let go of what is in records or was dropped: of all of it, or of nothing. By the sending half."""
        queued = self._outgoing.queued
        with self.guard:
            packets = self.packets
            if self._held is None and queued - self._trimmed == len(packets):
                self.size = 0  # as below: no call but the last
                self._trimmed = queued
                packets.clear()
                return
            more, count, gone, size = queued - self._trimmed, 0, 0, 0
            for entry in packets:
                if is_gone(entry):
                    gone += 1
                elif count - gone == more:
                    break
                else:
                    size += size_of(entry)
                count += 1
            # From here on no call: either all of it happens, or nothing.
            self.size -= size
            self._gone -= gone
            if self.counts_gone:
                queued += gone
                self._outgoing.queued = queued
            self._trimmed = queued
            del packets[:count]

    @property
    def waiting(self) -> list[bytes]:
        """The packets, oldest first. By the sending half."""
        self.trim()
        with self.guard:
            entries = (*self.packets, *(self._held or ()))
        return [bytes_of(entry) for entry in entries if not is_gone(entry)]

    def drop(self) -> None:
        """The session is over: drop packets that were not taken or acknowledged."""
        with self.guard:
            self.packets.clear()
            self._latest = self._held = None
            self._held_slots = self._loose = _NOTHING
            self.size = self._gone = 0
        self._outgoing.drop()

    @property
    def unsent(self) -> int:
        """Bytes that the stream has not taken yet."""
        return self.size + self.tail

    def is_crowded(self, size: int) -> bool:
        """
        Whether a packet of this size has to wait for room. It always fits into an empty session.

        Hot: reads without the guard, so threads that send at the same time may overshoot by a packet each.
        """
        bounds = self.bounds
        unsent = self.size + self.tail
        if unsent and unsent + size > bounds.unsent:
            return True
        unacked = self._outgoing.unacked
        return bool(unacked) and unacked + size > bounds.unacked

    def replaces(self, latest: Mark) -> bool:
        """Whether a packet with this key replaces a waiting one, and needs no room."""
        slots = self._latest
        return isinstance(latest, str) and slots is not None and latest in slots

    @property
    def is_over_hard_limit(self) -> bool:
        """Whether the hard bound is passed, so that the session is to be ended."""
        bounds = self.bounds
        return self.unsent > bounds.hard_unsent or self._outgoing.unacked > bounds.hard_unacked


def is_gone(entry: bytes | Slot) -> bool:
    """Whether an entry was dropped."""
    return isinstance(entry, Slot) and not entry.encoded


def bytes_of(entry: bytes | Slot) -> bytes:
    """The packet of an entry."""
    return entry.encoded if isinstance(entry, Slot) else entry


def size_of(entry: bytes | Slot) -> int:
    """What an entry counts for in `SendQueue.size`."""
    return len(entry.encoded) + len(entry.key) if isinstance(entry, Slot) else len(entry)
