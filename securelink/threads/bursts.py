"""
Bursts: packets that a thread sends in a row wait a moment for each other, and go out together.

They are in the session's queue, and the watchdog sees that none stays there, whatever its sender does next. While some
wait the interpreter's switch interval is short, for a sender that computes would keep the watchdog waiting for 5 ms.
"""

from __future__ import annotations

import logging
import time
from threading import get_ident

from .._mypyc import mypyc_attr
from .lead import Lead
from .switching import short_turns
from .tasks import Flushable

log = logging.getLogger("securelink")

ROW_SECONDS = 0.000_03  # packets that follow each other faster than this are a row
ROW_PACKETS = 3  # so many of a row go out at once: an answer to one of them shall not wait
BURST_BYTES = 8 * 1024  # so much of it does not wait for more
BURST_SECONDS = 0.000_5  # nor does anything wait for longer
_LOOKS = 10  # how often the watchdog looks before it rests: as long as one of its rounds


#: Connections of the whole process with packets that wait, and the threads that sent these. A thread that is about to
#: wait looks whether it is empty, and calls `over`.
waiting: dict[Flushable, int] = {}


def over() -> None:
    """The calling thread is about to wait, or to do something else: what it holds back goes out."""
    me = get_ident()
    for writer, thread in tuple(waiting.items()):
        if thread == me:
            try:
                waiting.pop(writer, None)
            finally:
                writer.flush()  # also if Ctrl-C came in between: `send` has returned


@mypyc_attr(allow_interpreted_subclasses=True)
class Bursts:
    """
    What waits of one loop's connections.

    Args:
        lead: Of the loop; its watchdog is woken by it.
        watched: There is one. Otherwise nothing waits.

    Attributes:
        asked: The watchdog is to look, and has not begun.
    """

    __slots__ = ("_lead", "_looks", "_open", "asked")

    def __init__(self, lead: Lead, *, watched: bool) -> None:
        self._lead = lead
        self._open = watched
        self._looks = False
        self.asked = False

    def add(self, writer: Flushable, thread: int) -> bool:
        """
        By a thread that has queued a packet: it may wait for the next one.

        Returns:
            False when nobody would see to it.
        """
        # The packet is queued before its connection is noted; who lets it go strikes that out before it is flushed.
        if writer not in waiting:
            if not self._open:
                return False
            waiting[writer] = thread
            if not self._looks:
                self.asked = True
                self._lead.watch_wanted.set()
                short_turns.begin(self)
                if not (self.asked or self._looks):
                    short_turns.end(self)  # the watchdog was faster
            if not self._open:  # the second look: it was closed meanwhile, and nobody may see to it
                waiting.pop(writer, None)
                short_turns.end(self)
                return False
        return True

    def pause(self, seconds: float) -> None:
        """By the watchdog, between its looks at the leader: see that nothing waits for long."""
        if not self.asked:
            wanted = self._lead.watch_wanted
            wanted.clear()
            if not self.asked:
                wanted.wait(seconds)
            if not self.asked:
                return
        self._looks = True
        self.asked = False  # after that: who finds the flag fallen in between asks again
        for _ in range(_LOOKS):
            time.sleep(BURST_SECONDS)
            self._let_all_go()
        self._looks = False
        short_turns.end(self)
        self._let_all_go()  # once more: what was noted just before the flag fell

    def close(self) -> None:
        """By the watchdog, which ends: what is sent from now on does not wait."""
        self._open = False
        self._let_all_go()
        short_turns.end(self)

    def forget(self) -> None:
        """In a child of fork(): what waits is the parent's."""
        self._open = False
        waiting.clear()

    def _let_all_go(self) -> None:
        for writer in tuple(waiting):
            waiting.pop(writer, None)
            try:
                writer.flush()
            except Exception:
                log.exception("internal error on a connection; it is closed, others go on")
                writer.on_error()
