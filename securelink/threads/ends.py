"""
How far a connection has come to its end: one table, for everything in this folder.

The words beside it: `end()` asks for the end of a session, from our side; `finished()` says that it is over, after
which it is `ended`; `lost()` closes the socket, whatever was said before; `break_off()` stops in the middle, because
nothing that follows could be understood; `orphaned()` is for a child of fork(), to which nothing here belongs.
"""

from __future__ import annotations

import os
from enum import IntEnum
from typing import Final


class End(IntEnum):
    """
    How far a link has come to its end. Later is higher: a link never goes back.

    Written with the send right, or by the leader that closes the socket.
    """

    OPEN = 0
    CLOSING = 1  # CLOSE is to be said, after what is queued
    SHUT = 2  # our last byte is out and our side is shut; the peer is read until its end
    DEAD = 3  # the peer takes nothing more; what it sent before is read until its end
    CLOSED = 4  # the socket is closed


# Looking up a member costs more than comparing it.
OPEN: Final = End.OPEN
CLOSING: Final = End.CLOSING
SHUT: Final = End.SHUT
DEAD: Final = End.DEAD
CLOSED: Final = End.CLOSED

forks = [0]  # how many this process has behind it


def _count_fork() -> None:
    forks[0] += 1


# After fork() both processes would use the same keys and nonces: every link of the child is dead.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)
