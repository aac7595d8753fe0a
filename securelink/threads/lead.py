"""
The lead: which thread of a loop reads, writes what is waiting, runs timers and closes sockets.

The *leader token* is a lock; the leader is the thread named in `thread`, which holds it. Around user code the leader
releases the token, and takes it back without waiting afterwards. Meanwhile another thread may take the lead, with the
token, and offer it to the pool: the watchdog (`watchdog.py`), or the handler itself before it waits. The thread that
lost it finishes its session's inbox and joins the pool. So short handlers cost no thread switch, and long ones stop no
other session.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from threading import get_ident

from ..interrupts import Sign
from .tasks import Runnable

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
