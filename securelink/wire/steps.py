"""
A record that takes long to decode, decoded in steps: between two of them others have their turn.

One call of the decoder for 64 KiB of empty maps takes 5 to 15 ms, with the interpreter's lock held. So the record is
walked a thousand elements at a time, and what was walked is decoded: whole packets by the decoder of packets, and of a
packet that is larger the items and entries of its containers, which are put together here. The result is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import CodecError
from ..limits import (
    MAX_AT_ONCE,
    MAX_AT_ONCE_CONTAINERS,
    MAX_ELEMENTS,
    OPENED_ELEMENT_BYTES,
    STEP_ELEMENTS,
)
from .scan import Walk, container

# The place of the headers in a packet; only they and the data before them may be containers.
_HEADERS = 2
_HEADER = 5  # bytes of an array's header, as it is written here

# First bytes of lists and maps; and of texts and bytes whose length has two bytes.
_CONTAINERS = frozenset((*range(0x80, 0xA0), *range(0xDC, 0xE0)))
_NO_CONTAINERS = bytes(set(range(256)) - _CONTAINERS)
_LONG = frozenset((0xC5, 0xDA))
# Elements that are looked at in a record of a few packets, before all of its bytes are.
_GLANCE = 64

#: Decodes a MessagePack array of packets, or of values of any kind; raises `CodecError`.
Decoder = Callable[[bytes | memoryview], list[Any]]


class _Open:
    """
    A container that is not decoded to its end.

    Attributes:
        at: Where that begins which is not decoded.
        left: Values that come from there on.
    """

    __slots__ = ("at", "left")

    def __init__(self, at: int, left: int) -> None:
        self.at = at
        self.left = left

    def take(self, data: bytes, count: int) -> None:
        """The next values, all of them whole, as an array of so many."""
        raise NotImplementedError

    def open(self, at: int, left: int, *, is_map: bool) -> _Open:
        """The next value is a container, to be decoded piece by piece."""
        raise NotImplementedError

    def close(self) -> None:
        """That was all of it."""


class _Value(_Open):
    """A list, or a dict, that is being filled."""

    __slots__ = ("_decode", "_key", "value")

    def __init__(self, at: int, left: int, decode: Decoder, *, is_map: bool) -> None:
        super().__init__(at, left)
        self._decode = decode
        self._key: Any = None  # of the entry whose value comes next
        self.value: Any = {} if is_map else []

    def take(self, data: bytes, count: int) -> None:
        items = self._decode(data)
        if isinstance(self.value, list):
            self.value.extend(items)
            return
        if count & 1:
            self._key = items.pop()
        self.value.update(zip(items[::2], items[1::2], strict=True))

    def open(self, at: int, left: int, *, is_map: bool) -> _Open:
        inner = _Value(at, left, self._decode, is_map=is_map)
        if isinstance(self.value, list):
            self.value.append(inner.value)
        else:
            self.value[self._key] = inner.value
        return inner


class _Packet(_Open):
    """A packet of which the data or the headers are being filled. They are nil in what its decoder sees."""

    __slots__ = ("_count", "_decode", "_fields", "_inner", "_packets", "_values")

    def __init__(
        self, at: int, left: int, packets: list[Any], decode: Decoder, values: Decoder
    ) -> None:
        super().__init__(at, left)
        self._packets = packets
        self._decode = decode
        self._values = values
        self._fields: list[bytes] = []
        self._count = 0
        self._inner: dict[int, _Value] = {}  # by the place of the field

    def take(self, data: bytes, count: int) -> None:
        self._fields.append(data[_HEADER:])
        self._count += count

    def open(self, at: int, left: int, *, is_map: bool) -> _Open:
        inner = _Value(at, left, self._values, is_map=is_map)
        self._inner[self._count] = inner
        if self._count <= _HEADERS:
            self.take(_array(1, b"\xc0"), 1)
        else:
            self.take(_array(1, b"\x90"), 1)  # no field of a packet: refused for what it is
        return inner

    def close(self) -> None:
        fields = b"".join(self._fields)
        (packet,) = self._decode(_array(1, _array(self._count, fields)))
        for place, inner in self._inner.items():
            if place == _HEADERS:
                # The type of the headers is the decoder's to judge: it sees the names alone.
                if not (isinstance(inner.value, dict) and {str}.issuperset(map(type, inner.value))):
                    raise CodecError(
                        "the record is malformed: headers are a map with names as keys"
                    )
                packet.headers = inner.value
            else:
                packet.data = inner.value
        self._packets.append(packet)


class _Record(_Open):
    """A record, whose packets are being decoded."""

    __slots__ = ("_decode", "_values", "packets")

    def __init__(self, at: int, left: int, decode: Decoder, values: Decoder) -> None:
        super().__init__(at, left)
        self._decode = decode
        self._values = values
        self.packets: list[Any] = []

    def take(self, data: bytes, count: int) -> None:
        self.packets += self._decode(data)

    def open(self, at: int, left: int, *, is_map: bool) -> _Open:
        if is_map:
            raise CodecError("the record is malformed: a packet is an array")
        return _Packet(at, left, self.packets, self._decode, self._values)


def _array(count: int, items: bytes | memoryview) -> bytes:
    return b"".join((b"\xdd", count.to_bytes(4, "big"), items))


class Decoding:
    """
    A record that is being decoded.

    Args:
        data: The record.
        walk: Of the record, from its beginning, with the limits.
        decode: Decodes an array of packets.
        values: Decodes an array of values of any kind.

    Attributes:
        packets: When `go_on` has returned True, all of them.
    """

    __slots__ = ("_began", "_data", "_decode", "_done", "_open", "_values", "_walk", "packets")

    def __init__(
        self,
        data: bytes | memoryview,
        walk: Walk,
        decode: Decoder,
        values: Decoder,
    ) -> None:
        self._data = data
        self._decode = decode
        self._values = values
        self._walk = walk
        self._open: list[_Open] = []  # from the record on inwards
        self._began = self._done = False
        self.packets: list[Any] = []

    @property
    def counted(self) -> int:
        """How many elements have come so far."""
        return self._walk.counted

    @property
    def held(self) -> int:
        """Bytes that what is decoded takes in memory, at most about."""
        return OPENED_ELEMENT_BYTES * self._walk.counted + 4 * self._walk.at

    def go_on(self) -> bool:
        """
        One step, of about a millisecond.

        Returns:
            Whether that was the last one.

        Raises:
            CodecError: The record breaks a rule; nothing of it is used.
        """
        if self._done:
            return True
        walk, frames = self._walk, self._open
        if walk.go_on(STEP_ELEMENTS, len(frames)):
            self._end()
            return True
        if frames and len(walk.outer) < len(frames):
            self._close()
        else:
            self._take_in()
        return False

    def _take_in(self) -> None:
        """Decode what was walked, in each of the containers that are open."""
        data, walk, frames = self._data, self._walk, self._open
        self._began = True
        for behind, _, start in walk.outer[len(frames) :]:
            left, is_map, header = container(data, start)
            begin = start + header
            if frames:
                outer = frames[-1]
                self._take(outer, start, behind + 1)  # what is whole before it
                frames.append(outer.open(begin, left, is_map=is_map))
            elif is_map:
                raise CodecError("the record is malformed: it is an array of packets")
            else:
                frames.append(_Record(begin, left, self._decode, self._values))
        self._take(frames[-1], walk.at, walk.left)

    def _close(self) -> None:
        """The innermost container ends where the walk stands."""
        frames, walk = self._open, self._walk
        inner = frames.pop()
        self._take(inner, walk.at, 0)
        inner.close()
        if frames:
            frames[-1].at, frames[-1].left = walk.at, walk.left
        elif isinstance(inner, _Record):
            self.packets = inner.packets

    def _take(self, frame: _Open, end: int, left: int) -> None:
        """Decode the values of a container that are whole, up to a place behind which so many are left."""
        count = frame.left - left
        if count:
            begin = frame.at
            frame.take(_array(count, self._data[begin:end]), count)
            frame.at, frame.left = end, left

    def _end(self) -> None:
        if not self._began:
            self.packets = self._decode(self._data)  # it is small enough for one call
        elif self._walk.at != len(self._data):
            raise CodecError("the record is malformed: it does not end where its packets do")
        self._done = True


def is_quick(data: bytes | memoryview) -> bool:
    """Whether one call decodes a record of 8 to 64 KiB in a millisecond or two: it has few lists and maps."""
    # [ | n packets | [ n fields | action: exactly this, for it must not be a guess.
    if data[0] == 0x91 and 0x91 < data[1] < 0xA0 and 0xA0 < data[2] < 0xC0:
        at = 3 + (data[2] & 0x1F)
        # Mostly one text or picture, as large packets often are.
        if data[at] in _LONG and len(data) - int.from_bytes(data[at + 1 : at + 3]) < MAX_AT_ONCE:
            return True
    elif 0x91 < data[0] < 0xA0 and Walk(data, MAX_ELEMENTS, None).go_on(_GLANCE):
        return True  # some of these
    return len(bytes(data).translate(None, _NO_CONTAINERS)) <= MAX_AT_ONCE_CONTAINERS
