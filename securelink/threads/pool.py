"""
The threads of a loop, and their places.

Of W threads one leads, `jobs.places` may do jobs (RSA, key exchange, authenticate), and the rest may be busy in
handlers. The leader runs no handler when all of these are busy, so there is always a thread to lead. Threads start
when they are needed, or some at once where that would be too late.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from threading import get_ident
from typing import Protocol

from ..errors import LimitExceeded
from ..interrupts import Sign, start_thread
from ..limits import MAX_PENDING_SIGNATURES, MAX_WAITING_HANDLERS, PLACES_LOG_SECONDS
from .giving_way import Employer, worker_threads
from .jobs import Job, JobQueue, Task
from .waits import Wait, WaitPlaces

log = logging.getLogger("securelink")

# So many threads start with the first one. CPython 3.12.0 and 3.12.1 start none once the main thread has ended
# (python/cpython issue 113964), and a server may go on behind it.
EARLY_THREADS = 8 if sys.version_info[:3] in ((3, 12, 0), (3, 12, 1)) else 1


def no_thread(error: RuntimeError) -> LimitExceeded:
    """What a call of the application raises that needs a thread which the system does not start."""
    return LimitExceeded(
        f"the system starts no more threads: {error}",
        limit="threads",
        hint="end others, or raise the limit (ulimit -u, the container's number of processes)",
    )


class Leading(Employer, Protocol):
    """A loop, as its pool needs it."""

    def lead_on(self) -> None:
        """In a thread of the pool: lead until the lead is lost, or the loop stops."""

    def call(self, command: Callable[[], None]) -> None:
        """Let the leader run a command."""


class Pool:
    """
    The threads of one loop.

    Args:
        name: Shown in the names of the threads.
        loop: The loop that they belong to.
        workers: The number of threads, leader included.
        overlap: False: one place for handlers.

    Attributes:
        handler_places: The number of handlers that may run without waiting.
        busy_handlers: The number that do, except one that the leader may run.
        closed: No jobs are taken any more.
    """

    def __init__(self, name: str, loop: Leading, workers: int, *, overlap: bool) -> None:
        self._name = name
        self._loop = loop
        self.workers = workers
        job_places = max(1, min(4, (workers - 1) // 2))
        self.handler_places = workers - 1 - job_places if overlap else 1
        # Guards the fields below.
        self.lock = threading.RLock()
        self._wanted = threading.Condition(self.lock)  # waited for by threads of ours only
        self.idle = 0
        self.started = 0
        self.jobs = JobQueue(MAX_PENDING_SIGNATURES, job_places)
        self.busy_handlers = 0
        self._handed: deque[Job] = deque()  # handlers that have their place
        self._lead_offered = False
        self._led = False  # whether the lead was ever taken
        self.waits = WaitPlaces(MAX_WAITING_HANDLERS)
        self.at_jobs: set[int] = set()  # threads that do one
        self.closed = False
        self._done = Sign()  # no leader comes any more: threads end
        self.threads: list[threading.Thread] = []
        self._logged_at = -math.inf

    @property
    def is_crowded(self) -> bool:
        """Whether a handler has to wait for a place."""
        return self.busy_handlers >= self.handler_places

    # --- threads ------------------------------------------------------------------------------------------

    def start_thread(self, role: str, target: Callable[[], None]) -> None:
        """
        Start a thread.

        Raises:
            RuntimeError: The system starts no more.
        """
        # Listed before it starts: stop() must never miss one.
        thread = threading.Thread(
            target=target, name=f"securelink-{self._name}-{role}", daemon=True
        )
        self.threads.append(thread)
        try:
            start_thread(thread)
        except RuntimeError:
            self.threads.remove(thread)
            raise

    def _call_worker(self) -> RuntimeError | None:
        """
        A thread is needed for a job or the lead: wake one, or start one if there is a place. Under the lock.

        Returns:
            Why no thread could be started; for `_no_thread`, after the lock. Then the next idle thread takes the work.
        """
        wanted = self._lead_offered + len(self._handed) + self.jobs.wanted
        if self.idle >= wanted:
            self._wanted.notify()
        elif self.started < self.workers + len(self.waits):
            return self._start_worker()
        return None

    def _start_early(self) -> RuntimeError | None:
        error = None
        while error is None and self.started < min(EARLY_THREADS, self.workers):
            error = self._start_worker()
        return error

    def _start_worker(self) -> RuntimeError | None:
        try:
            self.start_thread(str(self.started + 1), self._work)
        except RuntimeError as error:
            return error
        self.started += 1
        return None

    def _no_thread(self, error: RuntimeError | None) -> None:
        if error is None or time.monotonic() - self._logged_at < PLACES_LOG_SECONDS:
            return
        self._logged_at = time.monotonic()
        log.error(
            "cannot start a thread: %s; handshakes and packets wait for the %d that there are",
            error,
            self.started,
        )

    def thread_names(self) -> list[str]:
        """Names of the living threads."""
        return [thread.name for thread in self.threads if thread.is_alive()]

    def end(self) -> None:
        """No thread leads any more: let the threads end."""
        with self.lock:
            self._done.set()
            self._wanted.notify_all()

    def join(self, timeout: float) -> bool:
        """Wait for the threads; True when all except the caller's own have ended."""
        deadline = time.monotonic() + timeout
        self._done.wait(timeout)
        for thread in self.threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        return not any(t.is_alive() for t in self.threads if t is not threading.current_thread())

    @property
    def ended(self) -> bool:
        """Whether `end` was called."""
        return self._done.is_set()

    # --- what the threads do ------------------------------------------------------------------------------

    def _work(self) -> None:
        worker_threads[get_ident()] = self._loop
        try:
            while True:
                task = self._next_task()
                if task is None:
                    break
                task()
                del task  # it would keep its connection while this thread waits for the next
        finally:
            worker_threads.pop(get_ident(), None)

    def _next_task(self) -> Job | None:
        with self.lock:
            while True:
                if self._lead_offered:
                    self._lead_offered = False
                    self._led = True
                    return self._loop.lead_on
                if self._handed:
                    return self._handed.popleft()
                if self._done.is_set():
                    return None
                if (task := self.jobs.take()) is not None:
                    return lambda: self._do(task)
                self.idle += 1
                self._wanted.wait()
                self.idle -= 1

    def _do(self, task: Task) -> None:
        self.at_jobs.add(get_ident())
        try:
            task.run()
        except BaseException:  # also SystemExit, from an authenticate hook
            log.exception("internal error in a worker thread")
        finally:
            self.at_jobs.discard(get_ident())
            with self.lock:
                self.jobs.done(task)

    # --- the lead -----------------------------------------------------------------------------------------

    def start_leading(self) -> None:
        """
        Start the first thread, which takes the lead; and more, where none can be started later.

        Raises:
            RuntimeError: The system starts no more.
        """
        with self.lock:
            self._lead_offered = True
            error = self._start_early()
        if error is not None:
            raise error

    def nobody_leads(self) -> bool:
        """Whether no thread has ever taken the lead; from now on none does then."""
        with self.lock:
            self._lead_offered = False
            return not self._led

    def offer_lead(self) -> None:
        """A thread has lost the lead inside a handler, which needs a place from now on; another thread must lead."""
        with self.lock:
            self.busy_handlers += 1
            self._lead_offered = True
            error = self._call_worker()
        self._no_thread(error)

    # --- jobs ---------------------------------------------------------------------------------------------

    def submit(self, key: str, task: Task) -> bool:
        """
        Give expensive work to the pool.

        Args:
            key: The address that it is for; they take turns.
            task: The job. If it gives way to others, the leader calls its `displaced`.

        Returns:
            False if too many wait already.
        """
        with self.lock:
            if self.closed or not self.jobs.put(key, task):
                return False
            gone, self.jobs.displaced = self.jobs.displaced, []
            error = self._call_worker()
        for act in gone:
            self._loop.call(act)
        self._no_thread(error)
        return True

    def submit_own(self, job: Job) -> bool:
        """Give our own work to the pool. False if the loop is stopping."""
        with self.lock:
            if self.closed:
                return False
            self.jobs.put_own(job)
            error = self._call_worker()
        self._no_thread(error)
        return True

    # --- places of handlers -------------------------------------------------------------------------------

    def hand(self, handlers: Job) -> None:
        """Let a thread run handlers in a place, which `free_place` gives back."""
        with self.lock:
            self.busy_handlers += 1
            self._handed.append(handlers)
            error = self._call_worker()
        self._no_thread(error)

    def free_place(self) -> None:
        """A thread is done with its handlers."""
        with self.lock:
            self.busy_handlers -= 1

    def begin_wait(self, wake: Callable[[], object], key: str) -> Wait | None:
        """As `Employer.begin_wait`."""
        if get_ident() in self.at_jobs:
            return None
        wait = Wait(wake, key)
        with self.lock:
            oldest = self.waits.enter(wait)
            self.busy_handlers -= 1
        if oldest is not None:
            oldest.end()
        return wait

    def end_wait(self, wait: Wait) -> None:
        """As `Employer.end_wait`."""
        with self.lock:
            self.waits.leave(wait)
            self.busy_handlers += 1
