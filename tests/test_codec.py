"""
Packets and single values: what is encoded comes back, and bytes of a peer do no harm.
"""

from __future__ import annotations

import enum
import itertools
import math
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from securelink import codec
from securelink.codec import (
    Packet,
    decode_packets,
    decode_value,
    encode_packet,
    encode_value,
    join_packets,
)
from securelink.errors import CodecError
from securelink.limits import (
    MAX_ACTION,
    MAX_ARRAY_KEYS,
    MAX_CREDENTIALS,
    MAX_CREDENTIALS_DEPTH,
    MAX_DEPTH,
    MAX_ELEMENTS,
    MAX_WALK_FREE,
    PACKET_WALK_FREE,
)

pack = msgspec.msgpack.encode

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | text
    | st.binary(max_size=50)
    | st.datetimes(timezones=st.just(UTC))
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(text | st.integers(), inner),
    max_leaves=15,
).filter(lambda value: _fits(value))
numbers = st.none() | st.integers(0, 2**63 - 1)
packets = st.builds(
    Packet,
    action=text.filter(bool),
    data=values,
    headers=st.none() | st.dictionaries(text, scalars, max_size=3),
    created=st.floats(allow_nan=False),
    id=numbers,
    reply_to=numbers,
)


def _fits(value: Any) -> bool:
    """Tell whether MessagePack can carry the value: keys may be ints of any size above."""
    if isinstance(value, dict):
        return all(
            (isinstance(key, str) or -(2**63) <= key < 2**64) and _fits(item)
            for key, item in value.items()
        )
    return not isinstance(value, list) or all(map(_fits, value))


def record(*fields: Any) -> bytes:
    """Build a record of one packet from fields of any type."""
    return pack([list(fields)])


def refused(data: bytes | memoryview) -> CodecError:
    """Return the error that the record gives."""
    with pytest.raises(CodecError) as caught:
        decode_packets(data)
    return caught.value


# --- round trips ----------------------------------------------------------------------------------


@given(st.lists(packets, max_size=20))
@settings(max_examples=100, deadline=None)
def test_packets_come_back_as_they_were(batch: list[Packet]) -> None:
    """A record gives back the packets joined into it, each also equal to itself decoded alone."""
    encoded = [encode_packet(packet) for packet in batch]
    decoded = decode_packets(join_packets(encoded))
    assert decoded == batch
    assert [encode_packet(packet) for packet in decoded] == encoded  # types as well: 1 is not True
    for packet, alone in zip(batch, encoded, strict=True):
        assert decode_packets(memoryview(join_packets([alone]))) == [packet]


@pytest.mark.parametrize("count", [0, 1, 15, 16, 65_535, 65_536])
def test_join_writes_the_array_header_msgpack_would(count: int) -> None:
    """A record of joined packets is byte for byte the array MessagePack has for them."""
    assert join_packets([b"\xc0"] * count) == pack([None] * count)


@pytest.mark.parametrize(
    ("packet", "encoded"),
    [
        (Packet("hi"), "96 a26869 c0 c0 cb0000000000000000 c0 c0"),
        (
            Packet("move", {"x": 1.25, "hp": -3}, {"seq": 7}, 1.5, 4, 2**40),
            "96 a46d6f7665 82a178cb3ff4000000000000a26870fd 81a373657107 cb3ff8000000000000"
            " 04 cf0000010000000000",
        ),
        (
            Packet("v", b"\x00\xff", None, 0.0, None, 0),
            "96 a176 c40200ff c0 cb0000000000000000 c0 00",
        ),
        (
            Packet("t", datetime(2026, 11, 20, tzinfo=UTC)),
            "96 a174 d6ff6aff8d80 c0 cb0000000000000000 c0 c0",
        ),
    ],
)
def test_encodings_are_pinned(packet: Packet, encoded: str) -> None:
    """The wire form of a packet does not change by accident."""
    assert encode_packet(packet).hex() == encoded.replace(" ", "")
    assert decode_packets(b"\x91" + bytes.fromhex(encoded)) == [packet]


def test_fields_left_out_at_the_end_take_their_defaults() -> None:
    """A packet on the wire may end after any field but the action."""
    full: list[Any] = ["a", 1, {"h": 2}, 3.0, 4, 5]
    for length in range(1, 7):
        assert decode_packets(record(*full[:length])) == [Packet(*full[:length])]
    refused(record())


def test_nan_and_duplicate_keys_are_accepted() -> None:
    """NaN comes back as NaN, and of equal map keys the last wins."""
    (packet,) = decode_packets(join_packets([encode_packet(Packet("n", math.nan))]))
    assert math.isnan(packet.data)
    assert decode_packets(bytes.fromhex("91 92 a161 82 a16b01 a16b02")) == [Packet("a", {"k": 2})]


def test_an_enum_member_can_be_an_action() -> None:
    """A member of a StrEnum is sent as its value."""

    class Action(enum.StrEnum):
        MOVE = "move"

    assert encode_packet(Packet(Action.MOVE)) == encode_packet(Packet("move"))


