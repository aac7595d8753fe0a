"""
The memory that all sessions of a server use together for their peers.

Beyond a bound the address that keeps most loses its largest session, and so on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping, Set
from typing import Protocol

from ..app.greed import greediest_first
from ..codes import Code
from ..limits import MIN_GROWTH
from .channel import Channel
from .loop import Loop

log = logging.getLogger("securelink.server")


class Keeping(Protocol):
    """A connection, as the sum of memory needs it."""

    @property
    def session(self) -> Channel | None:
        """Its session, if it has one."""

    @property
    def held(self) -> int:
        """Bytes that its session keeps."""

    @property
    def places(self) -> tuple[Hashable, ...]:
        """The address and networks that these bytes count for."""

    def lost(self) -> None:
        """Close it."""


class Holdings:
    """
    Adds up the memory: in each round of the sweep, and whenever it may have grown much since the last check.

    Args:
        loop: Counts growth, and calls when to check.
        links: All connections.
        note: Counts events.
        suspended: Sessions without a connection, with the networks that they count for.
        most: Bytes of memory.

    Attributes:
        most: As above; may be changed.
        held: Bytes of memory at the last look.
        leaving: Sessions that have ended but still have waiting data, with the networks that it counts for.
    """

    def __init__(
        self,
        loop: Loop,
        links: Set[Keeping],
        note: Callable[[str], None],
        suspended: Mapping[Channel, tuple[Hashable, ...]],
        most: int,
    ) -> None:
        self.most = most
        self.held = 0
        self._loop = loop
        self._links = links
        self._note = note
        self._suspended = suspended
        self._visited = 0  # bytes of the connections that this round of the sweep has visited
        self.leaving: dict[Channel, tuple[Hashable, ...]] = {}

    # By the leader.

    def start(self) -> None:
        """From now on the loop calls when the memory has grown much."""
        self._loop.on_growth = self._look
        self._looked(0)

    def left(self, channel: Channel, places: tuple[Hashable, ...]) -> None:
        """A session has ended; its waiting data still counts."""
        if channel.core.is_needed:
            self.leaving[channel] = places

    def visit(self, link: Keeping) -> None:
        """By the sweep: count this one."""
        self._visited += link.held

    def round_ended(self) -> None:
        """By the sweep: all were visited."""
        self._visited += sum(channel.held for channel in self._suspended)
        for channel in tuple(self.leaving):
            if channel.core.is_needed:
                self._visited += channel.held
            else:
                del self.leaving[channel]
        if self._visited > self.most:
            self._look()
        else:
            self._looked(self._visited)
        self._visited = 0

    def _looked(self, held: int) -> None:
        """Decide, for this sum, when to check again, if that is before the next round."""
        self.held = held
        self._loop.grown = 0
        self._loop.look_after = max(min(MIN_GROWTH, self.most // 8), (self.most - held) // 2)

    def _look(self) -> None:
        """
        Add up the memory, and end the greediest beyond the bound.

        Sessions that were ended before go first: the rest of their connection (a partial frame, sealed bytes) is freed
        only when it is closed, and no other session must end for that.
        """
        links = {link.session: link for link in self._links if link.session is not None}
        held = {channel: link.held for channel, link in links.items()}
        others = {**self._suspended, **self.leaving}
        held.update((channel, channel.held) for channel in others)
        total = sum(held.values())
        if total <= self.most:
            self._looked(total)
            return
        places = {channel: link.places for channel, link in links.items()}
        places.update(others)
        ended = {channel for channel in held if channel.core.receiving.dropping}
        for group in (ended, held.keys() - ended):
            sizes = {channel: held[channel] for channel in group}
            for channel in greediest_first(sizes, places.__getitem__):
                if total <= self.most:
                    break
                channel.core.requests.replies.drop()
                link = links.get(channel)
                if channel not in ended:
                    self._end(channel)
                elif link is not None:
                    link.lost()
                channel.inbox.drop_waiting()
                # Sealed bytes still go out before CLOSE, until the next check; packets of a running handler are freed
                # with it. Ending other sessions for these would not help.
                total -= held[channel]
        self._looked(max(0, total))

    def _end(self, channel: Channel) -> None:
        log.warning("%s is ended: too much waits for all sessions together", channel.name)
        self._note("limit_total_unsent")
        channel.end(Code.TOO_SLOW)
