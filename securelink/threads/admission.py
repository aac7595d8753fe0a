"""How a server lets clients in: the rules, and what the listener asks of the server above it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..app.budget import SHARES
from ..keys import Identity
from ..limits import HANDSHAKE_SECONDS, MAX_FAILED_PER_ADDRESS, MAX_HALF_OPEN, MAX_PER_ADDRESS
from ..protocol.handshake_server import VerifiedClient
from ..streams.proxy import Network
from ..wire.fields import Mode
from .channel import Channel

if TYPE_CHECKING:
    from .listener import ServerLink


class Host(Protocol):
    """What the listener asks of the server above it."""

    def authorize(self, link: ServerLink, client: VerifiedClient) -> Channel:
        """In the pool: decide, and give the new session, not yet public. Raises `HandshakeError` to refuse."""

    def opened(self, channel: Channel) -> None:
        """By the leader: make the session public; then its WELCOME is sent."""

    def confirmed(self, link: ServerLink) -> bool:
        """By the leader: whether the client of a provisional link may have its session, now that it has WELCOME."""

    def not_entered(self, link: ServerLink, *, at_once: bool) -> None:
        """By the leader: the client of a provisional link did not get in; the pool may not come to it any more."""

    def ended(self, channel: Channel) -> None:
        """By the leader: the session is over."""

    def note(self, event: str) -> None:
        """Any thread: something happened that is counted."""


@dataclass(frozen=True)
class Admission:
    """How this server does handshakes."""

    policy: Mode
    identity: Identity | None
    wanted: int
    max_connections: int
    max_packet: int
    heartbeat: float
    succession: bytes = b""  # what earlier keys of the server said of this one
    max_half_open: int = MAX_HALF_OPEN
    max_per_address: int = MAX_PER_ADDRESS
    max_failures: int = MAX_FAILED_PER_ADDRESS
    proxies: tuple[Network, ...] = ()
    handshake_seconds: float = HANDSHAKE_SECONDS

    @property
    def per_network(self) -> tuple[int, ...]:
        """Most connections of an address, and of the IPv6 networks around it: one customer's never takes all places."""
        most = self.max_per_address
        whole = max(most, self.max_connections * 3 // 4)
        return tuple(min(most * share, whole) for share in SHARES)
