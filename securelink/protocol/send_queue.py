"""
The send queue of a session: encoded packets without numbers; and the bounds of waiting data.

`unsent` counts bytes that the stream has not taken yet, `unacked` bytes that the peer has not acknowledged. Beyond
the first bound of either a `send` waits; beyond the hard one the session is ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sized
from contextlib import AbstractContextManager
from typing import Any

from ..limits import WRITE_BUDGET
from .bounds import Bounds
from .numbering import Outgoing


class Slot:
    """An entry that may be replaced until it is put into a record (`latest=`)."""

    __slots__ = ("encoded", "key")

    def __init__(self, key: str, encoded: bytes) -> None:
        self.key = key
        self.encoded = encoded


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
    """

    __slots__ = (
        "_held",
        "_held_slots",
        "_latest",
        "_outgoing",
        "_trimmed",
        "bounds",
        "guard",
        "packets",
        "ready",
        "size",
        "tail",
    )

    def __init__(
        self, bounds: Bounds, outgoing: Outgoing, guard: AbstractContextManager[Any]
    ) -> None:
        self.bounds = bounds
        self._outgoing = outgoing
        self.guard = guard
        self.packets: deque[bytes | Slot] = deque()
        self.ready: Sized = self.packets
        self.size = 0
        self.tail = 0
        self._latest: dict[str, Slot] | None = None
        self._trimmed = outgoing.queued  # how many have left, in the whole session
        self._held: deque[bytes | Slot] | None = None
        self._held_slots: dict[str, Slot] = {}

    def put(self, encoded: bytes, latest: str | None = None) -> None:
        """
        Queue a packet.

        Args:
            encoded: From `encode_packet`.
            latest: A key; a waiting packet with the same key is replaced in its place.
        """
        size = len(encoded)
        # Ctrl-C comes after calls: each step ends with one, and has no other behind its first change.
        with self.guard:
            if latest is None:
                self.size += size
                self.packets.append(encoded)
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
            slot.encoded = encoded

    # Until the application has let a session in, what others send to it is held back: counted, and not sent.

    def hold_back(self) -> None:
        """From now on `put_held` takes packets, until `release`."""
        self._held, self._held_slots = deque(), {}

    def put_held(self, encoded: bytes, latest: str | None) -> bool:
        """As `put`, for a packet that is held back. False: nothing is held back any more."""
        size = len(encoded)
        with self.guard:
            held = self._held
            if held is None:
                return False
            if latest is None:
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
                slot.encoded = encoded
            return True

    def release(self) -> None:
        """What was held back follows what waits, and nothing is held back any more."""
        with self.guard:
            held, self._held = self._held, None
            if held is not None:
                if self._held_slots:
                    self._latest = {**(self._latest or {}), **self._held_slots}
                    self._held_slots = {}
                self.packets.extend(held)

    def supersede(self, latest: str) -> None:
        """A packet with this key is to go ahead of those that are held back: one of them with that key is older."""
        with self.guard:
            slot = self._held_slots.pop(latest, None)
            if slot is not None and self._held is not None:
                self._held.remove(slot)
                self.size -= len(slot.encoded) + len(latest)

    def take(self, budget: int = WRITE_BUDGET) -> list[bytes]:
        """
        The packets for the next records, oldest first, up to `budget` bytes: they are replaced no more, and stay until
        `trim`. By the sending half.
        """
        if self._trimmed != self._outgoing.queued:
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
                    if latest is not None and latest.get(entry.key) is entry:
                        del latest[entry.key]
                    entry = entry.encoded
                taken.append(entry)
                size += len(entry)
        return taken

    def trim(self) -> None:
        """Let go of those that are in records. Where Ctrl-C stops it, the next call goes on. By the sending half."""
        queued = self._outgoing.queued
        with self.guard:
            packets = self.packets
            if self._held is None and queued - self._trimmed == len(packets):
                self.size = 0  # as below: no call but the last
                self._trimmed = queued
                packets.clear()
                return
            while True:
                if self._trimmed >= queued or not packets:
                    break
                entry = packets[0]
                if isinstance(entry, Slot):
                    size = len(entry.encoded) + len(entry.key)
                else:
                    size = len(entry)
                self.size -= size  # no call from here on but the last, after which Ctrl-C may come
                self._trimmed += 1
                packets.popleft()

    @property
    def waiting(self) -> list[bytes]:
        """The packets, oldest first. By the sending half."""
        self.trim()
        with self.guard:
            entries = (*self.packets, *(self._held or ()))
            return [entry.encoded if isinstance(entry, Slot) else entry for entry in entries]

    def drop(self) -> None:
        """The session is over: drop packets that were not taken or acknowledged."""
        with self.guard:
            self.packets.clear()
            self._latest = self._held = None
            self._held_slots = {}
            self.size = 0
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

    def replaces(self, latest: str | None) -> bool:
        """Whether a packet with this key replaces a waiting one, and needs no room."""
        return latest is not None and self._latest is not None and latest in self._latest

    @property
    def is_over_hard_limit(self) -> bool:
        """Whether the hard bound is passed, so that the session is to be ended."""
        bounds = self.bounds
        return self.unsent > bounds.hard_unsent or self._outgoing.unacked > bounds.hard_unacked
