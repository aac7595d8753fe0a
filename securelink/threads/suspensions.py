"""
The sessions of a server that have lost their connection: kept for their clients, for a time and within bounds.

Their tickets are in a `TicketTable`, which says who goes when there are too many, and when the time of one is over.
What they keep counts with what all sessions keep (`Holdings`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, NamedTuple, Protocol, cast

from ..app.failure_budget import SHARES
from ..codes import Code
from ..keys import PublicKey
from ..limits import MAX_SUSPENDED, MAX_SUSPENDED_PER_ADDRESS
from ..protocol import Connection, TicketTable
from ..protocol.resumption import Grant
from ..state import SavedTicket
from ..streams.addresses import is_loopback_host, networks
from .channel import Channel
from .durable_channel import DurableChannel
from .loop import Loop
from .outcome import Outcome
from .succeeding import Left

log = logging.getLogger("securelink.server")

UNKNOWN_SECONDS = 10.0  # a session whose client has never said anything waits no longer than this


class Host(Protocol):
    """The server above."""

    def suspended(self, channel: Channel) -> None:
        """By the leader: the session has lost its connection, and waits for its client."""

    def ended(self, channel: Channel) -> bool:
        """By the leader: the session is over. True: nothing is kept of it when the application was told."""


class Carrying(Protocol):
    """A connection that carries a session."""

    @property
    def connection(self) -> Connection:
        """As the protocol knows it."""

    @property
    def token(self) -> bytes:
        """Names the session."""

    @property
    def places(self) -> tuple[Hashable, ...]:
        """What the session counts for: its address and the networks around it."""

    @property
    def provisional(self) -> bool:
        """Whether it is not known yet that its client got in."""


def places_of(session: Channel | None, host: str) -> tuple[Hashable, ...]:
    """What a session of this address counts for: it and the networks around it; on this machine only itself."""
    return (session,) if is_loopback_host(host) else networks(host)


class Restored(NamedTuple):
    """A session that a store has kept."""

    token: bytes
    places: tuple[Hashable, ...]


class Named(Protocol):
    """What a session was begun by."""

    @property
    def token(self) -> bytes:
        """Names it."""

    @property
    def places(self) -> tuple[Hashable, ...]:
        """What it counts for."""


class Place:
    """
    What is known of a session.

    Attributes:
        token: Names it.
        places: What it counts for.
        known: Whether its client has shown that it knows of it.
        since: When its connection was lost.
    """

    __slots__ = ("known", "places", "since", "token")

    def __init__(self, link: Named, *, known: bool) -> None:
        self.token = link.token
        self.places = link.places
        self.known = known
        self.since = 0.0


class Suspensions:
    """
    Keeps the sessions of one run of a server; the `Keeper` of their channels.

    Args:
        loop: The server's.
        lifetime: Seconds that a session is kept; 0: none is.
        host: Told what becomes of them.
        gone: Told of a session that ended without a connection, and what it counted for.
        most: Sessions without a connection.
        most_of_address: Of them, of one address; see `limits.py`.

    Attributes:
        tickets: What clients resume them with; None when none is kept.
        waiting: Those without a connection, oldest first, and what they count for.
    """

    def __init__(
        self,
        loop: Loop,
        lifetime: int,
        host: Host,
        gone: Callable[[Channel, tuple[Hashable, ...]], None],
        most: int = MAX_SUSPENDED,
        most_of_address: int = MAX_SUSPENDED_PER_ADDRESS,
    ) -> None:
        self._loop = loop
        self._host = host
        self._gone = gone
        self.tickets: TicketTable | None = None
        if lifetime:
            self.tickets = TicketTable(lifetime, most, threading.Lock())
        self.waiting: dict[Channel, tuple[Hashable, ...]] = {}
        self._places: dict[Channel, Place] = {}  # of all sessions that may be suspended
        self._of_place: dict[Hashable, dict[Channel, None]] = {}
        # Of an address, and of the IPv6 networks around it: one customer's never takes all places.
        whole = max(most_of_address, most * 3 // 4)
        self._most_of = tuple(min(most_of_address * share, whole) for share in SHARES)
        self._closed = self._hands_over = False

    @property
    def most_of_address(self) -> int:
        """Sessions that wait, of the address, or /64, that has most. Any thread."""
        counts = [
            len(channels)
            for place, channels in tuple(self._of_place.items())
            if not isinstance(place, str) or place.endswith("/64") or "/" not in place
        ]
        return max(counts, default=0)

    # By the leader.

    def begun(self, channel: Channel, link: Carrying, *, known: bool) -> None:
        """
        A session is public, or goes on over this link: keep it when that is lost.

        Args:
            known: Whether its client has shown that it knows of it.
        """
        if self.tickets is not None:
            self._wake(channel)
            self._places[channel] = place = Place(link, known=known)
            channel.keeper = self
            self._keep(channel, place, None)

    def restored(
        self,
        channel: Channel,
        restored: Restored,
        tickets: list[tuple[bytes, Grant]],
        seconds: float,
    ) -> None:
        """
        A store has kept a session: its client may come.

        Args:
            seconds: Since it has lost its connection.
        """
        assert self.tickets is not None
        now = self._loop.now
        place = self._places[channel] = Place(restored, known=True)
        place.since = now - seconds
        channel.keeper = self
        self.waiting[channel] = place.places
        for around in place.places:
            self._of_place.setdefault(around, {})[channel] = None
        if tickets:
            until = place.since + self.tickets.lifetime
            self.tickets.restore(tickets, until, missed=_would_be_missed(channel))
        else:  # it was over, and its last event has not been
            self._loop.call(lambda: self._end_all([channel], Code.EXPIRED))
        self._keep(channel, place, time.time() - seconds)

    def _keep(self, channel: Channel, place: Place, lost_at: float | None) -> None:
        """A store that keeps it learns of its tickets, and since when it has no connection."""
        if isinstance(channel, DurableChannel) and self.tickets is not None:
            granted = self.tickets.granted(place.token)
            channel.keep(place.token, [_saved(*ticket) for ticket in granted], lost_at)

    def close(self, *, hands_over: bool) -> None:
        """
        No client comes back any more: all that wait are over, and so is from now on what loses its connection.

        Args:
            hands_over: But not those that outlive this process.
        """
        self._closed, self._hands_over = True, hands_over
        for channel in tuple(self.waiting):
            if not (hands_over and channel.outlives):
                code = Code.RESTART if hands_over else Code.SHUTDOWN
                self._finish(channel, Outcome(code, clean=True, ours=True))

    def sweep(self) -> None:
        """End those whose time is over."""
        if self.tickets is not None:
            now = self._loop.now
            self._end_all(self.tickets.expire(now), Code.EXPIRED)
            self._end_all(
                [channel for channel in self.waiting if self._is_over(channel, now)], Code.EXPIRED
            )

    def _is_over(self, channel: Channel, now: float) -> bool:
        """Whether a session has had the time that the application gives it, which is less than that of all."""
        return channel.grace is not None and now >= self._places[channel].since + channel.grace

    def over(self, channel: Channel, token: bytes) -> None:
        """A session has ended, however, also one that was never public: no ticket of it is good for anything."""
        place, tickets = self._places.pop(channel, None), self.tickets
        if tickets is not None and place is not None and _was_closed(channel):
            # Until then its client can name the one behind whose packets those of the next have to wait.
            forget = partial(self._loop.call, partial(tickets.forget, token))
            cast(Left, channel.owner).when_through(forget)
        elif tickets is not None:
            tickets.forget(token)
        if place is not None and isinstance(channel, DurableChannel):
            channel.keep(token, [], time.time())
        self._wake(channel)

    def left(self, channel: Channel) -> bool:
        """See `succeeding.Sessions`."""
        link = channel.link
        if channel.keeper is None:
            if link is not None:
                link.lost()
            return False
        if link is not None:
            link.finish_channel(Outcome(Code.NORMAL, clean=True))
            link.lost()
        else:
            self._finish(channel, Outcome(Code.NORMAL, clean=True))
        return True

    def orphaned(self) -> None:
        """In a child of fork(): these sessions are the parent's."""
        for channel in tuple(self.waiting):
            channel.orphaned()
        self.waiting.clear()

    # As the keeper of a session.

    def keeps(self, channel: Channel, link: Carrying) -> bool:
        """Whether the session goes on when this link is lost."""
        place = self._places.get(channel)
        if link.provisional or place is None or channel.grace == 0:
            return False
        if self._closed and not (self._hands_over and channel.outlives):
            return False
        if link.connection.controls or channel.core.numbering.incoming.accepted:
            place.known = True
        return True

    def suspended(self, channel: Channel) -> None:
        """By the leader: it has lost its connection."""
        place, tickets = self._places.get(channel), self.tickets
        if place is None or tickets is None:
            self._finish(channel, Outcome(Code.BROKEN, ours=True))
            return
        self.waiting[channel] = place.places
        place.since = self._loop.now
        self._host.suspended(channel)
        missed = _would_be_missed(channel)
        for around in place.places:
            self._of_place.setdefault(around, {})[channel] = None
        self._end_all(tickets.suspend(place.token, self._loop.now, missed=missed), Code.EXPIRED)
        if channel in self.waiting:
            self._keep(channel, place, time.time())
        if not place.known:
            # Its client may not know that it is in, and ask for another session: it comes soon, or not at all.
            self._loop.call_later(UNKNOWN_SECONDS, lambda: self._never_came(channel, place))
        for around, most in zip(place.places, self._most_of, strict=False):
            mine = self._of_place.get(around, {})
            if len(mine) > most:
                self._end_all([next(iter(mine))], Code.EXPIRED)

    def _never_came(self, channel: Channel, place: Place) -> None:
        if self._places.get(channel) is place:
            self._end_all([channel], Code.BROKEN)

    def end(self, channel: Channel, code: int, text: str) -> None:
        """Any thread: end it from our side, though nothing carries it."""
        self._loop.call(lambda: self._end(channel, code, text))

    def see_to(self, channel: Channel) -> None:
        """Its client comes, or does not."""

    def _end(self, channel: Channel, code: int, text: str) -> None:
        link = channel.link
        if link is not None:
            link.end(code, text)  # its client came back in between
        else:
            self._finish(channel, Outcome(code, text, clean=True, ours=True))

    def _end_all(self, channels: list[Any], code: int) -> None:
        for channel in channels:
            self._finish(channel, Outcome(code, ours=True))

    def _finish(self, channel: Channel, outcome: Outcome) -> None:
        if channel.link is not None or not channel.finished(outcome):
            return
        place = self._places.get(channel)
        token = place.token if place is not None else b""
        places = self.waiting.get(channel, (channel,))
        self.over(channel, token)
        told = self._host.ended(channel)
        self._gone(channel, places)
        if not told:
            channel.core.sending.drop()

    def _wake(self, channel: Channel) -> None:
        places = self.waiting.pop(channel, None)
        if places is not None:
            for around in places:
                mine = self._of_place[around]
                del mine[channel]
                if not mine:
                    del self._of_place[around]


