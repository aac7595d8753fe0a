"""Logins that hold for a time: sessions end when it is over, or shortly before their client is asked again."""

from __future__ import annotations

import heapq
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from ..auth import Lease
from ..errors import ConnectionClosed, Refused
from ..limits import SWEEP_SECONDS, TURN_SECONDS
from ..signatures import did_run
from .context import SessionContext
from .hooks import Decision, FailureLog
from .pending import Pending, Runner
from .scheduling import Scheduler

log = logging.getLogger("securelink.server")

_FEW = 64  # entries that are forgotten and not worth a look

OVER = "this login has expired; log in again"


class Leased(Protocol):
    """A session's channel, as the end of its login needs it."""

    @property
    def loop(self) -> Scheduler:
        """The loop that runs it."""

    @property
    def owner(self) -> Any:
        """The session's context."""

    def note(self, event: Callable[[], object]) -> None:
        """Queue an event after the packets that came before it."""


class _Agenda:
    """Who is due when. What is forgotten is taken out when it is half of all, so that it costs nothing to forget."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Leased]] = []
        self._numbers: dict[Leased, int] = {}  # of the entry of each; others are forgotten
        self._next = 0

    def put(self, at: float, channel: Leased) -> None:
        """It is due then, and no longer at the time that was put before."""
        self.forget(channel)
        self._next += 1
        self._numbers[channel] = self._next
        heapq.heappush(self._heap, (at, self._next, channel))

    def forget(self, channel: Leased) -> None:
        """It is never due."""
        self._numbers.pop(channel, None)
        if len(self._heap) > 2 * len(self._numbers) + _FEW:
            self._heap = [entry for entry in self._heap if self._numbers.get(entry[2]) == entry[1]]
            heapq.heapify(self._heap)

    def take(self, now: float) -> Leased | None:
        """One that is due, and not any more then."""
        while self._heap and self._heap[0][0] <= now:
            _, number, channel = heapq.heappop(self._heap)
            if self._numbers.get(channel) == number:
                del self._numbers[channel]
                return channel
        return None

    def __bool__(self) -> bool:
        return bool(self._numbers)


class Leases:
    """
    Looks once a second whose login is over, by the wall clock. One that can be renewed ends a session only while that
    has a connection: a client that comes back is asked for its credentials anyway.

    Args:
        refuse: Ends a session.
        runner: Runs renewals that are coroutines; None: there are none.
    """

    def __init__(
        self, refuse: Callable[[Any, str, Refused], None], runner: Runner | None = None
    ) -> None:
        self._refuse = refuse
        self._runner = runner
        # By the leader alone.
        self._agenda = _Agenda()
        self._asked: dict[Leased, Lease] = {}  # the leases that are being renewed
        self._looking = False
        self._failures = FailureLog()

    def began(self, channel: Leased) -> None:
        """By the leader: a session is public, goes on over another connection, or has another lease."""
        context = _context(channel)
        lease = context.lease
        if lease is None or context.session is None:
            self.ended(channel)
            return
        asks = lease.renew is not None and self._asked.get(channel) is not lease
        self._agenda.put(lease.due if asks else lease.until, channel)
        if not self._looking:
            self._looking = True
            channel.loop.call_later(SWEEP_SECONDS, partial(self._look, channel.loop))

    def ended(self, channel: Leased) -> None:
        """By the leader: a session is over."""
        self._agenda.forget(channel)
        self._asked.pop(channel, None)

    def _look(self, loop: Scheduler) -> None:
        now, enough = time.time(), time.monotonic() + TURN_SECONDS
        while time.monotonic() < enough:
            channel = self._agenda.take(now)
            if channel is None:
                break
            self._is_due(channel, now)
        else:  # many at the same time: others have their turn in between
            loop.call(partial(self._look, loop))
            return
        self._looking = bool(self._agenda) and not loop.stopping
        if self._looking:
            loop.call_later(SWEEP_SECONDS, partial(self._look, loop))

    def _is_due(self, channel: Leased, now: float) -> None:
        context = _context(channel)
        session: Any = context.session
        lease = context.lease
        if lease is None or session is None or (lease.renew is not None and not session.connected):
            return  # who comes back begins again
        if now >= lease.until:
            self._refuse(channel, "the end of its login", Refused(OVER))
            return
        if lease.renew is not None and now >= lease.due and self._asked.get(channel) is not lease:
            self._asked[channel] = lease
            renew = partial(self._renew, channel, context, lease)
            channel.note(Decision(renew, partial(self._refused, channel, lease)))
        self.began(channel)

    def _renew(self, channel: Leased, context: SessionContext, lease: Lease) -> Pending | None:
        """In the session's turn. When it fails, the session ends with the lease."""
        session = context.session
        if session is None or lease.renew is None or context.lease is not lease:
            return None  # it has come back meanwhile, with a lease of its own
        renewed = partial(self._renewed, channel, context, lease)
        failed = partial(self._failed, context)
        pending = None
        try:
            until = lease.renew(session)
            if self._runner is not None:
                pending = self._runner(until, renewed, failed)
            if pending is None:
                renewed(until)
        except Refused:
            raise
        except Exception as error:
            failed(error)
        return pending

    def _renewed(self, channel: Leased, context: SessionContext, lease: Lease, until: Any) -> None:
        did_run(until)
        fresh = Lease(until, lease.renew)
        if context.lease is lease:
            context.lease = fresh
            channel.loop.call(partial(self.began, channel))

    def _refused(self, channel: Leased, lease: Lease, refusal: Refused) -> None:
        if _context(channel).lease is lease:
            self._refuse(channel, "the renewal of its login", refusal)

    def _failed(self, context: SessionContext, error: BaseException) -> None:
        if isinstance(error, ConnectionClosed):
            log.debug("%s left while its login was renewed", context.name)
        elif isinstance(error, Exception) and not isinstance(error, Refused):
            self._failures.log(error, "the login of %s was not renewed", context.name)


def _context(channel: Leased) -> SessionContext:
    context: SessionContext = channel.owner
    return context
