"""Ctrl-C at each point in turn at which Python looks for signals."""

from __future__ import annotations

import signal
import sys
from _thread import interrupt_main
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

SIGNAL = signal.SIGUSR1
#: From now on the signal is pending.
_pending: Callable[[int], None] = interrupt_main  # type: ignore[assignment]
_GIVE_UP = 100_000  # points that no call has


class Storm:
    """
    In this block a signal is always pending: each time the interpreter looks, the handler runs, and asks for the next.

    So it counts the points at which Ctrl-C can come, and raises KeyboardInterrupt at one of them: after a call that is
    done, at the beginning of a function, at a jump back. Elsewhere no signal comes either, so nothing is tested that
    cannot be. Main thread only.

    Args:
        at: The point at which it raises, counted from 1.

    Attributes:
        count: How many points there were so far.
        where: The function and the line of the point at which it raised; "" before.
    """

    def __init__(self, at: int) -> None:
        self._at = at
        self._over = False
        self.count = 0
        self.where = ""

    def _look(self, number: int, frame: FrameType | None) -> None:
        if self._over:
            return
        self.count += 1
        if self.count == self._at:
            self._over = True
            assert frame is not None
            code = frame.f_code
            self.where = f"{code.co_filename}:{frame.f_lineno} in {code.co_qualname}"
            raise KeyboardInterrupt
        # Not by a call, after which the interpreter would look at once, and find this handler: a loop over what calls.
        for _ in map(_pending, (number,)):
            return

    def __enter__(self) -> Self:
        if sys.gettrace() is not None:
            raise RuntimeError(
                "CPython 3.11 repeats the line of a loop that is traced while a signal is pending, for ever: mark the "
                "test `cost`, which `make coverage` leaves out"
            )
        self._before = signal.signal(SIGNAL, self._look)
        _pending(SIGNAL)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over = True
        signal.signal(SIGNAL, self._before)


def interrupted(at: int, act: Callable[[], object]) -> Storm:
    """Do something, and interrupt it at the so many-th point; whether it came so far says `where`."""
    storm = Storm(at)
    try:
        with storm:
            act()
    except KeyboardInterrupt:
        pass
    return storm


def points(first: int = 1, step: int = 1) -> range:
    """Numbers of points, to be left when a call had no such point."""
    return range(first, _GIVE_UP, step)
