"""Programs in processes of their own, as a user has them in terminals."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
WAIT = 120.0  # seconds after which a test fails; a process takes 0.3 on an idle machine


def awaited(
    pattern: str, text: Callable[[], str], more: Callable[[float], bool], after: int = 0
) -> re.Match[str]:
    """
    Wait until a program has written something that matches; fail when it has not in time, or has ended.

    Args:
        text: What it has written.
        more: Waits for more of it, so many seconds at most; False when nothing will come.
        after: Where to begin in the text.
    """
    deadline, going = time.monotonic() + WAIT, True
    while not (found := re.compile(pattern).search(text(), after)):
        if not going or time.monotonic() > deadline:
            raise AssertionError(f"no {pattern!r} in:\n{text()}")
        going = more(0.2)
    return found


class Program:
    """
    A Python program that runs while the test looks at what it prints. It is ended with the block.

    Args:
        arguments: Of the interpreter: a file and its arguments.
        folder: Where it runs.
    """

    def __init__(self, *arguments: str | Path, folder: Path) -> None:
        # What it writes to both outputs, in the order of writing, as a terminal shows it.
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-W", "error", *map(str, arguments)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.output = ""
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        # What is there, also without an end of line: a prompt has none.
        while data := os.read(self._process.stdout.fileno(), 65536):
            with self._changed:
                self.output += decoder.decode(data)
                self._changed.notify_all()

    def prints(self, pattern: str) -> re.Match[str]:
        """Wait until it has printed something that matches; fail when it does not in time."""
        return awaited(pattern, lambda: self.output, self._more)

    def _more(self, seconds: float) -> bool:
        with self._changed:
            self._changed.wait(seconds)
        return self._reader.is_alive()

    def types(self, text: str) -> None:
        """Type something; "\\n" is the Enter key."""
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()

    def ends_input(self) -> None:
        """Nobody types any more, as when it runs in the background."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._process.send_signal(2)

    def signals(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def ends(self) -> int:
        """Wait for its end; its exit code. `output` is complete then. One that hangs says where."""
        try:
            code = self._process.wait(WAIT)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGABRT)
            self._reader.join(WAIT)
            raise AssertionError(f"it does not end:\n{self.output}") from None
        self._reader.join(WAIT)
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


def finished(*arguments: str | Path, folder: Path) -> str:
    """Run a program to its end, which must be a good one; what it printed."""
    with Program(*arguments, folder=folder) as program:
        assert program.ends() == 0, program.output
        return program.output


@contextlib.contextmanager
def process(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process of its own; killed at the end if it has not been."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
    ) as started:  # fmt: skip
        try:
            yield started
        finally:
            started.kill()


def read_line(started: subprocess.Popen[str]) -> str:
    """The next line that it prints."""
    assert started.stdout is not None
    return started.stdout.readline().strip()
