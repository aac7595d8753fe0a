"""The processes of one run: started, heard, ended."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Self

from .catalogue import Peer, Workload
from .measure import Figures
from .target import Target

ROOT = Path(__file__).resolve().parent.parent
_READY_SECONDS = 30.0
_LOAD_SECONDS = 180.0
_HOLD_SECONDS = 120.0  # 10,000 handshakes
_END_SECONDS = 5.0


class RunFailed(Exception):  # what happened, not a kind of error
    """One run gave no figures; the text says why."""


class Child:
    """
    A process of ours that ends when its standard input does, or when it is told.

    Args:
        arguments: A module and its arguments.
        before: What stands before the command, such as `unshare --net`.
        processor: The only one that it may use; None for all.
        folder: Where it runs, and finds benchmarks and securelink.
    """

    def __init__(
        self,
        *arguments: str,
        before: Sequence[str] = (),
        processor: int | None = None,
        folder: Path | None = None,
    ) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed in end()
        self._process = subprocess.Popen(
            [*before, sys.executable, "-m", *arguments],
            cwd=folder or ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        if processor is not None:
            os.sched_setaffinity(self._process.pid, {processor})
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._heard = b""

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def say(self, word: str = "") -> None:
        """A line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        self._process.stdin.flush()

    def line(self, seconds: float) -> str:
        """
        The next line of its output.

        Raises:
            RunFailed: It ended, or said nothing in time.
        """
        out = self._process.stdout
        assert out is not None
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            while b"\n" not in self._heard:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise RunFailed(f"no answer within {seconds:g} s\n{self.complaint()}")
                if selector.select(left):
                    data = out.read()
                    if data == b"":
                        raise RunFailed(f"it ended early\n{self.complaint()}")
                    self._heard += data or b""
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode()

    def complaint(self) -> str:
        """The end of what it wrote to standard error."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")[-2000:]

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """End the process and wait for it."""
        process = self._process
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        try:
            process.wait(0.2 if process.poll() is None else 0)
        except subprocess.TimeoutExpired:
            process.terminate()
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._errors.close()


def target_for(peer: Peer, workload: Workload, folder: Path, token: str) -> Target:
    """What the two processes are told."""
    options = {"identity": "rsa"} if workload.rsa else {}
    return Target(peer.module, peer.style, str(folder), token, options | peer.options)


def run(
    peer: Peer,
    workload: Workload,
    folder: Path,
    token: str,
    parameters: dict[str, Any],
    *,
    pin: bool = False,
    copies: Mapping[str, Path] = MappingProxyType({}),
) -> Figures:
    """
    One run: a new server, a new load process.

    Args:
        pin: Each on a processor of its own.
        copies: The trees of the peers that do not run in this one, by the peers' `copy`.

    Raises:
        RunFailed: With the reason.
    """
    target = target_for(peer, workload, folder, token)
    place = copies[peer.copy] if peer.copy else None
    if peer.style == "local":
        return _load(target, workload.method, parameters, None, place)
    first, second = _two_processors() if pin else (None, None)
    with Child("benchmarks.serve", target.to_json(), processor=first, folder=place) as server:
        target = target.with_server(json.loads(server.line(_READY_SECONDS)))
        try:
            if workload.holder:
                return _beside_others(target, workload, parameters, second, place)
            with _busy(workload.busy):
                return _load(target, workload.method, parameters, second, place)
        except RunFailed as failure:
            raise RunFailed(f"{failure}\n{server.complaint()}".strip()) from None


def _beside_others(
    target: Target,
    workload: Workload,
    parameters: dict[str, Any],
    processor: int | None,
    place: Path | None,
) -> Figures:
    """The same load twice on one server: alone, then beside idle sessions."""
    sessions = int(parameters.pop("holder", workload.holder))
    without = _load(target, workload.method, parameters, processor, place)["rate"]
    with _holder(target, sessions, place):
        figures = _load(target, workload.method, parameters, processor, place)
    beside = figures["rate"]
    return figures | {"rate": beside / without, "beside": beside, "without": without}


@contextmanager
def _holder(target: Target, sessions: int, place: Path | None) -> Iterator[None]:
    """A third process with idle sessions."""
    arguments = ("benchmarks.load", target.to_json(), "hold", json.dumps({"count": sessions}))
    with Child(*arguments, folder=place) as holder:
        holder.line(_HOLD_SECONDS)
        time.sleep(min(2.0, sessions / 1000))
        yield


@contextmanager
def _busy(count: int) -> Iterator[None]:
    """Other processes that compute as long as this one waits for them, and at most as long as a load may take."""
    program = f"import time\nend = time.monotonic() + {_LOAD_SECONDS}\nwhile time.monotonic() < end: sum(range(1000))"
    with ExitStack() as stack:
        for _ in range(count):
            process = subprocess.Popen([sys.executable, "-c", program])
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


def _two_processors() -> tuple[int, int]:
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


def _load(
    target: Target,
    method: str,
    parameters: dict[str, Any],
    processor: int | None,
    place: Path | None,
) -> Figures:
    arguments = ("benchmarks.load", target.to_json(), method, json.dumps(parameters))
    with Child(*arguments, processor=processor, folder=place) as load:
        figures: Figures = json.loads(load.line(_LOAD_SECONDS))
    return figures
