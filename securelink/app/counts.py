"""Counts of a server's events since it was made; they only grow."""

from __future__ import annotations

import threading
from collections import Counter


class Counts:
    """
    The counts of a server's events, over all its runs.

    Attributes:
        events: The count of each event that was given to `note()`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: Counter[str] = Counter()
        self.events: Counter[str] = Counter()

    def note(self, event: str) -> None:
        """Count an event. Any thread."""
        with self._lock:
            self.events[event] += 1

    def session_ended(self, reason: str) -> None:
        """A session has ended, for a reason by the name of a `Code` in small letters, or "other"."""
        with self._lock:
            self._ends[reason] += 1

    def ended(self) -> dict[str, int]:
        """The number of ended sessions by reason."""
        with self._lock:
            return dict(self._ends)
