"""Numbers and field lists of the wire: frame kinds, contents, `id | length | value` fields."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntEnum

from ..errors import ProtocolError


class Kind(IntEnum):
    """Frame types, the first byte of every frame."""

    CLIENT_HELLO = 1
    SERVER_HELLO = 2
    SEALED = 3
    PLAIN = 4
    ALERT = 5


class Content(IntEnum):
    """The content type inside a SEALED or PLAIN frame."""

    SERVER_AUTH = 1
    CLIENT_AUTH = 2
    WELCOME = 3
    DATA = 4
    DATA_ACK = 5
    ACK = 6
    PING = 7
    PONG = 8
    KEY_UPDATE = 9
    CLOSE = 10


class Mode(IntEnum):
    """The client's wish for encryption (in ClientHello), or the server's choice (OFF or REQUIRED)."""

    OFF = 0
    OPTIONAL = 1
    REQUIRED = 2


_FIELD = struct.Struct(">BH")  # id u8 | length u16
_HEADER_SIZE = 3


def encode_field(number: int, value: bytes) -> bytes:
    """One field: `id u8 | length u16 | value`."""
    return _FIELD.pack(number, len(value)) + value


def encode_fields(fields: Iterable[tuple[int, bytes | None]]) -> bytes:
    """Fields in the order given, which must be rising; a value of None is left out."""
    return b"".join([encode_field(n, value) for n, value in fields if value is not None])


class Fields:
    """
    A parsed field list: `fields[number]` is the value, `offset(number)` where the field begins.

    Wire: (`id u8 | length u16 | value`)*, ids rising, each at most once.

    Raises:
        ProtocolError: A field is cut short, out of order, repeated, unknown, or a required one is missing.
    """

    __slots__ = ("_found", "_what")

    def __init__(
        self, data: bytes, what: str, *, required: frozenset[int], optional: frozenset[int]
    ) -> None:
        self._what = what
        self._found: dict[int, bytes] = {}
        found, header, whole = self._found, _FIELD.unpack_from, len(data)
        position = last = 0
        try:
            while position < whole:
                number, size = header(data, position)
                begin = position + _HEADER_SIZE
                position = begin + size
                if position > whole:
                    raise ProtocolError(f"{what} is cut short inside field {number}")
                if number <= last:
                    raise ProtocolError(f"{what} has field {number} after field {last}")
                if number not in required and number not in optional:
                    raise ProtocolError(f"{what} has a field {number} that must not be there")
                found[number] = data[begin:position]
                last = number
        except struct.error:
            raise ProtocolError(f"{what} is cut short inside a field header") from None
        if not required <= found.keys():
            raise ProtocolError(f"{what} lacks field {min(required - found.keys())}")

    def __contains__(self, number: int) -> bool:
        return number in self._found

    def __getitem__(self, number: int) -> bytes:
        return self._found[number]

    def get(self, number: int) -> bytes | None:
        """The value, or None when the optional field is absent."""
        return self._found.get(number)

    def offset(self, number: int) -> int:
        """Where in the list the field begins: a signature in the field covers the bytes before it."""
        before = [value for other, value in self._found.items() if other < number]
        return sum(map(len, before)) + _HEADER_SIZE * len(before)

    def sized(self, number: int, size: int) -> bytes:
        """The value, which must be exactly `size` bytes."""
        value = self._found[number]
        if len(value) != size:
            raise ProtocolError(
                f"{self._what} has {len(value)} bytes in field {number}, not {size}"
            )
        return value

    def integer(self, number: int, size: int) -> int:
        """The value as an unsigned big-endian integer of exactly `size` bytes."""
        return int.from_bytes(self.sized(number, size))

    def text(self, number: int, limit: int) -> str:
        """The value as UTF-8 of at most `limit` bytes."""
        value = self[number]
        if len(value) > limit:
            raise ProtocolError(
                f"{self._what} has {len(value)} bytes in field {number}, over {limit}"
            )
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise ProtocolError(f"{self._what} has bad UTF-8 in field {number}") from None
