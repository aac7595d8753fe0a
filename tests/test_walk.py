"""
The walk counts what the decoder would build, and its work is in proportion to that.
"""

from __future__ import annotations

import struct
import sys
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securelink.errors import CodecError
from securelink.limits import LIGHT_PER_ELEMENT, MAX_NUMBER_KEYS
from securelink.wire.scan import walk

pack = msgspec.msgpack.encode

EXTENSIONS = [msgspec.msgpack.Ext(5, bytes(size)) for size in (0, 1, 2, 3, 4, 8, 16, 300, 70_000)]
ONE_OF_EACH = [
    *(None, True, False, 0, 127, -1, -32, -33, -129, -40_000, -(2**40)),
    *(128, 256, 70_000, 2**40, 2**64 - 1, 1.5, "", "a" * 31, "a" * 32, "a" * 256, "a" * 70_000),
    *(b"", b"a" * 255, b"a" * 256, b"a" * 70_000, *EXTENSIONS),
]

keys = st.none() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=40) | st.binary(max_size=300)
values = st.recursive(
    keys | st.floats() | st.sampled_from(EXTENSIONS[:-1]),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(keys, inner, max_size=20),
    max_leaves=30,
)


def is_light(value: Any) -> bool:
    """Whether a value needs no memory of its own: eight of them in lists count as one."""
    return value is None or isinstance(value, bool) or (type(value) is int and -5 <= value <= 127)


def weigh(value: Any) -> tuple[int, int, int]:
    """Count the elements of a value, its light items of lists, and the containers inside each other."""
    if isinstance(value, dict):
        light, parts = 0, [weigh(part) for entry in value.items() for part in entry]
    elif isinstance(value, list):
        light = sum(map(is_light, value))
        parts = [weigh(part) for part in value if not is_light(part)]
    else:
        return 1, 0, 0
    return (
        1 + sum(count for count, _, _ in parts),
        light + sum(count for _, count, _ in parts),
        1 + max((depth for _, _, depth in parts), default=0),
    )


def measure(value: Any) -> tuple[int, int]:
    """The elements that a value counts as, and how deep it is."""
    elements, light, depth = weigh(value)
    return elements + light // LIGHT_PER_ELEMENT, depth


def surrogate_free(value: Any) -> bytes | None:
    """Encode the value, or return None where Hypothesis chose text that has no UTF-8."""
    try:
        return pack(value)
    except UnicodeEncodeError:
        return None


@given(values)
@settings(max_examples=150, deadline=None)
def test_the_walk_counts_as_one_would_by_hand(value: Any) -> None:
    """Elements and levels pass at exactly their number and are refused at one less."""
    data = surrogate_free(value)
    if data is None:
        return
    elements, depth = measure(value)
    walk(data, elements, depth)
    if elements > 1:
        with pytest.raises(CodecError, match="more than"):
            walk(data, elements - 1)
    if depth > 0:
        with pytest.raises(CodecError, match="nested deeper"):
            walk(data, elements, depth - 1)


@pytest.mark.parametrize("heavy", [[], [1.5], ["text"], [[], {}]])
@pytest.mark.parametrize("item", [None, True, 0, 127, -5])
def test_items_without_memory_count_an_eighth(item: Any, heavy: list[Any]) -> None:
    """Eight items that are nothing but a reference count as one element, wherever in lists they stand."""
    items = [*[item] * 3, *heavy, *[item] * 13, [item] * 8]
    elements = 1 + len(heavy) + 1 + 24 // LIGHT_PER_ELEMENT
    walk(pack(items), elements)
    with pytest.raises(CodecError, match="more than"):
        walk(pack(items), elements - 1)


@pytest.mark.parametrize("item", [128, -6, 1.5, "", b"", [], {}])
def test_items_that_take_memory_count_whole(item: Any) -> None:
    """What becomes an object of its own is one element, and so is everything in a map."""
    walk(pack([item] * 100), 101)
    with pytest.raises(CodecError, match="more than 100 elements"):
        walk(pack([item] * 100), 100)
    with pytest.raises(CodecError, match="more than 100 elements"):
        walk(pack({str(number): 0 for number in range(50)}), 100)


@pytest.mark.parametrize("value", ONE_OF_EACH, ids=lambda value: pack(value).hex()[:10])
def test_every_type_ends_where_it_ends(value: Any) -> None:
    """The walk finds the element behind one of any type: were it off by a byte it would not."""
    data = pack([value, [], {}])
    walk(data, 4, 2)
    assert data.endswith(b"\x90\x80")
    with pytest.raises(CodecError, match="more than 1,000"):
        walk(data[:-1] + b"\xdf\x00\x00\x04\x00", 1000)


