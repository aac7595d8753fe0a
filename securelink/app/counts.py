"""What a server has done since it was made: numbers that only grow."""

from __future__ import annotations

import threading
from collections import Counter


class Counts:
    """
    How often what happened to a server, over all its runs.

    Attributes:
        events: How often each of the things happened that `note()` was told.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: Counter[str] = Counter()
        self.events: Counter[str] = Counter()

    def note(self, event: str) -> None:
        """Something happened. Any thread."""
        with self._lock:
            self.events[event] += 1

    def session_ended(self, reason: str) -> None:
        """A session has ended, for a reason by the name of a `Code` in small letters, or "other"."""
        with self._lock:
            self._ends[reason] += 1

    def ended(self) -> dict[str, int]:
        """How many sessions ended for which reason."""
        with self._lock:
            return dict(self._ends)
