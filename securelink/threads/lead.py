"""
The lead: which thread of a loop reads, writes what is waiting, runs timers and closes sockets.

The *leader token* is a lock; the leader is the thread named in `thread`, which holds it. Around user code the leader
releases the token, and takes it back without waiting afterwards. Meanwhile another thread may take the lead, with the
token, and offer it to the pool: the watchdog, or the handler itself before it waits. The thread that lost it finishes
its session's inbox and joins the pool. So short handlers cost no thread switch, and long ones stop no other session.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from threading import get_ident

from ..interrupts import Sign
from ..limits import WATCHDOG_SECONDS
from .switching import short_turns
from .tasks import Runnable
from .waker import Waker

log = logging.getLogger("securelink")


class Lead:
    """
    The lead of a loop, and how it passes on.

    Args:
        offer: Gives the lead to the pool, when it has been taken from a thread inside a handler.

    Attributes:
        thread: Identity of the thread that leads, 0 while leadership passes. Changed only by the holder of the token.
        in_handler: It runs a batch of handlers, without the token.
        batch: How many batches there have been.
        watch_dormant: The watchdog sleeps until `watch_wanted` is set.
    """

    def __init__(self, offer: Callable[[], None]) -> None:
        self._offer = offer
        # Taken and given back by threads of ours only, which no signal interrupts.
        self.token = threading.Lock()
        self.thread = 0
        self.in_handler = False
        self.batch = 0
        self.watch_dormant = False
        self.watch_wanted = Sign()

    def reserve(self) -> None:
        """Before there is a thread: take the token for the first that leads."""
        self.token.acquire()

    def run(self, runnable: Runnable) -> bool:
        """
        By the leader: run one inbox without the token. Afterwards the caller leads on if `thread` is still its own.

        Returns:
            Whether something is left in the inbox.
        """
        me = get_ident()
        self.batch += 1
        self.in_handler = True
        if self.watch_dormant:
            self.watch_wanted.set()
        self.token.release()
        try:
            more = runnable.run()
        except BaseException:  # also SystemExit: it must not take the thread, or the lead, with it
            log.exception("internal error in a handler's thread")
            more = False
        # Leadership is `thread`, and it changes only under the token: an acquire that succeeds proves nothing before
        # the name was read under it; one that fails while the name is ours is a passer-by.
        while self.thread == me:
            if self.token.acquire(False) or self.token.acquire(timeout=0.001):
                if self.thread == me:
                    self.in_handler = False
                    return more
                self.token.release()
        return more

    def take_from(self, leader: int, batch: int) -> bool:
        """Take leadership from a thread that is inside a batch of handlers, and offer it to the pool."""
        if not self.token.acquire(False):
            return False
        if self.thread != leader or not self.in_handler or self.batch != batch:
            self.token.release()
            return False
        self.thread = 0
        self.in_handler = False
        self._offer()
        # The token stays locked: it belongs to the thread that takes the offer.
        return True


class Watchdog:
    """
    Takes the lead from a thread whose batch of handlers runs for WATCHDOG_SECONDS.

    Args:
        lead: Whose.
        waker: Says when the leader sleeps: then the watchdog does, too.
    """

    def __init__(self, lead: Lead, waker: Waker) -> None:
        self._lead = lead
        self._waker = waker
        # Threads that lost the lead to the watchdog, or run what was slow before, until that handler is done.
        self._slow: set[int] = set()
        self._stopped = Sign()

    def watch(self) -> None:
        """What its thread does."""
        lead = self._lead
        last = -1
        while not self._stopped.is_set():
            batch, leader = lead.batch, lead.thread
            if lead.in_handler and batch == last:
                self.take_lead(leader, batch)
            elif batch == last and self._waker.sleeping:
                lead.watch_dormant = True
                # Look once more: a batch that began before the flag was up set no event.
                if lead.batch == last:
                    lead.watch_wanted.wait()
                lead.watch_dormant = False
                lead.watch_wanted.clear()
            last = batch
            time.sleep(WATCHDOG_SECONDS)

    def take_lead(self, leader: int, batch: int) -> None:
        """Take the lead from a thread whose handlers are slow."""
        self.slow(leader)
        if not self._lead.take_from(leader, batch):
            self.no_longer_slow(leader)

    def slow(self, thread: int) -> None:
        """A handler in that thread is slow, or may well be: others get the interpreter sooner."""
        short_turns.begin()
        self._slow.add(thread)

    def no_longer_slow(self, thread: int) -> None:
        """It is done; nothing if it was not slow, or has said so itself."""
        try:
            self._slow.remove(thread)
        except KeyError:
            return
        short_turns.end()

    def stop(self) -> None:
        """Let its thread end."""
        self._stopped.set()
        self._lead.watch_wanted.set()

    def forget(self) -> None:
        """In a child of fork(): the handlers are the parent's."""
        self._slow.clear()
