"""
What the clients of a server hear when it stops: that it is over, or when they may come back, for the session that they
have if a store keeps it, for a new one otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..codes import Code
from ..limits import MAX_AWAY_SECONDS, RETURNS_PER_SECOND
from .channel import Channel
from .jitter import jitter

#: Parts with the clients of these sessions. By the leader.
Farewell = Callable[[list[Channel]], None]


def vanishing(sessions: list[Channel]) -> None:
    """Nothing can be kept any more: connections end as if the process had been killed, and sessions do not."""
    for session in sessions:
        link = session.link
        if link is not None:
            link.lost()


def stopping(sessions: list[Channel]) -> None:
    """The server stops, and says nothing of coming back."""
    for session in sessions:
        session.end(Code.SHUTDOWN)


def returning(back_in: float) -> Farewell:
    """
    The server restarts: each client is asked to come back at a time of its own, so that not all come at once.

    Args:
        back_in: Seconds until the first may come.
    """
    return partial(_return, back_in)


def _return(back_in: float, sessions: list[Channel]) -> None:
    jitter.shuffle(sessions)  # no client has a better place each time
    for place, session in enumerate(sessions):
        delay = min(max(0.0, back_in) + place / RETURNS_PER_SECOND, MAX_AWAY_SECONDS)
        if not session.hand_over(delay):
            session.end(Code.RESTART, delay=delay)
