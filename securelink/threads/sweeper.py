"""The keepalive check: once a second every connection is checked for silence, deadlines and rates."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Generic, TypeVar

from ..limits import SWEEP_LINKS, SWEEP_SECONDS
from .loop import Loop
from .poller import IOReady

Target = TypeVar("Target", bound=IOReady)


class Sweeper(Generic[Target]):
    """
    Visits all connections in rounds of SWEEP_SECONDS, in several steps if there are many: ten thousand visits in a
    row would delay all sessions.

    Args:
        loop: Its leader does it.
        links: All connections; may change between two steps.
        visit: Called for each.
        ended: Called after each round.
    """

    def __init__(
        self,
        loop: Loop,
        links: Collection[Target],
        visit: Callable[[Target], object],
        ended: Callable[[], object] = lambda: None,
    ) -> None:
        self._loop = loop
        self._links = links
        self._visit = visit
        self._ended = ended
        self._round: tuple[Target, ...] = ()
        self._steps = 1
        self._step = 0
        self._later()

    def _later(self) -> None:
        if not self._loop.stopping:
            self._loop.call_later(SWEEP_SECONDS / self._steps, self._sweep)

    def _sweep(self) -> None:
        try:
            if self._step == 0:
                self._round = tuple(self._links)
                self._steps = len(self._round) // SWEEP_LINKS + 1
            self._loop.each(self._round[self._step :: self._steps], self._visit)
            self._step += 1
            if self._step == self._steps:
                self._step = 0
                self._round = ()
                self._ended()
        finally:
            self._later()
