"""
Records of a hostile peer: one documented error, for little memory and time.
"""

from __future__ import annotations

import struct
import time
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hostile_records import START, colliding_ints, int_keys, map_header, tuple_keys
from hypothesis import given, settings
from hypothesis import strategies as st

from securelink.errors import CodecError
from securelink.limits import MAX_DEPTH, MAX_WALK_FREE, PACKET_WALK_FREE
from securelink.wire import packets as codec
from securelink.wire.packets import Packet, decode_packets, encode_packet, join_packets

pack = msgspec.msgpack.encode


def record(*fields: Any) -> bytes:
    """Build a record of one packet from fields of any type."""
    return pack([list(fields)])


def refused(data: bytes | memoryview) -> CodecError:
    """Return the error that the record gives."""
    with pytest.raises(CodecError) as caught:
        decode_packets(data)
    return caught.value


def test_truncated_and_trailing_bytes_are_refused() -> None:
    """A record is one array and all of it: every prefix and every extra byte is an error."""
    whole = join_packets(
        [encode_packet(Packet("move", [{"x": 1.5}, b"abc", -300], {"h": None}, 1.0, 70_000))] * 2
    )
    for end in range(len(whole)):
        refused(whole[:end])
    for extra in (b"\x00", b"\xc0", whole):
        refused(whole + extra)


@pytest.mark.parametrize(
    "data",
    [
        pack({}),
        pack(None),
        pack([5]),
        record(),
        pack([{"action": "a"}]),
        record("a", 1, None, 0.0, None, None, None),
        record(""),
        record("x" * 256),
        record(b"a"),
        record(1),
        record(None),
        record("a", 1, []),
        record("a", 1, {1: 2}),
        record("a", 1, None, "0"),
        record("a", 1, None, None),
        record("a", 1, None, True),
        record("a", 1, None, 0.0, 1.0),
        record("a", 1, None, 0.0, True),
        record("a", 1, None, 0.0, "1"),
        record("a", 1, None, 0.0, -1),
        record("a", 1, None, 0.0, 2**63),
        record("a", 1, None, 0.0, None, 2**64 - 1),
        record("a", 1, None, 0.0, None, []),
    ],
    ids=lambda data: data.hex()[:40],
)
def test_fields_of_a_wrong_type_are_refused(data: bytes) -> None:
    """Each field has one type and one range; a packet has one to six fields."""
    assert str(refused(data)).startswith("the record is malformed: ")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("c1", "0xc1"),
        ("a2 c328", "not UTF-8"),
        ("a1 ff", "not UTF-8"),
        ("a3 eda080", "not UTF-8"),  # a surrogate
        ("81 a1ff 01", "not UTF-8"),
        ("81 80 01", "key is an array or a map"),
        ("81 9180 01", "key is an array or a map"),
        ("81 90 01", "key is an array or a map"),
        ("d4 0500", "extension type 5 is not allowed in a packet"),
        ("81 d40500 01", "key is a timestamp"),
        ("c7 00 7f", "extension type 127"),
        ("d4 ff00", "malformed"),  # timestamps of 1 byte, with 2**30 nanoseconds, in the year 10000
        ("d7 ff ffffffffffffffff", "malformed"),
        ("c7 0c ff 00000000 0000003afff44180", "malformed"),
        *((f"{first} ffffffff", "malformed") for first in ("db", "c6")),
        *((f"{first} ffffffff 0101", "malformed") for first in ("db", "c6", "c9")),
        *((f"{first} ffffffff", "more than 65,536 elements") for first in ("dd", "df")),
        *((f"{first} ffffffff 0101", "more than 65,536 elements") for first in ("dd", "df")),
        ("cb 7ff8", "malformed"),
    ],
)
def test_hostile_values_are_refused(value: str, says: str) -> None:
    """A value that is no MessagePack, no text or no type of ours refuses the whole record."""
    body = b"\x92\xa1a" + bytes.fromhex(value)
    good = encode_packet(Packet("ok"))
    assert says in str(refused(b"\x91" + body))
    assert says in str(refused(b"\x92" + good + body))


