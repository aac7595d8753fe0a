"""
The loop: one leader at a time reads, writes what is waiting, runs timers and closes sockets.

Only the leader touches the selector, and it runs handlers itself (`lead.py`). The other threads come from `pool.py`.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from threading import get_ident
from typing import TypeVar

from .._mypyc import mypyc_attr
from ..interrupts import Right
from ..limits import MAX_WORKERS, MIN_WORKERS, TURN_SECONDS, WORKERS
from ..options import whole
from ..streams.base import READ, Source, Told
from . import bursts
from .crowding import Crowding
from .fair_queue import FairQueue
from .giving_way import worker_threads
from .jobs import Job
from .lead import Lead
from .poller import MAX_EVENTS, IOReady, ToldPoller, make_poller
from .pool import Pool, no_thread
from .ready import ReadyList
from .tasks import Flushable, Look, Runnable, Unfinished
from .timers import Timers, run_some
from .waits import Wait
from .waker import Waker
from .watchdog import Watchdog

log = logging.getLogger("securelink")

Target = TypeVar("Target", bound=IOReady)


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
        lead: Which thread leads.
        pool: Its threads.
        ready: Inboxes that wait to be run.
        flush_list: What the current turn has to flush. Belongs to the leader.
        bursts: Packets of threads that send many in a row.
        now: `time.monotonic()` of the last poll, in seconds.
        grown: Bytes that sessions have taken since the last check of what they keep; without a lock, so approximately.
        look_after: When so many are reached, `on_growth` is called.
        on_growth: By the leader: look now.
        look_later: What sessions have as `on_look`; see there.
        unread: Since this was False a read has brought something else than a lone record: more may follow at once.
        parked: How many inboxes wait for what the application has begun in them.
        away: The leader has something done by another thread, see `ShellLoop.aside`: meanwhile no turn goes on.
        identity: Names who calls, for what one part of the application does and others do not: its thread, unless a
            shell has several that take turns in one thread.
    """

    def __init__(
        self, name: str, *, workers: int = WORKERS, overlap: bool = True, manual: bool = False
    ) -> None:
        workers = whole("workers", workers, MIN_WORKERS, MAX_WORKERS)
        self.name = name
        self.manual = manual
        self.pool = Pool(name, self, workers, overlap=overlap)
        self.lead = Lead(self.pool.offer_lead)
        self._turn_right = Right()  # manual mode: what the token is otherwise
        self.flush_list: list[Flushable] = []
        self.batches: dict[int, list[Flushable]] = {}  # thread -> what its batch() holds back
        self.now = time.monotonic()
        self.grown, self.look_after = 0, sys.maxsize
        self.on_growth: Callable[[], None] = lambda: None
        self.look_later: Look | None = None
        self.unread, self.parked = False, 0
        self.identity: Callable[[], int] = get_ident
        self._poller, self._waker = make_poller(), Waker()
        self.bursts = bursts.Bursts(self.lead, watched=not manual)
        self._watchdog = Watchdog(self.lead, self._waker, self.bursts)
        self._told = ToldPoller(self._waker.wake)
        self._commands: deque[Callable[[], None]] = deque()
        self.ready = ReadyList(
            self.lead, self.pool, self._watchdog, self._waker, self.call, self._flush, manual=manual
        )
        self._unfinished, self._timers = FairQueue[Unfinished](), Timers()
        self._crowding = Crowding(name, self.pool, self._timers)
        self._stopping = self.away = False
        self._on_stopped: list[Callable[[], None]] = []

    # --- starting and stopping ------------------------------------------------------------------------

    def start(self) -> None:
        """
        Start the threads. A stopped loop is not started again: make a new one.

        Raises:
            LimitExceeded: The system starts no more threads. The loop is stopped then.
        """
        if self._waker.receiver is not None:
            self._poller.set(self._waker.receiver, READ, self._waker)
        if self.manual:
            return
        try:
            self.lead.reserve()
            self.pool.start_thread("watchdog", self._watchdog.watch)
            self.pool.start_leading()
        except RuntimeError as error:
            self.abandon()
            raise no_thread(error) from error
        except BaseException:
            # Ctrl-C: threads that were started must not wait for a leader that never comes.
            if self.pool.nobody_leads():
                self.abandon()
            raise

    def discard(self) -> None:
        """Called by the maker of the loop, which was interrupted: end it, however far it got."""
        if self.stopped:
            return
        if self.pool.nobody_leads():
            self.abandon()
        else:
            self.stop(lambda: None)

    def stop(self, on_stopped: Callable[[], None]) -> None:
        """Ask the loop to end; `on_stopped` is called by the last leader. Any thread, also a handler."""
        self._on_stopped.append(on_stopped)
        self._stopping = self.pool.closed = True
        if self.manual:
            self._finish()
        else:
            self._waker.wake()

    def abandon(self) -> None:
        """Instead of `start`: no thread will ever lead."""
        self._stopping = self.pool.closed = True
        self._finish()

    def orphaned(self) -> None:
        """In a child of fork(): the threads are the parent's. A handler that goes on here comes back to nothing."""
        self._watchdog.forget()
        self._on_stopped.clear()
        self._stopping = self.pool.closed = True
        worker_threads.clear()  # their numbers will be given to other threads here

    def join(self, timeout: float) -> bool:
        """Wait for the threads; True when all have ended. From a loop thread: only asks."""
        return self.pool.join(timeout)

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
        self._waker.close()
        self.pool.end()
        self._watchdog.stop()
        if asked is not None and self.manual:
            raise asked

    @property
    def paced(self) -> bool:
        """Whether it goes on by itself, and not only in calls of the program."""
        return not self.manual

    @property
    def stopped(self) -> bool:
        """Whether the last leader is done."""
        return self.pool.ended

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping

    # --- what any thread may call -----------------------------------------------------------------------

    def call(self, command: Callable[[], None]) -> None:
        """Let the leader run a short command of ours between two polls."""
        self._commands.append(command)
        self._waker.wake()

    def call_later(self, seconds: float, command: Callable[[], None]) -> None:
        """Let the leader run a command after a while."""
        when = time.monotonic() + seconds
        if self.leading:
            self._timers.add(when, command)
        else:
            self._commands.append(lambda: self._timers.add(when, command))
            # Not a leader that wakes up by then: it says when before it looks at the commands for the last time.
            if when < self._waker.wakes_at:
                self._waker.wake()

    def schedule(self, runnable: Runnable) -> None:
        """Put an inbox on the ready list, unless it is there. Any thread."""
        if self.leading:
            self.ready.add(runnable)
        else:
            self.call(lambda: self.ready.add(runnable))

    def submit_own(self, job: Job) -> bool:
        """As `Pool.submit_own`."""
        return self.pool.submit_own(job)

    def grew(self) -> None:
        """`grown` has reached `look_after`: the leader looks, once. Any thread."""
        self.look_after = sys.maxsize
        self.call(self.on_growth)

    @property
    def idle(self) -> bool:
        """Whether no handler runs or waits to run. For the leader, between handlers."""
        ready, busy = self.ready, self.pool.busy_handlers or len(self.pool.waits) or self.parked
        return not (ready.inboxes or ready.again.count or self._commands or busy)

    def thread_names(self) -> list[str]:
        """Names of the living threads of this loop."""
        return self.pool.thread_names()

    @property
    def leading(self) -> bool:
        """Whether the caller holds the token: it leads, and is not inside a handler (but for manual mode)."""
        return self.lead.thread == get_ident() and not self.lead.in_handler

    # --- what only the leader may call --------------------------------------------------------------------

    def register(self, source: Source, mask: int, target: IOReady) -> None:
        """Set what polling reports for a source, such as a stream; a mask of 0 removes it."""
        if isinstance(source, Told):
            self._told.set(source, mask, target)
        else:
            self._poller.set(source, mask, target)

    def make_ready(self, runnable: Runnable) -> None:
        """Put an inbox on the ready list, unless it is there."""
        self.ready.add(runnable)

    def make_unfinished(self, connection: Unfinished, network: Hashable = None) -> None:
        """Let a connection go on later; networks take turns."""
        self._unfinished.put(connection, network, had_turn=True)

    # --- leading ------------------------------------------------------------------------------------------

    def turn(self, until: float = 0.0) -> None:
        """Turns in the caller's thread (manual mode) while there is work, until a time; one at least. Never waits."""
        bursts.over()
        right, more, self.unread = self._turn_right, True, False
        while more and not self._stopping:
            try:
                del right.free
            except AttributeError:
                return
            try:
                self.lead.thread = get_ident()
                self._flush()
                found = self._poll(0.0)
                self.ready.run()
                self._flush()
            finally:
                self.lead.thread = 0
                right.free = True
            more = found >= MAX_EVENTS or (found > 0 and self.unread) or not self.idle
            more = (more or self._unfinished.count > 0) and time.monotonic() < until

    def lead_on(self) -> None:
        """In a thread of the pool: lead until the lead is lost or the loop stops. The token was taken on our behalf."""
        self.lead.thread = get_ident()
        while not self._stopping:
            if not self._lead_for_a_turn():
                return
        self._flush()
        self._finish()
        self.lead.thread = 0  # the system may give this thread's identity to another one

    def _lead_for_a_turn(self) -> bool:
        """False when the lead was lost. A function of its own: CPython 3.11 makes only those fast that are called."""
        # First what the previous leader left behind, see "Threads" in docs/DESIGN.md.
        if self.flush_list:
            self._flush()
        ready = self.ready
        if (ready.inboxes or ready.again.count) and not ready.run():
            return False
        if self.flush_list:
            self._flush()
        self._poll(None)
        return True

    def _flush(self) -> None:
        while self.flush_list:
            flushing, flushed, self.flush_list = self.flush_list, 0, []
            try:
                for target in flushing:
                    flushed += 1
                    target.listed = False
                    try:
                        target.flush()
                    except Exception:
                        self._went_wrong(target)
            except BaseException:
                # Ctrl-C in update(): those that are listed would never be listed again.
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

    def hand_over(self) -> None:
        """Let a spare thread lead, if the caller is a leader inside a handler."""
        lead, me = self.lead, get_ident()
        if lead.thread == me:
            lead.take_from(me, lead.batch)

    def begin_wait(self, wake: Callable[[], object], key: str = "") -> Wait | None:
        """By a handler of this loop, see `waiting`; None in a job, which has a place of another kind."""
        wait = self.pool.begin_wait(wake, key)
        if wait is not None:
            self._waker.wake()
        return wait

    def end_wait(self, wait: Wait) -> None:
        """Its handler goes on."""
        self.pool.end_wait(wait)

    def _poll(self, timeout: float | None) -> int:
        waker, timers, ready, told = self._waker, self._timers.heap, self.ready, self._told
        if ready.inboxes or ready.again.count or self._crowding.crowded:
            self._crowding.look(waits=bool(ready.inboxes or ready.again.count))
        if timeout is None:
            due = math.inf
            if timers:
                due = timers[0][0]
                timeout = max(0.0, due - time.monotonic())
            if timeout != 0.0:
                waker.wakes_at = due
                waker.sleeping = True
            # Once more: what came before the leader said that it sleeps has woken nobody.
            waits = self._commands or self.flush_list or self._unfinished.count or self._stopping
            if waits or ((ready.inboxes or ready.again.count) and not self.pool.is_crowded):
                timeout = 0.0
        events = told.poll(self._poller, timeout) if told.watched else self._poller.poll(timeout)
        waker.sleeping = False
        self.now = time.monotonic()
        unfinished = self._unfinished.count  # what this poll brings has had its turn by then
        for target, mask in events:
            try:
                target.on_io(mask)
            except Exception:
                self._went_wrong(target)
        if unfinished:
            self._go_on(unfinished)
        if self._commands:
            run_some(self._commands, hurry=self._stopping)
        if timers and timers[0][0] <= self.now:
            self._timers.run_due(self.now)
        return len(events)

    def _go_on(self, count: int) -> None:
        """Connections that had more than one turn takes, for TURN_SECONDS."""
        deadline = time.monotonic() + TURN_SECONDS
        for _ in range(count):
            connection = self._unfinished.pop()
            try:
                connection.go_on()
            except Exception:
                self._went_wrong(connection)
            if time.monotonic() > deadline:
                return
