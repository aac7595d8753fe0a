"""
The loop: one leader at a time reads, writes what is waiting, runs timers and closes sockets.

The *leader token* is a lock; only the thread named in `turn_thread`, holding it, touches the selector. The leader runs
handlers itself: it releases the token before user code and takes it back without waiting afterwards. If a batch of
handlers runs for WATCHDOG_SECONDS, the watchdog takes the token and a spare thread leads on; the thread that lost it
finishes its session's inbox and joins the pool. So short handlers cost no thread switch, and long ones stop nobody.

Places: of W threads one leads, `job_places` may do jobs (RSA, key exchange, authenticate), the rest may be caught in
handlers. The leader runs no handler when those are all taken, so there is always a thread to lead on.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import socket
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Protocol, TypeVar

from .._mypyc import mypyc_attr
from ..errors import LimitExceeded
from ..interrupts import Right, Sign, start_thread
from ..limits import (
    MAX_PENDING_SIGNATURES,
    MAX_WAITING_HANDLERS,
    MAX_WORKERS,
    MIN_WORKERS,
    PLACES_LOG_SECONDS,
    PLACES_TAKEN_SECONDS,
    TURN_CONNECTIONS,
    TURN_SECONDS,
    WATCHDOG_SECONDS,
    WORKERS,
)
from ..options import whole
from ..streams.base import READ, Source, Told
from .jobs import Job, JobQueue, Task
from .poller import IOReady, ToldPoller, make_poller
from .switching import short_turns
from .waits import Wait, WaitPlaces

log = logging.getLogger("securelink")

#: Threads of all loops of this process. Code that they run is a handler or a hook, and must not block.
worker_threads: dict[int, Loop] = {}


def hand_over() -> None:
    """To be called before waiting: if the caller is the leader of a loop, inside a handler, a spare thread leads on."""
    loop = worker_threads.get(get_ident())
    if loop is not None:
        loop.hand_over()


@contextmanager
def waiting(wake: Callable[[], object], key: str = "") -> Iterator[Wait | None]:
    """
    Around a wait for another side: the others go on, and a handler that waits takes no handler's place.

    Args:
        wake: Called by another thread to end the wait early, when too many handlers wait; see `Wait.ended_early`.

    Returns:
        The place; None outside of handlers.
    """
    loop = worker_threads.get(get_ident())
    if loop is None or loop.manual:
        yield None
        return
    loop.hand_over()
    wait = loop.begin_wait(wake, key)
    try:
        yield wait
    finally:
        if wait is not None:
            loop.end_wait(wait)


Target = TypeVar("Target", bound=IOReady)


class Runnable(Protocol):
    """A session's inbox, as the loop sees it."""

    def run(self) -> bool:
        """Handle what waits, within RUN_PACKETS and RUN_SECONDS; True when something is left."""


class Unfinished(Protocol):
    """A connection of which more arrived than one turn takes."""

    def go_on(self) -> None:
        """Take the next part."""

    def on_error(self) -> None:
        """Called after `go_on` raised."""


