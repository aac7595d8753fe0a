"""Records that take long to decode are decoded in steps: the result is the same, and no step takes long."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from clock import FEW_MS, cost_ms
from hostile_records import START, colliding_ints, int_keys
from hypothesis import given, settings
from hypothesis import strategies as st
from linked import Bench, bench

from securelink.errors import CodecError
from securelink.limits import (
    MAX_AT_ONCE,
    MAX_ELEMENTS,
    MAX_NUMBER_KEYS,
    MAX_WALK_FREE,
    STEP_ELEMENTS,
)
from securelink.protocol.bounds import Bounds
from securelink.threads.asking import Waiting
from securelink.threads.looking import looks_later
from securelink.threads.requesting import expect
from securelink.wire import steps
from securelink.wire.packets import (
    Decoding,
    Packet,
    begin_decoding,
    decode_again,
    decode_packets,
    encode_packet,
    join_packets,
)

pack = msgspec.msgpack.encode
MAPS = START + b"\xdc\xfe\x00" + b"\x80" * 0xFE00  # 65,024 empty maps


def in_steps(data: bytes, size: int, monkeypatch: pytest.MonkeyPatch) -> list[Packet] | None:
    """Decode a record in steps of so many elements, however small it is; None when it is refused."""
    monkeypatch.setattr("securelink.wire.packets.MAX_AT_ONCE", 0)
    monkeypatch.setattr("securelink.wire.packets.MAX_WALK_FREE", 0)
    monkeypatch.setattr(steps, "STEP_ELEMENTS", size)
    try:
        return decode_packets(data)
    except CodecError:
        return None


def at_once(data: bytes) -> list[Packet] | None:
    """The same by one call, as records up to 8 KiB are decoded."""
    assert len(data) <= MAX_AT_ONCE
    try:
        return decode_packets(data)
    except CodecError:
        return None


keys = st.none() | st.integers(-(2**63), 2**64 - 1) | st.sampled_from("abc") | st.binary(max_size=3)
values = st.recursive(
    keys | st.floats(allow_nan=False) | st.sampled_from(["é" * 40, b"x" * 40, [0] * 100]),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(keys, inner, max_size=9),
    max_leaves=60,
)
packets = st.tuples(
    st.sampled_from(["a", "long" * 20, "", 5, []]) | st.just("a"),
    values,
    st.none() | st.dictionaries(st.text("ab", max_size=4), values, max_size=9) | values,
    st.just(1.5) | values,
    st.none() | st.just(7) | values,
)


@pytest.mark.pure  # it replaces numbers of modules
@given(
    st.lists(
        packets.map(list).flatmap(lambda p: st.integers(1, 5).map(lambda n: p[:n])), max_size=4
    ),
    st.sampled_from([1, 2, 3, 10, 100]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=300, deadline=None)
def test_steps_give_the_same(record: list[Any], size: int, chance: random.Random) -> None:
    """Whatever a record holds, also where it is damaged, it gives the same packets in steps of any size, or none."""
    data = bytearray(pack(record))
    if chance.random() < 0.5:
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        data = data[: chance.randrange(len(data) // 2, len(data) + 1)] + bytes(chance.randrange(2))
    expected = at_once(bytes(data)) if len(data) <= MAX_AT_ONCE else None
    with pytest.MonkeyPatch.context() as monkeypatch:
        found = in_steps(bytes(data), size, monkeypatch)
    if len(data) <= MAX_AT_ONCE:
        # NaN is no equal of itself.
        assert repr(found) == repr(expected)


LARGE: list[Any] = [
    [["a", [{}] * 20_000]],
    [["a", [[]] * 20_000, {"h": [[]] * 9_000, "k": {}}, 1.5, 7, None], ["b", {"x": {}}]],
    [["a", {str(n): {"v": n} for n in range(9_000)}]],
    [
        ["a", {n: [n] for n in range(400)}],
        ["b", [[[n] * 3] for n in range(9_000)], None, 2.5, None, 9],
    ],
    [["p", {"n": n}] for n in range(12_000)],
    [["a", {"deep": [[[{"x": [n, None, True, b"b"]}]] for n in range(6_000)]}, {"h": {"y": 1}}]],
    [["a", [0] * 200_000], ["b", None, {str(n): [] for n in range(9_000)}]],
]


@pytest.mark.parametrize("record", LARGE, ids=range(len(LARGE)))
def test_large_records_come_as_they_were_sent(record: list[list[Any]]) -> None:
    """Packets, data and headers of records that are decoded in steps are what was sent; views of bytes are as good."""
    data = pack(record)
    assert isinstance(begin_decoding(memoryview(data)), Decoding)
    expected = [Packet(*fields) for fields in record]
    assert decode_packets(data) == decode_packets(memoryview(data)) == expected
    assert decode_again(data) == expected


@pytest.mark.parametrize(
    "record",
    [
        {str(n): {} for n in range(20_000)},
        [{str(n): {} for n in range(20_000)}],
        [["a", None, {n: {} for n in range(500)} | {"x": [{}] * 20_000}]],
        [["a", None, [{}] * 20_000]],
        [[[{}] * 20_000]],
        [["a", 1, None, [{}] * 20_000]],
        [["a", 1, None, 0.0, [{}] * 20_000]],
        [["a", [{}] * 20_000, None, 0.0, None, None, None]],
        [["a", [{}] * 20_000, None, "no time"]],
        [["a", [{}] * 20_000], ["b", {(1,): 2}]],
        [["a", [{}] * 20_000], []],
    ],
    ids=range(11),
)
def test_what_is_no_packet_is_refused_in_steps_too(record: Any) -> None:
    """Fields of a wrong type, in records that are decoded in steps."""
    with pytest.raises(CodecError):
        decode_packets(pack(record))


@pytest.mark.parametrize("end", [b"", b"\x00", b"\xc0\xc0"])
@pytest.mark.parametrize("cut", [0, 1, 1000])
def test_the_end_of_a_record_is_where_its_packets_end(end: bytes, cut: int) -> None:
    """What is cut, or followed by more, is refused when it is decoded in steps too."""
    data = MAPS[: len(MAPS) - cut] + end
    if len(data) != len(MAPS):
        with pytest.raises(CodecError):
            decode_packets(data)
    text = START + b"\x92" + MAPS[4:] + b"\xdb\x00\x01\x00\x00" + b"x" * 65_535
    with pytest.raises(CodecError):
        decode_packets(text)


# --- time ------------------------------------------------------------------------------------------------------

NUMBERS = int_keys(colliding_ints(1024)[:MAX_NUMBER_KEYS])
WORST = {
    "empty maps": MAPS,
    "empty lists": START + b"\xdc\xfe\x00" + b"\x90" * 0xFE00,
    "lists of one": START + b"\xdc\x7f\x00" + b"\x91\xc0" * 0x7F00,
    "maps of one": START + b"\xdc\x54\x00" + b"\x81\xa0\xc0" * 0x5400,
    "maps of one number": START + b"\xdc\x54\x00" + b"\x81\x00\xc0" * 0x5400,
    "packets": b"\xdc\x54\x00" + b"\x91\xa1a" * 0x5400,
    "packets with headers": b"\xdc\x30\x00" + b"\x93\xa1a\xc0\x80" * 0x3000,
    "times": START + b"\xdc\x24\x00" + b"\xd6\xff\x00\x00\x00\x01" * 0x2400,
    "numbers that collide": START + b"\xdc\x00\x15" + NUMBERS * 21,
    "numbers that collide, more": START + b"\xdc\x00\x3f" + NUMBERS * 63,
    "as deep as may be": b"\xdc\x03\xe0" + (b"\x92\xa1a" + b"\x91" * 63 + b"\x90") * 0x3E0,
    "names": START + b"\xdd\x00\x00\x80\x00" + (b"\xb8" + b"x" * 24) * 0x8000,
    "light": START + b"\xdd\x00\x07\xf0\x00" + b"\x00" * 0x7F000,
    "headers": b"\x91\x93\xa1a\xc0" + pack({str(n): {} for n in range(20_000)}),
    "picture among maps": START + b"\x92" + pack(bytes(1_000_000)) + MAPS[4:-100] + b"\xc0" * 100,
    "after a text that looks large": b"\x91\x92\xd9\x20" + b"\xc5\xbf" * 16 + MAPS[4:],
}


def steps_of(data: bytes) -> list[float]:
    """Milliseconds of processor time that each step of a record takes: the least of three tries."""
    tries = []
    for _ in range(3):
        found: list[Any] = []
        took = [cost_ms(lambda: found.append(begin_decoding(data)), 0.0, 1)]  # noqa: B023  # called at once
        (decoding,) = found
        while isinstance(decoding, Decoding):
            done: list[bool] = []
            took.append(cost_ms(lambda: done.append(decoding.go_on()), 0.0, 1))  # noqa: B023  # called at once
            if done[0]:
                break
        tries.append(took)
    assert len({len(took) for took in tries}) == 1
    return [min(times) for times in zip(*tries, strict=True)]


@pytest.mark.cost
@pytest.mark.parametrize("name", WORST)
def test_no_step_of_an_accepted_record_takes_long(name: str) -> None:
    """Of every kind of record that costs much one step takes a few milliseconds at most: so long do others wait."""
    data = WORST[name]
    assert decode_packets(data)
    assert max(steps_of(data)) < FEW_MS


def test_ordinary_records_are_decoded_at_once() -> None:
    """What usually comes is not walked: small records, pictures, texts, many small packets, a list of numbers."""
    small = encode_packet(Packet("move", {"x": 1.5, "y": 2}))
    for data in (
        join_packets([small] * 1600),
        join_packets([encode_packet(Packet("voice", bytes(15_000)))] * 4),
        START + pack(bytes(60_000)),
        START + pack("é" * 30_000),
        START + pack(list(range(20_000))),
        START + pack([{"x": n, "y": n / 3} for n in range(3500)]),
        START + pack(bytes(2_000_000)),
    ):
        assert isinstance(begin_decoding(data), list)


# --- turns -----------------------------------------------------------------------------------------------------


def test_a_session_gives_way_while_its_record_is_decoded() -> None:
    """A record of 65,000 maps takes many turns, in which others have theirs; then its packet is handled once."""
    with bench() as stage:
        stage.channel.core.receiving.deliver(MAPS)
        stage.channel.core.receiving.deliver(join_packets([encode_packet(Packet("x", 5))]))
        turns = turns_until(stage, lambda: len(stage.channel.data) == 2)
        assert turns > 3
        assert stage.channel.data[1] == 5
        assert len(stage.channel.data[0]) == 0xFE00
        assert not stage.channel.core.receiving.waiting


def turns_until(stage: Bench, done: Callable[[], bool]) -> int:
    """Run the inbox turn by turn; how many it took."""
    stage.channel.loop.schedule(stage.channel.inbox)
    for turn in range(1, 2000):
        stage.loop.turn()
        if done():
            return turn
    raise AssertionError("it never came to its end")


def test_what_is_decoded_counts_before_its_end() -> None:
    """A record that is decoded in steps counts for its bytes and for what is decoded of it; a drop forgets both."""
    with bench() as stage:
        core = stage.channel.core
        core.receiving.deliver(MAPS)
        before = core.held
        stage.channel.inbox.run()
        stage.channel.inbox.run()
        assert core.receiving.opening is not None
        assert core.receiving.waiting == len(MAPS)
        assert core.held > before + 80 * STEP_ELEMENTS
        core.receiving.drop()
        assert core.held < 1000


def test_a_session_that_ends_meanwhile_forgets_its_record() -> None:
    """A record that is not decoded to its end when its session is ended is never handled."""
    with bench() as stage:
        receiving = stage.channel.core.receiving
        receiving.deliver(MAPS)
        stage.channel.inbox.run()
        assert receiving.opening is not None
        receiving.dropping = True
        assert not stage.channel.inbox.run()
        assert receiving.opening is None
        assert not receiving.items
        assert not receiving.waiting
        assert not stage.channel.data


def test_a_record_that_is_bad_at_its_end_ends_the_session() -> None:
    """Nothing of it is handled, though it was decoded in steps."""
    with bench() as stage:
        stage.channel.core.receiving.deliver(
            b"\xdd\x00\x00\x54\x01" + b"\x91\xa1a" * 0x5400 + b"\x91\x05"
        )
        turns_until(stage, lambda: stage.channel.core.receiving.dropping)
        assert not stage.channel.data


@pytest.mark.parametrize("alone", [True, False])
def test_a_reply_in_a_record_that_takes_long(alone: bool) -> None:
    """The reading thread looks into it in steps too; the reply comes, and the rest is handled."""
    with bench(Bounds(inbox_records=10_000)) as stage:
        receiving = stage.channel.core.receiving
        receiving.on_look = looks_later(stage.loop.make_unfinished)
        waiting = Waiting()
        number = expect(stage.channel, waiting)
        reply: list[Any] = [["a", [{}] * 30_000, None, 0.0, None, number]]
        receiving.deliver(pack(reply if alone else [["x", 1], *reply, ["x", 2]]))
        assert not waiting.event.is_set()
        looks = 0
        while not waiting.event.is_set():
            assert receiving.held_in_steps > 0
            stage.loop.turn()
            looks += 1
        assert looks > 3
        assert waiting.reply is not None
        found = waiting.reply.packet()
        assert found is not None
        assert len(found.data) == 30_000
        turns_until(stage, lambda: not receiving.items)
        # The owner meets it in its place, and passes over it.
        assert stage.channel.data == ([] if alone else [1, [{}] * 30_000, 2])
        assert not receiving.waiting
        assert receiving.held_in_steps == 0


def test_replies_behind_a_record_that_takes_long_do_not_wait() -> None:
    """A small reply is found at once, while large records before it are still looked into."""
    with bench(Bounds(inbox_records=10_000)) as stage:
        receiving = stage.channel.core.receiving
        receiving.on_look = looks_later(stage.loop.make_unfinished)
        waits = [Waiting(), Waiting(), Waiting()]
        numbers = [expect(stage.channel, waiting) for waiting in waits]
        for number in numbers[:2]:
            receiving.deliver(pack([["a", [{}] * 30_000, None, 0.0, None, number]]))
        receiving.deliver(pack([["a", 1, None, 0.0, None, numbers[2]]]))
        assert [waiting.event.is_set() for waiting in waits] == [False, False, True]
        turns_until(stage, lambda: all(waiting.event.is_set() for waiting in waits))


def test_nobody_waits_any_more() -> None:
    """Looking ends when the last one who waited has given up; the record is handled like others."""
    with bench(Bounds(inbox_records=10_000)) as stage:
        receiving = stage.channel.core.receiving
        receiving.on_look = looks_later(stage.loop.make_unfinished)
        number = expect(stage.channel, Waiting())
        receiving.deliver(MAPS)
        assert receiving.held_in_steps > 0
        stage.channel.forget(number)
        turns_until(stage, lambda: len(stage.channel.data) == 1)
        assert receiving.held_in_steps == 0


def test_numbers() -> None:
    """A step is a small part of what a record may hold."""
    assert MAX_AT_ONCE < MAX_WALK_FREE
    assert STEP_ELEMENTS * 8 <= MAX_ELEMENTS
