"""Which sessions a server has: by token, with what all that there ever were have sent and received."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

from ..codes import Code
from .counts import Counts


class Registered(Protocol):
    """A session, as far as a registry knows it."""

    token: str

    @property
    def code(self) -> Code | int | None:
        """Why it ended."""


Member = TypeVar("Member", bound=Registered)


class Registry(Generic[Member]):
    """
    The sessions of a server, and their totals over all its runs.

    A session counts by its own numbers while it lasts, so packets cost nothing more; what it has come to is added here
    when it has ended.

    Args:
        numbers: Gives what a session has sent and received.

    Attributes:
        counts: How often what happened.
    """

    def __init__(self, numbers: Callable[[Member], Mapping[str, int]]) -> None:
        self.counts = Counts()
        self._numbers = numbers
        self._lock = threading.Lock()  # guards what is counted of sessions that end
        self._leaving: set[Member] = set()
        self._past: Counter[str] = Counter()
        self._by_token: dict[str, Member] = {}
        self._changes = 0  # of _by_token; by the leader
        self._snapshot: tuple[int, tuple[Member, ...]] = (0, ())

    def add(self, session: Member) -> None:
        """By the leader: a session is public from now on."""
        self._by_token[session.token] = session
        self._changes += 1
        self.counts.note("sessions")

    def remove(self, session: Member) -> bool:
        """By the leader: a session has ended; False if that is known. What it received is handled still."""
        with self._lock:
            if self._by_token.pop(session.token, None) is None:
                return False
            self._leaving.add(session)
        self.counts.session_ended(_reason(session))
        self._changes += 1
        self._snapshot = (-1, ())  # it would keep this one until somebody asks again
        return True

    def through(self, session: Member) -> None:
        """The last packet of a session that has ended is handled."""
        with self._lock:
            self._leaving.discard(session)
            self._past.update(self._numbers(session))

    def clear(self) -> None:
        """Before a start, and in a child of fork(): there is no session. Totals stay."""
        self._by_token = {}
        self._changes += 1

    def get(self, token: str) -> Member | None:
        """The session of this name."""
        return self._by_token.get(token)

    def everybody(self) -> tuple[Member, ...]:
        """All sessions; remembered until one comes or goes."""
        changes, everybody = self._snapshot
        if changes != self._changes:
            changes = self._changes
            try:
                everybody = tuple(self._by_token.values())
            except RuntimeError:  # a session came or went while we looked
                return self.everybody()
            self._snapshot = (changes, everybody)
        return everybody

    def totals(self) -> Counter[str]:
        """Records, packets and bytes, of all sessions that there were and are."""
        with self._lock:
            total = self._past.copy()
            for session in (*self._now(), *self._leaving):
                total.update(self._numbers(session))
        return total

    def _now(self) -> tuple[Member, ...]:
        while True:
            try:
                return tuple(self._by_token.values())
            except RuntimeError:  # a session came while we looked
                continue


def _reason(session: Registered) -> str:
    try:
        return Code(int(session.code or Code.NORMAL)).name.lower()
    except ValueError:
        return "other"  # a number that the peer has chosen
