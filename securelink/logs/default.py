"""
Log lines on standard error, if the program does not configure `logging`.

Everything is logged under "securelink", "securelink.server" and "securelink.client". If neither the first nor the root
logger has a handler when a server or client starts, one is added that writes `[Server INFO] ...` lines to standard
error. A program that configures logging, also later, gets nothing extra.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

from ..text import escaped
from .floods import flood_filter
from .tracebacks import summary, traceback_text

log = logging.getLogger("securelink")

_NAMES = {"securelink.server": "Server", "securelink.client": "Client"}


class LoggedError(Exception):
    """Stands for an exception in the log: only its text, escaped."""


class _SafeText(logging.Filter):
    """
    Makes log records of our loggers safe to show, for every handler.

    Messages may contain the text of an exception, tracebacks may contain data of a peer. So a message is one
    printable line, and a traceback is passed on as text with each line escaped. The exception itself is not passed
    on: a handler that formats exceptions itself gets a stand-in, whose text is the last line.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; it is always logged."""
        if record.exc_info and (error := record.exc_info[1]) is not None:
            record.exc_text = traceback_text(error)
            record.exc_info = (LoggedError, LoggedError(summary(error)), None)
        try:
            message = record.getMessage()
        except Exception:
            return True  # a wrong format: logging reports it
        if not message.isprintable():
            record.msg, record.args = escaped(message), None
        return True


_safe_text = _SafeText()
for _logger in (log, *map(logging.getLogger, _NAMES)):
    _logger.addFilter(flood_filter)
    _logger.addFilter(_safe_text)


class Forwarder(logging.Handler):
    """Base of handlers that show nothing here; they do not count as the program's own."""


class _StatusLines(logging.StreamHandler):  # type: ignore[type-arg]  # takes one only in the stub
    """Our own handler; at most one exists."""

    def __init__(self) -> None:
        super().__init__()
        self.info = True
        self.warnings = True

    @property
    def stream(self) -> TextIO:
        """The current standard error: while a user types, it is a stream that writes above the line."""
        return sys.stderr

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        pass  # the base class sets the stream of its start

    def filter(self, record: logging.LogRecord) -> bool:
        if _program_shows():  # it was configured after we began
            _give_way()
            return False
        wanted = self.info if record.levelno < logging.WARNING else self.warnings
        return wanted and bool(super().filter(record))

    def format(self, record: logging.LogRecord) -> str:
        name = _NAMES.get(record.name, "securelink")
        level = "INFO" if record.levelno < logging.WARNING else record.levelname
        text = f"[{name} {level}] {record.getMessage()}"
        return f"{text}\n{record.exc_text}" if record.exc_text else text


_lines = _StatusLines()
_level_is_ours = False


def _program_shows() -> bool:
    """Whether the program has its own handler for our lines."""
    own = [h for h in log.handlers if h is not _lines and not isinstance(h, Forwarder)]
    return bool(own) or (log.propagate and bool(logging.getLogger().handlers))


def _give_way() -> None:
    """From now on the program shows our lines itself."""
    global _level_is_ours  # there is one logger of that name in a process
    log.removeHandler(_lines)
    if _level_is_ours:
        log.setLevel(logging.NOTSET)
        _level_is_ours = False


def make_visible() -> None:
    """Attach the handler described above, unless the program has one of its own."""
    global _level_is_ours  # there is one logger of that name in a process
    if _program_shows() or _lines in log.handlers:
        return
    log.addHandler(_lines)
    if log.level == logging.NOTSET:
        log.setLevel(logging.INFO)
        _level_is_ours = True


def show_status(*, info: bool | None = None, warnings: bool | None = None) -> None:
    """
    Switch the status lines on or off; None leaves a kind as it is.

    Args:
        info: Events: started, connected, disconnected.
        warnings: Warnings and errors.
    """
    make_visible()
    if info is not None:
        _lines.info = info
    if warnings is not None:
        _lines.warnings = warnings
