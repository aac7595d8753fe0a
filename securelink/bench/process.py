"""The servers of the measurement: processes of this interpreter that end with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..errors import SecureLinkError

LIFETIME = 600.0  # seconds; then it is killed, so that nothing waits for ever for one that hangs
END_SECONDS = 3.0


class ServerProcess:
    """
    A process that runs `target.py`. Use it with `with`.

    Args:
        role: "ours" or "floor".
        folder: Has the server's key; gets what the process writes to standard error.

    Attributes:
        info: What it said about itself: ports, process number.
    """

    def __init__(self, role: str, folder: Path) -> None:
        self._errors = folder / f"{role}.stderr"
        package = Path(__file__).parent.parent
        path = [str(package.parent), os.environ.get("PYTHONPATH", "")]
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter, fixed arguments
                [sys.executable, "-m", "securelink.bench.target", role, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))},
            )
        self._timer = threading.Timer(LIFETIME, self._process.kill)
        self._timer.daemon = True
        self._timer.start()
        self.info: dict[str, Any] = {}

    def __enter__(self) -> Self:
        try:
            self.info = json.loads(self._line())
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SecureLinkError(f"a server process did not start: {self._last_words()}")
        return line

    def _last_words(self) -> str:
        lines = self._errors.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def resident(self) -> int | None:
        """Bytes of memory that it has; None where the system does not tell as Linux does."""
        try:
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_bytes().split()[1])
        except OSError:
            return None
        return pages * os.sysconf("SC_PAGE_SIZE")

    def end(self) -> None:
        """End it, if need be by force."""
        self._timer.cancel()
        process = self._process
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
