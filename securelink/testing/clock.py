"""A clock that a test moves: a computer that slept, or whose clock was set."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self


class Clock:
    """
    In this block the clocks of the process are the true ones, plus what the test adds.

        with Clock() as clock:
            clock.sleep(3600)

    It replaces `time.monotonic` and `time.time` for the whole process. Servers and clients start and end inside the
    block: after it time is what it was.
    """

    def __init__(self) -> None:
        self._monotonic, self._wall = time.monotonic, time.time
        self._slept = 0.0
        self._set = 0.0

    def sleep(self, seconds: float) -> None:
        """
        The computer sleeps, and all clocks jump forwards.

        So they do where the monotonic clock counts sleep. Elsewhere (Linux) only the wall clock jumps: `set`.
        """
        if seconds < 0:
            raise ValueError("time does not run backwards")
        self._slept += seconds

    def set(self, seconds: float) -> None:
        """Somebody sets the wall clock, so many seconds forwards, or back if negative."""
        self._set += seconds

    def __enter__(self) -> Self:
        time.monotonic = lambda: self._monotonic() + self._slept
        time.time = lambda: self._wall() + self._slept + self._set
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        time.monotonic, time.time = self._monotonic, self._wall
