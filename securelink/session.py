"""One client on the server."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar, cast

from .app.admission import Entry
from .app.context import ServerContext, SessionContext, shown_user
from .app.fanout import Fanout
from .app.registry import Registry
from .app.rooms import Group
from .app.saving import value_of
from .codes import Code
from .options import whole
from .peer import FarEnd, Peer
from .protocol.bounds import Bounds
from .protocol.durable import DurableCore
from .protocol.handshake_server import VerifiedClient
from .state import Loaded, Saved
from .streams.addresses import shown
from .threads.book import Book
from .threads.casting import post_all
from .threads.channel import Channel
from .threads.durable_channel import channel_for
from .threads.listener import Listener
from .threads.loop import Loop
from .threads.outbox import Outbox
from .threads.server_link import ServerLink
from .wire.packets import Packet

log = logging.getLogger("securelink.server")

Member = TypeVar("Member", bound="BaseSession")


class Birth(NamedTuple):
    """How a session came about."""

    token: bytes
    entry: Entry
    address: tuple[str, int]
    fingerprint: str | None
    encrypted: bool
    dialled: str
    at: float


class BaseSession(FarEnd):
    """
    One client on the server, in any shell: see `Session`.
    """

    __slots__ = (
        "__weakref__",
        "_channel",
        "_context",
        "_hooks",
        "address",
        "connected_at",
        "data",
        "dialled",
        "encrypted",
        "fingerprint",
        "operator",
        "restarted",
        "token",
        "user",
    )
    _channel: Channel
    _hooks: ServerContext

    def __init__(
        self,
        server: ServerContext,
        bounds: Bounds,
        birth: Birth,
        loop: Loop,
        book: Book | None,
        loaded: Loaded | None = None,
    ) -> None:
        self.token = str(uuid.UUID(bytes=birth.token))
        self.user: Any = birth.entry.user
        self.operator = birth.entry.operator
        self.address = birth.address
        self.fingerprint = birth.fingerprint
        self.connected_at = birth.at
        self.data: dict[str, Any] = {}
        self.encrypted = birth.encrypted
        self.dialled = birth.dialled
        self.restarted = False
        self._hooks = server
        context = self._context = SessionContext(self, server, birth.entry, bounds.elements)
        if book is not None and not context.can_be_kept:
            log.warning(
                "the user of session %s is a %s, which cannot be kept: it ends with this process",
                self.token,
                type(self.user).__name__,
            )
            book = None
        core = restored_core(bounds, loaded) if loaded is not None else None
        self._channel = channel_for(loop, bounds, context, book, core)
        if loaded is not None:
            self._restore(loaded.saved)

    def _restore(self, saved: Saved) -> None:
        self.data = value_of(saved.data)
        self._context.restore(saved)
        self._channel.muted = saved.muted
        if saved.grace < self._hooks.grace:
            self._channel.grace = saved.grace

    def _rewritten(self, hook: Callable[..., Any], action: str, data: Any) -> Any:
        return hook(self, action, data)

    @property
    def state(self) -> Any:
        """
        The last value that the client gave to `set_state`; None before. Decoded at each look.

        While nobody has looked at a state, and `on_state` has no listener, only states up to 64 KiB are kept.
        """
        return self._context.state

    def mute(self) -> None:
        """From now on nothing that is sent to this client goes out; it is dropped. It may still talk."""
        self._channel.muted = True

    def unmute(self) -> None:
        """Send to this client again."""
        self._channel.muted = False

    @property
    def muted(self) -> bool:
        """Whether `mute` is in force."""
        return self._channel.muted

    def leave(self, room: str) -> bool:
        """Leave a room; False when it was not there."""
        return self._context.rooms.leave(self, room)

    @property
    def rooms(self) -> list[str]:
        """Names of the rooms that it is in, in the order of joining; after the end those that it was in then."""
        context = self._context
        return list(context.left) or [room.name for room in context.rooms.of(self)]

    def info(self) -> dict[str, Any]:
        """What is known of this client, as a dict of plain values."""
        return {
            "token": self.token,
            "user": self.user,
            "host": self.address[0],
            "port": self.address[1],
            "fingerprint": self.fingerprint,
            "encrypted": self.encrypted,
            "connected": self.connected,
            "connected_at": self.connected_at,
            "muted": self.muted,
            "rooms": self.rooms,
            "reason": self.reason,
            "rtt": self.rtt,
            **self.pressure._asdict(),
        }

    @property
    def grace(self) -> int:
        """
        Whole seconds that this session is kept when its connection is lost; the server's `resume` unless it was set.

        May be set at any time, also while there is no connection: to less, down to 0, or to that much again. When the
        time is over the session ends, within a second, with `Code.EXPIRED`.

        Raises:
            ConfigError: It is no whole number, or more than the server keeps sessions.
        """
        grace = self._channel.grace
        return self._hooks.grace if grace is None else grace

    @grace.setter
    def grace(self, grace: int) -> None:
        self._channel.grace = whole("grace", grace, 0, self._hooks.grace, unit="seconds")

    @property
    def unconfirmed(self) -> list[Packet]:
        """
        The packets that this client has not handled, as far as it has told, and those that were never sent: in order.

        For listeners of `on_disconnect`: empty before, and when they have returned nothing of them is kept.
        """
        channel = self._channel
        return channel.core.unconfirmed() if channel.ended else []

    def kick(self, reason: str = "") -> None:
        """End this session. What was sent before still goes out; the client sees `reason`. Returns at once."""
        self._channel.end(Code.KICKED, reason)

    def __repr__(self) -> str:
        user = "None" if self.user is None else shown_user(self.user)
        return f"<Session {self.token} user={user} {shown(*self.address)}>"


class Session(BaseSession, Peer):
    """
    One client on the server. Handlers get it; keep what belongs to the client in `data`.

    Attributes:
        token: A uuid4 that names the session. It may be shown to anybody; it proves nothing.
        user: What the `authenticate` hook returned; None when there is no hook.
        address: (host, port) of the client; of its last connection.
        fingerprint: Of the client's key, `SHA256:...`; None for a client without one.
        operator: Whether it entered by the key of an operator of this server.
        connected_at: Seconds since 1970.
        data: A dict for the application.
        encrypted: False in plaintext mode.
        dialled: The name or address under which the client reached this server.
        restarted: Whether its client is another process since `on_resume` came last, which went on with the session
            from a file (`Client(session=)`): it has what you send from then on, what the one before had not
            acknowledged, and the server's state, and knows nothing else.
        reason, code, text, clean: Why it ended; see there. In `on_disconnect` they are set.
    """

    __slots__ = ()

    def join(self, room: str) -> Room:
        """Enter a room; see `Rooms.join` for what it raises."""
        return cast(Room, self._context.rooms.join(self, room))


class Room(Group[Session]):
    """
    A group of sessions under one name. It exists as long as it has members; iterating gives them.

    Attributes:
        name: Of the room.
    """

    __slots__ = ()


# For the parts of the library that send to many sessions, or see to their beginning and end. Functions of C, for
# they are called for each receiver; users of the library see neither channels nor contexts.
channel_of: Callable[[BaseSession], Channel] = attrgetter("_channel")
outbox_of: Callable[[BaseSession], Outbox] = attrgetter("_channel.outbox")
context_of: Callable[[BaseSession], SessionContext] = attrgetter("_context")


def local_fanout(
    kind: type[Member],
    registry_of: Callable[[Callable[[Member], Mapping[str, int]]], Registry[Member]] = Registry,
) -> Fanout[Member]:
    """
    Sends to the sessions of one server of this process, which are in its registry.

    Args:
        kind: Their class.
        registry_of: Makes the registry; its argument is what `Registry` takes.
    """
    registry = registry_of(lambda session: channel_of(session).numbers())

    def to_all(sessions: Iterable[Member], encoded: bytes, latest: str | None) -> int:
        return post_all(map(outbox_of, sessions), encoded, latest)

    return Fanout(registry, kind=kind, outlet_of=outbox_of, post_all=to_all)


def new_session(
    kind: type[BaseSession],
    server: ServerContext,
    bounds: Bounds,
    link: ServerLink,
    client: VerifiedClient,
    entry: Entry,
) -> Channel:
    """The channel of a session for a client that has come in."""
    fingerprint = client.key.fingerprint if client.key is not None else None
    birth = Birth(
        link.token, entry, link.address, fingerprint, link.encrypted, client.dialled, time.time()
    )
    return channel_of(kind(server, bounds, birth, link.loop, link.book))


def restored_core(bounds: Bounds, loaded: Loaded) -> DurableCore:
    """What a store has kept of the packets of a session."""
    counts = loaded.counts
    core = DurableCore(bounds)
    core.restore(
        (counts.handled, counts.accepted, counts.sent, counts.acknowledged, counts.queued, counts.asked),
        [record for number, record in loaded.received if number > counts.handled],
        loaded.sent,
        [packet for number, packet in loaded.queued if number >= counts.queued],
    )  # fmt: skip
    return core


def restored_session(
    kind: type[BaseSession],
    server: ServerContext,
    bounds: Bounds,
    listener: Listener,
    loaded: Loaded,
) -> tuple[BaseSession, Channel]:
    """A session that a store has kept, and its channel. Its packets wait for their turn."""
    saved = loaded.saved
    entry = Entry(value_of(saved.user), operator=saved.operator)
    birth = Birth(
        saved.token, entry, saved.address, saved.fingerprint, saved.encrypted, saved.dialled, saved.connected_at
    )  # fmt: skip
    session = kind(server, bounds, birth, listener.loop, listener.book, loaded)
    return session, channel_of(session)
