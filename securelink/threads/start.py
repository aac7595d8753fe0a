"""What the start of a server needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..app.hooks import EventHook
from ..state import Loaded, Store
from ..streams.base import Carrier, Listening
from .host import Host
from .loop import Loop
from .settings import HandshakeSettings


@dataclass(frozen=True)
class Start:
    """
    What a start needs.

    Attributes:
        host, port: Where to listen.
        carrier: How: TCP, or something in its place.
        settings: How to do handshakes.
        sessions: Who gives sessions to those that come in.
        store: Keeps them beyond this process, if any does.
    """

    host: str
    port: int
    carrier: Carrier
    settings: HandshakeSettings
    sessions: Host
    store: Store | None = None

    def take_over(self) -> tuple[list[Loaded], float]:
        """The sessions that a store has kept, and when their process was last heard of."""
        if self.store is None:
            return [], 0.0
        try:
            return self.store.take_over(), self.store.written_at
        except BaseException:
            self.give_up()
            raise

    def listen(self, backlog: int) -> Sequence[Listening]:
        """Listen. Raises `ConnectFailed`."""
        try:
            return self.carrier.listen(self.host, self.port, backlog)
        except BaseException:
            self.give_up()
            raise

    def give_up(self) -> None:
        """Nothing starts: the store is free for others."""
        if self.store is not None:
            self.store.close()


@dataclass(frozen=True)
class Calls:
    """
    What a lifecycle calls.

    Attributes:
        prepare: At each start, before anything else: gives what it needs.
        announce: When it listens.
        started: By the leader, at each start.
        is_empty: Whether there is no session.
        orphaned: In a child of fork().
        on_tick, on_start, on_stop: The events.
    """

    prepare: Callable[[], Start]
    announce: Callable[[], None]
    started: Callable[[Loop], None]
    is_empty: Callable[[], bool]
    orphaned: Callable[[], None]
    on_tick: EventHook[[]]
    on_start: EventHook[[]]
    on_stop: EventHook[[]]
