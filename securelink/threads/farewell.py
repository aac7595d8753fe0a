"""
What the clients of a server hear when it stops: that it is over, or when they may come back, for the session that they
have if a store keeps it, for a new one otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from ..codes import Code
from ..limits import MAX_AWAY_SECONDS, RETURNS_PER_SECOND
from .channel import Channel
from .jitter import jitter


class Farewell(NamedTuple):
    """
    How a server parts with its clients.

    Attributes:
        say: Says it to the clients of these sessions. By the leader.
        hands_over: Whether sessions that a store keeps wait for the process that follows; otherwise they end, too.
    """

    say: Callable[[list[Channel]], None]
    hands_over: bool


def returning(back_in: float) -> Farewell:
    """
    The server restarts: each client is asked to come back at a time of its own, so that not all come at once.

    Args:
        back_in: Seconds until the first may come.
    """
    return Farewell(partial(_ask_back, back_in), hands_over=True)


def _ask_back(back_in: float, sessions: list[Channel]) -> None:
    jitter.shuffle(sessions)  # no client has a better place each time
    for place, session in enumerate(sessions):
        delay = min(max(0.0, back_in) + place / RETURNS_PER_SECOND, MAX_AWAY_SECONDS)
        if not session.hand_over(delay):
            session.end(Code.RESTART, delay=delay)


def _end(sessions: list[Channel]) -> None:
    for session in sessions:
        session.end(Code.SHUTDOWN)


def _vanish(sessions: list[Channel]) -> None:
    for session in sessions:
        link = session.link
        if link is not None:
            link.lost()


#: The server stops, and says nothing of coming back.
STOPPING = Farewell(_end, hands_over=False)
#: Nothing can be kept any more: connections end as if the process had been killed, and sessions do not.
VANISHING = Farewell(_vanish, hands_over=True)
