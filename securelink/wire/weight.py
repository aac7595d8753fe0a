"""The memory that a decoded record takes: estimated from its bytes, in a fraction of a millisecond."""

from __future__ import annotations

from collections.abc import Sequence

from ..limits import MAX_WALK_FREE, OPENED_MOST_BYTES, OPENED_PACKET_BYTES
from .packets import Packet

_FEW = 16  # packets of a record whose types are examined

# Bytes in memory for a byte of a record that is the first of a value, including the value's place in its list.
# a place in a list, or a letter that takes four bytes because another letter of its text does
_EVERY = 8
_HEADS = {
    72: bytes((0x80,)),  # an empty map
    240: bytes((*range(0x81, 0x90), 0xDE, 0xDF)),  # a map
    88: bytes((*range(0x90, 0xC0), 0xD9, 0xDA, 0xDB, 0xDC, 0xDD)),  # a list or a text
    64: bytes((0xC4, 0xC5, 0xC6)),  # bytes
    48: bytes((*range(0xCA, 0xD4), *range(0xE0, 0xFB))),  # a number
}
_OTHERS = {
    weight - _EVERY: bytes(set(range(256)).difference(heads)) for weight, heads in _HEADS.items()
}


def decoded_size(record: bytes | memoryview) -> int:
    """An upper estimate of the bytes that the objects of a record take."""
    data = bytes(record)
    size = _EVERY * len(data)
    for weight, others in _OTHERS.items():
        size += weight * len(data.translate(None, others))
    return size


def opened_size(record: bytes | memoryview, packets: Sequence[Packet]) -> int:
    """Bytes in memory that a record and its packets take, until all of them are handled; about."""
    size = len(record)
    if len(packets) <= _FEW and all(
        type(packet.data) in (str, bytes) and not packet.headers for packet in packets
    ):
        objects = 4 * size  # letters take up to four bytes
    elif size > MAX_WALK_FREE:
        objects = size + OPENED_MOST_BYTES  # its elements were counted when it was decoded
    else:
        objects = min(decoded_size(record), size + OPENED_MOST_BYTES)
    return size + objects + OPENED_PACKET_BYTES * len(packets)
