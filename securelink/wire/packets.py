"""
Packets as bytes.

A record carries `packets`: one MessagePack array of packets, each an array of six fields: action,
data, headers, created, id, reply_to. A packet is encoded once for all sessions that get it, and a record is decoded
by one call.

Bytes of a peer can at worst raise `CodecError`. msgspec refuses almost all bad input by itself; `walk()` finds the
rest, and takes several times as long as decoding. So a record is first decoded by a type that cannot do harm: text,
numbers, and lists and maps of them, with text as keys, nested a few levels. Almost all records are like that. Only
records that this type refuses are scanned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Generic, NoReturn, TypeVar

import msgspec

from ..errors import CodecError
from ..limits import (
    MAX_ACTION,
    MAX_AT_ONCE,
    MAX_CREDENTIALS,
    MAX_CREDENTIALS_DEPTH,
    MAX_DEPTH,
    MAX_ELEMENTS,
    MAX_WALK_FREE,
    PACKET_WALK_FREE,
)
from .frames import FrameBuffer, frame_header
from .scan import Walk, walk
from .sendable import PLAIN, check_each, check_sendable, is_plain
from .steps import Decoding, is_quick

if TYPE_CHECKING:
    Data = Any

    class _OfData:
        """A placeholder: only at run time is the type of the data a parameter, see `_usual()`."""
else:
    Data = TypeVar("Data")
    _OfData = Generic[Data]

__all__ = [
    "Decoding",
    "FrameBuffer",
    "Packet",
    "begin_decoding",
    "decode_again",
    "decode_packets",
    "decode_value",
    "encode_packet",
    "encode_value",
    "frame_header",
    "join_packets",
    "record_of",
    "walk",
    "wire_size",
]

_MAX_ID = 2**63 - 1
# Containers around the data: the packet is an array itself, and so is the record.
_PACKET_FRAMING, _RECORD_FRAMING = 1, 2
_ID = Annotated[int, msgspec.Meta(ge=0, le=_MAX_ID)]
_USUAL_DEPTH = 4  # levels of the types below, whose size doubles with each


class Packet(msgspec.Struct, _OfData, array_like=True, forbid_unknown_fields=True):
    """
    One message between applications.

    Wire: a MessagePack array of these six fields in this order. A shorter array leaves the rest at
    their defaults, a longer one is refused.

    Attributes:
        action: The packet's name, 1 to 255 characters; it selects the handler.
        data: None, bool, int (64 bits), float, str, bytes, datetime with a time zone, and lists and
            dicts of these, nested at most 64 levels. Tuples arrive as lists; neither they nor
            datetimes are keys of a dict. A dict of more than 512 entries has keys of str or bytes
            only.
        headers: Further fields, by name, beside the data.
        created: When it was made, in seconds since 1970; 0.0 if the sender did not say.
        id: Number of a request, unique in its session and direction.
        reply_to: The `id` of the request that this packet answers.
    """

    # Garbage collection stays on (gc=False would be faster): data may refer back to its packet.
    action: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ACTION)]
    data: Data = None
    headers: dict[str, Data] | None = None
    created: float = 0.0
    id: _ID | None = None
    reply_to: _ID | None = None


def _refuse_extension(code: int, _data: memoryview) -> NoReturn:
    raise CodecError(f"MessagePack extension type {code} is not allowed in a packet")


def _usual(leaf: Any) -> Any:
    """
    The type of data that is decoded without a scan: lists and maps of scalars, a few levels deep.

    It has no arrays as map keys, and no nesting that could end a small stack. It cannot have str and
    bytes both: msgspec knows no type for that.
    """
    scalar = leaf | float | int | bool | None
    value = scalar
    for _ in range(_USUAL_DEPTH):
        value = scalar | list[value] | dict[str, value]  # type: ignore[valid-type]  # made at run time
    return value


# All threads share one of each: they keep no state between calls, and every call has its own buffer.
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Packet], ext_hook=_refuse_extension).decode
_decode_any = msgspec.msgpack.Decoder(Any, ext_hook=_refuse_extension).decode
_TextPacket: Any = Packet[_usual(str)]  # type: ignore[misc]  # made at run time
_BytesPacket: Any = Packet[_usual(bytes)]  # type: ignore[misc]  # the same
_decode_text = msgspec.msgpack.Decoder(list[_TextPacket], ext_hook=_refuse_extension).decode
_decode_bytes = msgspec.msgpack.Decoder(list[_BytesPacket], ext_hook=_refuse_extension).decode
_decode_list = msgspec.msgpack.Decoder(list[Any], ext_hook=_refuse_extension).decode
_check_text = msgspec.msgpack.Decoder(_TextPacket, ext_hook=_refuse_extension).decode

_MALFORMED = (ValueError, TypeError, OverflowError, RecursionError)
_UNUSUAL = (*_MALFORMED, IndexError)  # of another type, too short for the guess, or malformed


# --- packets --------------------------------------------------------------------------------------


def encode_packet(packet: Packet, max_elements: int = MAX_ELEMENTS) -> bytes:
    """
    Encode one packet, as an item of a record. The result can be sent to any number of sessions.

    Args:
        packet: What to send.
        max_elements: Values of every kind in a record above `MAX_WALK_FREE` bytes.

    Raises:
        CodecError: The packet cannot be sent: a field has the wrong type, MessagePack cannot express the data, or it
            is more than a receiver accepts.
    """
    action = packet.action
    if not isinstance(action, str) or not 0 < len(action) <= MAX_ACTION:
        raise _bad_action(action)
    if (
        type(packet.created) is not float
        or packet.headers is not None
        or packet.id is not None
        or packet.reply_to is not None
    ):
        _check_fields(packet)
    data = packet.data
    usual = type(data) in PLAIN or is_plain(data)
    if not usual:
        check_each(data)
    if packet.headers is not None:
        usual = check_sendable(packet.headers) and usual
    try:
        encoded = _encode(packet)
    except _MALFORMED as error:
        raise _cannot_encode(error) from error
    if not usual or len(encoded) > MAX_WALK_FREE:
        _check_encoded(encoded, max_elements)
    return encoded


def _check_encoded(encoded: bytes, max_elements: int) -> None:
    """Refuse data that a receiver would refuse: there it would end the session, here it is an error with a hint."""
    if len(encoded) <= PACKET_WALK_FREE:
        try:
            _check_text(encoded)
            return
        except _MALFORMED:
            pass
    walk(encoded, max_elements - 1, MAX_DEPTH, framing=_PACKET_FRAMING)


def join_packets(packets: Sequence[bytes]) -> bytes:
    """
    Put encoded packets into one record.

    The limit on elements holds for a record above `MAX_WALK_FREE` bytes: such a record should have
    one packet only, which `encode_packet()` has checked.
    """
    count = len(packets)
    if count < 16:
        return b"".join((_FIXARRAY[count], *packets))
    if count < 2**16:
        return b"".join((b"\xdc", count.to_bytes(2, "big"), *packets))
    return b"".join((b"\xdd", count.to_bytes(4, "big"), *packets))


_FIXARRAY = [bytes([0x90 + count]) for count in range(16)]


def decode_packets(data: bytes | memoryview, max_elements: int = MAX_ELEMENTS) -> list[Packet]:
    """
    Decode a record. No call of the decoder takes long, so other threads have their turns.

    Duplicate map keys (the last wins) and NaN are accepted.

    Args:
        data: The record.
        max_elements: Values of every kind in a record above `MAX_WALK_FREE` bytes.

    Raises:
        CodecError: The record breaks a rule; nothing of it is used.
    """
    found = begin_decoding(data, max_elements)
    if isinstance(found, list):
        return found
    while not found.go_on():
        pass
    return found.packets


def begin_decoding(
    data: bytes | memoryview, max_elements: int = MAX_ELEMENTS
) -> list[Packet] | Decoding:
    """
    As `decode_packets`, for who has something else to do: a record that takes long is only begun.

    Returns:
        The packets, or what gives them after some steps.
    """
    size = len(data)
    if size <= MAX_AT_ONCE:
        return decode_at_once(data, max_elements)
    if size <= MAX_WALK_FREE and is_quick(data):
        try:
            return _decode_bytes(data) if _begins_with_bytes(data) else _decode_text(data)
        except _UNUSUAL:
            pass
    walked = Walk(data, max_elements, MAX_DEPTH, framing=_RECORD_FRAMING)
    decoding = Decoding(data, walked, _decode_walked, _decode_values)
    return decoding.packets if decoding.go_on() else decoding


def decode_at_once(data: bytes | memoryview, max_elements: int = MAX_ELEMENTS) -> list[Packet]:
    """As `decode_packets`, for a record of `MAX_AT_ONCE` bytes at most."""
    try:
        action = 2 if data[0] < 0xA0 else 4  # as `_begins_with_bytes`
        if 0xC4 <= data[action + 1 + (data[action] & 0x1F)] <= 0xC6:
            return _decode_bytes(data)
        return _decode_text(data)
    except _UNUSUAL:
        pass
    walk(data, max_elements, MAX_DEPTH, framing=_RECORD_FRAMING)
    return _decode_walked(data)


def _begins_with_bytes(data: bytes | memoryview) -> bool:
    """Whether the data of the first packet is bytes: a guess, and a wrong one costs time only."""
    # What comes before it: [ | n packets | [ n fields | action
    action = 2 if data[0] < 0xA0 else 4
    return 0xC4 <= data[action + 1 + (data[action] & 0x1F)] <= 0xC6


def _decode_walked(data: bytes | memoryview) -> list[Packet]:
    try:
        return _decode(data)
    except CodecError:
        raise
    except _MALFORMED as error:
        raise _cannot_decode("record", error) from None


def _decode_values(data: bytes | memoryview) -> list[Any]:
    try:
        return _decode_list(data)
    except CodecError:
        raise
    except _MALFORMED as error:
        raise _cannot_decode("record", error) from None


def record_of(packet: Packet) -> bytes:
    """A packet that came in a record with others, as a record of its own."""
    return join_packets([_encode(packet)])


def decode_again(record: bytes) -> list[Packet]:
    """Decode a record that `decode_packets` has accepted before, with its bound."""
    return _decode(record) if len(record) <= MAX_AT_ONCE else decode_packets(record, len(record))


def _check_fields(packet: Packet) -> None:
    """Refuse a packet that the typed decoder of the receiver would refuse."""
    headers = packet.headers
    if headers is not None and not (
        isinstance(headers, dict) and all(isinstance(name, str) for name in headers)
    ):
        raise CodecError("the headers of a packet are not a dict with str keys")
    if type(packet.created) not in (float, int):  # a bool is an int, but not on the wire
        raise CodecError(f"created of a packet is a {type(packet.created).__name__}, not a float")
    for number in (packet.id, packet.reply_to):
        if number is not None and (type(number) is not int or not 0 <= number <= _MAX_ID):
            raise CodecError("id or reply_to of a packet is not None or an int from 0 to 2**63 - 1")


def _bad_action(action: object) -> CodecError:
    if not isinstance(action, str):
        return CodecError(
            f"the action of a packet is of the type {type(action).__name__}, not str",
            hint="the name comes first, then the data: send('name', data)",
        )
    return CodecError(
        f"the action of a packet has {len(action):,} characters, allowed are 1 to {MAX_ACTION}",
        hint="an action is a short name; put the rest into data",
    )


def _cannot_encode(error: Exception) -> CodecError:
    if isinstance(error, RecursionError):
        return CodecError(
            "the data is nested too deep, or contains itself",
            hint=f"keep nesting within {MAX_DEPTH} levels",
        )
    if isinstance(error, OverflowError):
        return CodecError(
            "the data has an int that does not fit 64 bits", hint="send it as a str or as bytes"
        )
    if isinstance(error, UnicodeError):
        return CodecError("the data has a str with lone surrogates", hint="send it as bytes")
    return CodecError(
        f"the data cannot be sent: {error}",
        hint="use None, bool, int, float, str, bytes, datetime, and lists and dicts of these",
    )


def _cannot_decode(what: str, error: Exception) -> CodecError:
    if isinstance(error, RecursionError):
        return CodecError(f"the {what} is nested too deep")
    # Up to msgspec 0.22 a UnicodeDecodeError, from 0.23 on a DecodeError with these words.
    if isinstance(error, UnicodeError) or str(error).startswith("Invalid UTF-8"):
        return CodecError(f"the {what} has a str that is not UTF-8")
    return CodecError(f"the {what} is malformed: {error}")


# --- single values --------------------------------------------------------------------------------


def encode_value(
    value: Any, max_size: int = MAX_CREDENTIALS, max_depth: int = MAX_CREDENTIALS_DEPTH
) -> bytes:
    """
    Encode one value without extension types: the credentials of a login.

    Raises:
        CodecError: The value cannot be expressed, or `decode_value()` would refuse it.
    """
    check_sendable(value)
    try:
        encoded = _encode(value)
    except _MALFORMED as error:
        raise _cannot_encode(error) from None  # the cause might quote a secret
    _check_value(encoded, max_size, max_depth)
    return encoded


def decode_value(
    data: bytes | memoryview,
    max_size: int = MAX_CREDENTIALS,
    max_depth: int = MAX_CREDENTIALS_DEPTH,
) -> Any:
    """
    Decode one value without extension types, from a peer that is not authenticated yet.

    Args:
        data: The MessagePack value and nothing else.
        max_size: In bytes.
        max_depth: Levels of arrays and maps inside each other.

    Raises:
        CodecError: The value breaks a rule.
    """
    _check_value(data, max_size, max_depth)
    try:
        return _decode_any(data)
    except _MALFORMED as error:
        raise _cannot_decode("value", error) from None


def wire_size(value: Any) -> int:
    """Bytes that a value takes on the wire; 0 for a value that cannot be sent."""
    try:
        return len(_encode(value))
    except _MALFORMED:
        return 0


def _check_value(data: bytes | memoryview, max_size: int, max_depth: int) -> None:
    if len(data) > max_size:
        raise CodecError(f"the value has {len(data):,} bytes, allowed are {max_size:,}")
    walk(data, max_depth=max_depth, allow_extensions=False)
