"""One client on the server."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

from ..codec import Packet, encode_packet
from ..handshake.server import VerifiedClient
from ..handshake.wire import Code
from ..limits import SEND_SECONDS
from ..text import escaped
from ..transport.channel import Channel
from ..transport.listener import ServerLink
from ..transport.loop import Loop
from ..transport.sockets import shown

if TYPE_CHECKING:
    from .server import Server


class Session(Channel):
    """
    One client on the server. Handlers get it; keep what belongs to the client in `data`.

    Attributes:
        token: A uuid4 that names the session. It may be shown to anybody; it proves nothing.
        user: What the `authenticate` hook returned; None when there is no hook.
        address: (host, port) of the client.
        fingerprint: Of the client's key, `SHA256:...`; None for a client without one.
        connected_at: Seconds since 1970.
        data: A dict for the application.
        encrypted: False in plaintext mode.
        dialled: The name or address under which the client reached this server.
    """

    __slots__ = (
        "_server", "address", "connected_at", "data", "dialled", "encrypted", "fingerprint", "token", "user",
    )  # fmt: skip

    def __init__(
        self, server: Server, loop: Loop, link: ServerLink, client: VerifiedClient, user: Any
    ) -> None:
        super().__init__(loop, server._bounds)
        self._server = server
        self.token = str(uuid.UUID(bytes=link.token))
        self.user = user
        self.address = link.address
        self.fingerprint = client.key.fingerprint if client.key is not None else None
        self.connected_at = time.time()
        self.data: dict[str, Any] = {}
        self.encrypted = link.engine.encrypted
        self.dialled = client.dialled

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
            ConnectionClosed: The session has ended.
            LimitExceeded: The packet is larger than `max_packet`.
            LinkTimeout: The client takes nothing.
        """
        packet = Packet(action, data, headers, time.time())
        self._post(encode_packet(packet), timeout=timeout, latest=latest)

    def kick(self, reason: str = "") -> None:
        """End this session. What was sent before still goes out; the client sees `reason`. Returns at once."""
        self._end(Code.KICKED, reason)

    @property
    def connected(self) -> bool:
        """Whether packets can be sent."""
        return self._link is not None

    def _handle(self, packet: Packet) -> None:
        self._server._dispatch(self, packet)

    def _name(self) -> str:
        user = f" ({escaped(str(self.user))})" if self.user is not None else ""
        return f"session {self.token}{user}"

    def __repr__(self) -> str:
        return f"<Session {self.token} user={self.user!r} {shown(*self.address)}>"
