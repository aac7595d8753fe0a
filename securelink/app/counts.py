"""What a server has done since it was made: numbers that only grow."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..codes import Code

if TYPE_CHECKING:
    from ..session import Session


class Counts:
    """
    Totals of a server, over all its runs and all sessions that it has had.

    A session counts by its own numbers while it lasts, so packets cost nothing more; what it has come to is added here
    when it has ended.

    Attributes:
        events: How often each of the things happened that `note()` was told.
        ends: How many sessions ended for each reason, by the names of `Code`, in small letters; "broken" without one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._leaving: set[Session] = set()
        self._past: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()

    def note(self, event: str) -> None:
        """Something happened. Any thread."""
        with self._lock:
            self.events[event] += 1

    def leave(self, sessions: dict[str, Session], session: Session) -> bool:
        """By the leader: a session has ended; False if that is known. What it received is handled still."""
        with self._lock:
            if sessions.pop(session.token, None) is None:
                return False
            self._leaving.add(session)
            self.ends[_reason(session)] += 1
            return True

    def left(self, session: Session) -> None:
        """The last packet of a session that has ended is handled."""
        with self._lock:
            self._leaving.discard(session)
            self._past.update(_numbers(session))

    def ended(self) -> dict[str, int]:
        """How many sessions ended for which reason."""
        with self._lock:
            return dict(self.ends)

    def totals(self, sessions: dict[str, Session]) -> Counter[str]:
        """Records, packets and bytes, of all sessions that there were and are."""
        with self._lock:
            total = self._past.copy()
            for session in (*_now(sessions), *self._leaving):
                total.update(_numbers(session))
        return total


def _now(sessions: dict[str, Session]) -> Iterable[Session]:
    while True:
        try:
            return tuple(sessions.values())
        except RuntimeError:  # somebody came while we looked
            continue


def _numbers(session: Session) -> dict[str, int]:
    incoming, outgoing = session._numbering.incoming, session._numbering.outgoing
    return {
        "records_received": incoming.accepted,
        "records_sent": outgoing.sent,
        "bytes_received": session._in_bytes,
        "bytes_sent": outgoing.bytes,
        "packets_received": session._handled,
    }


def _reason(session: Session) -> str:
    try:
        return Code(session._close_code).name.lower()
    except ValueError:
        return "other"  # a number that the peer has chosen
