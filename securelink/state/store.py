"""The interface of a store. `SqliteStore` is one; another one passes the same tests (tests/test_state_store.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from .rows import Change, Loaded


class Store(Protocol):
    """
    Keeps the sessions of one server. One thread at a time.

    Attributes:
        interval: Least seconds between two commits; 0: each turn has its own.
    """

    interval: float

    def take_over(self) -> list[Loaded]:
        """
        All sessions. From now on a process that took over before can commit nothing any more.

        Raises:
            StateError: The store cannot be read.
        """

    @property
    def written_at(self) -> float:
        """When the process before committed last, in seconds since 1970; of a new store 0."""

    def commit(self, changes: Sequence[Change], now: float) -> None:
        """
        Keep the changes of a turn: all of them or none.

        Args:
            changes: At most one of each session.
            now: Seconds since 1970.

        Raises:
            StateError: Nothing is kept; or another process has taken over.
        """

    def write(self, changes: Sequence[Change], now: float) -> Callable[[], None]:
        """
        The first half of `commit`, which waits for no disk.

        Returns:
            The second half: any thread, before anything else is asked of the store.

        Raises:
            StateError: As `commit`; the second half likewise.
        """

    def close(self) -> None:
        """Give it to others."""