def test_many_threads_may_encode_and_decode_at_once() -> None:
    """Each thread gets back its own packets, though all share one encoder and decoder."""
    wrong: list[object] = []

    def work(number: int) -> None:
        for turn in range(300):
            packet = Packet(f"a{number}", [number] * (turn % 50), None, float(turn), turn)
            if decode_packets(join_packets([encode_packet(packet)] * 3)) != [packet] * 3:
                wrong.append(packet)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# --- what cannot be sent --------------------------------------------------------------------------

ring: list[Any] = []
ring.append(ring)


@pytest.mark.parametrize(
    ("packet", "says"),
    [
        (Packet(""), "the action of a packet has 0 characters, allowed are 1 to 255"),
        (Packet("é" * 256), "has 256 characters, allowed are 1 to 255; an action is a short name"),
        (Packet(b"move"), "the action of a packet is a bytes, not a str"),  # type: ignore[arg-type]
        (Packet("a", object()), "the data cannot be sent: Encoding objects of type object"),
        (Packet("a", 2**64), "an int that does not fit 64 bits; send it as a str or as bytes"),
        (Packet("a", [-(2**63) - 1]), "an int that does not fit 64 bits"),
        (Packet("a", "\ud800"), "the data has a str with lone surrogates; send it as bytes"),
        (Packet("a", ring), "nested too deep, or contains itself; keep nesting within 64 levels"),
        (Packet("a", headers=[1]), "the headers of a packet are not a dict"),  # type: ignore[arg-type]
        (Packet("a", headers={1: 1}), "not a dict with str keys"),  # type: ignore[dict-item]
        (Packet("a", created="now"), "created of a packet is a str"),  # type: ignore[arg-type]
        (Packet("a", created=True), "created of a packet is a bool, not a float"),
        (Packet("a", id=-1), "id or reply_to of a packet is not None or an int from 0 to 2"),
        (Packet("a", id=2**63), "id or reply_to"),
        (Packet("a", id=True), "id or reply_to"),
        (Packet("a", reply_to=1.0), "id or reply_to"),  # type: ignore[arg-type]
        (Packet("a", list(range(MAX_ELEMENTS))), "more than 65,535 elements in one packet"),
        (
            Packet("a", {(n, n): "tile" for n in range(1000)}),
            "more than 256 map keys are arrays (tuples); send a list of [key, value]",
        ),
    ],
)
def test_what_cannot_be_sent_is_refused_with_the_way_out(packet: Packet, says: str) -> None:
    """A packet no receiver would accept is an error at its sender that says what to do."""
    with pytest.raises(CodecError) as caught:
        encode_packet(packet)
    assert says in str(caught.value)


@given(packets)
@settings(max_examples=50, deadline=None)
@example(Packet("x" * MAX_ACTION, created=5, id=2**63 - 1))
@example(Packet("a", [0] * (MAX_ELEMENTS - 10)))
@example(Packet("a", {(n, n): n for n in range(MAX_ARRAY_KEYS)}))
def test_what_is_encoded_is_accepted(packet: Packet) -> None:
    """No packet that `encode_packet()` lets through is refused by the receiver, limits included."""
    assert decode_packets(join_packets([encode_packet(packet)])) == [packet]


# --- what a peer may send -------------------------------------------------------------------------


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
        ("c1", "malformed"),
        ("a2 c328", "not UTF-8"),
        ("a1 ff", "not UTF-8"),
        ("a3 eda080", "not UTF-8"),  # a surrogate
        ("81 a1ff 01", "not UTF-8"),
        ("81 80 01", "malformed"),  # a map as a key
        ("81 9180 01", "malformed"),  # a map in an array as a key
        ("d4 0500", "extension type 5 is not allowed in a packet"),
        ("81 d40500 01", "extension type 5"),
        ("c7 00 7f", "extension type 127"),
        ("d4 ff00", "malformed"),  # timestamps of 1 byte, with 2**30 nanoseconds, in the year 10000
        ("d7 ff ffffffffffffffff", "malformed"),
        ("c7 0c ff 00000000 0000003afff44180", "malformed"),
        *((f"{first} ffffffff", "malformed") for first in ("db", "c6", "dd", "df")),
        *((f"{first} ffffffff 0101", "malformed") for first in ("db", "c6", "dd", "df", "c9")),
        ("cb 7ff8", "malformed"),
    ],
)
def test_hostile_values_are_refused(value: str, says: str) -> None:
    """A value that is no MessagePack, no text or no type of ours refuses the whole record."""
    body = b"\x92\xa1a" + bytes.fromhex(value)
    good = encode_packet(Packet("ok"))
    assert says in str(refused(b"\x91" + body))
    assert says in str(refused(b"\x92" + good + body))


def _keys() -> bytes:
    # hash(-1) == hash(-2), so all tuples of the two have one hash.
    keys = itertools.islice(itertools.product((b"\xff", b"\xfe"), repeat=12), 4000)
    body = b"".join(b"\x9c" + b"".join(key) + b"\x00" for key in keys)
    return b"\x91\x92\xa1a\xde" + struct.pack(">H", 4000) + body


