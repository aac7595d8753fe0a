"""The sessions of a server by token, and the totals of all its sessions."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from ..codes import Code
from .counts import Counts
from .roll import Roll


class Registered(Protocol):
    """A session, as a registry knows it."""

    token: str
    user: Any
    address: tuple[str, int]

    @property
    def code(self) -> Code | int | None:
        """Why it ended."""


Member = TypeVar("Member", bound=Registered)


class Registry(Generic[Member]):
    """
    The sessions of a server, and their totals over all its runs.

    A session keeps its own counts while it is open, so packets cost nothing more; they are added here when it has
    ended.

    Args:
        numbers: Returns the counts of a session.

    Attributes:
        counts: Counts of events.
        get: f(token) returns the session with this token, or None.
        everybody: f() returns all sessions; cached until one is added or removed.
    """

    def __init__(self, numbers: Callable[[Member], Mapping[str, int]]) -> None:
        self.counts = Counts()
        self._numbers = numbers
        self._lock = threading.Lock()  # guards what is counted of sessions that end
        self._leaving: set[Member] = set()
        self._past: Counter[str] = Counter()
        self._roll: Roll[Member] = Roll()  # changed by the leader
        self.get = self._roll.get
        self.everybody = self._roll.everybody

    def add(self, session: Member) -> None:
        """By the leader: a session is public from now on."""
        self._roll.add(session)
        self.counts.note("sessions")

    def remove(self, session: Member) -> bool:
        """By the leader: a session has ended; False if that is known. Its received packets are still handled."""
        with self._lock:
            if not self._roll.remove(session):
                return False
            self._leaving.add(session)
        self.counts.session_ended(_reason(session))
        return True

    def find(self, token: str | None, address: tuple[Any, ...] | None, user: Any) -> list[Member]:
        """See `Server.find`."""
        one = None if token is None else self.get(token)
        found = self.everybody() if token is None else () if one is None else (one,)
        return [
            session
            for session in found
            if (address is None or session.address == address)
            and (user is None or session.user == user)
        ]

    def through(self, session: Member) -> None:
        """The last packet of a session that has ended is handled."""
        with self._lock:
            self._leaving.discard(session)
            self._past.update(self._numbers(session))

    def clear(self) -> None:
        """Before a start, and in a child of fork(): forget all sessions. Totals stay."""
        self._roll.clear()

    def totals(self) -> Counter[str]:
        """Records, packets and bytes of all past and present sessions."""
        with self._lock:
            total = self._past.copy()
            for session in (*self.everybody(), *self._leaving):
                total.update(self._numbers(session))
        return total


def _reason(session: Registered) -> str:
    try:
        return Code(int(session.code or Code.NORMAL)).name.lower()
    except ValueError:
        return "other"  # a number that the peer has chosen
