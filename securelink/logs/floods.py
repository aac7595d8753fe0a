"""Log lines that a peer can cause, in any number, must not fill a disk."""

from __future__ import annotations

import logging
import threading
import time

from ..limits import LOG_BURST, LOG_KINDS, LOG_RATE

_OURS = "securelink_flood"  # marks the line that counts the others


class _Kind:
    """What is known of the lines of one kind: how many may be shown now, and how many were not."""

    __slots__ = ("allowed", "hidden", "seen_at")

    def __init__(self, now: float) -> None:
        self.allowed = float(LOG_BURST)
        self.hidden = 0
        self.seen_at = now


class FloodFilter(logging.Filter):
    """
    Shows a thousand lines of a kind, and from then on one a second; the next that is shown is preceded by the number of
    those that were not. A kind is a logger, a level and the text before anything is filled in, so whoever causes lines
    of one kind hides no other.

    It is for loggers: what it holds back reaches no handler.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, int, str], _Kind] = {}

    def forget(self) -> None:
        """A server has started: what was shown of another one's lines does not count for its own."""
        with self._lock:
            self._kinds.clear()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this line is shown."""
        if getattr(record, _OURS, False):
            return True
        hidden = self._take(record)
        if hidden:
            logging.getLogger(record.name).log(
                record.levelno,
                "%d more lines like the next one were not shown",
                hidden,
                extra={_OURS: True},
            )
        return hidden is not None

    def _take(self, record: logging.LogRecord) -> int | None:
        """How many lines of this kind were held back before this one; None when it is held back too."""
        now = time.monotonic()
        key = (record.name, record.levelno, str(record.msg))
        with self._lock:
            kind = self._kinds.get(key)
            if kind is None:
                if len(self._kinds) >= LOG_KINDS:
                    del self._kinds[next(iter(self._kinds))]
                kind = self._kinds[key] = _Kind(now)
            kind.allowed = min(
                float(LOG_BURST), kind.allowed + max(0.0, now - kind.seen_at) * LOG_RATE
            )
            kind.seen_at = now
            if kind.allowed < 1.0:
                kind.hidden += 1
                return None
            kind.allowed -= 1.0
            hidden, kind.hidden = kind.hidden, 0
            return hidden


flood_filter = FloodFilter()
