"""
Frames: a byte stream is cut into records. Wire: `type u8 | length u24 | body`.
"""

from __future__ import annotations

from ..errors import CodecError, ProtocolError
from ..limits import HEADER_SIZE, MAX_FRAME_BODY, MAX_HANDSHAKE_BODY


def frame_header(kind: int, size: int) -> bytes:
    """
    Build the header of a frame: type u8 | length u24.

    Args:
        kind: The frame type, 1 to 255.
        size: Bytes of the body, tag included.

    Raises:
        CodecError: The body is too long for a u24.
    """
    if size > MAX_FRAME_BODY:
        raise CodecError(f"a frame of {size:,} bytes, at most {MAX_FRAME_BODY:,} fit")
    return (kind << 24 | size).to_bytes(HEADER_SIZE, "big")


class FrameBuffer:
    """
    Cuts a byte stream into frames. Any split of the stream gives the same frames.

    Call `feed()` with the bytes that arrived, then `next_frame()` until it returns None. The buffer holds only bytes
    that have arrived and were not taken, whatever length was announced. Not thread-safe.

    Attributes:
        limit: Longest body accepted, in bytes; may be changed between frames.
    """

    __slots__ = ("_late", "_now", "_pos", "limit")

    def __init__(self, limit: int = MAX_HANDSHAKE_BODY) -> None:
        self.limit = limit
        self._now = b""  # frames are cut from here, beginning at _pos
        self._pos = 0  # 0 <= _pos < len(_now), or both are 0
        self._late: bytes | bytearray = b""  # bytes that arrived after _now; empty when _now is

    @property
    def pending(self) -> int:
        """Bytes that were fed and not taken yet."""
        return len(self._now) - self._pos + len(self._late)

    def feed(self, data: bytes) -> None:
        """Store bytes that arrived."""
        if not self._now:
            self._now = data
        elif not self._late:
            self._late = data  # as it is: the next frames may be cut from it
        else:
            # A bytearray, not a list of pieces: a peer that sends single bytes would cost 40 each.
            if not isinstance(self._late, bytearray):
                self._late = bytearray(self._late)
            self._late += data

    def whole(self, data: bytes) -> tuple[bytes, bytes] | None:
        """
        The usual case, without the buffer: `data` is one whole frame, and no other bytes wait.

        Returns:
            As `next_frame`; None when `data` is to be fed.
        """
        size = len(data) - HEADER_SIZE
        if self._now or not 0 <= size <= self.limit:
            return None
        header = data[:HEADER_SIZE]
        if int.from_bytes(header) & MAX_FRAME_BODY != size:
            return None
        return header, data[HEADER_SIZE:]

    def next_frame(self) -> tuple[bytes, bytes] | None:
        """
        Take the next frame.

        Returns:
            Its header (4 bytes, as received: the AAD of a sealed record) and its body; None when it
            has not arrived completely.

        Raises:
            ProtocolError: The peer announced a body longer than `limit`. The stream is dead: every
                further call raises this again.
        """
        now, start = self._now, self._pos + HEADER_SIZE
        have = len(now)
        if start > have:
            if not self._late or self.pending < HEADER_SIZE:
                return None
            self._join()
            return self.next_frame()
        header = now[start - HEADER_SIZE : start]
        size = int.from_bytes(header) & MAX_FRAME_BODY
        if size > self.limit:
            raise self._too_long(size)
        end = start + size
        if end == have:
            self._now, self._pos, self._late = bytes(self._late), 0, b""
            return header, now[start:]
        if end < have:
            self._pos = end
            return header, now[start:end]
        missing = end - have
        if missing > len(self._late):
            return None
        return header, self._finish(start, missing)

    def _join(self) -> None:
        """Bring the four bytes of a header together. No byte is moved here twice."""
        self._now = self._now[self._pos :] + self._late
        self._pos = 0
        self._late = b""

    def _finish(self, start: int, missing: int) -> bytes:
        """Return a body that begins in `_now` and ends in `_late`, copied once from each."""
        late = self._late
        with memoryview(self._now) as first, memoryview(late) as second:
            body = b"".join((first[start:], second[:missing]))
        if missing == len(late):
            self._now, self._pos = b"", 0
        elif isinstance(late, bytearray):
            self._now, self._pos = bytes(late[missing:]), 0
        else:
            self._now, self._pos = late, missing
        self._late = b""
        return body

    def _too_long(self, size: int) -> ProtocolError:
        if self.limit <= MAX_HANDSHAKE_BODY:
            return ProtocolError(
                f"the peer announced a frame of {size:,} bytes, the limit before the session is"
                f" open is {self.limit:,} (MAX_HANDSHAKE_BODY)"
            )
        return ProtocolError(
            f"the peer announced a frame of {size:,} bytes, the limit is {self.limit:,}"
            " (max_packet)",
            hint="send larger things in pieces, or raise max_packet",
        )
