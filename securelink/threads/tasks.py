"""The interfaces of a loop's work."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

from ..protocol.receive_queue import ReceiveQueue


class Runnable(Protocol):
    """A session's inbox, or work of our own."""

    def run(self) -> bool:
        """Handle waiting packets, within RUN_PACKETS and RUN_SECONDS; True if something is left."""


class Shell(Protocol):
    """Who drives a loop by its `turn()`, and sleeps somewhere else between turns: in another library's loop."""

    def knock(self) -> None:
        """There is something to do. Any thread."""

    def identity(self) -> int:
        """See `Loop.identity`."""

    def over(self) -> None:
        """The loop ends; its descriptor is about to be closed."""


class Unfinished(Protocol):
    """A connection with more arrived data than one turn takes."""

    def go_on(self) -> None:
        """Take the next part."""

    def on_error(self) -> None:
        """Called after `go_on` raised."""


class Look(Protocol):
    """Has a record looked into in steps: `ReceiveQueue.on_look` of sessions that take turns."""

    def __call__(self, queue: ReceiveQueue, network: Hashable = None) -> None:
        """Begin. The network is the peer's."""


class Flushable(Protocol):
    """Something with bytes to write."""

    listed: bool

    def flush(self) -> None:
        """Write without waiting."""

    def on_error(self) -> None:
        """Called after `flush` raised."""
