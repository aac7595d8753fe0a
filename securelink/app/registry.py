"""Which sessions a server has: by token, with what all that there ever were have sent and received."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

from ..codes import Code
from .counts import Counts
from .roll import Roll


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
        get: f(token) gives the session of this name, or None.
        everybody: f() gives all sessions; remembered until one comes or goes.
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
        """By the leader: a session has ended; False if that is known. What it received is handled still."""
        with self._lock:
            if not self._roll.remove(session):
                return False
            self._leaving.add(session)
        self.counts.session_ended(_reason(session))
        return True

    def through(self, session: Member) -> None:
        """The last packet of a session that has ended is handled."""
        with self._lock:
            self._leaving.discard(session)
            self._past.update(self._numbers(session))

    def clear(self) -> None:
        """Before a start, and in a child of fork(): there is no session. Totals stay."""
        self._roll.clear()

    def totals(self) -> Counter[str]:
        """Records, packets and bytes, of all sessions that there were and are."""
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
