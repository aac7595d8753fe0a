"""A session that no store keeps: what happens to it may be told at once. See `DurableChannel`."""

from __future__ import annotations

from collections.abc import Callable

from .._mypyc import mypyc_attr
from .link import Link


@mypyc_attr(allow_interpreted_subclasses=True)
class Unkept:
    """What a store would have to say in a session."""

    __slots__ = ()

    def hold(self, link: Link) -> None:
        """Let nothing out over this link before `let_out`."""

    def let_out(self, link: Link) -> None:
        """By the leader: what happened until now may be told."""
        link.writer.flush()

    def when_kept(self, act: Callable[[], None]) -> None:
        """Do something as soon as what happened until now may be told."""
        act()

    def drained(self) -> None:
        """By the leader: the stream takes data again."""

    def visit(self) -> None:
        """By a sweep."""
