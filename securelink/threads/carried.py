"""What a session has to be for the link that carries it, and what keeps it while none does."""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import Any, Protocol

from ..protocol import SessionCore
from .inbox import Inbox
from .outcome import Outcome


class Sending(Protocol):
    """A session, as far as its packets are written."""

    @property
    def core(self) -> SessionCore:
        """What waits to be sent."""

    @property
    def waiters(self) -> Sized:
        """Those that wait for room to send; always the same object."""

    def wake_waiters(self) -> None:
        """There may be room to send."""

    def orphaned(self) -> None:
        """This process is a fork of the one that opened it."""


class Receiving(Protocol):
    """A session, as far as its packets are read."""

    @property
    def core(self) -> SessionCore:
        """Where what arrives goes."""

    @property
    def inbox(self) -> Inbox:
        """What runs that."""


class Carried(Sending, Receiving, Protocol):
    """A session, as the link that carries it needs it."""

    @property
    def name(self) -> str:
        """Who the peer is, for the log."""

    def end(self, code: int, text: str = "") -> None:
        """End it from our side."""

    def stay_away(self, seconds: float) -> None:
        """The peer's CLOSE asks this side to come back later."""

    def finished(self, outcome: Outcome) -> bool:
        """It is over; False when it was before."""

    def may_suspend(self, link: Any) -> bool:
        """Whether it goes on when this link, which carries it, is lost."""

    def suspend(self, link: Any) -> bool:
        """This link is over: go on without it. False: it is not to be, or another one carries the session."""

    def suspended(self) -> None:
        """After that, when nothing is held any more."""

    def drained(self) -> None:
        """By who writes: the stream takes data again."""

    def note(self, event: Callable[[], object]) -> None:
        """Put an event behind the packets that came before it."""

    parting: bool  # it is over, and answers are waited for that will not come

    def part(self) -> bool:
        """Tell some of those that wait for them; True when more wait."""


class Keeper(Protocol):
    """What keeps sessions that have no connection: for their clients, or until this client has the next one."""

    def keeps(self, channel: Any, link: Any) -> bool:
        """Whether this session goes on when that link, which carries it, is lost. With the link's send right."""

    def suspended(self, channel: Any) -> None:
        """Called by the thread that noticed that its connection is lost."""

    def end(self, channel: Any, code: int, text: str) -> None:
        """End it from our side, though nothing carries it. Any thread; returns at once."""

    def see_to(self, channel: Any) -> None:
        """Called by a thread that waits for its next connection."""
