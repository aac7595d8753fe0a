"""Numbers and fields of the wire: exact bytes out, and nothing but exact bytes in."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securelink.codes import CODE_TEXT, Code, code_text
from securelink.errors import ProtocolError
from securelink.wire.fields import Content, Fields, Kind, Mode, encode_field, encode_fields

FieldList = list[tuple[int, bytes]]


def parse(data: bytes, required: set[int], optional: set[int] | None = None) -> Fields:
    """Parse a field list of a message called Test."""
    return Fields(data, "Test", required=frozenset(required), optional=frozenset(optional or ()))


# --- numbers --------------------------------------------------------------------------------------


def test_numbers_are_pinned() -> None:
    """Kinds, contents and modes have the numbers that peers of other releases know."""
    assert [kind.name for kind in Kind] == [
        "CLIENT_HELLO", "SERVER_HELLO", "SEALED", "PLAIN", "ALERT"
    ]  # fmt: skip
    assert [content.name for content in Content] == [
        "SERVER_AUTH", "CLIENT_AUTH", "WELCOME", "DATA", "DATA_ACK", "ACK", "PING", "PONG", "KEY_UPDATE", "CLOSE"
    ]  # fmt: skip
    assert list(Kind) == list(range(1, 6))
    assert list(Content) == list(range(1, 11))
    assert {mode.name: mode.value for mode in Mode} == {"OFF": 0, "OPTIONAL": 1, "REQUIRED": 2}


def test_codes_are_pinned() -> None:
    """So do the codes; every one has words, and one from a newer peer is shown as its number."""
    names = "NORMAL PROTOCOL VERSION ENCRYPTION_REQUIRED ENCRYPTION_OFF NOT_TRUSTED BUSY TIMEOUT INTERNAL APPLICATION "
    names += "BLOCKED"
    final = "REFUSED CLIENT_KEY_REQUIRED CLIENT_KEY_UNKNOWN KICKED SHUTDOWN TOO_SLOW SILENT UNREADABLE RESTART "
    final += "HANDOVER"
    expected = {name: number for number, name in enumerate(names.split())}
    expected |= {name: number for number, name in enumerate(final.split(), 16)}
    expected |= {"BROKEN": 256, "EXPIRED": 257, "LOST": 258}  # no byte: never sent
    assert {code.name: code.value for code in Code} == expected
    assert set(CODE_TEXT) == set(Code)
    assert code_text(Code.KICKED) == "kicked"
    assert code_text(200) == "code 200"


# --- fields ---------------------------------------------------------------------------------------


def test_a_field_is_pinned() -> None:
    """A field is its number, its length in two bytes, its value; an absent one leaves nothing."""
    assert encode_field(7, b"abc").hex() == "070003616263"
    assert encode_field(1, b"").hex() == "010000"
    assert encode_fields([(1, b"x"), (2, None), (9, b"")]).hex() == "01000178090000"


field_lists = st.dictionaries(st.integers(1, 255), st.binary(max_size=300), max_size=8).map(
    lambda fields: sorted(fields.items())
)


@given(field_lists)
@settings(max_examples=100, deadline=None)
def test_fields_come_back(fields: FieldList) -> None:
    """What was encoded is found by its number, and where it began."""
    data = encode_fields(fields)
    parsed = parse(data, {number for number, _ in fields})
    for number, value in fields:
        assert number in parsed
        assert parsed[number] == parsed.get(number) == value
        assert data[parsed.offset(number) :].startswith(encode_field(number, value))
    assert parsed.get(256) is None
    assert 256 not in parsed


@given(field_lists.filter(bool))
@settings(max_examples=30, deadline=None)
def test_a_list_cut_short_is_refused(fields: FieldList) -> None:
    """Every truncation of a field list is an error, also one between two fields."""
    data, numbers = encode_fields(fields), {number for number, _ in fields}
    for size in range(len(data)):
        with pytest.raises(ProtocolError, match=r"cut short|lacks field"):
            parse(data[:size], numbers)


@pytest.mark.parametrize(
    "tail", [b"\0", b"\x01", b"\xff", b"\xff\0", b"\xff\0\x01", b"\xff\xff\xff"]
)
def test_trailing_bytes_are_refused(tail: bytes) -> None:
    """Bytes after the last field that are no whole field are an error."""
    with pytest.raises(ProtocolError, match="cut short inside"):
        parse(encode_field(1, b"x") + tail, {1}, {255})


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([1, 1], "Test has field 1 after field 1"),
        ([2, 1], "Test has field 1 after field 2"),
        ([1, 3, 2], "Test has field 2 after field 3"),
        ([0, 1, 2], "Test has field 0 after field 0"),
        ([1, 2, 4], "Test has a field 4 that must not be there"),
        ([2], "Test lacks field 1"),
        ([], "Test lacks field 1"),
    ],
)
def test_a_list_out_of_order_is_refused(numbers: list[int], message: str) -> None:
    """Repeated, falling, unknown and missing fields are errors that name the field; number 0 is none."""
    data = encode_fields([(number, b"x") for number in numbers])
    with pytest.raises(ProtocolError, match=message):
        parse(data, {1}, {0, 2, 3})


def test_sizes_and_texts_are_exact() -> None:
    """A value of another size, a text too long or not UTF-8 is an error."""
    fields = parse(encode_fields([(1, b"\x01\x00"), (2, "né".encode()), (3, b"\xff")]), {1, 2, 3})
    assert fields.integer(1, 2) == 256
    assert fields.sized(1, 2) == b"\x01\x00"
    assert fields.text(2, 3) == "né"
    for size in (1, 3):
        with pytest.raises(ProtocolError, match=f"2 bytes in field 1, not {size}"):
            fields.integer(1, size)
    with pytest.raises(ProtocolError, match="3 bytes in field 2, over 2"):
        fields.text(2, 2)
    with pytest.raises(ProtocolError, match="bad UTF-8 in field 3"):
        fields.text(3, 9)
