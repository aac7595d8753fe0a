"""
Back-pressure: a send waits while too much of its session is unsent or unacknowledged, and a slow peer is ended.

The bounds are in `SendQueue`. Beyond the first bound of either a send outside a handler waits for room here; beyond the
first one of unsent bytes the peer is not read either; beyond the hard one the session ends.
"""

from __future__ import annotations

import logging
import time
from math import inf
from typing import Protocol

from .._mypyc import mypyc_attr
from ..codes import Code
from ..errors import ConnectionClosed, LinkTimeout
from ..interrupts import Sign
from ..protocol.send_queue import Mark
from ..protocol.session_core import SessionCore
from .writing import Writer

log = logging.getLogger("securelink")

ROOM_SECONDS = 0.2  # one wait for room: a wake-up that is missed costs a moment, not the send


class Session(Protocol):
    """The session whose sends wait, as that needs it."""

    ended: bool

    @property
    def name(self) -> str:
        """Who the peer is, for the log."""

    def end(self, code: int, text: str = "") -> None:
        """End it from our side."""

    def closed_error(self) -> ConnectionClosed:
        """Why nothing can be sent."""

    def look_for_room(self) -> None:
        """Take in acknowledgements that have come, and write what can be written."""

    def wait_for_room(self, woken: Sign, seconds: float) -> None:
        """Wait until there may be room."""

    def crowded_hint(self) -> str:
        """What to do when there is no room."""


@mypyc_attr(allow_interpreted_subclasses=True)
class BackPressure:
    """
    What a session's sends wait for.

    Args:
        core: The session's, with its queue and numbering.
        session: Whose sends wait.

    Attributes:
        waiters: Those that wait for room.
        dropped: Packets for which there was no room, see `Outbox.offer`.
        blocked: How often a send has waited for room.
    """

    __slots__ = ("_core", "_session", "blocked", "dropped", "waiters")

    def __init__(self, core: SessionCore, session: Session) -> None:
        self._core = core
        self._session = session
        self.waiters: dict[Sign, None] = {}
        self.dropped = self.blocked = 0

    def check_goes_on(self) -> None:
        """Raises `ConnectionClosed` unless the session only waits for its next connection."""
        if self._session.ended or self._core.receiving.dropping:
            raise self._session.closed_error()

    def wait(self, size: int, timeout: float | None, latest: Mark) -> None:
        """
        Wait until a packet of this size may be queued.

        Raises:
            ConnectionClosed: The session has ended.
            LinkTimeout: There is no room within `timeout` seconds.
        """
        deadline = inf if timeout is None else time.monotonic() + timeout
        woken = Sign()
        waited = False
        try:
            while True:
                left = self.must_wait(size, latest, woken, timeout, deadline)
                if not left:
                    break
                self.blocked += not waited
                waited = True
                self._session.wait_for_room(woken, min(left, ROOM_SECONDS))
        finally:
            self.stop_waiting(woken)

    def must_wait(
        self, size: int, latest: Mark, woken: Sign, timeout: float | None, deadline: float
    ) -> float:
        """How long a send may still wait, `inf` without a timeout; 0.0 if there is room. Raises as `wait` does."""
        if self.has_room(size, latest, woken):
            return 0.0
        left = deadline - time.monotonic() if deadline < inf else inf
        if left <= 0:
            raise self.crowded_error(timeout)
        return left

    def has_room(self, size: int, latest: Mark, woken: Sign) -> bool:
        """Whether it may be queued; if not, `woken` is set when there may be room. Raises `ConnectionClosed`."""
        queue = self._core.sending
        if not queue.is_crowded(size) or queue.replaces(latest):
            return True
        self.check_goes_on()
        woken.clear()
        self.waiters[woken] = None
        self._session.look_for_room()  # also the second look after joining the waiters
        if not queue.is_crowded(size):
            return True
        if woken.is_set():  # by our own look: it would not wait, and look again, and so on
            woken.clear()
            self.waiters[woken] = None
        return False

    def stop_waiting(self, woken: Sign) -> None:
        """Behind `has_room`, in any case: nothing waits with this sign any more."""
        self.waiters.pop(woken, None)
        self.wake_waiters()  # the first may have left room for the next

    def wake_waiters(self) -> None:
        """There may be room: those that wait for it look again."""
        for woken in tuple(self.waiters):
            self.waiters.pop(woken, None)
            woken.set()

    def crowded_error(self, timeout: float | None) -> LinkTimeout:
        """For a send that found no room in its time."""
        return LinkTimeout(
            f"{self._session.name} does not take its packets: {self._core.sending.unsent} bytes wait to be sent and "
            f"{self._core.numbering.outgoing.unacked} to be acknowledged after {timeout} s",
            hint=self._session.crowded_hint(),
        )

    def choke(self, writer: Writer | None) -> None:
        """Much waits to be sent or acknowledged: stop reading the peer, or end it at a hard limit."""
        if writer is not None:
            writer.flush()  # a handler's packets wait for the end of the turn, which is no fault of the peer
        queue = self._core.sending
        if queue.is_over_hard_limit:
            self.end_slow()
        elif writer is not None and queue.unsent > queue.bounds.unsent:
            writer.choke()

    def end_slow(self) -> None:
        """The peer takes too little: end the session."""
        log.warning(
            "%s is too slow: %d bytes wait to be sent, %d to be acknowledged; ended",
            self._session.name, self._core.sending.unsent, self._core.numbering.outgoing.unacked,
        )  # fmt: skip
        self._session.end(Code.TOO_SLOW)
