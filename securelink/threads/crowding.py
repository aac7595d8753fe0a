"""Logs that packets wait because all places for handlers are taken."""

from __future__ import annotations

import logging
import math
import time

from ..limits import PLACES_LOG_SECONDS, PLACES_TAKEN_SECONDS
from .pool import Pool
from .timers import Timers

log = logging.getLogger("securelink")


class Crowding:
    """
    Whether packets wait for a handler's place, and for how long. Used by the leader only.

    Args:
        name: The loop's name, for the log.
        pool: The pool with the places.
        timers: The loop's timers.

    Attributes:
        crowded: Packets wait.
    """

    __slots__ = ("_count", "_logged_at", "_name", "_pool", "_timers", "crowded")

    def __init__(self, name: str, pool: Pool, timers: Timers) -> None:
        self._name = name
        self._pool = pool
        self._timers = timers
        self.crowded = False
        self._count = 0  # how often that has changed
        self._logged_at = -math.inf

    def look(self, *, waits: bool) -> None:
        """By the leader, before it waits: whether packets wait, which may be for a place."""
        crowded = waits and self._pool.is_crowded
        if crowded == self.crowded:
            return
        self.crowded = crowded
        self._count += 1
        if not crowded:
            return
        count = self._count
        self._timers.add(time.monotonic() + PLACES_TAKEN_SECONDS, lambda: self._still(count))

    def _still(self, count: int) -> None:
        """Log it, but not for each short moment."""
        pool = self._pool
        if not self.crowded or count != self._count or pool.busy_handlers < pool.handler_places:
            return
        now = time.monotonic()
        if now - self._logged_at < PLACES_LOG_SECONDS:
            return
        self._logged_at = now
        log.warning(
            "%s: all %d places for handlers are taken (workers=%d), and packets of other sessions wait. Let handlers "
            "be shorter, do long work in threads of your own and answer by packet.defer(), or raise workers=",
            self._name, pool.handler_places, pool.workers,
        )  # fmt: skip
