"""Long work without hurry: the leader does a little of it in each turn."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from ..limits import TURN_SECONDS

#: Does a small part; True while something is left.
Chore = Callable[[], bool]


class Chores:
    """
    The queue of such work, which runs in order, for TURN_SECONDS in each turn.

    Args:
        call: `Loop.call`.
    """

    def __init__(self, call: Callable[[Callable[[], None]], None]) -> None:
        self._call = call
        self._waiting: deque[Chore] = deque()
        self._called = False

    def add(self, chore: Chore) -> None:
        """Queue more work for the leader. Any thread."""
        self._waiting.append(chore)
        self._ask()

    def _ask(self) -> None:
        if not self._called:
            self._called = True
            self._call(self._go_on)

    def _go_on(self) -> None:
        try:
            self._work_until(time.monotonic() + TURN_SECONDS)
        finally:
            self._called = False
            if self._waiting:  # also work of threads that found the call already queued
                self._ask()

    def _work_until(self, deadline: float) -> None:
        while self._waiting:
            self._do_first()
            if time.monotonic() > deadline:
                return

    def _do_first(self) -> None:
        more = False
        try:
            more = self._waiting[0]()
        finally:
            if not more:  # also one that fails: otherwise the others would never have their turn
                self._waiting.popleft()

    def finish(self) -> None:
        """By the last leader: there are no more turns."""
        while self._waiting:
            self._do_first()
