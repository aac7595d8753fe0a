"""Counts of events for each of many keys, within a window of time."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class WindowCounts(Generic[Key]):
    """
    Counts for each key, in bounded memory. A window begins with the first event; at its end the count is 0 again. Not
    thread-safe: threads that share it hold a lock of their own.

    Args:
        seconds: The length of a window.
        most: The number of keys; beyond it the oldest is forgotten.
        clock: Seconds, monotonic.

    Attributes:
        seconds: As above; may be changed.
    """

    def __init__(self, seconds: float, most: int, clock: Callable[[], float]) -> None:
        self.seconds = seconds
        self._most = most
        self._clock = clock
        self._counts: dict[
            Key, tuple[float, int]
        ] = {}  # key -> (start of its window, count); oldest first

    def count(self, key: Key) -> int:
        """The count of a key in its window."""
        return self._get(key)[1]

    def seen(self, key: Key) -> int:
        """As `count`; changes nothing, so it needs no lock."""
        found = self._counts.get(key)
        return found[1] if found is not None and self._clock() - found[0] < self.seconds else 0

    def left(self, key: Key) -> float:
        """Seconds until its count is 0 again."""
        since, count = self._get(key)
        return max(0.0, since + self.seconds - self._clock()) if count else 0.0

    def add(self, key: Key) -> None:
        """Count one more event."""
        since, count = self._get(key)
        if not count:
            # Counts cannot stop an attacker with this many keys; only memory can still be protected.
            while len(self._counts) >= self._most:
                del self._counts[next(iter(self._counts))]
        self._counts[key] = (since, count + 1)

    def take_back(self, key: Key) -> None:
        """Take back one event."""
        since, count = self._get(key)
        if count > 1:
            self._counts[key] = (since, count - 1)
        else:
            self._counts.pop(key, None)

    def clear(self) -> None:
        """Forget all."""
        self._counts.clear()

    def keys(self) -> list[Key]:
        """Keys that are counted, including those of ended windows that were not asked for since."""
        return list(self._counts)

    def __len__(self) -> int:
        return len(self._counts)

    def _get(self, key: Key) -> tuple[float, int]:
        now = self._clock()
        since, count = self._counts.get(key, (now, 0))
        if now - since >= self.seconds:
            del self._counts[key]
            return now, 0
        return since, count