@pytest.mark.parametrize("value", EXTENSIONS, ids=lambda value: pack(value).hex()[:10])
def test_extensions_can_be_forbidden(value: Any) -> None:
    """Extension types of every size are refused where they are not allowed."""
    with pytest.raises(CodecError, match="extension types and timestamps are not allowed"):
        walk(pack({"k": value}), allow_extensions=False)


@pytest.mark.parametrize(
    "data", ["", "91", "82 01 02 03", "dc", "dc00", "df 000000", "c4", "d9", "c7"]
)
def test_an_early_end_is_found(data: str) -> None:
    """A value that ends where an element or its length should stand is refused."""
    with pytest.raises(CodecError, match="the bytes end in the middle of a value"):
        walk(bytes.fromhex(data))


def test_the_byte_without_a_meaning_is_refused() -> None:
    """0xc1 is the one byte that begins no MessagePack value."""
    with pytest.raises(CodecError, match="0xc1"):
        walk(b"\x91\xc1")


@pytest.mark.parametrize("key", [[], [0], [[]], [0] * 20, [0] * 70, {}, {"a": 1}, {1: []}])
def test_arrays_and_maps_are_no_keys(key: Any) -> None:
    """No map key is an array or a map, at any place; as values they are free."""
    packed = pack(key)
    walk(b"\x81\x00" + packed)
    walk(b"\xde\x01\x00" + (b"\x00" + packed) * 256)
    for before in (
        b"\x81",
        b"\x82\x00\x00",
        b"\x92\x80\x81",
        b"\x81\x00\x81",
        b"\x82\x00" + packed,
    ):
        with pytest.raises(CodecError, match="a map key is an array or a map"):
            walk(before + packed + b"\x00" * 9)


NUMBERS = [0, -1, 2**40, -(2**40), 1.5, None, True]


@pytest.mark.parametrize("key", [pack(number) for number in NUMBERS], ids=bytes.hex)
@pytest.mark.parametrize("place", [0, 1, MAX_NUMBER_KEYS])
def test_a_large_map_has_keys_of_text_and_bytes(key: bytes, place: int) -> None:
    """In a map of more than 512 entries every key is str or bytes, also the last one, behind containers."""
    header = b"\xde" + struct.pack(">H", MAX_NUMBER_KEYS + 1)
    entries = [b"\xa1k\x81\xa1k\x91\x00"] * (MAX_NUMBER_KEYS + 1)
    walk(header + b"".join(entries))
    walk(header + b"".join([b"\xc4\x01k" + key] * len(entries)))
    entries[place] = key + b"\x90"
    with pytest.raises(CodecError, match="keys other than text and bytes"):
        walk(header + b"".join(entries))
    walk(b"\xde" + struct.pack(">H", MAX_NUMBER_KEYS) + (key + b"\x90") * MAX_NUMBER_KEYS)


TIMES = [
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2026, 1, 1, 0, 0, 0, 5, UTC),
    datetime(2600, 1, 1, tzinfo=UTC),
]


@pytest.mark.parametrize("key", [pack(time) for time in TIMES], ids=bytes.hex)
@pytest.mark.parametrize("count", [1, 2, MAX_NUMBER_KEYS, MAX_NUMBER_KEYS + 1])
def test_timestamps_are_no_keys(key: bytes, count: int) -> None:
    """No map key is a timestamp, in any of its three forms; as items and values they are free."""
    header = b"\xde" + struct.pack(">H", count)
    walk(b"\x92" + (header + (b"\xa1k" + key) * count) * 2)
    walk(b"\xdc" + struct.pack(">H", count) + key * count)
    with pytest.raises(CodecError, match="a map key is a timestamp"):
        walk(b"\x92\xc0" + header + (b"\xa1k\x90") * (count - 1) + key + b"\x90")


@pytest.mark.pure  # it counts lines of Python
def test_bytes_cost_nothing_elements_do() -> None:
    """A picture of 16 MiB is one step; a claim of 2**32 - 1 elements is refused at its header."""
    picture = pack(bytes(2**24))
    assert steps_of(picture) < 70
    assert steps_of(b"\xdd\xff\xff\xff\xff" + picture[:10]) < 70
    assert steps_of(pack([1.5] * 1000)) > 1000  # so that is what a step is
    assert steps_of(pack([0] * 100_000)) < 100  # nor do items that need no memory of their own


def steps_of(data: bytes) -> int:
    """How many lines run in a walk, also one that fails."""
    lines = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal lines
        lines += event == "line" and frame.f_code.co_filename == walk.__code__.co_filename
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        walk(data)
    except CodecError:
        pass
    finally:
        sys.settrace(before)
    return lines


def test_memoryviews_are_walked_like_bytes() -> None:
    """The walk takes a view of the bytes as well."""
    data = pack({"k": [1.5, "a" * 300, b"b" * 70_000]})
    walk(memoryview(data), 6, 2)
    with pytest.raises(CodecError):
        walk(memoryview(data), 5, 2)
