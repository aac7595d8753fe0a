"""The definition of a load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...app.actions import RESERVED
from ...errors import CodecError, ConfigError
from ...limits import MAX_FRAME_BODY, RECORD_ROOM
from ...wire.packets import Packet, encode_packet

MAX_CLIENTS = 5000  # each takes a socket, and about 15 KiB here
MAX_RATE = 10_000.0  # packets a second of one client
MAX_SECONDS = 3600.0  # of the steady part, and of the ramp
MAX_SIZE = 1024 * 1024  # bytes of text in a packet; servers take 2 MiB unless told otherwise
FILLER = 32  # bytes: with the rest it makes a packet as games send them


@dataclass(frozen=True)
class Plan:
    """
    A load: its packets, clients and duration.

    Args:
        clients: The number of clients.
        rate: Packets a second of each of them.
        seconds: The duration, once all are connected.
        ramp: Seconds over which they connect.
        action: The packets' name.
        size: Bytes of text in each packet.
        data: The data to send instead of numbered packets, if `fixed`.
        fixed: Every packet has the same data. Then the first packet that comes back answers the first that was sent.
        requests: Send requests: replies are the answers. Otherwise packets with the same name are.

    Raises:
        ConfigError: One of them is out of bounds, or cannot be sent.
    """

    clients: int = 10
    rate: float = 10.0
    seconds: float = 10.0
    ramp: float = 3.0
    action: str = "echo"
    size: int = FILLER
    data: Any = None
    fixed: bool = False
    requests: bool = False

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("clients", self.clients, 1, MAX_CLIENTS),
            ("rate", self.rate, 0.01, MAX_RATE),
            ("seconds", self.seconds, 0.1, MAX_SECONDS),
            ("ramp", self.ramp, 0, MAX_SECONDS),
        ):
            if not least <= value <= most:
                raise ConfigError(f"{name} is {least} to {most:g}, not {value:g}")
        if self.action.startswith(RESERVED):
            raise ConfigError(f"{self.action!r} is not yours to send: it begins with {RESERVED!r}")
        try:
            size = len(encode_packet(Packet(self.action, self.payload(0, 0))))
        except CodecError as error:
            raise ConfigError(f"this packet cannot be sent: {error.message}") from None
        if size > MAX_FRAME_BODY - RECORD_ROOM:
            raise ConfigError(f"no server takes a packet of {size:,} bytes")

    def payload(self, client: int, number: int) -> Any:
        """The data of one packet."""
        if self.fixed:
            return self.data
        return {"client": client, "number": number, "filler": "x" * self.size}
