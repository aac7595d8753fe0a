"""Who belongs to something, as a tuple that senders walk without a lock."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar


class Enrolled(Protocol):
    """A session, as far as a roll knows it."""

    token: str


Member = TypeVar("Member", bound=Enrolled)


class Roll(Generic[Member]):
    """
    Sessions in the order in which they came.

    One thread at a time adds and removes; any may look. The tuple is made when somebody asks for it after a change, so
    that many who come or go in a row cost each what one costs, and not each what all cost.
    """

    __slots__ = ("_by_token", "_changes", "_snapshot", "get")

    def __init__(self) -> None:
        self._by_token: dict[str, Member] = {}
        self.get = self._by_token.get  # the session of a token, or None
        self._changes = 0
        self._snapshot: tuple[int, tuple[Member, ...]] = (0, ())

    def add(self, session: Member) -> None:
        """It belongs to them from now on."""
        self._by_token[session.token] = session
        self._changes += 1

    def remove(self, session: Member) -> bool:
        """It does not any more; False when it did not before."""
        if self._by_token.pop(session.token, None) is None:
            return False
        self._changes += 1
        self._snapshot = (-1, ())  # it would keep this one until somebody asks again
        return True

    def clear(self) -> None:
        """Nobody does any more."""
        self._by_token.clear()
        self._changes += 1
        self._snapshot = (-1, ())

    def everybody(self) -> tuple[Member, ...]:
        """All of them."""
        changes, everybody = self._snapshot
        while changes != self._changes:
            # Before the look: what changes after it makes the next one count anew.
            now = self._changes
            try:
                everybody = tuple(self._by_token.values())
            except RuntimeError:  # one came or went while we looked
                continue
            changes = now
            self._snapshot = (changes, everybody)
        return everybody

    def __len__(self) -> int:
        return len(self._by_token)

    def __contains__(self, session: Member) -> bool:
        return session.token in self._by_token
