"""
The tickets of a server, and the sessions that they resume.

Only the SHA-256 of a ticket is kept, so a copy of the table cannot resume a session. A session has one ticket or two:
the last used one stays valid until the client has shown that it received the next.
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
    """The result of issuing the next ticket of a session."""

    DONE = auto()
    GONE = auto()  # the session has ended, or the used ticket is no longer valid
    OVERTAKEN = auto()  # a later attempt of the same client has resumed it


class Tickets(Protocol):
    """
    The tickets of a server, as its end of a connection needs them. Any thread may call it.

    Attributes:
        lifetime: Seconds that a session is kept after its connection is lost.
    """

    lifetime: int

    def attempt(self) -> int:
        """A number for a hello that has come: a later one has a higher number."""

    def find(self, digest: bytes, now: float) -> Grant | None:
        """The grant of the ticket with this SHA-256; None if it is unknown, used or expired."""

    def begin(self, digest: bytes, grant: Grant, attempt: int) -> None:
        """Store the first ticket of a new session."""

    def renew(self, digest: bytes, grant: Grant, attempt: int, used: bytes, now: float) -> Issued:
        """
        Store the next ticket of a resumed session, in one step with the check that it may still resume.

        Args:
            digest: SHA-256 of the next ticket.
            grant: Its grant.
            attempt: The number of the hello that showed the ticket.
            used: SHA-256 of the ticket that was shown.
            now: The time.
        """

    def confirm(self, digest: bytes) -> None:
        """The client has the ticket with this SHA-256: the one before it is no longer valid."""


class Resuming(NamedTuple):
    """The data with which a server's connection resumes sessions: its tickets, and the key that they are bound to."""

    tickets: Tickets
    key: PublicKey | None


class Kept:
    """A session and its tickets."""

    __slots__ = ("attempt", "current", "session", "until", "used")

    def __init__(self, session: Any, current: bytes, attempt: int) -> None:
        self.session = session
        self.current = current
        self.used: bytes | None = None
        self.attempt = attempt  # number of the hello whose connection carries it, or did last
        self.until = inf  # when it ends, while no connection carries it

    def knows(self, digest: bytes) -> bool:
        """Whether this is one of its tickets."""
        return digest in (self.current, self.used)


class TicketTable:
    """
    `Tickets` in memory.

    The shell reports when a session loses its connection (`suspend`) or ends (`forget`), and ends those that `expire`
    returns. Only the PSKs inside are secret; a copy of the table without them cannot resume a session.

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
        # Sessions without a connection, oldest first, by whether they would be missed.
        self._suspended: tuple[dict[bytes, Kept], dict[bytes, Kept]] = ({}, {})

    # Methods for connections.

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
            # A client gives up an attempt before it begins the next, so it no longer waits for this one.
            if attempt < kept.attempt:
                return Issued.OVERTAKEN
            self._forget_others(kept, used)
            kept.current, kept.used, kept.attempt, kept.until = digest, used, attempt, inf
            self._grants[digest] = grant
            self._wake(grant.token)
            return Issued.DONE

    def _forget_others(self, kept: Kept, used: bytes) -> None:
        for other in (kept.current, kept.used):
            if other is not None and other != used:
                del self._grants[other]

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

    # Methods for the shell.

    def suspend(self, token: bytes, now: float, *, missed: bool = True) -> list[Any]:
        """
        The session has lost its connection: its time runs from now on. Do not call it for a connection that no longer
        carried the session, see `SessionCore.detach`.

        Args:
            token: The session's token.
            now: The time.
            missed: Whether it would be missed: it has a user, or packets that are not acknowledged.

        Returns:
            The sessions that make room for it, which the caller ends. They are forgotten here.
        """
        with self._guard:
            kept = self._kept.get(token)
            if kept is None or kept.until < inf:
                return []
            kept.until = now + self.lifetime
            self._suspended[missed][token] = kept
            return self._surplus()

    def _surplus(self) -> list[Any]:
        gone = []
        while len(self._suspended[0]) + len(self._suspended[1]) > self._most:
            first = self._suspended[0] or self._suspended[1]
            gone.append(self._forget(next(iter(first))))
        return gone

    def granted(self, token: bytes) -> list[tuple[bytes, Grant]]:
        """The tickets of a session: digest and grant of the last one used, if it is still valid, and of the current."""
        with self._guard:
            kept = self._kept.get(token)
            if kept is None:
                return []
            digests = filter(None, (kept.used, kept.current))
            return [(digest, self._grants[digest]) for digest in digests]

    def restore(self, tickets: list[tuple[bytes, Grant]], until: float, *, missed: bool) -> None:
        """
        A session of another process, without a connection.

        Args:
            tickets: As `granted` gave them.
            until: When its time is over.
            missed: See `suspend`.
        """
        *before, (current, grant) = tickets
        with self._guard:
            kept = Kept(grant.session, current, 0)
            kept.used = before[0][0] if before else None
            kept.until = until
            self._grants.update(tickets)
            self._kept[grant.token] = kept
            self._suspended[missed][grant.token] = kept

    def forget(self, token: bytes) -> None:
        """The session has ended: it can no longer be resumed."""
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
            return self._expired(now)

    def _expired(self, now: float) -> list[Any]:
        gone = []
        for suspended in self._suspended:
            while suspended and (first := next(iter(suspended.items())))[1].until <= now:
                gone.append(self._forget(first[0]))
        return gone

    def next_deadline(self) -> float:
        """When to call `expire`; `inf` if no session waits for it."""
        with self._guard:
            firsts = [next(iter(one.values()), None) for one in self._suspended]
        return min((first.until for first in firsts if first is not None), default=inf)

    def __len__(self) -> int:
        """The number of sessions that can be resumed."""
        return len(self._kept)

    @property
    def suspended(self) -> int:
        """The number of them without a connection."""
        return len(self._suspended[0]) + len(self._suspended[1])


def ticket_digest(ticket: bytes) -> bytes:
    """The digest by which the server knows a ticket."""
    return crypto.sha256(ticket)
