"""
Places for handlers that wait for a reply.

Such a handler computes nothing, so it does not occupy a place of handlers that do: otherwise clients that never
answer could block all others. When these places are taken too, the oldest wait for the most-awaited address is ended.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable


class Wait:
    """
    A handler that waits.

    Args:
        wake: Ends its waiting.
        key: The address that it waits for.

    Attributes:
        ended_early: It was woken because others need its place.
    """

    __slots__ = ("_wake", "ended_early", "key")

    def __init__(self, wake: Callable[[], object], key: str = "") -> None:
        self._wake = wake
        self.key = key
        self.ended_early = False

    def end(self) -> None:
        """Tell it to give up."""
        self.ended_early = True
        self._wake()


class WaitPlaces:
    """The handlers of one loop that wait, oldest first. Not locked: the pool's lock guards it."""

    __slots__ = ("_limit", "_waits")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waits: OrderedDict[Wait, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waits)

    def enter(self, wait: Wait) -> Wait | None:
        """Take a place; returns the wait that has to give up its place, if any."""
        self._waits[wait] = None
        if len(self._waits) <= self._limit:
            return None
        # The oldest wait for the most-awaited address: a stranger with many sessions ends only waits for himself.
        counts = Counter(other.key for other in self._waits)
        most = max(counts.values())
        loser = next(other for other in self._waits if counts[other.key] == most)
        del self._waits[loser]
        return loser

    def leave(self, wait: Wait) -> None:
        """The wait is over; it may have lost its place before."""
        self._waits.pop(wait, None)
