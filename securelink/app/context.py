"""The shared data of the sessions of a server or client, and the server's data of each session."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Set
from typing import Any, Protocol

from .._mypyc import mypyc_attr
from ..auth import Lease
from ..limits import MAX_UNUSED_STATE
from ..protocol.bounds import Bounds, encode_for
from ..state import Saved, SavedTicket
from ..text import escaped, kind_of
from ..wire.packets import Packet, decode_packets, encode_packet, join_packets
from .actions import STATE
from .admission import Entry
from .counts import Counts
from .handlers import Answering, Handlers
from .hooks import EventHook
from .pending import Pending
from .policies import Policies
from .received import Received
from .rooms import Rooms
from .saving import saved_session, saved_user

log = logging.getLogger("securelink.server")

_SHOWN_USER = 200  # characters


class Named(Protocol):
    """A session, as the log names it."""

    token: str
    user: Any


class ServerContext:
    """
    The shared data of the sessions of a server.

    Attributes:
        handlers: The handlers of packets.
        rooms: The rooms of the server.
        counts: Counts of events.
        on_state: Fires when a client gives a new state.
        before_send: None, or f(session or None, action, data) that returns the data to send.
        policies: Of packets for which there is no room.
        states_used: Whether the program has looked at a client's state.
        grace: Seconds that a session is kept at most when its connection is lost.
    """

    __slots__ = (
        "_bounds", "before_send", "counts", "grace", "handlers", "on_state", "policies", "rooms", "states_used"
    )  # fmt: skip

    def __init__(
        self,
        handlers: Handlers,
        rooms: Rooms[Any],
        counts: Counts,
        on_state: EventHook[...],
        bounds: Bounds,
    ) -> None:
        self.handlers = handlers
        self.rooms = rooms
        self.counts = counts
        self.on_state = on_state
        self._bounds = bounds
        self.before_send: Callable[..., Any] | None = None
        self.policies = Policies()
        self.states_used = False
        self.grace = 0

    def encode(self, action: Any, data: Any, headers: Any = None) -> bytes:
        """
        Encode a packet for many sessions, after the hook. The codec checks its types, in a compiled build too.

        Raises:
            CodecError: The data cannot be encoded.
        """
        hook = self.before_send
        if hook is not None:
            data = hook(None, action, data)
        return encode_for(self._bounds, Packet(action, data, headers, time.time()))


class SessionContext:
    """
    A session, as its channel knows it: takes its packets, and keeps the server's data of it.

    Args:
        session: The session that handlers get.
        server: The data that it shares with others.
        entry: Why it was let in.
        elements: The most values in a state that is kept.

    Attributes:
        holds: Charges that are given back unless the client gets in.
        left: Names of the rooms that it was in when it ended.
        greeted: Whether the application was told that it has connected.
        lease: For how long its client was let in; None: for the whole session.
    """

    __slots__ = (
        "_elements", "_entered", "_name", "_server", "_state", "_then", "_user", "greeted", "holds", "lease",
        "left", "session",
    )  # fmt: skip

    def __init__(self, session: Named, server: ServerContext, entry: Entry, elements: int) -> None:
        self.session: Named | None = session
        self._server = server
        self._elements = elements
        self._name = ""
        self._state: bytes | None = None  # encoded: a peer makes us keep its bytes, not objects
        self._entered = (entry.user, entry.operator)
        self.holds = entry.holds
        self.lease = entry.lease
        self.left: tuple[str, ...] = ()
        self.greeted = False
        self._user: bytes | None = None
        self._then: tuple[Callable[[], None], ...] = ()

    def handle(self, channel: Answering, packet: Packet) -> Pending | None:
        """Give a packet to the handlers; returns what is not done yet."""
        session = self.session
        if packet.reply_to is not None or session is None:
            return None  # a reply that came too late
        received = Received(packet, channel, session)
        handlers = self._server.handlers
        wanted = handlers.run(channel, packet, received, (session, received))
        if wanted is True:
            return None
        if wanted is False:
            handlers.warn_unhandled(packet.action, "@server.on(...) or @server.on_message")
            return None
        return wanted

    def throttled(self) -> None:
        """The client sends more than it may in a second."""
        self._server.counts.note("limit_rate")

    def is_for(self, entry: Entry) -> bool:
        """Whether who is let in for this reason is the user that the session began with."""
        user, operator = self._entered
        try:
            return operator == entry.operator and bool(user is entry.user or user == entry.user)
        except Exception:
            log.exception("users of %s cannot be compared", self.name)
            return False

    @property
    def can_be_kept(self) -> bool:
        """Whether its user can be kept by a store."""
        self._user = saved_user(self._entered[0])
        return self._user is not None

    def describe(
        self, token: bytes, tickets: list[SavedTicket], lost_at: float | None
    ) -> bytes | None:
        """What a store keeps of it, beside its packets; None: nothing any more."""
        session: Any = self.session
        if session is None or self._user is None:
            return None
        return saved_session(
            session,
            self._user,
            token,
            tickets,
            lost_at=lost_at,
            greeted=self.greeted,
            state=self._state,
            until=self.ends_at,
        )

    def restore(self, saved: Saved) -> None:
        """It was kept by a store."""
        self.greeted, self._state = saved.greeted, saved.state
        self.lease = Lease(saved.until) if saved.until is not None else None

    @property
    def ends_at(self) -> float | None:
        """When it ends, with a connection or without, in seconds since 1970; None: nobody knows."""
        lease = self.lease
        return None if lease is None or lease.renew is not None else lease.until

    def through(self) -> None:
        """Its last packet is handled: the reference to the session is dropped, so that it can be freed."""
        self._name = self.name
        self.session = None
        self._go_on()

    def when_through(self, act: Callable[[], None]) -> None:
        """By the leader: do this when its last packet is handled, or at once; perhaps twice."""
        self._then = (*self._then, act)
        if self.session is None:
            self._go_on()

    def _go_on(self) -> None:
        then, self._then = self._then, ()
        for act in then:
            act()

    @property
    def name(self) -> str:
        """Its name in the log."""
        session = self.session
        if session is None:
            return self._name
        user = f" ({shown_user(session.user)})" if session.user is not None else ""
        return f"session {session.token}{user}"

    @property
    def rooms(self) -> Rooms[Any]:
        """All rooms of the server."""
        return self._server.rooms

    @property
    def held(self) -> int:
        """The number of bytes that are kept here."""
        state = self._state
        return len(state) if state is not None else 0

    @property
    def state(self) -> Any:
        """The last state that the client gave; None before. Decoded at each access."""
        self._server.states_used = True
        state = self._state
        return None if state is None else decode_packets(state, self._elements)[0].data

    def take_state(self, value: Any) -> None:
        """Keep a new state of the client, unless it is large and the program does not use states."""
        encoded = join_packets([encode_packet(Packet(STATE, value), self._elements)])
        server = self._server
        if not (
            len(encoded) <= MAX_UNUSED_STATE or server.states_used or server.on_state.listeners
        ):
            self._state = None  # the previous state is no longer the latest
            log.info("%s: a state of %d bytes is dropped, nobody looks", self.name, len(encoded))
            return
        self._state = encoded


class Awaited:
    """A thread waits for a packet of one name."""

    __slots__ = ("action", "found")

    def __init__(self, action: str) -> None:
        self.action = action
        self.found: list[Received] = []


@mypyc_attr(native_class=False)  # compiled classes cannot be referred to weakly
class ClientContext:
    """
    The shared data of a client's sessions.

    Args:
        handlers: The handlers of packets.
        on_state: Fires when the server gives a new state.
        on_suspend: Fires when a session has lost its connection.
        on_resume: Fires when it has another one.
        on_disconnect: Fires when a session has ended.
        in_update: Whether handlers run only in the program's own thread.

    Attributes:
        before_send: None, or f(action, data) that returns the data to send.
        policies: Of packets for which there is no room.
        awaited: The threads that wait for packets of one name.
    """

    def __init__(
        self,
        handlers: Handlers,
        on_state: EventHook[...],
        on_suspend: EventHook[...],
        on_resume: EventHook[...],
        on_disconnect: EventHook[...],
        *,
        in_update: bool,
    ) -> None:
        self.handlers = handlers
        self.on_suspend = on_suspend
        self.on_resume = on_resume
        self.on_disconnect = on_disconnect
        self.before_send: Callable[..., Any] | None = None
        self.policies = Policies()
        self.awaited: dict[Awaited, None] = {}
        self._on_state = on_state
        self._in_update = in_update

    @property
    def has_handlers(self) -> bool:
        """Whether any packets go to handlers."""
        return self.handlers.any or bool(self._on_state.listeners)

    @property
    def wants_background(self) -> bool:
        """Whether packets go to handlers without a call of the program."""
        return not self._in_update and self.has_handlers

    @property
    def wants_to_live(self) -> bool:
        """Whether there is work even if the program keeps no reference to the client."""
        listens = bool(self.on_disconnect.listeners) and not self._in_update
        return self.wants_background or listens

    def on_packet(self, channel: Answering, packet: Packet, received: Received) -> Pending | bool:
        """Take a packet; False if neither a handler nor a listener wants it. See `Handlers.run`."""
        if self.awaited:
            for awaited in tuple(self.awaited):
                if awaited.action == packet.action and not awaited.found:
                    received.keep_number()
                    awaited.found.append(received)
                    return True
        return self.handlers.run(channel, packet, received, (received,))


def shown_user(user: object) -> str:
    """
    A user on one line, for logs and consoles.

    A container or bytes may be the credentials, with the password, and is not shown. A user whose `str()` fails does
    not keep its session from beginning or ending.
    """
    if isinstance(user, Mapping | list | tuple | Set | bytes | bytearray):
        return kind_of(user)
    try:
        return escaped(str(user)[:_SHOWN_USER])
    except Exception:
        return f"{kind_of(user)} that cannot be shown"
