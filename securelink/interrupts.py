"""
What Ctrl-C cannot leave behind: rights and signs.

A signal's handler runs in the main thread, between two steps of the program, and may raise: Ctrl-C raises
KeyboardInterrupt. CPython looks for signals after each call, when a function begins and when a loop goes round. So
`lock.acquire(False)` may have taken the lock when its result never comes, and no `try` can begin in between. What is
no call cannot be torn like that, nor can `with lock:` of a plain lock. The classes `Condition`, `Event` and `Semaphore`
of `threading` are written in Python, where such a gap is: the thread that sets an event whose `wait()` was interrupted
there would hang. Hence, in this package:

- A lock is taken by `with` alone, and is a `threading.Lock` or `RLock`.
- What is only ever tried is a `Right`.
- Who waits for another thread waits for a `Sign`.
- Threads that connecting needs are started by `start_thread`.
"""

from __future__ import annotations

import threading
import time
from _thread import start_new_thread
from collections.abc import Callable
from threading import get_ident
from typing import TypeVar

_LOOK_SECONDS = 0.0005  # between two looks at a right that is taken; who has it gives it back within microseconds

Result = TypeVar("Result")


class Right:
    """
    What one thread may do at a time, and nobody waits for: a lock that is tried without a call. In this form only, for
    the second `try` must follow at once, and nothing may be called before the right is free again:

        try:
            del right.free
        except AttributeError:
            return  # another thread has it
        try:
            ...
        finally:
            right.free = True

    Attributes:
        free: Exists while nobody has the right. Deleting an attribute is a single step, for threads as well.
    """

    __slots__ = ("free",)

    def __init__(self) -> None:
        self.free = True

    @property
    def taken(self) -> bool:
        """Whether somebody has it now."""
        return not hasattr(self, "free")

    def within(self, timeout: float, act: Callable[[bool], Result]) -> Result:
        """
        Do something with the right, and wait for it first if need be.

        Args:
            timeout: In seconds.
            act: Called with True under the right; with False when it was not to be had in time.

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
    What `threading.Event` is: some threads wait until another one sets it. No method takes a lock that another could
    find taken, so all may be called in a signal's handler too.
    """

    __slots__ = ("_gates", "_set")

    def __init__(self) -> None:
        self._set = False
        # A lock of its own for each waiter, which the one who sets opens.
        self._gates: dict[threading.Lock, None] = {}

    def is_set(self) -> bool:
        """Whether it was set, and not cleared since."""
        return self._set

    def set(self) -> None:
        """Wake who waits, now or later."""
        self._set = True
        for gate in tuple(self._gates):
            try:
                gate.release()
            except RuntimeError:
                pass  # another thread has opened it

    def clear(self) -> None:
        """Let those that come from now on wait."""
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
        gate.acquire()  # closed; who sets opens it
        self._gates[gate] = None
        opened = False
        try:
            # Look once more: who set it before the gate was there has not seen the gate.
            if not self._set:
                opened = gate.acquire(timeout=-1 if timeout is None else max(0.0, timeout))
        finally:
            self._gates.pop(gate, None)
        return opened or self._set


def start_thread(thread: threading.Thread) -> None:
    """
    Start a thread, which then runs whatever happens: `Thread.start` itself waits for an event of `threading`. Ctrl-C
    there would let the new thread hang, or become a RuntimeError.

    Raises:
        RuntimeError: The system starts no more threads.
    """
    if get_ident() != threading.main_thread().ident:
        thread.start()  # no signal comes here
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
