"""The server above its connections, which gives sessions to the clients that come in."""

from __future__ import annotations

from typing import Any, Protocol

from ..app.admission import Question
from ..protocol.handshake_server import VerifiedClient
from ..state import Loaded
from .channel import Channel


class Host(Protocol):
    """The server."""

    def authorize(
        self, link: Any, client: VerifiedClient, question: Question | None = None
    ) -> Channel | Question:
        """
        In the pool: the channel of its session, resumed or new and not yet public. Raises `HandshakeError`. Or a
        question to the application that is to be asked first, and given here then.
        """

    def opened(self, channel: Channel) -> None:
        """By the leader: make the session public; then its WELCOME is sent."""

    def confirmed(self, link: Any) -> bool:
        """By the leader: whether the client of a provisional link may have its session, now that it has WELCOME."""

    def not_entered(self, link: Any, *, at_once: bool) -> None:
        """By the leader: the client of a provisional link did not get in; the pool may not come to it any more."""

    def suspended(self, channel: Channel) -> None:
        """By the leader: the session has lost its connection, and waits for its client."""

    def resumed(self, link: Any, replayed: int, *, restarted: bool) -> None:
        """
        By the leader: the session goes on over this link, and so many records are sent again; perhaps to another
        process of its client, which knows nothing of it.
        """

    def restored(self, listener: Any, loaded: Loaded) -> Channel | None:
        """By the leader: make a session public that a store has kept."""

    def ended(self, channel: Channel) -> bool:
        """By the leader: the session is over. True: nothing is kept of it when the application was told."""

    def stopped(self) -> None:
        """By the last leader: nobody gets in any more."""

    def note(self, event: str) -> None:
        """Any thread: something happened that is counted."""
