"""
What all sessions of a server keep together, for and of their peers.

Beyond a bound the address that keeps most loses its largest session, and so on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping, Set
from typing import Protocol

from ..app.greed import greediest_first
from ..codes import Code
from ..limits import MAX_TOTAL_UNSENT, MIN_GROWTH
from .channel import Channel
from .loop import Loop

log = logging.getLogger("securelink.server")


class Keeping(Protocol):
    """A connection, as far as what it keeps is concerned."""

    @property
    def session(self) -> Channel | None:
        """Its session, if it has one."""

    @property
    def held(self) -> int:
        """Bytes that its session keeps."""

    @property
    def places(self) -> tuple[Hashable, ...]:
        """What they count for: its address, and the networks around it."""

    def lost(self) -> None:
        """Close it."""


class Holdings:
    """
    Looks at what is kept: in each round of the sweep, and whenever it may have grown much since the last look.

    Args:
        loop: Counts growth, and says when to look.
        links: All connections.
        note: Counts what happened.
        suspended: Sessions that have no connection, with what they count for.

    Attributes:
        leaving: Sessions that have ended and of which something still waits, with what that counts for.
    """

    def __init__(
        self,
        loop: Loop,
        links: Set[Keeping],
        note: Callable[[str], None],
        suspended: Mapping[Channel, tuple[Hashable, ...]],
    ) -> None:
        self._loop = loop
        self._links = links
        self._note = note
        self._suspended = suspended
        self._held = 0  # bytes of the connections that this round of the sweep has visited
        self.leaving: dict[Channel, tuple[Hashable, ...]] = {}

    # By the leader.

    def start(self) -> None:
        """From now on the loop calls when much has grown."""
        self._loop.on_growth = self._look
        self._looked(0)

    def left(self, channel: Channel, places: tuple[Hashable, ...]) -> None:
        """A session has ended; what of it waits still counts."""
        if channel.core.is_needed:
            self.leaving[channel] = places

    def visit(self, link: Keeping) -> None:
        """By the sweep: count this one."""
        self._held += link.held

    def round_ended(self) -> None:
        """By the sweep: all were visited."""
        self._held += sum(channel.held for channel in self._suspended)
        for channel in tuple(self.leaving):
            if channel.core.is_needed:
                self._held += channel.held
            else:
                del self.leaving[channel]
        if self._held > MAX_TOTAL_UNSENT:
            self._look()
        else:
            self._looked(self._held)
        self._held = 0

    def _looked(self, held: int) -> None:
        """So much is kept: when to look again, if that is before the next round."""
        self._loop.grown = 0
        self._loop.look_after = max(
            min(MIN_GROWTH, MAX_TOTAL_UNSENT // 8), (MAX_TOTAL_UNSENT - held) // 2
        )

    def _look(self) -> None:
        """
        Add it up, and end the greediest beyond the bound.

        Who was ended before goes first: what its connection still holds (the begin of a frame, what is sealed) is gone
        only when that is closed, and nobody else shall end for it.
        """
        links = {link.session: link for link in self._links if link.session is not None}
        held = {channel: link.held for channel, link in links.items()}
        others = {**self._suspended, **self.leaving}
        held.update((channel, channel.held) for channel in others)
        total = sum(held.values())
        if total <= MAX_TOTAL_UNSENT:
            self._looked(total)
            return
        places = {channel: link.places for channel, link in links.items()}
        places.update(others)
        ended = {channel for channel in held if channel.core.receiving.dropping}
        for group in (ended, held.keys() - ended):
            sizes = {channel: held[channel] for channel in group}
            for channel in greediest_first(sizes, places.__getitem__):
                if total <= MAX_TOTAL_UNSENT:
                    break
                channel.core.requests.replies.drop()
                link = links.get(channel)
                if channel not in ended:
                    self._end(channel)
                elif link is not None:
                    link.lost()
                # What is sealed still goes out before the farewell, until the next look; what a running handler has
                # goes with that handler. To end others for these would help nobody.
                total -= held[channel]
        self._looked(max(0, total))

    def _end(self, channel: Channel) -> None:
        log.warning("%s is ended: too much waits for all sessions together", channel.name)
        self._note("limit_total_unsent")
        channel.end(Code.TOO_SLOW)
        channel.inbox.drop_waiting()
