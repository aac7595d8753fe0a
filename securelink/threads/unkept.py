"""A session that no store keeps: what happens to it may be told at once. See `DurableChannel`."""

from __future__ import annotations

from collections.abc import Callable

from .._mypyc import mypyc_attr
from .link import Link


@mypyc_attr(allow_interpreted_subclasses=True)
class Unkept:
    """What `DurableChannel` does in another way, because its store comes first."""

    __slots__ = ()

    def hold(self, link: Link) -> None:
        """Let nothing out over this link before `let_out`."""

    def let_out(self, link: Link) -> None:
        """By the leader: what happened until now may be told."""
        link.writer.flush()

    def when_kept(self, act: Callable[[], None]) -> None:
        """Do something as soon as what happened until now may be told."""
        act()

    @property
    def outlives(self) -> bool:
        """By the leader: whether a store keeps it for the process that follows this one."""
        return False

    def hand_over(self, delay: float) -> bool:
        """
        By the leader: give its connection up, so that the process that follows can go on with it.

        Args:
            delay: Seconds after which its client is asked to come back.

        Returns:
            False when it ends with this process: nothing was done.
        """
        return False

    def drained(self) -> None:
        """By the leader: the stream takes data again."""

    def visit(self) -> None:
        """By a sweep."""

    def release(self) -> None:
        """By who waits for the peer: what its handler has sent so far goes out before it is through."""

    def read_on(self) -> None:
        """By who waits for room without reading: the peer is read meanwhile, though nobody takes what comes."""
