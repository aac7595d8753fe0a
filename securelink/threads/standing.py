"""How near a server is to its limits."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from ..app.declared import ServerOptions
from ..app.rooms import Rooms
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
    rates = [channel.core.receiving.rates for channel in channels]
    found = {
        "max_byte_rate": Limit(
            options.max_byte_rate,
            max((n for _, n in rates), default=0),
            "bytes a second of one session",
        ),
        "max_rate": Limit(
            options.max_rate,
            max((n for n, _ in rates), default=0),
            "packets a second of one session",
        ),
        "max_unacked": Limit(
            options.max_unacked,
            max((channel.core.numbering.outgoing.unacked for channel in channels), default=0),
            "bytes of one session that its client has not handled",
        ),
        "max_unsent": Limit(
            options.max_unsent,
            max((channel.unsent for channel in channels), default=0),
            "bytes of one session that are not sent",
        ),
        "max_rooms": Limit(options.max_rooms, len(rooms.sizes), "rooms"),
    }
    if options.room_capacity is not None:
        most = max(rooms.sizes, default=0)
        found["room_capacity"] = Limit(options.room_capacity, most, "members of one room")
    gate = listener.gate if listener is not None else None
    links = len(listener.links) if listener is not None else 0
    waiting = len(listener.suspensions.waiting) if listener is not None else 0
    found |= {
        "max_connections": Limit(options.max_connections, links, "connections"),
        "max_failures": Limit(
            options.max_failures,
            gate.budget.most_failures if gate is not None else 0,
            "failed handshakes of one address in a minute",
        ),
        "max_per_address": Limit(
            options.max_per_address,
            gate.most_of_address if gate is not None else 0,
            "connections of one address",
        ),
        "max_suspended": Limit(options.max_suspended, waiting, "sessions without a connection"),
    }
    return dict(sorted(found.items()))
