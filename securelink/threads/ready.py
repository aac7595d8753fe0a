"""
Inboxes that wait to be run, and their turns.

A short one runs in the leader's thread. One whose last run cost the lead is run by the pool the next time: the lead
need not be taken again.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import get_ident

from ..limits import TURN_CONNECTIONS, TURN_SECONDS, WATCHDOG_SECONDS
from .lead import Lead, Watchdog
from .pool import Pool
from .tasks import Runnable
from .waker import Waker

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
        manual: There are no threads, and nobody to take the lead.

    Attributes:
        inboxes: Each is on it once at most.
        again: Those that gave way, until what the next poll brings has got its place before them.
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
        self.again: list[Runnable] = []
        self._gave_way: set[Runnable] = set()  # those of them that are on the list again
        self._slow_ones: set[Runnable] = set()  # those whose last run cost the lead

    def add(self, runnable: Runnable) -> None:
        """Put an inbox on the list, unless it is there."""
        self.inboxes[runnable] = None

    def take_back(self) -> None:
        """Put those that gave way behind what the poll has brought."""
        self._gave_way.update(self.again)
        self.inboxes.update(dict.fromkeys(self.again))
        self.again.clear()

    def run(self) -> bool:
        """Run inboxes for one turn. False when the token was lost on the way."""
        ready = self.inboxes
        if not ready:
            return True
        pool, lead = self._pool, self._lead
        me = lead.thread
        left = TURN_CONNECTIONS
        deadline = time.monotonic() + TURN_SECONDS
        while ready and left and pool.busy_handlers < pool.handler_places:
            left -= 1
            runnable, _ = ready.popitem(last=False)
            if self._gave_way and runnable in self._gave_way:
                self._gave_way.discard(runnable)
                self._flush()  # it takes long: the answers of the others do not wait for it
            if self._slow_ones and runnable in self._slow_ones:
                self._slow_ones.discard(runnable)
                pool.hand(self._handed(runnable))
            elif self._manual:
                if runnable.run():
                    self.again.append(runnable)
            else:
                more = lead.run(runnable)
                if lead.thread != me:
                    self._run_out(runnable, more)
                    return False
                if more:
                    self.again.append(runnable)
            if time.monotonic() > deadline:
                break
        return True

    # In a thread that does not lead.

    def _run_out(self, runnable: Runnable, more: bool) -> None:
        """Go on with an inbox while no other one waits; then give the place back."""
        while more and not (self.inboxes or self.again):
            more = _run_guarded(runnable)
        self._watchdog.no_longer_slow(get_ident())
        # In this order: between the two nobody may find the loop idle.
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


def _run_guarded(runnable: Runnable) -> bool:
    """Run it in a thread of ours: whatever it raises must not take the thread, or the lead, with it."""
    try:
        return runnable.run()
    except BaseException:  # also SystemExit
        log.exception("internal error in a handler's thread")
        return False
