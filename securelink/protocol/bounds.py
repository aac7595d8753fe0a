"""The bounds of one session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..limits import (
    HARD_UNACKED,
    HARD_UNSENT,
    MAX_BYTE_RATE,
    MAX_ELEMENTS,
    MAX_INBOX_BYTES,
    MAX_INBOX_RECORDS,
    MAX_RATE,
    MAX_REQUESTS,
    MAX_UNACKED,
    MAX_UNSENT,
)
from ..wire.packets import Packet, encode_packet
from ..wire.sendable import check_sendable

#: What may become of a packet for which there is no room.
FULL = ("wait", "drop", "oldest", "latest", "end")
# What handlers queue without waiting ends a session beyond so many times the bound: by default as in limits.py
_HARD_UNSENT = HARD_UNSENT // MAX_UNSENT
_HARD_UNACKED = HARD_UNACKED // MAX_UNACKED


@dataclass(frozen=True)
class Bounds:
    """Bounds of one session; see limits.py for units and reasons."""

    unsent: int = MAX_UNSENT
    hard_unsent: int = HARD_UNSENT
    unacked: int = MAX_UNACKED
    inbox_records: int = MAX_INBOX_RECORDS
    hard_unacked: int = HARD_UNACKED
    inbox_bytes: int = MAX_INBOX_BYTES
    rate: int = MAX_RATE
    byte_rate: int = MAX_BYTE_RATE
    elements: int = MAX_ELEMENTS
    requests: int = MAX_REQUESTS
    strict: bool = False  # refuse to send data that would arrive as another type

    @classmethod
    def of_options(
        cls, *, max_unsent: int, max_unacked: int, max_packet: int, **others: Any
    ) -> Bounds:
        """Bounds from an application's options. The hard ones follow from them, and take two of the largest packets."""
        return cls(
            unsent=max_unsent,
            hard_unsent=max(max_unsent * _HARD_UNSENT, 2 * max_packet),
            unacked=max_unacked,
            hard_unacked=max(max_unacked * _HARD_UNACKED, 2 * max_packet),
            **others,
        )


def encode_for(bounds: Bounds, packet: Packet) -> bytes:
    """
    Encode a packet for a session with these bounds.

    Raises:
        CodecError: It cannot be encoded, or not without a change.
    """
    if bounds.strict:
        check_sendable(packet.data, exact=True)
        check_sendable(packet.headers, exact=True)
    return encode_packet(packet, bounds.elements)
