"""How near a server is to its limits."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from ..app.declared import ServerOptions
from ..app.rooms import Rooms
from ..protocol.arrived import RECORDS, Rest
from ..protocol.receive_queue import ReceiveQueue
from .channel import Channel
from .listener import Listener


class Limit(NamedTuple):
    """
    One limit of a server.

    Attributes:
        most: The limit.
        used: How much of it is used now.
        unit: Of both.
    """

    most: int
    used: int
    unit: str


# The limits that each session has: the unit, and how much a session uses.
_OF_SESSION: dict[str, tuple[str, Callable[[Channel], int]]] = {
    "max_byte_rate": (
        "bytes a second of one session",
        lambda channel: channel.core.receiving.rates[1],
    ),
    "max_elements": (
        "values in one packet above 64 KiB that is being decoded",
        lambda channel: _elements(channel.core.receiving),
    ),
    "max_packet": (
        "bytes of one record that waits for handlers",
        lambda channel: _largest(channel.core.receiving),
    ),
    "max_rate": (
        "packets a second of one session",
        lambda channel: channel.core.receiving.rates[0],
    ),
    "max_requests": (
        "requests of one session that wait for their reply",
        lambda channel: len(channel.core.requests.expected),
    ),
    "max_unacked": (
        "bytes of one session that its client has not handled",
        lambda channel: channel.core.numbering.outgoing.unacked,
    ),
    "max_unhandled": (
        "bytes of one session that wait for handlers",
        lambda channel: channel.core.receiving.waiting,
    ),
    "max_unsent": ("bytes of one session that are not sent", lambda channel: channel.unsent),
}

# The limits that all connections share: the unit, and how much is used.
_OF_ALL: dict[str, tuple[str, Callable[[Listener], int]]] = {
    "max_connections": ("connections", lambda listener: len(listener.links)),
    "max_failures": (
        "failed handshakes of one address in a minute",
        lambda listener: listener.gate.budget.most_failures,
    ),
    "max_half_open": ("connections without a session", lambda listener: listener.gate.half_open),
    "max_memory": ("bytes of all sessions", lambda listener: listener.holdings.held),
    "max_per_address": (
        "connections of one address",
        lambda listener: listener.gate.most_of_address,
    ),
    "max_suspended_per_address": (
        "sessions of one address without a connection",
        lambda listener: listener.suspensions.most_of_address,
    ),
    "max_suspended": (
        "sessions without a connection",
        lambda listener: len(listener.suspensions.waiting),
    ),
}


def standing(
    options: ServerOptions,
    listener: Listener | None,
    rooms: Rooms[Any],
    channels: Collection[Channel],
) -> dict[str, Limit]:
    """
    See `Server.limits`. Any thread.

    Args:
        options: Have the limits.
        listener: Of a server that runs.
        rooms: Of the server.
        channels: Of its sessions.
    """
    sizes = rooms.sizes
    found = {
        name: Limit(getattr(options, name), max(map(used, channels), default=0), unit)
        for name, (unit, used) in _OF_SESSION.items()
    }
    found["max_rooms"] = Limit(options.max_rooms, len(sizes), "rooms")
    found["max_rooms_per_session"] = Limit(
        options.max_rooms_per_session, rooms.most_of_session, "rooms of one session"
    )
    if options.room_capacity is not None:
        most = max(sizes, default=0)
        found["room_capacity"] = Limit(options.room_capacity, most, "members of one room")
    for name, (unit, used_of) in _OF_ALL.items():
        count = used_of(listener) if listener is not None else 0
        found[name] = Limit(getattr(options, name), count, unit)
    return dict(sorted(found.items()))


def _largest(receiving: ReceiveQueue) -> int:
    items = (*receiving.items, receiving.opened)
    return max((_size_of(item) for item in items), default=0)


def _size_of(item: object) -> int:
    if isinstance(item, RECORDS):
        return len(item)
    return item.size if isinstance(item, Rest) else 0


def _elements(receiving: ReceiveQueue) -> int:
    opening = receiving.opening
    return opening.counted if opening is not None else 0
