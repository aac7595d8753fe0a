"""SIGTERM and SIGHUP end a serving program like Ctrl-C: `docker stop`, systemd, a closed terminal."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

#: SIGHUP is missing on Windows.
_ENDINGS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Terminated(KeyboardInterrupt):
    """
    The system asked this program to end; code that handles Ctrl-C handles it too.

    Attributes:
        number: The number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def is_restart(error: BaseException) -> bool:
    """
    Whether this end was asked for by SIGTERM: by a service manager, which most likely starts the program again. A
    person presses Ctrl-C or closes the terminal.
    """
    if isinstance(error, Terminated):
        return error.number == signal.SIGTERM
    return isinstance(error, SystemExit) and error.code == _exit_status(signal.SIGTERM)


@contextlib.contextmanager
def ends_like_interrupts() -> Iterator[None]:
    """
    Raise `Terminated` in the main thread when the system asks it to end, until the block is left.

    A signal that the program handles or ignores itself stays as it is. In other threads nothing happens: Python takes
    signals in the main thread only. Afterwards the old handlers are back. Process 1 of a container needs this to end
    at all: the kernel drops signals for which process 1 has no handler.
    """
    with _handled_by(_terminate):
        yield


@contextlib.contextmanager
def ends_by_exit() -> Iterator[None]:
    """
    The same with `SystemExit` and the exit status that a shell gives for the signal, for programs in which Ctrl-C has
    another meaning; `finally` blocks run.
    """
    with _handled_by(_exit):
        yield


def _terminate(number: int, _frame: FrameType | None) -> None:
    raise Terminated(number)


def _exit(number: int, _frame: FrameType | None) -> None:
    sys.exit(_exit_status(number))


def _exit_status(number: int) -> int:
    return 128 + number


@contextlib.contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    replaced = []
    if threading.current_thread() is threading.main_thread():
        replaced = [one for one in _ENDINGS if signal.getsignal(one) is signal.SIG_DFL]
    try:
        for one in replaced:
            signal.signal(one, handler)
        yield
    finally:
        for one in replaced:
            signal.signal(one, signal.SIG_DFL)
