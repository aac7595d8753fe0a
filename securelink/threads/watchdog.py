"""
The watchdog: a thread that takes the lead from a leader whose handlers are slow.

The leader only counts its batches of handlers. The watchdog compares the count every WATCHDOG_SECONDS, so that a short
handler pays for no timer. While the leader waits in the poller, the watchdog sleeps. It also sees to packets that wait
for others of their burst.
"""

from __future__ import annotations

from ..interrupts import Sign
from ..limits import WATCHDOG_SECONDS
from .bursts import Bursts
from .lead import Lead
from .switching import short_turns
from .waker import Waker


class Watchdog:
    """
    Takes the lead from a thread whose batch of handlers runs for WATCHDOG_SECONDS.

    Args:
        lead: Whose.
        waker: Says when the leader sleeps: then the watchdog does, too.
        bursts: Of the same loop.
    """

    def __init__(self, lead: Lead, waker: Waker, bursts: Bursts) -> None:
        self._lead = lead
        self._bursts = bursts
        self._waker = waker
        # Threads that lost the lead to the watchdog, or run what was slow before, until that handler is done.
        self._slow: set[int] = set()
        self._stopped = Sign()

    def watch(self) -> None:
        """Watch until `stop`, in a thread of its own."""
        lead = self._lead
        last = -1
        while not self._stopped.is_set():
            batch, leader = lead.batch, lead.thread
            if lead.in_handler and batch == last:
                self.take_lead(leader, batch)
            elif batch == last and self._waker.sleeping:
                lead.watch_dormant = True
                # Look once more: a batch that began before the flag was up set no event.
                if lead.batch == last and not self._bursts.asked:
                    lead.watch_wanted.wait()
                lead.watch_dormant = False
            last = batch
            self._bursts.pause(WATCHDOG_SECONDS)
        self._bursts.close()

    def take_lead(self, leader: int, batch: int) -> None:
        """Take the lead from a thread whose handlers are slow."""
        self.slow(leader)
        if not self._lead.take_from(leader, batch):
            self.no_longer_slow(leader)

    def slow(self, thread: int) -> None:
        """A handler in that thread is slow, or may well be: others get the interpreter sooner."""
        short_turns.begin(thread)
        self._slow.add(thread)

    def no_longer_slow(self, thread: int) -> None:
        """The handler is done. Does nothing if it was not slow, or has said so itself."""
        try:
            self._slow.remove(thread)
        except KeyError:
            return
        short_turns.end(thread)

    def stop(self) -> None:
        """Let its thread end."""
        self._stopped.set()
        self._lead.watch_wanted.set()

    def forget(self) -> None:
        """In a child of fork(): the handlers are the parent's."""
        self._slow.clear()
        self._bursts.forget()
