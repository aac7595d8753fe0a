"""How a server does handshakes."""

from __future__ import annotations

from dataclasses import dataclass

from ..app.declared import ServerOptions
from ..app.failure_budget import SHARES
from ..app.own_key import OwnKey
from ..keys import Identity
from ..limits import (
    HANDSHAKE_SECONDS,
    MAX_FAILED_PER_ADDRESS,
    MAX_HALF_OPEN,
    MAX_PER_ADDRESS,
    MAX_SUSPENDED,
    MAX_SUSPENDED_PER_ADDRESS,
    MAX_TOTAL_UNSENT,
)
from ..streams.proxy import Network
from ..wire.fields import Mode


@dataclass(frozen=True)
class HandshakeSettings:
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
    resume: int = 0  # seconds that a session without a connection is kept
    max_suspended: int = MAX_SUSPENDED
    max_suspended_per_address: int = MAX_SUSPENDED_PER_ADDRESS
    max_memory: int = MAX_TOTAL_UNSENT  # bytes that all sessions keep

    @staticmethod
    def of(options: ServerOptions, key: OwnKey) -> HandshakeSettings:
        """The settings of a server with these options, whose key is loaded."""
        return HandshakeSettings(
            policy=options.encryption,
            identity=key.identity,
            wanted=options.wanted,
            max_connections=options.max_connections,
            max_per_address=options.max_per_address,
            max_failures=options.max_failures,
            proxies=options.trusted_proxies,
            max_packet=options.max_packet,
            heartbeat=options.heartbeat,
            resume=options.resume,
            max_suspended=options.max_suspended,
            max_suspended_per_address=options.max_suspended_per_address,
            max_memory=options.max_memory,
            max_half_open=options.max_half_open,
            succession=key.succession(),
        )

    @property
    def per_network(self) -> tuple[int, ...]:
        """Most connections of an address, and of the IPv6 networks around it: one customer's never takes all places."""
        most = self.max_per_address
        whole = max(most, self.max_connections * 3 // 4)
        return tuple(min(most * share, whole) for share in SHARES)
