"""The lines on the server's terminal."""

from __future__ import annotations

import time

from ...text import escaped


class LoggingLevel:
    """How bad it is."""

    DEBUG = 0
    WARNING = 1
    ERROR = 2


_PREFIXES = {0: "[DEBUG]", 1: "[WARNING]", 2: "[ERROR]"}


class Logger:
    """
    Writes lines such as `[DEBUG] 12:00:00 localhost:1234 is listening...`.

    Args:
        verbose: Show all; else warnings and errors.
        use_timestamps: Begin each line with the time of day.
    """

    def __init__(self, verbose: bool = False, use_timestamps: bool = True) -> None:
        self.verbose = verbose
        self.use_timestamps = use_timestamps

    def log(self, message: str, logging_level: int = LoggingLevel.DEBUG) -> None:
        """Write one line; what a peer may have put into it cannot reach the terminal."""
        if self.verbose or logging_level > LoggingLevel.DEBUG:
            stamp = time.strftime("%H:%M:%S ") if self.use_timestamps else ""
            line = f"{_PREFIXES[logging_level]} {stamp}{escaped(message)}"
            print(line, flush=True)  # noqa: T201  # what it is for
