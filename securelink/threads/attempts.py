"""
Threads for attempts to connect: one makes those of all clients together, others do what may wait.

An attempt is made in steps. A step ends where the attempt waits for the network: the thread goes on with another one.
So many clients that come back at once cost no more thread switches than one, and the interpreter is nobody else's
meanwhile. What may wait otherwise (a name is looked up, a function of the program is called, a file is written) is done
by a thread of its own. Threads are started when they are needed; none waits for work.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from ..interrupts import start_thread
from ..limits import MAX_ATTEMPTS, MAX_WAITING_ATTEMPTS
from ..streams.awaited import Awaited
from ..streams.base import Source
from .waker import Waker

log = logging.getLogger("securelink.client")

LOOK_SECONDS = (
    0.1  # how late an attempt may notice that it was called off, or that its time is over
)

_SOME = 8  # attempts that are begun before those that have begun go on

Result = TypeVar("Result")


class Pausing(Source, Protocol):
    """A stream, or one that is being opened."""

    def wait(self, *, read: bool, write: bool, timeout: float) -> bool:
        """As `Stream.wait`."""


class Pause(NamedTuple):
    """
    The attempt waits until this can be read, or written, or for a while.

    Attributes:
        source: It.
        seconds: For so long; other attempts may make it LOOK_SECONDS.
        write: Whether it can go on when it can be written; it can always when it can be read.
    """

    source: Pausing
    seconds: float
    write: bool = False


#: What comes next may wait for something else than a stream.
ELSEWHERE = None

#: An attempt. It may end by an exception where a caller waits for it, see `made`; otherwise by none.
Steps = Generator[Pause | None, None, Result]


def made(steps: Steps[Result]) -> Result:
    """Make an attempt in this thread, which waits."""
    try:
        while True:
            pause = next(steps)
            if pause is not ELSEWHERE:
                _wait(pause)
    except StopIteration as over:
        result: Result = over.value
        return result
    finally:
        steps.close()  # Ctrl-C may come between two steps


def _wait(pause: Pause) -> None:
    pause.source.wait(read=True, write=pause.write, timeout=pause.seconds)


class Attempts:
    """The threads for attempts of this process."""

    def __init__(self) -> None:
        self._parents: list[object] = []
        self._reset()

    def forget(self) -> None:
        """In a child of fork(): they are the parent's."""
        # Kept: an attempt that is dropped lets go of its stream, and of locks that other threads of the parent held.
        self._parents.append(self._steps)
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._jobs: deque[Callable[[], None]] = deque()
        self._running = 0
        # Attempts that are to go on, each with what it waits for, if it has begun.
        self._steps: deque[tuple[Steps[None], Pause | None]] = deque()
        self._waker: Waker | None = None  # of the thread that makes them

    def run(self, job: Callable[[], None]) -> None:
        """
        Have this done by a thread that may wait, at once or when such a thread has nothing else to do.

        Raises:
            RuntimeError: The system starts no more threads.
        """
        with self._lock:
            self._jobs.append(job)
            if self._running >= MAX_ATTEMPTS:
                return
            self._running += 1
        try:
            _start(self._work)
        except BaseException as error:
            with self._lock:
                self._running -= 1
                taken = job not in self._jobs  # by the thread of another attempt
                if not taken:
                    self._jobs.remove(job)  # who is told that it failed must not find it done later
            if not taken or not isinstance(error, RuntimeError):
                raise

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._jobs:
                    self._running -= 1
                    return
                job = self._jobs.popleft()
            try:
                job()
            except BaseException:  # also SystemExit, of a function of the program
                log.exception("an attempt to connect failed")

    def make(self, steps: Steps[None], pause: Pause | None = None) -> None:
        """
        Have an attempt made.

        Args:
            pause: What it waits for, if it has begun.

        Raises:
            RuntimeError: The system starts no more threads.
        """
        with self._lock:
            waker = self._waker
            self._steps.append((steps, pause))
            if waker is None:
                self._waker = Waker()
        if waker is not None:
            waker.wake()
            return
        try:
            _start(self._make_all)
        except BaseException:
            with self._lock:  # those of others are made by the thread that starts next
                self._steps.remove((steps, pause))
                waker, self._waker = self._waker, None
            if waker is not None:
                waker.close()
            raise

    # By the thread that makes them.

    def _make_all(self) -> None:
        waker = self._waker
        assert waker is not None
        assert waker.receiver is not None
        wake = waker.receiver.fileno()
        poller = Awaited()
        poller.add(wake, write=False)
        waiting: dict[int, Steps[None]] = {}  # by the descriptor of what it waits for
        look_at = time.monotonic() + LOOK_SECONDS
        while self._take_new(poller, waiting):
            waker.sleeping = True
            if self._steps and len(waiting) < MAX_WAITING_ATTEMPTS:
                timeout = 0.0
            else:
                timeout = max(0.0, look_at - time.monotonic())
            ready = poller.poll(timeout)
            waker.sleeping = False
            if wake in ready:
                ready.remove(wake)
                waker.on_io(0)
                poller.add(wake, write=False)
            if time.monotonic() >= look_at:
                look_at = time.monotonic() + LOOK_SECONDS
                for descriptor in waiting.keys() - ready:
                    poller.remove(descriptor)
                    ready.append(descriptor)
            for descriptor in ready:
                self._go_on(waiting.pop(descriptor), poller, waiting)

    def _take_new(self, poller: Awaited, waiting: dict[int, Steps[None]]) -> bool:
        """Begin some, as far as there is room. False when there is nothing to do any more."""
        for _ in range(min(_SOME, MAX_WAITING_ATTEMPTS - len(waiting))):
            with self._lock:
                if not self._steps:
                    break
                steps, pause = self._steps.popleft()
            if pause is None:
                self._go_on(steps, poller, waiting)
            else:
                self._await(steps, pause, poller, waiting)
        with self._lock:
            if self._steps or waiting:
                return True
            waker, self._waker = self._waker, None
        if waker is not None:
            waker.close()
        return False

    def _go_on(self, steps: Steps[None], poller: Awaited, waiting: dict[int, Steps[None]]) -> None:
        """The next step of one."""
        try:
            pause = next(steps)
        except StopIteration:
            return
        except BaseException:  # also SystemExit: it must not take the thread with it
            log.exception("an attempt to connect failed in this library")
            return
        if pause is ELSEWHERE:
            self._run_steps(steps, None)
        else:
            self._await(steps, pause, poller, waiting)

    def _await(
        self,
        steps: Steps[None],
        pause: Pause,
        poller: Awaited,
        waiting: dict[int, Steps[None]],
    ) -> None:
        descriptor = pause.source.fileno()
        if descriptor < 0:  # a stream without a descriptor
            self._run_steps(steps, pause)
            return
        poller.add(descriptor, write=pause.write)
        waiting[descriptor] = steps

    def _run_steps(self, steps: Steps[None], pause: Pause | None) -> None:
        try:
            self.run(partial(self._elsewhere, steps, pause))
        except RuntimeError as error:
            _fail(steps, error)

    # By a thread that may wait.

    def _elsewhere(self, steps: Steps[None], pause: Pause | None) -> None:
        """The next step, and those that another thread cannot wait for."""
        try:
            while True:
                if pause is not None:
                    _wait(pause)
                pause = next(steps)
                if pause is not ELSEWHERE and pause.source.fileno() >= 0:
                    break
        except StopIteration:
            return
        except BaseException:  # also SystemExit: it must not take the thread with it
            log.exception("an attempt to connect failed in this library")
            return
        try:
            self.make(steps, pause)
        except RuntimeError as error:
            _fail(steps, error)


def _fail(steps: Steps[None], error: RuntimeError) -> None:
    """There is no thread for it."""
    with contextlib.suppress(StopIteration):
        steps.throw(error)


def _start(target: Callable[[], None]) -> None:
    start_thread(threading.Thread(target=target, name="securelink-reconnect", daemon=True))


attempts = Attempts()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=attempts.forget)
