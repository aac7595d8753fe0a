"""
Locks and events that stay consistent when Ctrl-C interrupts them: rights and signs.

A signal handler runs in the main thread, between two steps of the program, and may raise: Ctrl-C raises
KeyboardInterrupt. CPython checks for signals after each call, at the start of a function and at each turn of a loop.
So `lock.acquire(False)` can take the lock while its result is lost, and no `try` can begin in between. Operations that
are not calls cannot be interrupted that way, nor can `with lock:` of a plain lock. `Condition`, `Event` and `Semaphore`
of `threading` are written in Python and have such a gap: if `wait()` is interrupted there, the thread that sets the
event hangs. Hence, in this package:

- A lock is a `threading.Lock` or `RLock`, and is only taken by `with`.
- A lock that is tried and never waited for is a `Right`.
- A thread that waits for another one waits for a `Sign`.
- Threads needed to connect are started by `start_thread`.
- Inside of `with` and `try`, a loop is `while True:` with a `break`, or stands in a function of its own: from CPython
  3.12 on, Ctrl-C at the jump back of any other loop leaves the block without its end (python/cpython issue 130279).
"""

from __future__ import annotations

import threading
import time
from _thread import start_new_thread
from collections.abc import Callable
from threading import get_ident
from typing import TypeVar

# Between two checks of a taken right; its holder releases it within microseconds.
_LOOK_SECONDS = 0.0005

Result = TypeVar("Result")


class Right:
    """
    A lock that is tried, without a call, and never waited for. Use it only in this form, because the second `try` must
    follow at once, and the release must not be preceded by a call:

        try:
            del right.free
        except AttributeError:
            return  # another thread has it
        try:
            ...
        finally:
            right.free = True

    Attributes:
        free: Exists while no thread holds the right. Deleting an attribute is a single step, for threads as well.
    """

    __slots__ = ("free",)

    def __init__(self) -> None:
        self.free = True

    @property
    def taken(self) -> bool:
        """Whether a thread holds it now."""
        return not hasattr(self, "free")

    def within(self, timeout: float, act: Callable[[bool], Result]) -> Result:
        """
        Call a function while holding the right; wait for it first if necessary.

        Args:
            timeout: In seconds.
            act: Called with True under the right, or with False if the right was not free in time.

        Returns:
            What `act` returned.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                del self.free
            except AttributeError:
                if time.monotonic() >= deadline:
                    return act(False)
                time.sleep(_LOOK_SECONDS)
                continue
            try:
                return act(True)
            finally:
                self.free = True


class Sign:
    """
    Like `threading.Event`: threads wait until another one sets it. No method takes a lock that another call could
    find taken, so all may be called in a signal handler too.
    """

    __slots__ = ("_gates", "_set")

    def __init__(self) -> None:
        self._set = False
        # One lock for each waiter; `set` releases it.
        self._gates: dict[threading.Lock, None] = {}

    def is_set(self) -> bool:
        """Whether it was set, and not cleared since."""
        return self._set

    def set(self) -> None:
        """Wake present and later waiters."""
        self._set = True
        for gate in tuple(self._gates):
            try:
                gate.release()
            except RuntimeError:
                pass  # another thread has opened it

    def clear(self) -> None:
        """Make later waiters wait again."""
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        """
        Wait until it is set.

        Args:
            timeout: In seconds; None waits forever.

        Returns:
            False when it was not set in time.
        """
        if self._set:
            return True
        gate = threading.Lock()
        gate.acquire()  # closed; `set` opens it
        self._gates[gate] = None
        opened = False
        try:
            # Check once more: a `set` before the gate was registered has not seen it.
            if not self._set:
                opened = gate.acquire(timeout=-1 if timeout is None else max(0.0, timeout))
        finally:
            self._gates.pop(gate, None)
        return opened or self._set


def start_thread(thread: threading.Thread) -> None:
    """
    Start a thread so that Ctrl-C cannot break it: `Thread.start` waits for an event of `threading`, and Ctrl-C
    there would make the new thread hang, or become a RuntimeError.

    Raises:
        RuntimeError: The system starts no more threads.
    """
    if get_ident() != threading.main_thread().ident:
        thread.start()  # signals are not handled here
        return
    done = Sign()
    failures: list[RuntimeError] = []

    def start() -> None:
        try:
            thread.start()
        except RuntimeError as error:
            failures.append(error)
        finally:
            done.set()

    start_new_thread(start, ())
    done.wait()
    if failures:
        raise failures[0]
