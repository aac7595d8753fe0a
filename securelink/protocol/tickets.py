"""
Which sessions of a server can be resumed, and with which tickets.

A ticket is known by its SHA-256 alone, so what is kept resumes nothing. A session has one ticket, or two: the one that
was used last stays valid until the client has shown that it got the next.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from enum import Enum, auto
from math import inf
from typing import Any, NamedTuple, Protocol

from .. import crypto
from ..keys import PublicKey
from ..limits import MAX_SUSPENDED, RESUME_SECONDS
from .resumption import Grant


class Issued(Enum):
    """What came of issuing a ticket to resume with."""

    DONE = auto()
    GONE = auto()  # the session has ended, or the ticket that was used is worth nothing any more
    OVERTAKEN = auto()  # a later attempt of the same client has resumed it


class Tickets(Protocol):
    """
    What the server's end of a connection needs of its tickets. Any thread may call it.

    Attributes:
        lifetime: Seconds that a session is kept after its connection is lost.
    """

    lifetime: int

    def attempt(self) -> int:
        """A number for a hello that has come: a later one has a higher number."""

    def find(self, digest: bytes, now: float) -> Grant | None:
        """What the ticket with this SHA-256 gives; None when it is unknown, used or expired."""

    def begin(self, digest: bytes, grant: Grant, attempt: int) -> None:
        """Note the first ticket of a session that begins."""

    def renew(self, digest: bytes, grant: Grant, attempt: int, used: bytes, now: float) -> Issued:
        """
        Note the next ticket of a session that is resumed, in one step with looking whether it still may be.

        Args:
            digest: SHA-256 of the next ticket.
            grant: What that gives.
            attempt: The number of the hello that showed the ticket.
            used: SHA-256 of the ticket that was shown.
            now: The time.
        """

    def confirm(self, digest: bytes) -> None:
        """The client has the ticket with this SHA-256: the one before it is worth nothing any more."""


class Resuming(NamedTuple):
    """What the server's end of a connection resumes sessions with: its tickets, and the key that they are bound to."""

    tickets: Tickets
    key: PublicKey | None


class Kept:
    """A session and its tickets."""

    __slots__ = ("attempt", "current", "session", "until", "used")

    def __init__(self, session: Any, current: bytes, attempt: int) -> None:
        self.session = session
        self.current = current
        self.used: bytes | None = None
        self.attempt = attempt  # of the hello whose connection carries it, or did last
        self.until = inf  # when it ends, while nothing carries it

    def knows(self, digest: bytes) -> bool:
        """Whether this is one of its tickets."""
        return digest in (self.current, self.used)


