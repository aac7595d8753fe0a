"""Programs of the old documents in processes of their own, on the ports that the documents name."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from helpers import WAIT

from securelink import Identity

SETTINGS = ("SECURELINK_ENCRYPTION", "SECURELINK_KEYS")


class Program:
    """
    A Python program that runs, and what it has printed so far.

    Args:
        source: Its text.
        folder: Its working folder; the `keys` folder there is its keys folder.
    """

    def __init__(self, source: str, folder: Path, **environment: str) -> None:
        self.output: list[str] = []
        self.errors: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        script = folder / f"program_{time.monotonic_ns()}.py"
        script.write_text(source)
        self.process = subprocess.Popen(
            [sys.executable, "-u", script],
            cwd=folder,
            env={**clean_environment(), "PYTHONIOENCODING": "utf-8", **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        streams = ((self.process.stdout, self.output), (self.process.stderr, self.errors))
        self._readers = [
            threading.Thread(target=self._read, args=stream, daemon=True) for stream in streams
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Any, lines: list[str]) -> None:
        for line in stream:
            lines.append(line.rstrip("\n"))
            self._lines.put(lines[-1])

    def type(self, line: str) -> None:
        """Enter a line at its prompt."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def expect(self, pattern: str, seconds: float = 2 * WAIT) -> str:
        """The next printed line in which the pattern is found; fails when there is none in time."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {pattern!r} in {self.output + self.errors}") from None
            if re.search(pattern, line):
                return line

    def finish(self, seconds: float = 2 * WAIT) -> int:
        """Wait until it ends by itself; its exit code."""
        code = self.process.wait(seconds)
        for reader in self._readers:
            reader.join(WAIT)
        return code

    @property
    def cpu_seconds(self) -> float:
        """Processor time that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.finish()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(BrokenPipeError):
                assert stream is not None
                stream.close()


def clean_environment() -> dict[str, str]:
    """The environment without the settings of the adapters."""
    return {name: value for name, value in os.environ.items() if name not in SETTINGS}


@contextlib.contextmanager
def fixed_port(port: int) -> Iterator[int]:
    """The port that a document names, for this test alone among all test runs on this machine."""
    import fcntl
    import socket

    with (Path(tempfile.gettempdir()) / f"securelink-tests-port-{port}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("", port))  # fails here when something else listens
        yield port


def keys_for(folder: Path, identity: Identity) -> None:
    """Put a key where the programs in this folder look for the server's: making one takes long."""
    identity.save(folder / "keys", "server")
