"""Logins that hold for a time: sessions end when it is over, or shortly before their client is asked again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from ..auth import Lease
from ..errors import ConnectionClosed, Refused
from ..limits import SWEEP_SECONDS
from ..signatures import did_run
from .context import SessionContext
from .hooks import Decision, FailureLog
from .pending import Pending, Runner
from .scheduling import Scheduler

log = logging.getLogger("securelink.server")

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
        # By the leader alone. With the lease that is being renewed.
        self._those: dict[Leased, Lease | None] = {}
        self._looking = False
        self._failures = FailureLog()

    def began(self, channel: Leased) -> None:
        """By the leader: a session is public, or goes on over another connection."""
        if _context(channel).lease is None:
            return
        self._those.setdefault(channel, None)
        if not self._looking:
            self._looking = True
            self._again(channel.loop)

    def ended(self, channel: Leased) -> None:
        """By the leader: a session is over."""
        self._those.pop(channel, None)

    def _again(self, loop: Scheduler) -> None:
        loop.call_later(SWEEP_SECONDS, partial(self._look, loop))

    def _look(self, loop: Scheduler) -> None:
        now = time.time()
        for channel, asked in tuple(self._those.items()):
            context = _context(channel)
            session: Any = context.session
            lease = context.lease
            if lease is None or session is None:
                self.ended(channel)
            elif lease.renew is not None and not session.connected:
                continue
            elif now >= lease.until:
                self.ended(channel)
                self._refuse(channel, "the end of its login", Refused(OVER))
            elif lease.renew is not None and now >= lease.due and asked is not lease:
                self._those[channel] = lease
                channel.note(
                    Decision(
                        partial(self._renew, context, lease), partial(self._refused, channel, lease)
                    )
                )
        self._looking = bool(self._those) and not loop.stopping
        if self._looking:
            self._again(loop)

    def _renew(self, context: SessionContext, lease: Lease) -> Pending | None:
        """In the session's turn. When it fails, the session ends with the lease."""
        session = context.session
        if session is None or lease.renew is None or context.lease is not lease:
            return None  # it has come back meanwhile, with a lease of its own
        renewed, failed = partial(_renewed, context, lease), partial(self._failed, context)
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

    def _refused(self, channel: Leased, lease: Lease, refusal: Refused) -> None:
        if _context(channel).lease is lease:
            self._refuse(channel, "the renewal of its login", refusal)

    def _failed(self, context: SessionContext, error: BaseException) -> None:
        if isinstance(error, ConnectionClosed):
            log.debug("%s left while its login was renewed", context.name)
        elif isinstance(error, Exception) and not isinstance(error, Refused):
            self._failures.log(error, "the login of %s was not renewed", context.name)


def _renewed(context: SessionContext, lease: Lease, until: Any) -> None:
    did_run(until)
    fresh = Lease(until, lease.renew)
    if context.lease is lease:
        context.lease = fresh


def _context(channel: Leased) -> SessionContext:
    context: SessionContext = channel.owner
    return context
