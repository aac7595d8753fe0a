"""
Frames: any split of the stream gives the same frames, and nothing is held that did not arrive.
"""

from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from securelink.errors import CodecError, ProtocolError
from securelink.limits import MAX_FRAME_BODY, MAX_HANDSHAKE_BODY
from securelink.wire.frames import FrameBuffer, frame_header

Frame = tuple[bytes, bytes]
bodies = st.binary(max_size=30) | st.integers(0, 2000).map(bytes)


def make(kind: int, body: bytes) -> Frame:
    return frame_header(kind, len(body)), body


def drain(buffer: FrameBuffer) -> list[Frame]:
    """Take every frame that is complete."""
    return list(iter(buffer.next_frame, None))


@pytest.mark.parametrize(
    ("kind", "size", "header"),
    [
        (1, 0, "01000000"),
        (3, 1, "03000001"),
        (4, 0x010203, "04010203"),
        (255, MAX_FRAME_BODY, "ffffffff"),
    ],
)
def test_headers_are_pinned(kind: int, size: int, header: str) -> None:
    """A header is the type in one byte and the length in three, big-endian."""
    assert frame_header(kind, size).hex() == header


def test_a_body_longer_than_the_length_field_is_refused() -> None:
    """One byte more than a u24 can say is an error, not a frame of another type."""
    with pytest.raises(CodecError, match=r"16,777,216 bytes, at most 16,777,215 fit"):
        frame_header(1, MAX_FRAME_BODY + 1)


