"""
The near end of a process that the demonstration runs: orders come in, reports go out, one JSON object a line.

Orders come through a pipe and not as arguments, because everybody on a machine can read the arguments of a process and
there are join tokens among them. The end of the orders, also because the parent died, ends the process.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

from securelink.errors import SecureLinkError

Report = dict[str, Any]

_writing = threading.Lock()  # a report is one line, whichever thread it comes from


def report(event: str, **fields: Any) -> None:
    """Tell the parent what happened."""
    with _writing:
        try:
            print(json.dumps({"event": event, **fields}), flush=True)  # the protocol
        except BrokenPipeError:
            pass  # the parent is gone; the end of the orders follows


def orders() -> Iterator[Report]:
    """What the parent wants, until there is nothing more."""
    # Ctrl-C goes to every process of the terminal; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        yield json.loads(line)


def described(error: SecureLinkError) -> Report:
    """An error as it was raised: its name, its sentence, its fields."""
    fields = {name: getattr(error, name, None) for name in ("code", "fingerprint", "expected")}
    return {
        "error": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "text": getattr(error, "text", ""),
        **fields,
    }


class ReportErrors(logging.Handler):
    """Reports the errors that the library raised and logged: what a server's operator reads in the log."""

    def emit(self, record: logging.LogRecord) -> None:
        arguments = record.args if isinstance(record.args, tuple) else ()
        for argument in arguments:
            if isinstance(argument, SecureLinkError):
                report("logged", line=record.getMessage(), **described(argument))
