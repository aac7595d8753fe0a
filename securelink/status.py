"""
Log lines that a beginner sees without setting up `logging`.

Everything is logged under "securelink", "securelink.server" and "securelink.client". If neither the first nor the root
logger has a handler when a server or client starts, one is added that writes `[Server INFO] ...` lines to standard
error. A program that configures logging gets nothing extra.
"""

from __future__ import annotations

import logging

log = logging.getLogger("securelink")

_NAMES = {"securelink.server": "Server", "securelink.client": "Client"}


class Forwarder(logging.Handler):
    """Base of handlers that show nothing here: they do not count as the program's own."""


class _StatusLines(logging.StreamHandler):  # type: ignore[type-arg]
    """Our own handler; at most one exists."""

    def __init__(self) -> None:
        super().__init__()
        self.info = True
        self.warnings = True

    def filter(self, record: logging.LogRecord) -> bool:
        wanted = self.info if record.levelno < logging.WARNING else self.warnings
        return wanted and bool(super().filter(record))

    def format(self, record: logging.LogRecord) -> str:
        name = _NAMES.get(record.name, "securelink")
        level = "INFO" if record.levelno < logging.WARNING else record.levelname
        text = f"[{name} {level}] {record.getMessage()}"
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        return text


_lines = _StatusLines()


def make_visible() -> None:
    """Attach the handler described above, unless the program has one of its own."""
    shows = [handler for handler in log.handlers if not isinstance(handler, Forwarder)]
    if shows or logging.getLogger().handlers:
        return
    log.addHandler(_lines)
    if log.level == logging.NOTSET:
        log.setLevel(logging.INFO)


def show_status(*, info: bool | None = None, warnings: bool | None = None) -> None:
    """
    Switch the status lines on or off; None leaves a kind as it is.

    Args:
        info: What happens: started, connected, disconnected.
        warnings: What should be looked at: warnings and errors.
    """
    make_visible()
    if info is not None:
        _lines.info = info
    if warnings is not None:
        _lines.warnings = warnings
