"""The turns of a session that a store keeps: what it does in one of them is kept as a whole."""

from __future__ import annotations

from typing import Protocol

from ..protocol.durable import DurableCore
from .book import Book, Page, Stage


class Durable(Page, Protocol):
    """Such a session, as its turns need it."""

    core: DurableCore

    def look_at_data(self) -> None:
        """With the book's lock: what the application has made of it is kept."""


class Turn:
    """
    The turns of one session, one after the other.

    Attributes:
        runs: One has begun, and is not published.
        stage: What it has sent so far.
    """

    __slots__ = ("_book", "_channel", "_parked", "runs", "stage")

    def __init__(self, book: Book, channel: Durable) -> None:
        self._book = book
        self._channel = channel
        self.stage = Stage()
        self._parked = 0
        self.runs = False

    def begin(self) -> Stage | None:
        """By who runs the inbox."""
        self.runs = True
        if self._parked:
            self._book.goes_on(self._parked)
            self._parked = 0
        return self._book.begin(self.stage)

    def park(self, before: Stage | None, number: int) -> None:
        """Likewise: what has this number goes on with the turn by itself, and sends into it."""
        self._book.end(before)
        self._book.parked(number, self.stage)
        self._parked = number

    def is_in(self, stage: Stage | None) -> bool:
        """Whether who sends into this stage is a handler of this session."""
        return stage is self.stage

    def end(self, before: Stage | None, *, whole: bool) -> None:
        """Likewise. A record that is handled in part is published with its rest, which other turns bring."""
        self._book.end(before)
        if whole:
            self._book.publish(self.stage, self._publish)

    def _publish(self) -> Durable:
        self.runs = False
        self._channel.core.publish()
        self._channel.look_at_data()
        return self._channel