class Flushable(Protocol):
    """Something with bytes to write."""

    listed: bool

    def flush(self) -> None:
        """Write without waiting."""

    def on_error(self) -> None:
        """Called after `flush` raised."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Loop:
    """
    One for a server; one a process for all clients.

    Args:
        name: Shown in thread names.
        workers: Threads, leader included: 3 to MAX_WORKERS.
        overlap: False: at most one handler at a time.
        manual: No thread leads; the caller drives by `turn()`.

    Attributes:
        turn_thread: Identity of the thread that leads, 0 while leadership passes. Changed only by who holds the token.
        flush_list: What the current turn has to flush. Belongs to the leader.
        now: `time.monotonic()` of the last poll, in seconds.
        grown: Bytes that sessions have taken since somebody looked how much they keep; about, for it is not locked.
        look_after: When so many are reached, `on_growth` is called.
        on_growth: By the leader: look now.
    """

    def __init__(
        self, name: str, *, workers: int = WORKERS, overlap: bool = True, manual: bool = False
    ) -> None:
        workers = whole("workers", workers, MIN_WORKERS, MAX_WORKERS)
        self.name = name
        self.manual = manual
        self._workers = workers
        job_places = max(1, min(4, (workers - 1) // 2))
        self._handler_places = workers - 1 - job_places if overlap else 1
        self._token = (
            threading.Lock()
        )  # taken and given back by threads of ours only, which no signal interrupts
        self._turn_right = Right()  # manual mode: what the token is otherwise
        self.turn_thread = 0
        self.flush_list: list[Flushable] = []
        self.batches: dict[int, list[Flushable]] = {}  # thread -> what its batch() holds back
        self.now = time.monotonic()
        self.grown = 0
        self.look_after = sys.maxsize
        self.on_growth: Callable[[], None] = lambda: None
        self._poller = make_poller()
        self._told = ToldPoller(self._wake)
        self._commands: deque[Callable[[], None]] = deque()
        # The ready list: each inbox is on it once at most. `_again` are those that gave way, until what the next poll
        # brings has got its place before them. Both belong to the leader.
        self._ready: OrderedDict[Runnable, None] = OrderedDict()
        self._again: list[Runnable] = []
        self._gave_way: set[Runnable] = set()  # those of them that are on the ready list again
        self._slow_ones: set[Runnable] = (
            set()
        )  # those whose last run cost the lead: the pool runs them
        self._handed: deque[Runnable] = deque()  # for the pool; under `_pool_lock`
        self._unfinished: deque[Unfinished] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_ids = itertools.count()
        self._sleeping = False
        self._wakes_at = math.inf  # when a sleeping leader wakes up by itself
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._wake_receiver.setblocking(False)
        self._wake_sender.setblocking(False)
        # The pool: `_pool_lock` guards the fields up to `_threads`. Threads start when they are needed.
        self._pool_lock = threading.RLock()
        self._pool = threading.Condition(self._pool_lock)  # waited for by threads of ours only
        self._idle = 0
        self._started = 0
        self._jobs = JobQueue(MAX_PENDING_SIGNATURES, job_places)
        self._busy_handlers = 0
        self._lead_offered = False
        self._led = False  # whether the lead was ever taken
        self._waits = WaitPlaces(MAX_WAITING_HANDLERS)
        self._at_jobs: set[int] = set()  # threads that do one
        self._crowded = False  # packets wait for a handler's place,
        self._crowds = 0  # for the so many-th time
        self._crowd_logged_at = -math.inf
        self._threads_logged_at = -math.inf
        self._threads: list[threading.Thread] = []
        # Watchdog: `_batch` counts batches, `_in_handler` says that one runs without the token.
        self._batch = 0
        self._in_handler = False
        self._watch_dormant = False
        self._watch_wanted = Sign()
        self._slow: set[int] = (
            set()
        )  # threads that lost the lead to the watchdog, until their handler is done
        self._stopping = False
        self._stopped = Sign()
        self._on_stopped: list[Callable[[], None]] = []

    # --- starting and stopping ------------------------------------------------------------------------

    def start(self) -> None:
        """
        Start the threads. A stopped loop is not started again: make a new one.

        Raises:
            LimitExceeded: The system starts no more threads. The loop is stopped then.
        """
        self._poller.set(self._wake_receiver, READ, _Waker(self._wake_receiver))
        if self.manual:
            return
        try:
            self._token.acquire()
            self._start_thread("watchdog", self._watch)
            with self._pool_lock:
                self._lead_offered = True
                error = self._call_worker()
            if error is not None:
                raise error
        except RuntimeError as error:
            self.abandon()
            raise LimitExceeded(
                f"the system starts no more threads: {error}",
                limit="threads",
                hint="end others, or raise the limit (ulimit -u, the container's number of processes)",
            ) from error
        except (
            BaseException
        ):  # Ctrl-C: what has been started must not wait for a leader who never comes
            if self._nobody_leads():
                self.abandon()
            raise

    def _nobody_leads(self) -> bool:
        """Whether no thread has taken the lead; from now on none does then."""
        with self._pool_lock:
            self._lead_offered = False
            return not self._led

    def discard(self) -> None:
        """By who has made it, and was interrupted: it is not needed. It ends, however far it got."""
        if self.stopped:
            return
        if self._nobody_leads():
            self.abandon()
        else:
            self.stop(lambda: None)

    def _start_thread(self, role: str, target: Callable[[], None]) -> None:
        # Listed before it starts: stop() must never miss one.
        thread = threading.Thread(target=target, name=f"securelink-{self.name}-{role}", daemon=True)
        self._threads.append(thread)
        try:
            start_thread(thread)
        except RuntimeError:
            self._threads.remove(thread)
            raise

    def _call_worker(self) -> RuntimeError | None:
        """
        Somebody must come for a job or the lead: wake one, or start one while there are places. Under `_pool_lock`.

        Returns:
            Why no thread could be started; for `_no_thread`, after the lock. The next that has nothing to do comes.
        """
        wanted = self._lead_offered + len(self._handed) + self._jobs.wanted
        if self._idle >= wanted:
            self._pool.notify()
        elif self._started < self._workers + len(self._waits):
            try:
                self._start_thread(str(self._started + 1), self._work)
            except RuntimeError as error:
                return error
            self._started += 1
        return None

    def _no_thread(self, error: RuntimeError | None) -> None:
        if error is None or time.monotonic() - self._threads_logged_at < PLACES_LOG_SECONDS:
            return
        self._threads_logged_at = time.monotonic()
        log.error(
            "cannot start a thread: %s; handshakes and packets wait for the %d that there are",
            error,
            self._started,
        )

    def stop(self, on_stopped: Callable[[], None]) -> None:
        """Ask the loop to end; `on_stopped` is called by the last leader. Any thread, also a handler."""
        self._on_stopped.append(on_stopped)
        self._stopping = True
        if self.manual:
            self._finish()
        else:
            self._wake()

    def abandon(self) -> None:
        """Instead of `start`: nobody will ever lead."""
        self._stopping = True
        self._finish()

    def orphaned(self) -> None:
        """In a child of fork(): the threads are the parent's. A handler that goes on here comes back to nothing."""
        self._slow.clear()
        self._on_stopped.clear()
        self._stopping = True
        worker_threads.clear()  # their numbers will be given to other threads here

    def join(self, timeout: float) -> bool:
        """Wait for the threads; True when all have ended. From a loop thread: only asks."""
        deadline = time.monotonic() + timeout
        self._stopped.wait(timeout)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        return not any(t.is_alive() for t in self._threads if t is not threading.current_thread())

    def _finish(self) -> None:
        """The last act of the last leader."""
        asked: BaseException | None = None
        for callback in self._on_stopped:
            try:
                callback()
            except Exception:
                log.exception("internal error while stopping")
            except BaseException as error:  # of a listener of on_stop: everything is closed first
                asked = error
        self._poller.close()
        self._wake_receiver.close()
        self._wake_sender.close()
        with self._pool_lock:
            self._stopped.set()
            self._pool.notify_all()
        self._watch_wanted.set()
        if asked is not None and self.manual:
            raise asked

    @property
    def stopped(self) -> bool:
        """Whether the last leader is done."""
        return self._stopped.is_set()

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping

    # --- what any thread may call -----------------------------------------------------------------------

    def call(self, command: Callable[[], None]) -> None:
        """Let the leader run a short command of ours between two polls."""
        self._commands.append(command)
        self._wake()

    def call_later(self, seconds: float, command: Callable[[], None]) -> None:
        """Let the leader run a command after a while."""
        when = time.monotonic() + seconds
        if self.leading:
            heapq.heappush(self._timers, (when, next(self._timer_ids), command))
        else:
            self._commands.append(
                lambda: heapq.heappush(self._timers, (when, next(self._timer_ids), command))
            )
            # A leader that wakes up before that time anyway need not be woken. One that looked at the commands
            # before they grew has said before when it will wake up.
            if when < self._wakes_at:
                self._wake()

    def schedule(self, runnable: Runnable) -> None:
        """Put an inbox on the ready list, unless it is there. Any thread."""
        if self.leading:
            self._ready[runnable] = None
        else:
            self.call(lambda: self.make_ready(runnable))

    def submit(self, key: str, task: Task) -> bool:
        """
        Give expensive work to the pool.

        Args:
            key: The address that it is for; they take turns.
            task: What to do. If it gives way to others, the leader calls what it says for that case.

        Returns:
            False when too much waits already.
        """
        with self._pool_lock:
            if self._stopping or not self._jobs.put(key, task):
                return False
            gone, self._jobs.displaced = self._jobs.displaced, []
            error = self._call_worker()
        for act in gone:
            self.call(act)
        self._no_thread(error)
        return True

    def submit_own(self, job: Job) -> bool:
        """Give work that no stranger asked for to the pool. False when the loop is stopping."""
        with self._pool_lock:
            if self._stopping:
                return False
            self._jobs.put_own(job)
            error = self._call_worker()
        self._no_thread(error)
        return True

    def grew(self) -> None:
        """`grown` has reached `look_after`: the leader looks, once. Any thread."""
        self.look_after = sys.maxsize
        self.call(self.on_growth)

    def _wake(self) -> None:
        # Written only when the leader said that it goes to sleep; it looks once more after saying so.
        if self._sleeping:
            self._sleeping = False
            try:
                self._wake_sender.send(b"\0")
            except OSError:
                pass  # full: it wakes anyway; closed: nobody is there to wake

    @property
    def idle(self) -> bool:
        """Whether no handler runs or waits to run. For the leader, between handlers."""
        waits = len(self._waits)
        return not (self._ready or self._again or self._commands or self._busy_handlers or waits)

    def thread_names(self) -> list[str]:
        """Names of the living threads of this loop."""
        return [thread.name for thread in self._threads if thread.is_alive()]

    @property
    def leading(self) -> bool:
        """Whether the caller holds the token: it leads, and is not inside a handler (but for manual mode)."""
        return self.turn_thread == get_ident() and not self._in_handler

    # --- what only the leader may call --------------------------------------------------------------------

    def register(self, source: Source, mask: int, target: IOReady) -> None:
        """Set what polling reports for a source, such as a stream; a mask of 0 removes it."""
        if isinstance(source, Told):
            self._told.set(source, mask, target)
        else:
            self._poller.set(source, mask, target)

    def make_ready(self, runnable: Runnable) -> None:
        """Put an inbox on the ready list, unless it is there."""
        self._ready[runnable] = None

    def make_unfinished(self, connection: Unfinished) -> None:
        """Let a connection go on in the next turn."""
        self._unfinished.append(connection)

    # --- leading ------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """One turn in the caller's thread (manual mode): read, handle, write; never waits."""
        if self._stopping:
            return
        right = self._turn_right
        try:
            del right.free
        except AttributeError:
            return
        try:
            self.turn_thread = get_ident()
            self._flush()
            self._poll(0.0)
            self._run_ready()
            self._flush()
        finally:
            self.turn_thread = 0
            right.free = True

    def _lead(self) -> None:
        """Lead until the token is lost or the loop stops. The token was taken on our behalf."""
        self.turn_thread = get_ident()
        while not self._stopping:
            # First what the previous leader left behind, see "Threads" in docs/DESIGN.md.
            if self.flush_list:
                self._flush()
            if self._ready and not self._run_ready():
                return
            if self.flush_list:
                self._flush()
            self._poll(None)
        self._flush()
        self._finish()
        self.turn_thread = 0  # the system may give this thread's identity to another one

    def _flush(self) -> None:
        while self.flush_list:
            flushing, self.flush_list = self.flush_list, []
            flushed = 0
            try:
                for target in flushing:
                    flushed += 1
                    target.listed = False
                    try:
                        target.flush()
                    except Exception:
                        self._went_wrong(target)
            except (
                BaseException
            ):  # Ctrl-C in update(): those that are listed would never be listed again
                self.flush_list = flushing[flushed:] + self.flush_list
                raise

    def each(self, targets: Iterable[Target], act: Callable[[Target], object]) -> None:
        """For the leader: do something with many connections, of which none can keep it from the next."""
        for target in tuple(targets):
            try:
                act(target)
            except Exception:
                self._went_wrong(target)

    def _went_wrong(self, target: IOReady | Flushable | Unfinished) -> None:
        """A bug of ours in one connection: it must not cost the others their leader."""
        log.exception("internal error on a connection; it is closed, others go on")
        try:
            target.on_error()
        except Exception:
            log.exception("internal error while closing a connection")

    def _may_handle(self) -> bool:
        return self._busy_handlers < self._handler_places

    def _run_ready(self) -> bool:
        """Run inboxes for one turn. False when the token was lost on the way."""
        ready = self._ready
        if not ready:
            return True
        left = TURN_CONNECTIONS
        deadline = time.monotonic() + TURN_SECONDS
        while ready and left and self._may_handle():
            left -= 1
            runnable, _ = ready.popitem(last=False)
            if self._gave_way and runnable in self._gave_way:
                self._gave_way.discard(runnable)
                self._flush()  # it takes long: the answers of the others do not wait for it
            if self._slow_ones and runnable in self._slow_ones:
                self._slow_ones.discard(runnable)
                self._hand_to_pool(runnable)
            elif self.manual:
                if runnable.run():
                    self._again.append(runnable)
            elif not self._run_unlocked(runnable):
                return False
            if time.monotonic() > deadline:
                break
        return True

    def _run_unlocked(self, runnable: Runnable) -> bool:
        """Run one inbox without the token. False when somebody else leads afterwards."""
        me = get_ident()
        self._batch += 1
        self._in_handler = True
        if self._watch_dormant:
            self._watch_wanted.set()
        self._token.release()
        try:
            more = runnable.run()
        except BaseException:  # also SystemExit: it must not take the thread, or the lead, with it
            log.exception("internal error in a handler's thread")
            more = False
        # Leadership is `turn_thread`, and it changes only under the token: an acquire that succeeds proves
        # nothing before the name was read under it; one that fails while the name is ours is a passer-by.
        while self.turn_thread == me:
            if self._token.acquire(False) or self._token.acquire(timeout=0.001):
                if self.turn_thread == me:
                    self._in_handler = False
                    if more:
                        self._again.append(runnable)
                    return True
                self._token.release()
        self._finish_inbox(runnable, more)
        return False

    def _finish_inbox(self, runnable: Runnable, more: bool) -> None:
        while more and not (self._ready or self._again):
            more = _run_guarded(runnable)
        self._no_longer_slow(get_ident())
        # In this order: between the two nobody may find the loop idle.
        if more:
            self.call(lambda: self._again_slow(runnable))
        self._free_place()

    def _again_slow(self, runnable: Runnable) -> None:
        self._slow_ones.add(runnable)
        self.make_ready(runnable)

    def _hand_to_pool(self, runnable: Runnable) -> None:
        """Let a thread of the pool run an inbox whose last handler was slow: the lead need not be taken again."""
        with self._pool_lock:
            self._busy_handlers += 1
            self._handed.append(runnable)
            error = self._call_worker()
        self._no_thread(error)

    def _run_handed(self, runnable: Runnable) -> None:
        started = time.monotonic()
        self._slow.add(get_ident())
        short_turns.begin()
        more = _run_guarded(runnable)
        if time.monotonic() - started >= WATCHDOG_SECONDS:
            self._finish_inbox(runnable, more)
            return
        self._no_longer_slow(get_ident())  # nor is its session any more: the leader runs it again
        if more:
            self.schedule(runnable)
        self._free_place()

    def _free_place(self) -> None:
        with self._pool_lock:
            self._busy_handlers -= 1
        if self._ready or self._again:
            self._wake()

    def hand_over(self) -> None:
        """
        Let a spare thread lead, if the caller is a leader inside a handler; then flush what it sent.

        Library calls that wait call this first: whoever waits must not hold up the others.
        """
        me = get_ident()
        if self.turn_thread == me:
            self._take_from(me, self._batch)

    def begin_wait(self, wake: Callable[[], object], key: str = "") -> Wait | None:
        """By a handler of this loop, see `waiting`; None in a job, which has a place of another kind."""
        if get_ident() in self._at_jobs:
            return None
        wait = Wait(wake, key)
        with self._pool_lock:
            oldest = self._waits.enter(wait)
            self._busy_handlers -= 1
        if oldest is not None:
            oldest.end()
        self._wake()
        return wait

    def end_wait(self, wait: Wait) -> None:
        """Its handler goes on."""
        with self._pool_lock:
            self._waits.leave(wait)
            self._busy_handlers += 1

    def _take_from(self, leader: int, batch: int) -> bool:
        """Take leadership from a thread that is inside a batch of handlers, and offer it to the pool."""
        if not self._token.acquire(False):
            return False
        if self.turn_thread != leader or not self._in_handler or self._batch != batch:
            self._token.release()
            return False
        self.turn_thread = 0
        self._in_handler = False
        with self._pool_lock:
            self._busy_handlers += 1
            self._lead_offered = True
            error = self._call_worker()
        self._no_thread(error)
        # The token stays locked: it belongs to the thread that takes the offer.
        return True

    def _poll(self, limit: float | None) -> None:
        timeout = limit
        crowded = bool(self._ready or self._again) and not self._may_handle()
        if crowded != self._crowded:
            self._crowds_change(crowded)
        if timeout is None:
            timeout = self._next_timer()
            if timeout != 0.0:
                self._wakes_at = self._timers[0][0] if self._timers else math.inf
                self._sleeping = True
        if (
            self._stopping
            or self._commands
            or self.flush_list
            or self._unfinished
            or ((self._ready or self._again) and self._may_handle())
        ):
            timeout = 0.0
        told = self._told
        events = told.poll(self._poller, timeout) if told.watched else self._poller.poll(timeout)
        self._sleeping = False
        self.now = time.monotonic()
        unfinished = len(self._unfinished)  # what this poll brings has had its turn by then
        for target, mask in events:
            try:
                target.on_io(mask)
            except Exception:
                self._went_wrong(target)
        if unfinished:
            self._go_on(unfinished)
        if self._commands:
            self._run_commands()
        if self._again:
            self._gave_way.update(self._again)
            self._ready.update(dict.fromkeys(self._again))
            self._again.clear()
        timers = self._timers
        if timers and timers[0][0] <= self.now:
            self._run_timers()

    def _crowds_change(self, crowded: bool) -> None:
        """Packets begin to wait for a place, or do not any more."""
        self._crowded = crowded
        self._crowds += 1
        if not crowded:
            return
        crowd = self._crowds
        when = time.monotonic() + PLACES_TAKEN_SECONDS
        heapq.heappush(
            self._timers, (when, next(self._timer_ids), lambda: self._still_crowded(crowd))
        )

    def _still_crowded(self, crowd: int) -> None:
        """Say that packets wait because all places for handlers are taken; not for each short moment of it."""
        if not self._crowded or crowd != self._crowds or self._may_handle():
            return
        now = time.monotonic()
        if now - self._crowd_logged_at < PLACES_LOG_SECONDS:
            return
        self._crowd_logged_at = now
        log.warning(
            "%s: all %d places for handlers are taken (workers=%d), and packets of other sessions wait. Let handlers "
            "be shorter, do long work in threads of your own and answer by packet.defer(), or raise workers=",
            self.name, self._handler_places, self._workers,
        )  # fmt: skip

    def _go_on(self, count: int) -> None:
        """Connections that had more than one turn takes; in order, for TURN_SECONDS."""
        deadline = time.monotonic() + TURN_SECONDS
        for _ in range(count):
            connection = self._unfinished.popleft()
            try:
                connection.go_on()
            except Exception:
                self._went_wrong(connection)
            if time.monotonic() > deadline:
                return

    def _next_timer(self) -> float | None:
        if not self._timers:
            return None
        return max(0.0, self._timers[0][0] - time.monotonic())

    def _run_commands(self) -> None:
        commands = self._commands
        for _ in range(len(commands)):
            try:
                commands.popleft()()
            except Exception:
                log.exception("internal error in a command of the loop")

    def _run_timers(self) -> None:
        timers = self._timers
        while timers and timers[0][0] <= self.now:
            command = heapq.heappop(timers)[2]
            try:
                command()
            except Exception:
                log.exception("internal error in a timer of the loop")

    # --- the pool -------------------------------------------------------------------------------------------

    def _work(self) -> None:
        worker_threads[get_ident()] = self
        try:
            while (task := self._next_task()) is not None:
                task()
                del task  # it would keep its connection while this thread waits for the next
        finally:
            worker_threads.pop(get_ident(), None)

    def _next_task(self) -> Job | None:
        with self._pool_lock:
            while True:
                if self._lead_offered:
                    self._lead_offered = False
                    self._led = True
                    return self._lead
                if self._handed:
                    runnable = self._handed.popleft()
                    return lambda: self._run_handed(runnable)
                if self._stopped.is_set():
                    return None
                if (task := self._jobs.take()) is not None:
                    return lambda: self._do(task)
                self._idle += 1
                self._pool.wait()
                self._idle -= 1

    def _do(self, task: Task) -> None:
        self._at_jobs.add(get_ident())
        try:
            task.run()
        except BaseException:  # also SystemExit, from an authenticate hook
            log.exception("internal error in a worker thread")
        finally:
            self._at_jobs.discard(get_ident())
            with self._pool_lock:
                self._jobs.done(task)

    def _take_from_slow(self, leader: int, batch: int) -> None:
        short_turns.begin()
        self._slow.add(leader)
        if not self._take_from(leader, batch):
            self._no_longer_slow(leader)

    def _no_longer_slow(self, thread: int) -> None:
        try:
            self._slow.remove(thread)
        except KeyError:
            return  # not slow, or it has said so itself
        short_turns.end()

    def _watch(self) -> None:
        """Takes the token from a leader whose batch runs for WATCHDOG_SECONDS. Sleeps while the loop does."""
        last = -1
        while not self._stopped.is_set():
            batch, leader = self._batch, self.turn_thread
            if self._in_handler and batch == last:
                self._take_from_slow(leader, batch)
            elif batch == last and self._sleeping:
                self._watch_dormant = True
                # Look once more: a batch that began before the flag was up set no event.
                if self._batch == last:
                    self._watch_wanted.wait()
                self._watch_dormant = False
                self._watch_wanted.clear()
            last = batch
            time.sleep(WATCHDOG_SECONDS)


def _run_guarded(runnable: Runnable) -> bool:
    """Run it in a thread of ours: whatever it raises must not take the thread, or the lead, with it."""
    try:
        return runnable.run()
    except BaseException:  # also SystemExit
        log.exception("internal error in a handler's thread")
        return False


class _Waker:
    """Drains the wake-up socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def on_io(self, mask: int) -> None:
        try:
            self._sock.recv(4096)
        except OSError:
            pass

    def on_error(self) -> None:
        pass
