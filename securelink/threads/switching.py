"""
How soon another thread gets the interpreter from one that computes.

CPython lets a computing thread go on for 5 ms whenever somebody else wants to run, and every system call of a thread
that serves the others is such a moment: a packet read, handled and answered beside a computing handler would take
15 ms. While a handler is known to hold things up the interval is 0.5 ms. It belongs to the whole process.
"""

from __future__ import annotations

import os
import sys
import threading

SHORT_SECONDS = 0.0005


class _ShortTurns:
    """Counts who needs the shorter interval; what the program had set comes back after the last."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = 0.0
        self._ours = 0.0

    def begin(self) -> None:
        """From now on, until as many calls of `end`, threads give way after SHORT_SECONDS at the latest."""
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(min(self._before, SHORT_SECONDS))
                self._ours = sys.getswitchinterval()

    def end(self) -> None:
        """One user fewer. What the program itself has set in the meantime stays."""
        with self._lock:
            self._users -= 1
            if self._users == 0 and sys.getswitchinterval() == self._ours:
                sys.setswitchinterval(self._before)

    def forget(self) -> None:
        """In a child of fork(): the handlers are the parent's."""
        if self._users:
            sys.setswitchinterval(self._before)
        self._reset()


short_turns = _ShortTurns()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=short_turns.forget)
