"""A program at a terminal of its own, as a person sits at one."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import time
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSCTTY, TIOCSWINSZ, tcgetattr
from types import TracebackType
from typing import Any, Self

from programs import ROOT, WAIT, awaited

#: Sequences by which programs move the cursor and colour text.
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[=>()][B0]?|\x1b\][^\x07]*\x07")


class Terminal:
    """
    A program that runs at a pseudo-terminal. It is ended with the block.

    Args:
        arguments: Of the interpreter.
        folder: Where it runs.
        columns: Of the terminal.
        environment: More variables.
    """

    def __init__(
        self,
        *arguments: object,
        folder: Path,
        columns: int = 200,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._controller, terminal = pty.openpty()
        ioctl(terminal, TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        variables = {"PYTHONPATH": str(ROOT), "TERM": "xterm", **(environment or {})}
        inherited = {
            k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")
        }
        self.process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=folder,
            env=inherited | variables,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=lambda: ioctl(0, TIOCSCTTY, 0),  # else Ctrl-C would be a character
        )
        os.close(terminal)
        self.raw = ""

    @property
    def output(self) -> str:
        """What it wrote, without what moves the cursor or colours."""
        return _CONTROL.sub("", self.raw).replace("\r", "")

    def _look(self, seconds: float) -> bool:
        """Read what there is; False at the end."""
        if select.select([self._controller], [], [], seconds)[0]:
            try:
                data = os.read(self._controller, 65536)
            except OSError:  # how Linux says that nobody has the other end any more
                return False
            self.raw += data.decode(errors="replace")
            return bool(data)
        return True

    def shows(self, pattern: str, *, raw: bool = False, after: int = 0) -> re.Match[str]:
        """Wait until something that matches is on the screen, behind the first `after` characters."""
        return awaited(pattern, lambda: self.raw if raw else self.output, self._look, after)

    def types(self, text: str) -> None:
        """Press keys; "\\r" is the Enter key. Nobody reads them when the program has ended meanwhile."""
        with contextlib.suppress(OSError):
            os.write(self._controller, text.encode())

    def signals(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def modes(self) -> list[Any]:
        """The modes that the terminal has, as `termios.tcgetattr` gives them."""
        return tcgetattr(self._controller)

    def ends(self) -> int:
        """Wait for its end, while reading what it writes; its exit code."""
        deadline = time.monotonic() + WAIT
        while self.process.poll() is None and time.monotonic() < deadline:
            if not self._look(0.1):
                break
        code = self.process.wait(max(0.1, deadline - time.monotonic()))
        while self._look(0) and select.select([self._controller], [], [], 0)[0]:
            pass
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self._controller)
