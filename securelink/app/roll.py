"""Members as a tuple that senders iterate over without a lock."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar


class Enrolled(Protocol):
    """A session, as a roll knows it."""

    token: str


Member = TypeVar("Member", bound=Enrolled)


class Roll(Generic[Member]):
    """
    Sessions in the order in which they came.

    One thread at a time adds and removes; any thread may read. The tuple is made at the first access after a change,
    so that each of many changes in a row costs as much as one member, not as much as all.
    """

    __slots__ = ("_by_token", "_changes", "_snapshot", "get")

    def __init__(self) -> None:
        self._by_token: dict[str, Member] = {}
        self.get = self._by_token.get  # the session of a token, or None
        self._changes = 0
        self._snapshot: tuple[int, tuple[Member, ...]] = (0, ())

    def add(self, session: Member) -> None:
        """Add a member."""
        self._by_token[session.token] = session
        self._changes += 1

    def remove(self, session: Member) -> bool:
        """Remove a member; False if it was not one."""
        if self._by_token.pop(session.token, None) is None:
            return False
        self._changes += 1
        self._snapshot = (-1, ())  # the tuple would keep this one alive until the next access
        return True

    def clear(self) -> None:
        """Remove all members."""
        self._by_token.clear()
        self._changes += 1
        self._snapshot = (-1, ())

    def everybody(self) -> tuple[Member, ...]:
        """All members."""
        changes, everybody = self._snapshot
        while changes != self._changes:
            # Read before the members: a later change makes the next access build the tuple again.
            now = self._changes
            try:
                everybody = tuple(self._by_token.values())
            except RuntimeError:  # a member was added or removed meanwhile
                continue
            changes = now
            self._snapshot = (changes, everybody)
        return everybody

    def __len__(self) -> int:
        return len(self._by_token)

    def __contains__(self, session: Member) -> bool:
        return session.token in self._by_token
