"""
Packets and single values: what is encoded comes back, and bytes of a peer do no harm.
"""

from __future__ import annotations

import enum
import math
import threading
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from securelink.errors import CodecError
from securelink.limits import (
    MAX_ACTION,
    MAX_CREDENTIALS,
    MAX_CREDENTIALS_DEPTH,
    MAX_ELEMENTS,
    MAX_NUMBER_KEYS,
)
from securelink.wire.packets import (
    Packet,
    decode_packets,
    decode_value,
    encode_packet,
    encode_value,
    join_packets,
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
        assert decode_packets(pack([full[:length]])) == [Packet(*full[:length])]


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
rings: list[Any] = []
rings += [rings, rings]  # 2**64 paths of 64 levels lead through it


@pytest.mark.parametrize(
    ("packet", "says"),
    [
        (Packet(""), "the action of a packet has 0 characters, allowed are 1 to 255"),
        (Packet("é" * 256), "has 256 characters, allowed are 1 to 255; an action is a short name"),
        (Packet(b"move"), "the action of a packet is of the type bytes, not str"),  # type: ignore[arg-type]
        (Packet("a", object()), "the data cannot be sent: Encoding objects of type object"),
        (Packet("a", 2**64), "an int that does not fit 64 bits; send it as a str or as bytes"),
        (Packet("a", [-(2**63) - 1]), "an int that does not fit 64 bits"),
        (Packet("a", "\ud800"), "the data has a str with lone surrogates; send it as bytes"),
        (Packet("a", rings), "nested too deep, or contains itself"),
        (Packet("a", ring), "nested too deep, or contains itself; keep nesting within 64 levels"),
        (Packet("a", headers=[1]), "the headers of a packet are not a dict"),  # type: ignore[arg-type]
        (Packet("a", headers={1: 1}), "not a dict with str keys"),  # type: ignore[dict-item]
        (Packet("a", created="now"), "created of a packet is a str"),  # type: ignore[arg-type]
        (Packet("a", created=True), "created of a packet is a bool, not a float"),
        (Packet("a", id=-1), "id or reply_to of a packet is not None or an int from 0 to 2"),
        (Packet("a", id=2**63), "id or reply_to"),
        (Packet("a", id=True), "id or reply_to"),
        (Packet("a", reply_to=1.0), "id or reply_to"),  # type: ignore[arg-type]
        (
            Packet("a", list(range(128, 128 + MAX_ELEMENTS))),
            "more than 65,535 elements in one packet",
        ),
        (
            Packet("a", {(n, n): "tile" for n in range(1000)}),
            "a map key is an array or a map (a dict has a tuple as a key); send a list of [key, value]",
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
@example(Packet("a", {n: n for n in range(MAX_NUMBER_KEYS)}))
@example(Packet("a", {str(n): n for n in range(MAX_NUMBER_KEYS + 1)}))
@example(Packet("a", {b"%d" % n: n for n in range(MAX_NUMBER_KEYS + 1)}))
def test_what_is_encoded_is_accepted(packet: Packet) -> None:
    """No packet that `encode_packet()` lets through is refused by the receiver, limits included."""
    assert decode_packets(join_packets([encode_packet(packet)])) == [packet]


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