START = b"\x91\x92\xa1a"
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
    "4,000 keys with one hash": _keys(),
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


def test_bulk_of_small_packets_may_have_tuples_as_keys() -> None:
    """The bound on array keys holds for a large packet, not for many small ones in a record."""
    grid = {(x, y): 0 for x in range(10) for y in range(10)}
    encoded = encode_packet(Packet("grid", grid))
    many = join_packets([encoded] * (MAX_WALK_FREE // len(encoded) - 1))
    assert PACKET_WALK_FREE < len(many) <= MAX_WALK_FREE
    assert all(packet.data == grid for packet in decode_packets(many))


def test_a_flood_of_keys_is_found_among_other_packets() -> None:
    """One large packet in a record of many is walked, whichever it is."""
    good, flood = encode_packet(Packet("ok")), HOSTILE["4,000 keys with one hash"][1:]
    for batch in ([good, flood], [flood, good], [good] * 20 + [flood] + [good] * 20):
        assert "map keys are arrays" in str(refused(join_packets(batch)))


def test_data_nests_as_deep_as_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data of any size, on any stack, may nest 64 levels; what is walked may not nest deeper."""
    data: Any = None
    for _ in range(MAX_DEPTH):
        data = [data]
    encoded = encode_packet(Packet("deep", data))
    deeper = encode_packet(Packet("deep", [data]))
    large = Packet("deep", data, {"picture": bytes(PACKET_WALK_FREE)})
    huge = Packet("deep", data, {"picture": bytes(MAX_WALK_FREE)})
    for packet in (large, huge):
        assert decode_packets(join_packets([encoded, encode_packet(packet)]))[1] == packet
        packet.data = [data]
        with pytest.raises(CodecError, match="nested deeper than 65 levels"):
            encode_packet(packet)
        for batch in ([pack(packet)], [pack(packet), encoded]):
            assert "nested deeper" in str(refused(join_packets(batch)))
    assert decode_packets(join_packets([deeper]))[0].data == [data]
    monkeypatch.setattr(codec, "safe_levels", lambda: 0)  # an unknown stack
    assert decode_packets(join_packets([encoded]))[0].data == data
    assert "nested deeper than 66 levels" in str(refused(join_packets([deeper])))


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


def test_the_fuzzer_finds_nothing() -> None:
    """Two seconds of damaged records, values and frames: no other error, no crash."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.fuzz_parsers", "2", "7"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) > 1000


def test_errors_do_not_hold_the_bytes_of_the_peer() -> None:
    """The error of a refused record keeps no reference to the record."""
    error = refused(START + b"\xda\x07\xd0" + b"\xff" * 2000)
    assert error.__cause__ is None
    assert error.__suppress_context__


# --- single values --------------------------------------------------------------------------------


@given(st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=8))
@settings(max_examples=50, deadline=None)
@example({"user": "ada", "password": "x"})
@example(None)
def test_values_come_back_as_they_were(value: Any) -> None:
    """Credentials come back equal; what needs an extension type is refused at its sender."""
    try:
        encoded = encode_value(value)
    except CodecError as error:
        assert "timestamps are not allowed" in str(error) or "deeper" in str(error)  # noqa: PT017
        return
    assert decode_value(encoded) == value


def test_values_are_bounded_in_size_and_depth() -> None:
    """A value of the largest size and depth passes both ways, one more is refused both ways."""
    largest = bytes(MAX_CREDENTIALS - 3)
    assert decode_value(encode_value(largest)) == largest
    with pytest.raises(CodecError, match=r"4,097 bytes, allowed are 4,096"):
        encode_value(largest + b"x")
    with pytest.raises(CodecError, match=r"4,097 bytes, allowed are 4,096"):
        decode_value(pack(largest + b"x"))
    deepest: Any = None
    for _ in range(MAX_CREDENTIALS_DEPTH):
        deepest = {"k": deepest}
    assert decode_value(encode_value(deepest)) == deepest
    for attempt in (lambda: encode_value([deepest]), lambda: decode_value(pack([deepest]))):
        with pytest.raises(CodecError, match="nested deeper than 8 levels"):
            attempt()


@pytest.mark.parametrize(
    "value",
    [
        "",
        "c1",
        "a1ff",
        "0000",
        "d40500",
        "d6ff00000000",
        "81 80 01",
        "dd ffffffff 00",
        "c6 ffffffff",
    ],
)
def test_hostile_credentials_are_refused(value: str) -> None:
    """Whatever a stranger sends as credentials gives a value or the one error."""
    with pytest.raises(CodecError):
        decode_value(bytes.fromhex(value))


def test_an_unserialisable_credential_is_not_quoted() -> None:
    """The error for credentials that cannot be sent shows no part of them."""
    with pytest.raises(CodecError) as caught:
        encode_value({"password": "hunter2\ud800"})
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__
