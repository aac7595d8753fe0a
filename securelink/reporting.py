"""What a server says of itself: who is there, what it does and has done, and how near it is to its limits."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Generic

from .app.declared import ServerOptions
from .app.handlers import Handlers
from .app.registry import Registry
from .app.rooms import Rooms
from .app.statistics import totals_of
from .errors import ConfigError
from .session import Member, channel_of
from .text import kind_of
from .threads.lifecycle import Lifecycle
from .threads.standing import Limit, standing


class Reporting(Generic[Member]):
    """The methods of `Server` that tell how it is doing."""

    _options: ServerOptions
    _lifecycle: Lifecycle
    _registry: Registry[Member]
    _rooms: Rooms[Member]
    _handlers: Handlers
    _started_at = 0.0

    @property
    def sessions(self) -> Mapping[str, Member]:
        """The sessions by token: a snapshot."""
        return MappingProxyType({session.token: session for session in self._registry.everybody()})

    def find(
        self,
        token: str | None = None,
        *,
        address: tuple[str, int] | None = None,
        user: Any = None,
    ) -> list[Member]:
        """
        The sessions of which all that is given is true: at most one with a token, those from an address (host, port),
        those of a user.
        """
        if token is not None and not isinstance(token, str):
            raise ConfigError(f"token= is {kind_of(token)}", hint="it is that of a session")
        if address is not None and not isinstance(address, tuple | list):
            raise ConfigError(f"address= is {kind_of(address)}", hint="it is (host, port)")
        return self._registry.find(token, None if address is None else tuple(address), user)

    def stats(self) -> dict[str, Any]:
        """
        What the server does and has done, as a dict of plain values.

        Returns:
            What is now: `running`, `uptime_seconds`, `sessions`, `sessions_suspended` (those of them that have lost
            their connection), `connections_half_open`, `rooms`, `threads`, `unsent_bytes`, `unacked_bytes`. And what
            only grows, over all runs and all sessions that there were: `sessions_total`, `connections_lost_total` (of
            sessions that were kept), `sessions_resumed_total`, `handshakes_failed_total`, `logins_refused_total`,
            `handler_errors_total`, `records_received_total`, `records_sent_total`, `packets_received_total`,
            `packets_dropped_total`, `packets_replaced_total`, `sends_blocked_total` (see `Session.pressure`),
            `received_bytes_total`, `sent_bytes_total`, `sessions_ended_total` (a dict: how often for which reason) and
            `limits_reached_total` (a dict: how often which limit).
        """
        lifecycle, everybody = self._lifecycle, self._registry.everybody()
        loop, listener = lifecycle.loop, lifecycle.listener
        pressures = [session.pressure for session in everybody]
        return {
            "running": loop is not None,
            "uptime_seconds": time.time() - self._started_at if loop is not None else 0.0,
            "sessions": len(everybody),
            "sessions_suspended": len(listener.suspensions.waiting) if listener is not None else 0,
            "connections_half_open": listener.gate.half_open if listener is not None else 0,
            "rooms": len(self._rooms.names()),
            "threads": len(loop.thread_names()) if loop is not None else 0,
            "unsent_bytes": sum(pressure.unsent for pressure in pressures),
            "unacked_bytes": sum(pressure.unacked for pressure in pressures),
            **totals_of(self._registry, self._handlers.caught.total),
        }

    def limits(self) -> dict[str, Limit]:
        """
        Each limit that is an option of this server, and how near it is now.

            for name, limit in server.limits().items():
                print(name, limit.used, "of", limit.most, limit.unit)

        Returns:
            By the name of the option: `most`, which is the limit, `used` and `unit`. Where a limit is one of each
            session, room or address, `used` is that of the one which is nearest to it. Of a server that does not run
            nothing is used.
        """
        channels = [channel_of(session) for session in self._registry.everybody()]
        return standing(self._options, self._lifecycle.listener, self._rooms, channels)
