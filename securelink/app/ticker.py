"""The tick: an event at a steady rate."""

from __future__ import annotations

import logging
import time

from .hooks import EventHook
from .scheduling import Scheduler

log = logging.getLogger("securelink.server")


class Ticker:
    """
    Fires `on_tick` at a steady rate: each tick is due a whole period after the last was due, not after it ran, so
    small delays do not add up. A tick whose listeners still run is skipped, not queued.
    """

    def __init__(self, loop: Scheduler, on_tick: EventHook[[]], rate: float | None) -> None:
        self._loop = loop
        self._on_tick = on_tick
        self._due = 0.0
        self._generation = 0
        self._waiting = False
        self._running = False
        self.rate = rate

    def start(self) -> None:
        """By the leader, once: begin to tick."""
        if self.rate is None and self._loop.paced and self._on_tick.listeners:
            log.warning(
                "on_tick has a listener, but no rate, so it is never called; write Server(tick_rate=20)"
            )
        self._take_rate()

    def _take_rate(self) -> None:
        self._generation += 1
        if self.rate is not None and self._loop.paced:
            self._due = time.monotonic() + 1 / self.rate
            self._schedule(self._generation)

    def stop(self) -> None:
        """By the leader: stop ticking."""
        self._generation += 1

    def set_rate(self, rate: float | None) -> None:
        """Any thread: change the rate; None stops ticking."""
        self.rate = rate
        self._loop.call(self._take_rate)

    def _schedule(self, generation: int) -> None:
        delay = max(0.0, self._due - time.monotonic())
        self._loop.call_later(delay, lambda: self._tick(generation))

    def _tick(self, generation: int) -> None:
        if generation != self._generation or self.rate is None or self._loop.stopping:
            return
        if not self._waiting and not self._running:
            self._waiting = True
            self._loop.make_ready(self)
        period = 1 / self.rate
        late = time.monotonic() - self._due
        # Skip missed ticks, keep the phase.
        self._due += period * (1 + max(0, int(late / period)))
        self._schedule(generation)

    def run(self) -> bool:
        """The loop runs it like an inbox: long listeners lose the lead, and I/O goes on."""
        self._waiting = False
        self._running = True
        pending = None
        try:
            pending = self._on_tick.fire()
        finally:
            self._running = pending is not None
        if pending is not None:
            pending.then(self._ran)
        return False

    def _ran(self, error: BaseException | None) -> None:
        self._running = False
