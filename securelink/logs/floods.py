"""Bounds the log lines that a peer can cause, so that they do not fill a disk."""

from __future__ import annotations

import logging
import threading
import time

from ..limits import LOG_BURST, LOG_KINDS, LOG_RATE, PROBE_LOG_SECONDS

_OURS = "securelink_flood"  # marks the line that counts the others


class _Kind:
    """The lines of one kind: how many may be logged now, and how many were suppressed."""

    __slots__ = ("allowed", "hidden", "seen_at")

    def __init__(self, now: float, allowed: float) -> None:
        self.allowed = allowed
        self.hidden = 0
        self.seen_at = now


class LineCounts:
    """
    A thousand lines of a kind are shown, and from then on one a second. May be used from any thread.

    Args:
        burst: Or so many.
        rate: And so many a second.
    """

    def __init__(self, burst: float | None = None, rate: float = LOG_RATE) -> None:
        self._burst = burst
        self._rate = rate
        self._lock = threading.Lock()
        self._kinds: dict[object, _Kind] = {}

    def forget(self) -> None:
        """What was shown does not count any more."""
        with self._lock:
            self._kinds.clear()

    def take(self, key: object) -> int | None:
        """
        A line of a kind comes.

        Returns:
            How many of its kind were held back before it; None when it is to be held back too.
        """
        now = time.monotonic()
        burst = float(LOG_BURST if self._burst is None else self._burst)
        with self._lock:
            kind = self._kinds.get(key)
            if kind is None:
                if len(self._kinds) >= LOG_KINDS:
                    del self._kinds[next(iter(self._kinds))]
                kind = self._kinds[key] = _Kind(now, burst)
            passed = max(0.0, now - kind.seen_at)
            kind.allowed = min(burst, kind.allowed + passed * self._rate)
            kind.seen_at = now
            if kind.allowed < 1.0:
                kind.hidden += 1
                return None
            kind.allowed -= 1.0
            hidden, kind.hidden = kind.hidden, 0
            return hidden


#: What addresses do again and again, and what is no guess: the check of a balancer.
probes = LineCounts(1, 1 / PROBE_LOG_SECONDS)


class FloodFilter(logging.Filter):
    """
    Passes a thousand lines of a kind, and then one a second, preceded by the number of suppressed ones. A kind is a
    logger, a level and the text before its values are filled in, so many lines of one kind do not hide lines of
    another.

    It is a filter of loggers: suppressed lines reach no handler.
    """

    def __init__(self) -> None:
        super().__init__()
        self._counts = LineCounts()

    def forget(self) -> None:
        """A server has started: lines of earlier servers do not count for it."""
        self._counts.forget()
        probes.forget()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this line is passed on."""
        if getattr(record, _OURS, False):
            return True
        hidden = self._counts.take((record.name, record.levelno, str(record.msg)))
        if hidden:
            logging.getLogger(record.name).log(
                record.levelno,
                "%d more lines like the next one were not shown",
                hidden,
                extra={_OURS: True},
            )
        return hidden is not None


flood_filter = FloodFilter()
