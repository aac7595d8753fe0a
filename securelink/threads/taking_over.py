"""A session goes on over another link, though the one that carried it may not be known to be lost yet."""

from __future__ import annotations

from collections.abc import Callable

from .channel import Channel
from .link import Link


def take_over(session: Channel, link: Link, resume: Callable[[], bool]) -> bool:
    """
    Let a session go on over this link. By the leader, which alone reads.

    In one step, with the send right of the link that carries it now and with the session's lock: nothing is read or
    written over that one from then on, and its late end ends no session. Its stream is closed without CLOSE.

    Args:
        session: Whether or not anything carries it.
        link: From now on. It may be written as soon as `resume` has returned True.
        resume: `SessionCore.resume`. It returns False, or raises, when nothing has changed.

    Returns:
        False when nothing has changed: the session is over, or a thread is in the middle of a write for too long.
    """
    old = session.link
    if old is None:
        return session.go_on(link, resume)
    carried: Link = old

    def step(held: bool) -> bool:
        if not held or not session.go_on(link, resume):
            return False
        carried.let_go()
        return True

    if not carried.writer.when_not_sending(step):
        return False
    carried.lost()
    return True
