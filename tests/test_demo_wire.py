"""What the one in the middle of the demonstration sees and does."""

from __future__ import annotations

import os
import uuid

import pytest
from demo.wire import (
    PLAIN,
    SEALED,
    Attack,
    FlipBit,
    Repeat,
    Rewrite,
    hexdump,
    largest_frame,
    leaks,
    readable,
)
from hypothesis import given
from hypothesis import strategies as st

from securelink.wire.frames import frame_header

LARGE = frame_header(SEALED, 200) + bytes(200)
SMALL = frame_header(SEALED, 25) + bytes(25)


def test_a_dump_shows_bytes_and_letters() -> None:
    """As `hexdump -C` does; what is left out is counted."""
    lines = hexdump(b"\x00\xffsecret words\r\n!" + bytes(20), rows=2)
    assert lines == [
        "0000  00 ff 73 65 63 72 65 74 20 77 6f 72 64 73 0d 0a  ..secret words..",
        "0010  21 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  !...............",
        "      ... and 5 more bytes",
    ]
    assert hexdump(b"ab") == ["0000  61 62" + " " * 44 + "ab"]
    assert hexdump(b"") == []


def test_the_frame_with_the_packet_is_the_largest() -> None:
    """Acknowledgements before and after it are smaller."""
    assert largest_frame(SMALL + LARGE + SMALL) == LARGE
    assert largest_frame(b"") == b""


@given(st.binary(max_size=60), st.binary(max_size=60), st.integers(0, 22))
def test_six_bytes_of_a_secret_are_a_leak(before: bytes, after: bytes, start: int) -> None:
    """Whichever six they are, and wherever they stand."""
    secret = "the map of the harbour, torn"
    stream = before + secret.encode()[start : start + 6] + after
    assert leaks(stream, {"the map": secret}) == ["the map"]


def test_random_bytes_leak_nothing() -> None:
    """The search does not cry wolf over a stream as long as that of the demonstration."""
    secrets: dict[str, str | bytes] = {str(n): str(uuid.uuid4()) for n in range(20)}
    assert leaks(os.urandom(60_000), secrets) == []


def test_a_token_is_found_in_every_form() -> None:
    """As text, as hex digits and as its 16 bytes."""
    token = uuid.uuid4()
    for form in (str(token).encode(), token.hex.encode(), token.bytes):
        stream = b"xx" + form + b"yy"
        assert leaks(stream, {"token": str(token)}) == ["token"]
        assert readable(stream, {"token": str(token), "other": "words"}) == ["token"]
        assert readable(stream[:-3], {"token": str(token)}) == []


def test_a_short_secret_is_searched_as_a_whole() -> None:
    """And bytes as they are."""
    assert leaks(b"a pier", {"pier": "pier", "mill": b"mill"}) == ["pier"]


@pytest.mark.parametrize(
    ("attack", "after"),
    [
        (FlipBit(), LARGE[:102] + b"\x01" + LARGE[103:]),
        (Repeat(), LARGE + LARGE),
        (Rewrite(b"\0" * 200, b"\1" * 200), LARGE[:4] + b"\1" * 200),
    ],
)
def test_an_attack_happens_once_and_to_a_packet(attack: Attack, after: bytes) -> None:
    """Nothing is touched unless armed; then the next large record is, and no other frame."""
    hello = frame_header(1, 200) + bytes(200)
    assert attack(LARGE) == LARGE
    attack.armed = True
    assert attack(SMALL) == SMALL
    assert attack(hello) == hello
    assert attack(LARGE) == after
    assert (attack.before, attack.after) == (LARGE, after)
    assert attack(LARGE) == LARGE


def test_plain_records_can_be_attacked_too() -> None:
    """In plaintext mode packets travel in another kind of frame."""
    attack = Rewrite(b"mill", b"pier")
    attack.armed = True
    assert b"pier" in attack(frame_header(PLAIN, 104) + b"x" * 100 + b"mill")
