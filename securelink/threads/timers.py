"""The timers and the commands of a loop. Used by its leader only."""

from __future__ import annotations

import heapq
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable

from ..limits import TURN_SECONDS

log = logging.getLogger("securelink")


class Timers:
    """
    Commands and when they are due.

    Attributes:
        heap: (when, number, command), the next one first; each poll reads it.
    """

    __slots__ = ("_numbers", "heap")

    def __init__(self) -> None:
        self.heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def add(self, when: float, command: Callable[[], None]) -> None:
        """Run a command at that time."""
        heapq.heappush(self.heap, (when, next(self._numbers), command))

    def run_due(self, now: float) -> None:
        """Run due commands for TURN_SECONDS; the rest run after the events of the next poll."""
        heap = self.heap
        deadline = time.monotonic() + TURN_SECONDS
        while heap and heap[0][0] <= now:
            command = heapq.heappop(heap)[2]
            try:
                command()
            except Exception:
                log.exception("internal error in a timer of the loop")
            if heap and heap[0][0] <= now and time.monotonic() > deadline:
                return


def run_some(commands: deque[Callable[[], None]], *, hurry: bool) -> None:
    """Run those that wait now for TURN_SECONDS, or all of them; the rest run in the next turn."""
    deadline = time.monotonic() + TURN_SECONDS
    for _ in range(len(commands)):
        try:
            commands.popleft()()
        except Exception:
            log.exception("internal error in a command of the loop")
        if time.monotonic() > deadline and not hurry:
            return