@given(st.lists(st.tuples(st.integers(1, 5), bodies), max_size=6), st.data())
@settings(max_examples=150, deadline=None)
def test_any_split_gives_the_same_frames(
    parts: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    """Cut anywhere, taken at any time: the frames and what is left over are always the same."""
    frames = [make(kind, body) for kind, body in parts]
    leftover = data.draw(st.sampled_from([b"", b"\x01", b"\x01\x00\x00", b"\x01\x00\x00\x05abc"]))
    stream = b"".join(header + body for header, body in frames) + leftover
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    buffer, taken = FrameBuffer(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        buffer.feed(stream[start:end])
        if data.draw(st.booleans()):
            taken += drain(buffer)
        unread = sum(len(header) + len(body) for header, body in frames[len(taken) :])
        assert buffer.pending == end - (len(stream) - len(leftover) - unread)
    taken += drain(buffer)
    assert taken == frames
    assert buffer.pending == len(leftover)
    assert all(type(part) is bytes for frame in taken for part in frame)


def test_byte_by_byte_gives_the_same_frames() -> None:
    """A stream of single bytes gives each frame with its last byte, not before."""
    frames = [make(1, b""), make(2, b"x"), make(3, bytes(range(200))), make(4, b"")]
    buffer, taken = FrameBuffer(), []
    for header, body in frames:
        for byte in header + body:
            assert drain(buffer) == []
            buffer.feed(bytes([byte]))
        taken += drain(buffer)
    assert taken == frames
    assert buffer.pending == 0


def test_the_announced_length_is_checked_first() -> None:
    """A frame at the limit passes; one byte more is refused as soon as its header is there."""
    buffer = FrameBuffer(limit=10)
    buffer.feed(frame_header(3, 10) + bytes(10))
    assert buffer.next_frame() == make(3, bytes(10))
    buffer.feed(frame_header(3, 11)[:3])
    assert buffer.next_frame() is None
    buffer.feed(frame_header(3, 11)[3:])
    for _ in range(2):  # the error is sticky
        with pytest.raises(
            ProtocolError, match=r"11 bytes, the limit before the session is open is"
        ):
            buffer.next_frame()


def test_the_error_names_the_limit() -> None:
    """The error says which limit of ours the peer exceeded."""
    buffer = FrameBuffer()
    buffer.feed(frame_header(1, MAX_HANDSHAKE_BODY + 1))
    with pytest.raises(ProtocolError, match=r"8,193 bytes.*is 8,192 \(MAX_HANDSHAKE_BODY\)"):
        buffer.next_frame()
    buffer.limit = 100_000
    assert buffer.next_frame() is None  # allowed now, and not there yet
    buffer = FrameBuffer(limit=100_000)
    buffer.feed(frame_header(1, 100_001))
    with pytest.raises(ProtocolError, match=r"the limit is 100,000 \(max_packet\); send larger"):
        buffer.next_frame()


def test_memory_follows_what_arrived_not_what_was_announced() -> None:
    """A peer that announces 16 MiB and sends 64 KiB in single bytes is given about 64 KiB."""
    buffer = FrameBuffer(limit=MAX_FRAME_BODY)
    tracemalloc.start()
    try:
        buffer.feed(frame_header(3, MAX_FRAME_BODY))
        for _ in range(2**16):
            buffer.feed(b"x")
            assert buffer.next_frame() is None
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * 2**16 + 10_000
    assert buffer.pending == 2**16 + 4


def test_nothing_is_kept_once_taken() -> None:
    """An idle connection does not hold the bytes of its last frames."""
    buffer = FrameBuffer(limit=MAX_FRAME_BODY)
    tracemalloc.start()
    try:
        for split in (10, 70_000, 2**20 + 4):
            stream = frame_header(3, 2**20) + bytes(2**20)
            buffer.feed(stream[:split])
            drain(buffer)
            buffer.feed(stream[split:])
            drain(buffer)
            del stream
            assert tracemalloc.get_traced_memory()[0] < 50_000
    finally:
        tracemalloc.stop()


def test_a_frame_that_ends_in_the_next_read_is_copied_once() -> None:
    """Bulk data comes in reads that end anywhere: the rest of a read stays where it is."""
    body = bytes(2**16)
    stream = (frame_header(3, len(body)) + body) * 8
    reads = [stream[start : start + 2**16] for start in range(0, len(stream), 2**16)]
    buffer, taken = FrameBuffer(limit=MAX_FRAME_BODY), 0
    tracemalloc.start()
    try:
        for read in reads:
            buffer.feed(read)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            taken += sum(found == body for _, found in drain(buffer))
            assert tracemalloc.get_traced_memory()[1] - before < 1.5 * 2**16
    finally:
        tracemalloc.stop()
    assert taken == 8


@pytest.mark.parametrize("taking", [True, False])
def test_large_frames_in_small_pieces_are_not_copied_again_and_again(taking: bool) -> None:
    """The work for a long stream in pieces grows with its length, not with its square."""
    frame = frame_header(3, MAX_FRAME_BODY) + bytes(MAX_FRAME_BODY)
    small = (frame_header(4, 50) + bytes(50)) * 10_000
    stream = memoryview(frame + small)
    buffer, taken = FrameBuffer(limit=MAX_FRAME_BODY), 0
    began = time.process_time()
    for start in range(0, len(stream), 1001):
        buffer.feed(bytes(stream[start : start + 1001]))
        if taking:
            taken += len(drain(buffer))
    taken += len(drain(buffer))
    assert taken == 10_001
    assert time.process_time() - began < 3.0  # takes a tenth of a second; squared, many minutes


def test_whole_only_when_nothing_waits() -> None:
    """The short cut is for exactly one whole frame that follows nothing; anything else is fed."""
    inner = frame_header(4, 3) + b"abc"
    assert FrameBuffer().whole(inner) == (inner[:4], b"abc")
    buffer = FrameBuffer()
    buffer.feed(frame_header(3, len(inner)))
    assert buffer.whole(inner) is None
    buffer.feed(inner)
    assert buffer.next_frame() == (frame_header(3, 7), inner)
    for data in (inner[:-1], inner + b"x", b"", inner[:3]):
        assert buffer.whole(data) is None
    assert FrameBuffer(2).whole(inner) is None
    assert FrameBuffer(3).whole(inner) is not None
