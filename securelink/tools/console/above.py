"""Editing by readline, and lines that appear above the one that is being typed."""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from ...text import column_of, escaped

try:
    import readline
except ImportError:  # Windows, whose console edits lines by itself
    readline = None  # type: ignore[assignment]  # looked at before each use
try:
    import termios
except ImportError:
    termios = None  # type: ignore[assignment]  # the same

_MAX_HISTORY = 1000  # lines kept in the file


class PlainEditor:
    """See `Editor` in prompt.py."""

    def __init__(
        self, text: str, complete: Callable[[str], list[str]] | None, history: Path | None
    ) -> None:
        self._text = text
        self._history = history
        self._lock = threading.RLock()
        self._typing = False  # the prompt is on the screen
        self._modes: list[Any] | None = None
        if termios is not None:
            with contextlib.suppress(termios.error):
                self._modes = termios.tcgetattr(sys.stdin.fileno())
        if readline is not None:
            self._prepare(complete)

    def _prepare(self, complete: Callable[[str], list[str]] | None) -> None:
        if self._history is not None:
            with contextlib.suppress(OSError):  # an empty file is none to libedit
                readline.read_history_file(self._history)
            readline.set_history_length(_MAX_HISTORY)
        if hasattr(readline, "set_pre_input_hook"):
            # When the prompt is drawn. Before that there is nothing to draw again.
            readline.set_pre_input_hook(self._drawn)
        if complete is not None:
            readline.set_completer_delims(" ")
            readline.set_completer(_completer(complete))
            readline.parse_and_bind("tab: complete")

    def _drawn(self) -> None:
        with self._lock:
            self._typing = True

    def read(self) -> str:
        """The next line."""
        if not hasattr(readline, "set_pre_input_hook"):
            self._typing = readline is not None
        try:
            line = input(self._text)
        finally:
            with self._lock:
                self._typing = False
        if line and self._history is not None and readline is not None:
            with contextlib.suppress(OSError):
                readline.write_history_file(self._history)
        return line

    @contextlib.contextmanager
    def showing(self) -> Iterator[None]:
        """In this block, standard output and standard error are written above the line."""
        real = sys.stdout, sys.stderr
        ours = _Above(real[0], self.show), _Above(real[1], self.show)
        sys.stdout, sys.stderr = ours
        try:
            yield
        finally:
            sys.stdout, sys.stderr = real
            for stream in ours:
                stream.end()

    def show(self, text: str, stream: TextIO) -> None:
        """Write whole lines above the line that is being typed."""
        with self._lock:
            if self._typing:
                line = self._text + escaped(readline.get_line_buffer())  # it may have been pasted
                # A long line has gone over the edge; the cursor is in its last row.
                rows = rows_above(line, shutil.get_terminal_size().columns)
                stream.write("\r" + "\033[A" * rows + f"\033[J{text}{line}")
            else:
                stream.write(text)
            stream.flush()

    def leave(self) -> bool:
        """Give the terminal the modes that it had; readline does so only when a line ends."""
        with self._lock:
            typing, self._typing = self._typing, False
        if self._modes is not None and termios is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, self._modes)
        if typing:
            # Also without the brackets around what is pasted, which readline asked for.
            screen = sys.__stdout__
            if screen is not None:
                screen.write("\r\033[J\033[?2004l")
                screen.flush()
        return not typing


def rows_above(line: str, columns: int) -> int:
    """In which row of the screen, from 0, the cursor is behind a line that was typed, which goes over the edge."""
    rows = used = 0
    columns = max(columns, 1)
    for character in line:
        wide = column_of(character)
        if (
            used + wide > columns
        ):  # a wide one is never cut at the edge: the last column stays empty
            rows, used = rows + 1, 0
        used += wide
    return rows + (used >= columns)


class _Above(io.TextIOBase):
    """A stream that passes on whole lines."""

    def __init__(self, stream: TextIO, show: Callable[[str, TextIO], None]) -> None:
        self._stream = stream
        self._show = show
        self._rest = ""
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        with self._lock:
            whole, newline, self._rest = (self._rest + text).rpartition("\n")
        if newline:
            self._show(whole + newline, self._stream)
        return len(text)

    def flush(self) -> None:
        """Do nothing: typing would overwrite half a line."""

    def end(self) -> None:
        """Pass on text without an end of line."""
        if self._rest:
            self._stream.write(self._rest)
            self._rest = ""

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a property, where the stub has a variable
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]  # the same
        return self._stream.errors


def _completer(complete: Callable[[str], list[str]]) -> Callable[[str, int], str | None]:
    def candidate(word: str, number: int) -> str | None:
        before = readline.get_line_buffer()[: readline.get_endidx()]
        found = complete(before)
        return found[number] if number < len(found) else None

    return candidate