class TicketTable:
    """
    `Tickets` in memory.

    The shell says when a session loses its connection (`suspend`) or ends (`forget`), and ends those that `expire`
    gives. None of it is secret but the PSKs inside; a copy of the table without them resumes nothing.

    Args:
        lifetime: Seconds that a session is kept after its connection is lost.
        most: Sessions without a connection that are kept at most.
        guard: Held while the table changes: a lock where several threads use it.
    """

    def __init__(
        self,
        lifetime: int = RESUME_SECONDS,
        most: int = MAX_SUSPENDED,
        guard: AbstractContextManager[Any] | None = None,
    ) -> None:
        self.lifetime = lifetime
        self._most = most
        self._guard = nullcontext() if guard is None else guard
        self._attempts = 0
        self._grants: dict[bytes, Grant] = {}
        self._kept: dict[bytes, Kept] = {}
        # Those without a connection, oldest first, by whether somebody would miss them.
        self._suspended: tuple[dict[bytes, Kept], dict[bytes, Kept]] = ({}, {})

    # What a connection asks.

    def attempt(self) -> int:
        """See `Tickets`."""
        with self._guard:
            self._attempts += 1
            return self._attempts

    def find(self, digest: bytes, now: float) -> Grant | None:
        """See `Tickets`."""
        with self._guard:
            return self._valid(digest, now)

    def _valid(self, digest: bytes, now: float) -> Grant | None:
        grant = self._grants.get(digest)
        if grant is None or now >= self._kept[grant.token].until:
            return None
        return grant

    def begin(self, digest: bytes, grant: Grant, attempt: int) -> None:
        """See `Tickets`."""
        with self._guard:
            self._forget(grant.token)
            self._grants[digest] = grant
            self._kept[grant.token] = Kept(grant.session, digest, attempt)

    def renew(self, digest: bytes, grant: Grant, attempt: int, used: bytes, now: float) -> Issued:
        """See `Tickets`."""
        with self._guard:
            if self._valid(used, now) is None:
                return Issued.GONE
            kept = self._kept[grant.token]
            if not kept.knows(used):
                return Issued.GONE
            # A client gives an attempt up before it begins the next: this one nobody waits for any more.
            if attempt < kept.attempt:
                return Issued.OVERTAKEN
            for other in (kept.current, kept.used):
                if other is not None and other != used:
                    del self._grants[other]
            kept.current, kept.used, kept.attempt, kept.until = digest, used, attempt, inf
            self._grants[digest] = grant
            self._wake(grant.token)
            return Issued.DONE

    def confirm(self, digest: bytes) -> None:
        """See `Tickets`."""
        with self._guard:
            grant = self._grants.get(digest)
            if grant is None:
                return
            kept = self._kept[grant.token]
            if kept.current == digest and kept.used is not None:
                del self._grants[kept.used]
                kept.used = None

    # What the shell says.

    def suspend(self, token: bytes, now: float, *, missed: bool = True) -> list[Any]:
        """
        The session has lost its connection: from now on its time runs. Not to be said of a connection that no longer
        carried it, see `SessionCore.detach`.

        Args:
            token: Of the session.
            now: The time.
            missed: Whether somebody would miss it: it has a user, or packets that are not confirmed.

        Returns:
            The sessions that have to go for it, which the caller ends. They are forgotten here.
        """
        with self._guard:
            kept = self._kept.get(token)
            if kept is None or kept.until < inf:
                return []
            kept.until = now + self.lifetime
            self._suspended[missed][token] = kept
            gone = []
            while len(self._suspended[0]) + len(self._suspended[1]) > self._most:
                first = self._suspended[0] or self._suspended[1]
                gone.append(self._forget(next(iter(first))))
            return gone

    def forget(self, token: bytes) -> None:
        """The session has ended: nothing resumes it any more."""
        with self._guard:
            self._forget(token)

    def _forget(self, token: bytes) -> Any:
        kept = self._kept.pop(token, None)
        if kept is None:
            return None
        for digest in (kept.current, kept.used):
            if digest is not None:
                del self._grants[digest]
        self._wake(token)
        return kept.session

    def _wake(self, token: bytes) -> None:
        for suspended in self._suspended:
            suspended.pop(token, None)

    def expire(self, now: float) -> list[Any]:
        """The sessions whose time is over, which the caller ends. They are forgotten here."""
        with self._guard:
            gone = []
            for suspended in self._suspended:
                while suspended and (first := next(iter(suspended.items())))[1].until <= now:
                    gone.append(self._forget(first[0]))
            return gone

    def next_deadline(self) -> float:
        """When to call `expire`; `inf` when nothing waits for it."""
        with self._guard:
            firsts = [next(iter(one.values())).until for one in self._suspended if one]
        return min(firsts, default=inf)

    def __len__(self) -> int:
        """How many sessions can be resumed."""
        return len(self._kept)

    @property
    def suspended(self) -> int:
        """How many of them have no connection."""
        return len(self._suspended[0]) + len(self._suspended[1])


def ticket_digest(ticket: bytes) -> bytes:
    """By what a ticket is known to the server."""
    return crypto.sha256(ticket)
