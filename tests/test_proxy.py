"""The PROXY header: read however it is split, and nothing that only looks like one is believed."""

from __future__ import annotations

import pytest

from securelink.errors import ProtocolError
from securelink.limits import MAX_PROXY_HEADER
from securelink.streams.proxy import SIGNATURE, HeaderReader

ADDRESSES = bytes([192, 0, 2, 7, 192, 0, 2, 1]) + (40_000).to_bytes(2) + (5050).to_bytes(2)


def header(body: bytes = ADDRESSES, command: int = 0x21, kind: int = 0x11) -> bytes:
    """A header with this body."""
    return SIGNATURE + bytes([command, kind]) + len(body).to_bytes(2) + body


def read(data: bytes) -> HeaderReader:
    """Feed a reader byte by byte, as far as it wants any."""
    reader = HeaderReader()
    for byte in data:
        assert reader.wanted
        reader.feed(bytes([byte]))
    return reader


def test_a_header_is_read_to_its_end() -> None:
    """Split anywhere, it gives the client's address, further fields are skipped, and no byte behind it is wanted."""
    for body in (ADDRESSES, ADDRESSES + b"\x03\x00\x04abcd"):
        reader = read(header(body))
        assert reader.wanted == 0
        assert reader.address() == ("192.0.2.7", 40_000)
    mapped = bytes(10) + b"\xff\xff" + ADDRESSES[:4] + bytes(16) + ADDRESSES[8:]
    assert read(header(mapped, kind=0x21)).address() == ("192.0.2.7", 40_000)
    assert read(header(b"", command=0x20, kind=0)).address() is None
    assert read(header(b"", kind=0)).address() is None


@pytest.mark.parametrize("place", range(len(SIGNATURE)))
def test_other_bytes_are_no_header(place: int) -> None:
    """The first byte that is not the signature's is the last one that is read."""
    wrong = bytearray(header())
    wrong[place] ^= 1
    reader = HeaderReader()
    reader.feed(bytes(wrong[:place]))
    with pytest.raises(ProtocolError, match="no PROXY header of version 2"):
        reader.feed(bytes(wrong[place : place + 1]))


def test_a_long_header_is_refused_by_its_length() -> None:
    """What a proxy announces is bounded before anything of it is stored."""
    fits = SIGNATURE + b"\x21\x11" + (MAX_PROXY_HEADER - 16).to_bytes(2)
    assert read(fits).wanted == MAX_PROXY_HEADER - 16
    with pytest.raises(ProtocolError, match="too long"):
        read(SIGNATURE + b"\x21\x11" + (MAX_PROXY_HEADER - 15).to_bytes(2))


@pytest.mark.parametrize(
    "wrong",
    [
        header(command=0x11),
        header(command=0x22),
        header(kind=0x12),
        header(kind=0x31),
        header(ADDRESSES[:-1]),
        header(ADDRESSES, kind=0x21),
    ],
)
def test_what_breaks_the_rules(wrong: bytes) -> None:
    """Another version, command or transport, and a body shorter than its addresses, give no address."""
    with pytest.raises(ProtocolError):
        read(wrong).address()