def _was_closed(channel: Channel) -> bool:
    """Whether its client has ended it."""
    outcome = channel.outcome
    return outcome is not None and outcome.code == Code.NORMAL and not outcome.ours


def _would_be_missed(channel: Channel) -> bool:
    """Whether a session is kept rather than others."""
    return getattr(channel.owner.session, "user", None) is not None or _has_something(channel)


def _saved(digest: bytes, grant: Grant) -> SavedTicket:
    server = grant.server.spki if grant.server is not None else None
    client = grant.client.spki if grant.client is not None else None
    return SavedTicket(
        digest, grant.max_packet, grant.psk, server, client, grant.application, grant.version
    )


def granted(ticket: SavedTicket, channel: Channel, token: bytes) -> tuple[bytes, Grant]:
    """A ticket that a store has kept, for this session."""
    server = PublicKey.from_spki(ticket.server) if ticket.server is not None else None
    client = PublicKey.from_spki(ticket.client) if ticket.client is not None else None
    grant = Grant(
        channel, token, ticket.max_packet, ticket.psk, server, client, ticket.application, ticket.version
    )  # fmt: skip
    return ticket.digest, grant


def _has_something(channel: Channel) -> bool:
    """Whether something would be lost with it."""
    core = channel.core
    return bool(core.numbering.outgoing.kept or core.sending.packets or core.receiving.items)
