"""
Servers that a thread drives by `update()`.

Such a thread must not wait for its own server, which could not answer. `Client.connect()` checks this here.
"""

from __future__ import annotations

import weakref
from threading import get_ident
from typing import Protocol

from ..streams.addresses import is_loopback_host
from ..streams.base import Stream

_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104


class Driven(Protocol):
    """A server, as this module needs it."""

    @property
    def driver(self) -> int:
        """Identity of the thread that called `update()` last; 0 when it does not run, or by itself."""

    @property
    def places(self) -> list[tuple[str, int]]:
        """(address, port) of each listening socket."""


_driven: weakref.WeakSet[Driven] = weakref.WeakSet()


def add(server: Driven) -> None:
    """Add a server to the check."""
    _driven.add(server)


def leads_to_own_thread(stream: Stream) -> bool:
    """Whether a new connection leads to a server that the calling thread drives."""
    if not _driven:
        return False
    host, port = stream.peer
    if not is_loopback_host(host) and stream.local[0] != host:
        return False
    me = get_ident()
    return any(
        server.driver == me
        and any(
            port == its_port and its_host in (host, *_EVERYWHERE)
            for its_host, its_port in server.places
        )
        for server in tuple(_driven)
    )
