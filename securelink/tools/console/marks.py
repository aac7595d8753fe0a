"""People that an operator has banned or silenced, known again when they come back."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from ...errors import LimitExceeded
from ...limits import MAX_MARKS
from ...session import Session
from ...streams.addresses import is_loopback_host, network
from ...text import folded

BANNED = "you are banned here"  # beginning of the text for banned people

Mark = tuple[str, str]  # its kind ("key", "address", "user", "name"), and its value


class Marks:
    """
    Marks of people: by key, user and name, and by address. They end with the process.

    An address of this machine is never a mark, because all clients of a tunnel have it; nor is the user of an invite
    that many may share ("guest-...").

    Args:
        addresses: Whether the address counts of everybody. It is that of a whole household behind a router. Otherwise
            it counts only of those who have neither a key nor a user of their own, and could come back as anybody.
    """

    def __init__(self, *, addresses: bool) -> None:
        self._addresses = addresses
        self._lock = threading.Lock()
        self._people: dict[str, frozenset[Mark]] = {}

    def add(self, label: str, session: Session) -> list[str]:
        """
        Mark the person of a session.

        Args:
            label: Their name in `remove` and `labels`.

        Returns:
            The marks by which they will be known.

        Raises:
            LimitExceeded: `MAX_MARKS` people are marked.
        """
        marks = frozenset(self._marks(session, self._addresses))
        with self._lock:
            if len(self._people) >= MAX_MARKS:
                raise LimitExceeded(f"{MAX_MARKS} people are marked already", limit="MAX_MARKS")
            self._people[label] = self._people.get(label, frozenset()) | marks
        return sorted(kind for kind, _ in marks)

    def remove(self, label: str) -> bool:
        """Remove a mark; False if there was none."""
        with self._lock:
            found = next((known for known in self._people if same(known, label)), None)
            return found is not None and self._people.pop(found, None) is not None

    def forgive(self, session: Session) -> None:
        """Remove all marks by which this person is known, under any label."""
        marks = set(self._marks(session, True))
        with self._lock:
            self._people = dict(item for item in self._people.items() if not marks & item[1])

    @property
    def labels(self) -> list[str]:
        """The labels that `remove` knows."""
        return sorted(self._people)

    def __contains__(self, session: Session) -> bool:
        return self._any(self._marks(session, True))  # nor does a key that was made just now help

    def has_name(self, name: str) -> bool:
        """Whether a person with this label was marked."""
        return self._any([("name", folded(name))])

    def _any(self, marks: Iterable[Mark]) -> bool:
        if not self._people:
            return False
        wanted = set(marks)
        with self._lock:
            return any(wanted & known for known in self._people.values())

    def _marks(self, session: Session, addresses: bool) -> Iterable[Mark]:
        own = isinstance(session.user, str) and not session.user.startswith("guest-")
        if session.fingerprint is not None:
            yield "key", session.fingerprint
        host = session.address[0]
        known = own or session.fingerprint is not None
        if (addresses or not known) and host and not is_loopback_host(host):
            yield "address", network(host)
        if own:
            yield "user", str(session.user)
        name = session.data.get("name")
        if isinstance(name, str):
            yield "name", folded(name)


def same(one: str, other: str) -> bool:
    """Whether people take two names for the same one."""
    return folded(one) == folded(other)
