"""What a handler sees of a packet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .codec import Packet


class Received:
    """
    A packet that arrived, and the session that carried it.

    `session` and `token` come from the session, never from the wire: a peer cannot claim to be somebody else.

    Attributes:
        session: The server's `Session`, or the `Client` on the client's side.
    """

    __slots__ = ("_packet", "session")

    def __init__(self, packet: Packet, session: Any) -> None:
        self._packet = packet
        self.session = session

    @property
    def action(self) -> str:
        """The packet's name."""
        return self._packet.action

    @property
    def data(self) -> Any:
        """The payload, as the sender gave it (tuples arrive as lists)."""
        return self._packet.data

    @property
    def headers(self) -> dict[str, Any]:
        """Names and values beside the data; empty when there are none."""
        return self._packet.headers or {}

    @property
    def created(self) -> float:
        """When the sender made it, in seconds since 1970 by the sender's clock."""
        return self._packet.created

    @property
    def id(self) -> int | None:
        """Number of a request, or None."""
        return self._packet.id

    @property
    def reply_to(self) -> int | None:
        """Number of the request that this answers, or None."""
        return self._packet.reply_to

    @property
    def token(self) -> str:
        """The uuid4 that names the session."""
        token: str = self.session.token
        return token

    def __repr__(self) -> str:
        return f"<packet {self.action!r} from {self.token}>"
