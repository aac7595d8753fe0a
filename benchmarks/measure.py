"""Wall clock, CPU time and memory of one measured stretch."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

Figures = dict[str, float]
clock = time.perf_counter_ns

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, all threads; 0 where there is no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0.0
    fields = stat.rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_kib(pid: int) -> float:
    """Resident memory of a process in KiB; 0 where there is no /proc."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE / 1024
    except OSError:
        return 0.0


def quantile(ordered: list[int], share: float) -> float:
    """A quantile of sorted values."""
    return float(ordered[min(len(ordered) - 1, int(len(ordered) * share))])


def latency_figures(nanoseconds: list[int]) -> Figures:
    """Median, p99 and worst in microseconds; "tail" is p99 divided by the median."""
    ordered = sorted(nanoseconds)
    p50, p99 = quantile(ordered, 0.50) / 1000, quantile(ordered, 0.99) / 1000
    return {"p50": p50, "p99": p99, "tail": p99 / p50, "worst": ordered[-1] / 1000}


def rounds(count: int, seconds: float) -> Iterator[int]:
    """0, 1, ... up to `count`, but no longer than `seconds`: a slow peer does fewer rounds of the same work."""
    end = time.perf_counter() + seconds
    for number in range(count):
        yield number
        if time.perf_counter() > end:
            return


class Window:
    """
    The measured stretch, as a context manager.

    Args:
        server: Process number of the server.
    """

    def __init__(self, server: int) -> None:
        self._server = server
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        """The stretch begins."""
        self._cpu = (cpu_seconds(self._server), time.process_time())
        self._began = time.perf_counter()

    def stop(self) -> None:
        """The stretch is over."""
        self.seconds = time.perf_counter() - self._began
        server, load = self._cpu
        self._used = (cpu_seconds(self._server) - server, time.process_time() - load)

    def __exit__(self, *_: object) -> None:
        self.stop()

    def figures(self, operations: float) -> Figures:
        """Operations per second, and CPU microseconds per operation on both sides."""
        server, load = self._used
        return {
            "rate": operations / self.seconds,
            "server_cpu": server / operations * 1e6,
            "load_cpu": load / operations * 1e6,
        }