HOSTILE = {
    "deep arrays": START + b"\x91" * 100_000,
    "deep maps": START + b"\x81\x01" * 100_000,
    "deep maps by name": START + b"\x81\xa1k" * 100_000,
    "deep arrays in a key": START + b"\x81" + b"\x91" * 100_000,
    "deep keys": START + b"\x81\x91" * 100_000,
    "deep headers": b"\x91\x93\xa1a\xc0" + b"\x81\xa1k" * 100_000,
    "deep, short enough not to be walked": START + b"\x91" * 4_000,
    "deep, among packets": b"\x92\x91\xa1b\x92\xa1a" + b"\x91" * 10_000,
    "deep where a packet should be": b"\x91" * 60_000,
    "1 MiB of empty maps": START + b"\xdd\x00\x10\x00\x00" + b"\x80" * 2**20,
    "1 MiB of empty arrays": START + b"\xdd\x00\x10\x00\x00" + b"\x90" * 2**20,
    "1 MiB of packets": b"\xdd\x00\x08\x00\x00" + b"\x91\xa1a" * 2**19,
    "4,000 keys with one hash": START + tuple_keys(4000),
    "one array as a key": START + b"\x81\x90\x00",
    "43,000 ints that a dict has no place for": START + int_keys(colliding_ints(65_536)[:43_000]),
    "10,000 ints that a dict has no place for": START + int_keys(colliding_ints(16_384)),
    "2,000 times with a key each": START
    + map_header(2000)
    + b"".join(b"\xd6\xff" + n.to_bytes(4) + b"\x00" for n in range(2000)),
    "2,000 floats": START
    + map_header(2000)
    + b"".join(b"\xcb" + struct.pack(">d", n / 3) + b"\x00" for n in range(2000)),
    "2**32 - 1 packets": b"\xdd\xff\xff\xff\xff" + b"\x91\xa1a" * 100,
    "2**32 - 1 values": START + b"\xdd\xff\xff\xff\xff" + b"\x00" * 10_000,
    "2**32 - 1 values, large": START + b"\xdd\xff\xff\xff\xff" + b"\x00" * 100_000,
    "2**32 - 1 entries": START + b"\xdf\xff\xff\xff\xff" + b"\x00" * 10_000,
    "2**32 - 1 bytes": START + b"\xc6\xff\xff\xff\xff" + b"\x00" * 100_000,
    "2**32 - 1 bytes of text": START + b"\xdb\xff\xff\xff\xff" + b"\x00" * 100_000,
    "2**32 - 1 bytes of extension": START + b"\xc9\xff\xff\xff\xff\x05" + b"\x00" * 100_000,
    "ends in a header": START + b"\xdc" + b"\x00" * 0,
    "ends in a header, large": START
    + b"\x92\xc6\x00\x01\x86\xa0"
    + b"\x00" * 100_000
    + b"\xdd\x00",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_records_cost_little(name: str) -> None:
    """A record made to exhaust stack, memory or time gives one error for little of either."""
    data = HOSTILE[name]
    tracemalloc.start()
    began = time.process_time()
    try:
        refused(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * MAX_WALK_FREE + len(data)
    assert time.process_time() - began < 1.0  # a hundred times what it takes


def test_the_largest_accepted_record_bounds_its_objects() -> None:
    """What is accepted without a walk takes at most some megabytes of objects."""
    data = START + b"\xdc\xfe\x00" + b"\x80" * 0xFE00
    assert len(data) <= MAX_WALK_FREE
    tracemalloc.start()
    try:
        (packet,) = decode_packets(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(packet.data) == 0xFE00
    assert peak < 8 * 2**20


@pytest.mark.parametrize(
    "rest", [{}, {"text": "x"}, {"bytes": b"x"}, {"both": ["x", b"x"]}, {5: "x"}]
)
@pytest.mark.parametrize("size", [1, 5000, 70_000])
@pytest.mark.parametrize("many", [1, 3])
def test_arrays_as_keys_are_refused_on_both_sides(rest: Any, size: int, many: int) -> None:
    """Not one array is a map key: in packets of any size, at any depth, beside anything, alone or among others."""
    good = encode_packet(Packet("ok", {"a": [1, {"b": b"c"}]}))
    for key in ((), (1, 2), ((),), (1, "a")):
        nested: list[Any] = [
            {key: 1},
            {"a": 1, key: 1},
            [[{"a": {key: 1}}]],
            {"a": [{}, {key: {}}]},
        ]
        for data in nested:
            packet = Packet("a", {**rest, "data": data, "fill": "x" * size})
            with pytest.raises(CodecError, match="map key is an array") as caught:
                encode_packet(packet)
            assert "[key, value]" in caught.value.hint
            for batch in ([pack(packet)] * many, [good, pack(packet)], [pack(packet), good]):
                assert "map key is an array" in str(refused(join_packets(batch)))
    with pytest.raises(CodecError):
        encode_packet(Packet("a", None, {"h": {(1,): 2}}))
    for value in ({(1, 2): 3}, [{"a": {(): 1}}]):
        with pytest.raises(CodecError, match="map key is an array"):
            codec.encode_value(value)
        with pytest.raises(CodecError, match="map key is an array"):
            codec.decode_value(pack(value))


@pytest.mark.parametrize("size", [1, 5000, 70_000])
def test_timestamps_as_keys_are_refused_on_both_sides(size: int) -> None:
    """Not one timestamp is a map key, in packets of any size; the error says what to send instead."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    good = Packet("a", {"at": moment, "fill": "x" * size})
    assert decode_packets(join_packets([encode_packet(good)])) == [good]
    for data in ({moment: 1}, {"a": [{"b": 1, moment: {}}]}):
        packet = Packet("a", {"data": data, "fill": "x" * size})
        with pytest.raises(CodecError, match="map key is a timestamp") as caught:
            encode_packet(packet)
        assert "isoformat" in caught.value.hint
        assert "map key is a timestamp" in str(refused(join_packets([pack(packet)])))


def test_data_nests_as_deep_as_promised() -> None:
    """Data of any size, on any stack, may nest 64 levels and not one more, on both sides."""
    data: Any = None
    for _ in range(MAX_DEPTH):
        data = [data]
    encoded = encode_packet(Packet("deep", data))
    assert decode_packets(join_packets([encoded]))[0].data == data
    for more in (None, {"picture": bytes(PACKET_WALK_FREE)}, {"picture": bytes(MAX_WALK_FREE)}):
        packet = Packet("deep", data, more)
        assert decode_packets(join_packets([encoded, encode_packet(packet)]))[1] == packet
        packet.data = [data]
        with pytest.raises(CodecError, match="nested deeper than 64 levels"):
            encode_packet(packet)
        for batch in ([pack(packet)], [pack(packet), encoded]):
            assert "nested deeper than 64 levels" in str(refused(join_packets(batch)))


@given(st.binary(max_size=200), st.integers(0, 2))
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_packets_or_the_one_error(noise: bytes, prefix: int) -> None:
    """Bytes from nowhere decode to packets or raise CodecError, alone or inside a valid start."""
    data = (b"", b"\x91", START)[prefix] + noise
    try:
        decoded = decode_packets(data)
    except CodecError:
        return
    assert all(type(packet) is Packet for packet in decoded)


def test_errors_do_not_hold_the_bytes_of_the_peer() -> None:
    """The error of a refused record keeps no reference to the record."""
    error = refused(START + b"\xda\x07\xd0" + b"\xff" * 2000)
    assert error.__cause__ is None
    assert error.__suppress_context__
