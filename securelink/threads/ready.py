"""
Inboxes that wait to be run, and their turns.

Usually they run in the order in which packets came. When a turn is over before all have run, and for those that have
more to do, networks take turns, so that many sessions of one address delay others no more than one does.

A short one runs in the leader's thread. One whose last run cost the lead is run by the pool the next time: the lead
need not be taken again.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import get_ident

from ..limits import TURN_CONNECTIONS, TURN_SECONDS, WATCHDOG_SECONDS
from .fair_queue import FairQueue
from .lead import Lead
from .pool import Pool
from .tasks import Runnable
from .waker import Waker
from .watchdog import Watchdog

log = logging.getLogger("securelink")


class ReadyList:
    """
    The ready list of a loop. It belongs to the leader.

    Args:
        lead: Which thread that is.
        pool: Runs slow ones.
        watchdog: Knows the slow threads.
        waker: Of the leader.
        call: Lets the leader run a command.
        flush: Writes what the turn has to write so far.
        manual: There are no threads, and none to take the lead.

    Attributes:
        inboxes: That have something new. Each is on it once at most.
        again: Those that gave way, or for which the last turn had no time.
    """

    def __init__(
        self,
        lead: Lead,
        pool: Pool,
        watchdog: Watchdog,
        waker: Waker,
        call: Callable[[Callable[[], None]], None],
        flush: Callable[[], None],
        *,
        manual: bool,
    ) -> None:
        self._lead = lead
        self._pool = pool
        self._watchdog = watchdog
        self._waker = waker
        self._call = call
        self._flush = flush
        self._manual = manual
        self.inboxes: OrderedDict[Runnable, None] = OrderedDict()
        self.again: FairQueue[Runnable] = FairQueue()
        self._gave_way: set[Runnable] = set()  # those of them that are on the list again
        self._slow_ones: set[Runnable] = set()  # those whose last run cost the lead

    def add(self, runnable: Runnable) -> None:
        """Put an inbox on the list, unless it is there."""
        self.inboxes[runnable] = None

    def run(self) -> bool:
        """Run inboxes for one turn. False when the token was lost on the way."""
        ready, again = self.inboxes, self.again
        in_rounds = again.count > 0
        if in_rounds and ready:
            self._to_rounds()
        pool, lead = self._pool, self._lead
        me = lead.thread
        # A session that gives way comes behind those that the next poll brings.
        left = min(TURN_CONNECTIONS, again.count) if in_rounds else TURN_CONNECTIONS
        deadline = 0.0  # unknown: one that is alone costs no look at the clock
        if in_rounds or len(ready) > 1:
            deadline = time.monotonic() + TURN_SECONDS
        while left and (in_rounds or ready) and pool.busy_handlers < pool.handler_places:
            left -= 1
            runnable = again.pop() if in_rounds else ready.popitem(last=False)[0]
            if self._gave_way and runnable in self._gave_way:
                self._gave_way.discard(runnable)
                self._flush()  # it takes long: the answers of the others do not wait for it
            if self._slow_ones and runnable in self._slow_ones:
                self._slow_ones.discard(runnable)
                pool.hand(self._handed(runnable))
            else:
                more = runnable.run() if self._manual else lead.run(runnable)
                if lead.thread != me:
                    self._run_out(runnable, more)
                    return False
                if more:
                    if not in_rounds:  # those that came before have their turn before its next one
                        in_rounds, left = True, min(left, len(ready))
                        self._to_rounds()
                    self._gave_way.add(runnable)
                    again.put(runnable, _network(runnable), had_turn=True)
            if in_rounds or ready:
                now = time.monotonic()
                deadline = deadline or now + TURN_SECONDS
                if now > deadline:
                    if ready:
                        self._to_rounds()
                    break
        return True

    def _to_rounds(self) -> None:
        """There is more to do than one turn takes: from now on networks take turns, until nothing waits."""
        for runnable in self.inboxes:
            self.again.put(runnable, _network(runnable))
        self.inboxes.clear()

    # In a thread that does not lead.

    def _run_out(self, runnable: Runnable, more: bool) -> None:
        """Go on with an inbox while no other one waits; then give the place back."""
        while more and not (self.inboxes or self.again.count):
            more = _run_guarded(runnable)
        self._watchdog.no_longer_slow(get_ident())
        # In this order: between the two no thread may find the loop idle.
        if more:
            self._call(lambda: self._add_slow(runnable))
        self._free_place()

    def _add_slow(self, runnable: Runnable) -> None:
        self._slow_ones.add(runnable)
        self.add(runnable)

    def _handed(self, runnable: Runnable) -> Callable[[], None]:
        return lambda: self._run_handed(runnable)

    def _run_handed(self, runnable: Runnable) -> None:
        started = time.monotonic()
        self._watchdog.slow(get_ident())
        more = _run_guarded(runnable)
        if time.monotonic() - started >= WATCHDOG_SECONDS:
            self._run_out(runnable, more)
            return
        # Nor is its session slow any more: the leader runs it again.
        self._watchdog.no_longer_slow(get_ident())
        if more:
            self._call(lambda: self.add(runnable))
        self._free_place()

    def _free_place(self) -> None:
        self._pool.free_place()
        if self.inboxes or self.again:
            self._waker.wake()


def _network(runnable: Runnable) -> Hashable:
    """Whose turn it is; None for work of our own, which stands for itself."""
    return getattr(runnable, "network", None)


def _run_guarded(runnable: Runnable) -> bool:
    """Run it in a thread of ours: whatever it raises must not take the thread, or the lead, with it."""
    try:
        return runnable.run()
    except BaseException:  # also SystemExit
        log.exception("internal error in a handler's thread")
        return False
