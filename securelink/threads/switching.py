"""
The interpreter's switch interval while a handler computes, or packets of a burst wait.

CPython lets a computing thread continue for 5 ms when another one wants to run, and a serving thread waits that long
after every system call: to read, handle and answer a packet beside a computing handler would take 15 ms. While a slow
handler runs the interval is 0.5 ms. It applies to the whole process.
"""

from __future__ import annotations

import os
import sys
import threading

SHORT_SECONDS = 0.0005


class _ShortTurns:
    """Knows who needs the shorter interval; the program's own value is restored after the last."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._users: set[object] = set()
        self._before = 0.0  # 0: it was as short
        self._ours = 0.0

    def begin(self, user: object) -> None:
        """Threads give way after SHORT_SECONDS at the latest, until `end` was called for the same user. Any thread."""
        with self._lock:
            self._users.add(user)  # first: wherever Ctrl-C comes, `end` finds what it has to undo
            if len(self._users) == 1:
                usual = sys.getswitchinterval()
                if usual > SHORT_SECONDS:
                    self._before = usual
                    sys.setswitchinterval(SHORT_SECONDS)
                self._ours = sys.getswitchinterval()

    def end(self, user: object) -> None:
        """Remove one user. A value that the program has set meanwhile stays."""
        with self._lock:
            self._users.discard(user)
            if not self._users and self._before and sys.getswitchinterval() == self._ours:
                sys.setswitchinterval(self._before)
                self._before = 0.0

    def forget(self) -> None:
        """In a child of fork(): the handlers are the parent's."""
        if self._users and self._before:
            sys.setswitchinterval(self._before)
        self._reset()


short_turns = _ShortTurns()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=short_turns.forget)
