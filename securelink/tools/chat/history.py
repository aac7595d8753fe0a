"""The messages of the rooms, within bounds."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from ...limits import MAX_CHAT_BYTES, MAX_CHAT_ROOM_BYTES

HISTORY = 100  # messages kept for each room
MAX_LISTED = 101  # names, or rooms, of one answer; the last one says how many more there are
_ENTRY_BYTES = 512  # of one message beside its texts


class History:
    """
    The last messages of each room. May be used from any thread.

    All rooms together keep `MAX_CHAT_BYTES`. Beyond that, empty rooms are forgotten first, in the order of their last
    message, then the oldest messages of the room that keeps most: so a person who talks in other rooms does not make
    these forget.

    Args:
        inhabited: Whether a room has members.
    """

    def __init__(self, inhabited: Callable[[str], bool]) -> None:
        self._inhabited = inhabited
        self._lock = threading.Lock()
        self._rooms: dict[str, deque[tuple[int, dict[str, Any]]]] = {}  # last spoken in comes last
        self._sizes: dict[str, int] = {}
        self._total = 0

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self._total

    def add(self, room: str, said: dict[str, Any]) -> None:
        """Keep a message."""
        size = _ENTRY_BYTES + sum(sys.getsizeof(v) for v in said.values() if isinstance(v, str))
        with self._lock:
            messages = self._rooms.pop(room, None) or deque()
            self._rooms[room] = messages
            messages.append((size, said))
            self._count(room, size)
            self._shorten(room)
            if self._total > MAX_CHAT_BYTES:
                self._forget()

    def of(self, room: str) -> list[dict[str, Any]]:
        """The messages of a room, the oldest first."""
        with self._lock:
            return [said for _, said in self._rooms.get(room, ())]

    def _count(self, room: str, size: int) -> None:
        self._sizes[room] = self._sizes.get(room, 0) + size
        self._total += size

    def _shorten(self, room: str) -> None:
        messages = self._rooms[room]
        while len(messages) > HISTORY or self._sizes[room] > MAX_CHAT_ROOM_BYTES:
            self._drop(room)

    def _drop(self, room: str) -> None:
        size, _ = self._rooms[room].popleft()
        self._count(room, -size)
        if not self._rooms[room]:
            del self._rooms[room], self._sizes[room]

    def _forget(self) -> None:
        # Down to nine tenths, so that the search is not made for every message.
        bound = MAX_CHAT_BYTES * 9 // 10
        for room in [room for room in self._rooms if not self._inhabited(room)]:
            if self._total <= bound:
                return
            self._total -= self._sizes.pop(room)
            del self._rooms[room]
        while self._total > bound:
            self._drop(max(self._sizes, key=self._sizes.__getitem__))
