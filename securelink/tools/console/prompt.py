"""Lines from a person: edited on a terminal, with lines of others arriving above meanwhile; plain elsewhere."""

from __future__ import annotations

import contextlib
import io
import os
import queue
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Protocol

from .above import PlainEditor
from .files import private_file

Complete = Callable[[str], list[str]]
_LOOK = 0.5  # seconds; a wait without end hides Ctrl-C on some platforms
# For the terminal to be put right at the end; prompt_toolkit may ask it for a second.
_LEAVE_SECONDS = 5.0


class Editor(Protocol):
    """The source of lines."""

    def read(self) -> str:
        """The next line, without its end. Raises EOFError or KeyboardInterrupt when there are no more."""

    def showing(self) -> contextlib.AbstractContextManager[Any]:
        """In this block, printed text appears above the line that is being typed."""

    def leave(self) -> bool:
        """From another thread: put the terminal right. Returns whether `read` is over, or will be at once."""


class Prompt:
    """
    Asks for lines until the end of the input (Ctrl-D, Ctrl-C), or until `end` is called.

    On a terminal the line can be edited, and output of other threads appears above it: by prompt_toolkit if it is
    installed, otherwise by readline, which comes with Python except on Windows. When the input is a pipe, lines are
    read as they come.

    Args:
        text: The prompt before the line.
        complete: Gives candidates for the last word of a line, or None.
        history: File to keep the lines in, or None. It is made with mode 0600.
    """

    def __init__(
        self, text: str, *, complete: Complete | None = None, history: Path | None = None
    ) -> None:
        self._editor = _editor(text, complete, history)
        # A line, or None: no more will come.
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._wanted: queue.SimpleQueue[None] = queue.SimpleQueue()  # an entry for each line
        self._reader: threading.Thread | None = None
        self._ended = False

    @property
    def comfortable(self) -> bool:
        """Whether there is a terminal with editing."""
        return not isinstance(self._editor, _Stream)

    def end(self) -> None:
        """End the lines: `lines` returns at once, also while a user types. From any thread."""
        self._ended = True
        self._lines.put(None)

    def lines(self) -> Generator[str, None, None]:
        """The lines, without their ends. To be closed, which puts the terminal right."""
        if self._reader is None:
            # A daemon: a thread that reads a terminal cannot be woken, and no thread waits for it at the end.
            self._reader = threading.Thread(target=self._read, name="typed lines", daemon=True)
            self._reader.start()
        with self._editor.showing():
            try:
                while True:
                    if self._ended:
                        return
                    self._wanted.put(None)
                    line = self._next()
                    if line is None:
                        return
                    yield line
            except KeyboardInterrupt:
                return
            finally:
                self._ended = True
                self._wanted.put(None)
                if self._editor.leave():
                    self._reader.join(_LEAVE_SECONDS)

    def _next(self) -> str | None:
        while True:
            with contextlib.suppress(queue.Empty):
                return self._lines.get(timeout=_LOOK)

    def _read(self) -> None:
        # Only when asked: the next prompt comes after the answer to the last line.
        while True:
            self._wanted.get()
            if self._ended:
                return
            try:
                line = self._editor.read()
            except (EOFError, KeyboardInterrupt):
                self._lines.put(None)
                return
            self._lines.put(line)


def _editor(text: str, complete: Complete | None, history: Path | None) -> Editor:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return _Stream()
    if history is not None:
        private_file(history)
    try:
        from .toolkit import ToolkitEditor
    except ImportError:  # prompt_toolkit is an extra
        return PlainEditor(text, complete, history)
    return ToolkitEditor(text, complete, history)


class _Stream:
    """Standard input that is not a terminal."""

    def __init__(self) -> None:
        try:
            # Not through sys.stdin: a thread that waits there holds a lock that Python wants when it exits.
            self._lines = _lines_of(sys.stdin.fileno())
        except (OSError, io.UnsupportedOperation, ValueError):
            self._lines = iter(sys.stdin)

    def read(self) -> str:
        line = next(self._lines, None)
        if line is None:
            raise EOFError
        return line.rstrip("\r\n")

    def showing(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext()

    def leave(self) -> bool:
        return False  # it may wait for its pipe


def _lines_of(descriptor: int) -> Iterator[str]:
    rest = b""
    while True:
        try:
            data = os.read(descriptor, 4096)
        except OSError:
            data = b""
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")
        if not data:
            if rest:
                yield rest.decode(errors="replace")
            return
