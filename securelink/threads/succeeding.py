"""A session begins in the place of another one of the same client, and behind what that one has left."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, cast

from .channel import Channel
from .inbox import Inbox, Owner


class Left(Owner, Protocol):
    """What has the channel that is over."""

    def when_through(self, act: Callable[[], None]) -> None:
        """By the leader: do this when its last packet is handled, or at once; perhaps twice."""


class Sessions(Protocol):
    """Those of the server."""

    def left(self, channel: Channel) -> bool:
        """By the leader: its client says that it is over. False when it was never public: nothing is left of it."""


def succeed(session: Channel, before: Channel, sessions: Sessions) -> None:
    """
    By the leader, when the new session is about to be public: nobody runs it yet.

    The old one ends, if it has not, and whatever carries it is closed. The new one is run when the last packet of the
    old one is handled, and its end was told: until then what comes waits, as behind a handler.

    Args:
        session: The new one.
        before: The old one.
    """
    if not sessions.left(before):
        return
    inbox = session.inbox
    held = [inbox]
    handed = False
    try:
        del inbox.right.free
    except AttributeError:
        return
    try:
        cast(Left, before.owner).when_through(partial(_go, held))
        handed = True
    finally:
        if (
            not handed and held
        ):  # Ctrl-C, where a program leads by `update()`: the session waits for nobody
            held[:] = []
            inbox.right.free = True


def _go(held: list[Inbox]) -> None:
    while held:
        inbox: Any = held.pop()
        inbox.right.free = True
        inbox.loop.schedule(inbox)
