"""
Where the demonstration happens: a temporary folder, processes and relays, all gone afterwards.

Processes are real ones, of this interpreter. Each is told what to do through its standard input and reports through
its standard output (`puppet.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import securelink
from securelink.interrupts import Sign
from securelink.testing.relay import Relay

from .puppet import Report

WAIT = 60.0  # seconds for anything that should happen; an idle machine needs one or two
_STOP_SECONDS = 8.0  # what a process gets to close its sessions


class Missing(Exception):
    """A process did not report what it should have."""


class Puppet:
    """
    A process of ours.

    Args:
        name: For people.
        module: Which program: "server" or "player".
        folder: For what it writes to standard error.
        setup: Its first order.
    """

    def __init__(self, name: str, module: str, folder: Path, setup: Report) -> None:
        self.name = name
        self._errors = folder / f"{name}.stderr"
        self._reports: list[Report] = []
        self._lock = threading.Lock()  # guards the reports
        self._changed = Sign()
        self._ended = False
        places = (Path(securelink.__file__).parent.parent, Path(__file__).parent.parent)
        path = [*map(str, places), os.environ.get("PYTHONPATH", "")]
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"demo.{module}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))},
            )
        self._reader = threading.Thread(target=self._read, name=f"reports of {name}", daemon=True)
        self._reader.start()
        self.order(**setup)

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def order(self, **order: Any) -> None:
        """
        Tell it what to do.

        Raises:
            Missing: It has ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise Missing(f"the process of {self.name} has ended{self._last_words()}") from None

    def expect(self, event: str, *, timeout: float = WAIT, **fields: Any) -> Report:
        """
        Wait for a report and take it out: the first of this event whose fields are these.

        Raises:
            Missing: It did not come in time.
        """
        deadline = time.monotonic() + timeout
        while True:
            self._changed.clear()
            ended = self._ended  # looked at first: the last reports come before it
            with self._lock:
                for report in self._reports:
                    if report["event"] == event and fields.items() <= report.items():
                        self._reports.remove(report)
                        return report
            left = deadline - time.monotonic()
            if left <= 0 or ended:
                break
            self._changed.wait(left)
        with self._lock:
            others = ", ".join(str(r["event"]) for r in self._reports) or "nothing"
        wanted = " ".join([event, *(f"{name}={value!r}" for name, value in fields.items())])
        raise Missing(f"{self.name} did not report {wanted}, but: {others}{self._last_words()}")

    def take(self, event: str) -> list[Report]:
        """Take out all reports of this event that have come, without waiting."""
        with self._lock:
            found = [report for report in self._reports if report["event"] == event]
            self._reports = [report for report in self._reports if report["event"] != event]
        return found

    def dismiss(self) -> None:
        """Let it end: there are no more orders."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def stop(self) -> int:
        """End it, if need be by force. Returns its exit code."""
        self.dismiss()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        return self.kill()

    def kill(self) -> int:
        """End it by force, unless it has ended. Returns its exit code."""
        process = self._process
        assert process.stdout is not None
        process.kill()
        process.wait()
        self._reader.join()
        self.dismiss()
        process.stdout.close()
        return process.returncode

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._lock:
                self._reports.append(json.loads(line))
            self._changed.set()
        self._ended = True
        self._changed.set()

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            lines = self._errors.read_text(errors="replace").strip().splitlines()
            if lines:
                return f" ({lines[-1]})"
        return ""


class Stage:
    """
    The folder, the processes and the relays. Use it with `with`: whatever happens, nothing is left.

    Attributes:
        folder: Where keys and tokens are, until the end.
    """

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="securelink-demo-")
        self.folder = Path(self._temporary.name)
        self._puppets: list[Puppet] = []
        self._relays: list[Relay] = []

    def serve(self, name: str, *, port: int = 0, encryption: str = "required") -> Puppet:
        """A server process, with keys and sessions in a folder of that name."""
        folder = self.folder / name
        setup = {"keys": str(folder / "keys"), "state": str(folder / "sessions.db")}
        return self.start(name, "server", setup | {"port": port, "encryption": encryption})

    def kill(self, puppet: Puppet) -> int:
        """End a process as `kill -9` does. Returns its exit code."""
        self._puppets.remove(puppet)
        return puppet.kill()

    def player(self, name: str) -> Puppet:
        """A client process, with keys in a folder of that name."""
        return self.start(name, "player", {"keys": str(self.folder / name / "keys")})

    def relay(self, port: int) -> Relay:
        """A relay in front of a port of this machine."""
        relay = Relay("127.0.0.1", port).start()
        self._relays.append(relay)
        return relay

    def close(self) -> list[tuple[str, int]]:
        """End everything. Returns the names of all processes with their exit codes. May be called again."""
        for puppet in self._puppets:
            puppet.dismiss()  # all at once; then wait
        ended = []
        while self._puppets:
            ended.append((self._puppets[-1].name, self._puppets[-1].stop()))
            self._puppets.pop()
        while self._relays:
            self._relays.pop().stop()
        self._temporary.cleanup()
        return ended

    def start(self, name: str, module: str, setup: Report) -> Puppet:
        """A process that runs a module of the demonstration, in a folder of its own."""
        (self.folder / name).mkdir(exist_ok=True)
        puppet = Puppet(name, module, self.folder / name, setup)
        self._puppets.append(puppet)
        return puppet

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
