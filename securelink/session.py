"""One client on the server."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping, Set
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from .app.handlers import STATE, check_action
from .app.received import Received
from .auth import Hold
from .codes import Code
from .limits import MAX_UNUSED_STATE, REQUEST_SECONDS, SEND_SECONDS
from .options import key, seconds, seconds_or_none
from .protocol.bounds import encode_for
from .protocol.handshake_server import VerifiedClient
from .streams.sockets import shown
from .text import escaped
from .threads.channel import Channel
from .threads.later import ask_later
from .threads.listener import ServerLink
from .threads.loop import Loop
from .wire.packets import Packet, decode_packets, encode_packet, join_packets

if TYPE_CHECKING:
    from .app.rooms import Room
    from .server import Server


log = logging.getLogger("securelink.server")

_SHOWN_USER = 200  # characters


class Session(Channel):
    """
    One client on the server. Handlers get it; keep what belongs to the client in `data`.

    Attributes:
        token: A uuid4 that names the session. It may be shown to anybody; it proves nothing.
        user: What the `authenticate` hook returned; None when there is no hook.
        address: (host, port) of the client.
        fingerprint: Of the client's key, `SHA256:...`; None for a client without one.
        operator: Whether it entered by the key of an operator of this server.
        connected_at: Seconds since 1970.
        data: A dict for the application.
        encrypted: False in plaintext mode.
        dialled: The name or address under which the client reached this server.
        reason, code, text, clean: Why it ended; see there. In `on_disconnect` they are set.
    """

    __slots__ = (
        "__weakref__", "_holds", "_left",
        "_server",
        "_state",
        "address",
        "connected_at",
        "data",
        "dialled",
        "encrypted",
        "fingerprint",
        "operator",
        "token",
        "user",
    )  # fmt: skip

    def __init__(
        self, server: Server, loop: Loop, link: ServerLink, client: VerifiedClient, user: Any
    ) -> None:
        super().__init__(loop, server._bounds)
        self._server = server
        self._left: tuple[str, ...] = ()  # the rooms that it was in when it ended
        self._holds: tuple[Hold, ...] = ()  # what is given back unless the client gets in
        self.token = str(uuid.UUID(bytes=link.token))
        self.user = user
        self.operator = False
        self.address = link.address
        self.fingerprint = client.key.fingerprint if client.key is not None else None
        self.connected_at = time.time()
        self.data: dict[str, Any] = {}
        self.encrypted = link.engine.encrypted
        self.dialled = client.dialled
        self._state: bytes | None = (
            None  # encoded: a peer makes us keep its bytes, not the larger objects
        )

    def send(
        self,
        action: str,
        data: Any = None,
        *,
        headers: dict[str, Any] | None = None,
        latest: str | None = None,
        timeout: float | None = SEND_SECONDS,
    ) -> None:
        """
        Send one packet to this client.

        In a handler it never waits. Elsewhere it waits while more than the session's bounds is unsent or
        unacknowledged.

        Args:
            action: The packet's name, 1 to 255 characters.
            data: None, bool, int, float, str, bytes, and lists and dicts of these.
            headers: More of the same, by name.
            latest: A key: a packet with the same key that is still waiting is replaced, not followed.
            timeout: In seconds; None waits for ever.

        Raises:
            CodecError: The data cannot be encoded.
            ConfigError: The name begins with "~", or `timeout` is no number.
            ConnectionClosed: The session has ended.
            LimitExceeded: The packet is larger than `max_packet`.
            LinkTimeout: The client takes nothing.
        """
        if timeout is not SEND_SECONDS:  # packets should not pay for a check of our own default
            timeout = seconds_or_none("timeout", timeout)
        check_action(action)
        self._send(action, data, headers, latest, timeout)

    def _send(
        self,
        action: str,
        data: Any = None,
        headers: dict[str, Any] | None = None,
        latest: str | None = None,
        timeout: float | None = SEND_SECONDS,
    ) -> None:
        """Send a packet whose name may be one of our own."""
        if latest is not None:
            key("latest", latest)
        hook = self._server._before_send
        if hook is not None:
            data = hook(self, action, data)
        packet = Packet(action, data, headers, time.time())
        encoded = encode_for(self._bounds, packet)
        self._post(encoded, timeout=timeout, latest=latest)

    def request(
        self,
        action: str,
        data: Any = None,
        *,
        headers: dict[str, Any] | None = None,
        timeout: float = REQUEST_SECONDS,
    ) -> Any:
        """
        Ask this client and wait for its answer. Also in a handler, even of this very session.

        Args:
            timeout: In seconds.

        Returns:
            What the client's handler returned.

        Raises:
            ConfigError: The name begins with "~", or `timeout` is no number, or the client waits for this very handler
                and could not answer before.
            CodecError: The data cannot be encoded.
            RequestFailed: The client has no handler for it, or its handler failed or refused.
            ConnectionClosed: The session ended before the answer came.
            LimitExceeded: The packet is larger than `max_packet`, or MAX_REQUESTS wait for their answer.
            LinkTimeout: No answer in time.
        """
        timeout = seconds("timeout", timeout)
        check_action(action)
        hook = self._server._before_send
        if hook is not None:
            data = hook(self, action, data)
        return self._ask(Packet(action, data, headers, time.time()), timeout).data

    def request_later(
        self,
        action: str,
        data: Any = None,
        *,
        headers: dict[str, Any] | None = None,
        timeout: float = REQUEST_SECONDS,
    ) -> Future[Any]:
        """
        Ask this client and go on; the answer comes into the future that this returns. Never waits.

            votes = [session.request_later("vote") for session in server.sessions.values()]

        Callbacks run as handlers of this session do: one at a time, in order with its packets, in the same threads.
        `result()` waits, also in a handler. But a handler that waits for its own session does better with `request()`,
        which tells the other side so: a handler there that asks back is then refused at once, and otherwise both wait
        for their time-outs. `cancel()` makes nobody wait any more; the other side does not learn of it. In an asyncio
        program `asyncio.wrap_future()` makes it awaitable.

        Args:
            timeout: Seconds from now; then the future has a `LinkTimeout`.

        Returns:
            A future of what the other side's handler returns. Its exception is what `request()` would raise.

        Raises:
            ConfigError: The name begins with "~", or `timeout` is no number.
            CodecError: The data cannot be encoded.
            ConnectionClosed: The session has ended.
            LimitExceeded: The packet is larger than `max_packet`, or MAX_REQUESTS wait for their answer.
            LinkTimeout: The other side takes nothing, and there is no room.
        """
        timeout = seconds("timeout", timeout)
        check_action(action)
        hook = self._server._before_send
        if hook is not None:
            data = hook(self, action, data)
        packet = Packet(action, data, headers, time.time())
        return ask_later(self, packet, timeout)

    def set_state(self, value: Any) -> None:
        """Give this client a new value of the server's state; one that is still waiting is replaced."""
        self._send(STATE, value, latest=STATE)

    @property
    def state(self) -> Any:
        """
        The last value that the client gave to `set_state`; None before. Decoded at each look.

        While nobody has looked at a state, and `on_state` has no listener, only states up to 64 KiB are kept.
        """
        self._server._states_used = True
        return (
            None
            if self._state is None
            else decode_packets(self._state, self._bounds.elements)[0].data
        )

    def _take_state(self, packet: Packet) -> None:
        encoded = join_packets([encode_packet(Packet(STATE, packet.data), self._bounds.elements)])
        server = self._server
        if not (
            len(encoded) <= MAX_UNUSED_STATE or server._states_used or server.on_state.listeners
        ):
            self._state = None  # the one before is not the latest any more
            log.info("%s: a state of %d bytes is dropped, nobody looks", self._name(), len(encoded))
            return
        self._state = encoded

    @property
    def _held(self) -> int:
        state = self._state
        return super()._held + (len(state) if state is not None else 0)

    def ping(self, timeout: float = REQUEST_SECONDS) -> float:
        """
        Whether the client is alive: seconds of the round trip.

        Raises:
            ConfigError: `timeout` is no number.
            LinkTimeout: No answer in time.
            ConnectionClosed: The session has ended.
        """
        return self._probe(seconds("timeout", timeout))

    def mute(self) -> None:
        """From now on nothing that is sent to this client goes out; it is dropped. It may still talk."""
        self._muted = True

    def unmute(self) -> None:
        """Send to this client again."""
        self._muted = False

    @property
    def muted(self) -> bool:
        """Whether `mute` is in force."""
        return self._muted

    def join(self, room: str) -> Room:
        """Enter a room; see `Rooms.join` for what it raises."""
        return self._server._rooms.join(self, room)

    def leave(self, room: str) -> bool:
        """Leave a room; False when it was not there."""
        return self._server._rooms.leave(self, room)

    @property
    def rooms(self) -> list[str]:
        """Names of the rooms that it is in, in the order of joining; after the end those that it was in then."""
        return list(self._left) or [room.name for room in self._server._rooms.of(self)]

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
            "unsent": self._unsent,
        }

    def kick(self, reason: str = "") -> None:
        """End this session. What was sent before still goes out; the client sees `reason`. Returns at once."""
        self._end(Code.KICKED, reason)

    @property
    def connected(self) -> bool:
        """Whether packets can be sent."""
        return self._link is not None

    def _throttle(self) -> None:
        super()._throttle()
        self._server._counts.note("limit_rate")

    def _handle(self, packet: Packet) -> None:
        if packet.reply_to is not None:
            return  # a reply that came too late
        received = Received(packet, self)
        handlers = self._server._handlers
        if not handlers.run(self, packet, received, self, received):
            handlers.warn_unhandled(packet.action, "@server.on(...) or @server.on_message")

    def _name(self) -> str:
        user = f" ({shown_user(self.user)})" if self.user is not None else ""
        return f"session {self.token}{user}"

    def __repr__(self) -> str:
        user = "None" if self.user is None else shown_user(self.user)
        return f"<Session {self.token} user={user} {shown(*self.address)}>"


def shown_user(user: object) -> str:
    """
    A user on one line, for logs and consoles.

    A container or bytes may be what came as credentials, password and all, and is not shown. Nor does a user that fails
    when it is shown keep its session from beginning or ending.
    """
    if isinstance(user, Mapping | list | tuple | Set | bytes | bytearray):
        return f"a {type(user).__name__}"
    try:
        return escaped(str(user)[:_SHOWN_USER])
    except Exception:
        return f"a {type(user).__name__} that cannot be shown"
