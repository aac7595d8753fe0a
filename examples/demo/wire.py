"""What the one in the middle sees and does: dumps of bytes, the search for secrets, changed and repeated frames."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping

from securelink.testing.relay import split_frames

SEALED = 3  # frame types, the first byte (docs/PROTOCOL.md)
PLAIN = 4
_ROW = 16  # bytes of a line of a dump
_PIECE = 6  # bytes; random bytes hold one of our pieces by chance once in a million runs
_SMALL = 100  # bytes; acknowledgements are smaller, the packets of the demonstration larger


def hexdump(data: bytes, rows: int = 8) -> list[str]:
    """Lines of offset, bytes and letters, as `hexdump -C` prints them; the last says what was left out."""
    lines = []
    for start in range(0, min(len(data), rows * _ROW), _ROW):
        row = data[start : start + _ROW]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{start:04x}  {row.hex(' '):<{3 * _ROW - 1}}  {letters}")
    left = len(data) - rows * _ROW
    if left > 0:
        lines.append(f"      ... and {left} more bytes")
    return lines


def largest_frame(stream: bytes) -> bytes:
    """The frame that carries the packet: the others are acknowledgements."""
    return max(split_frames(stream), key=len, default=b"")


def forms(secret: str | bytes) -> list[bytes]:
    """How a secret could stand in a stream; a uuid4 as text, as hex digits and as 16 bytes."""
    if isinstance(secret, bytes):
        return [secret]
    try:
        value = uuid.UUID(secret)
    except ValueError:
        return [secret.encode()]
    return [secret.encode(), value.hex.encode(), value.bytes]


def pieces(secret: bytes) -> Iterator[bytes]:
    """Every run of a few bytes of it; a short secret as a whole."""
    if len(secret) <= _PIECE:
        yield secret
    for start in range(len(secret) - _PIECE + 1):
        yield secret[start : start + _PIECE]


def leaks(stream: bytes, secrets: Mapping[str, str | bytes]) -> list[str]:
    """Which secrets, or pieces of them, can be found in a stream."""
    return [
        name
        for name, secret in secrets.items()
        if any(piece in stream for form in forms(secret) for piece in pieces(form))
    ]


def readable(stream: bytes, secrets: Mapping[str, str | bytes]) -> list[str]:
    """Which secrets stand in a stream as a whole."""
    return [
        name for name, secret in secrets.items() if any(form in stream for form in forms(secret))
    ]


class Attack:
    """
    Something done to the next frame that carries a packet. For `by_frame`.

    Attributes:
        armed: Set it to do it once.
        before: The frame as it was sent.
        after: What was sent on instead.
    """

    def __init__(self) -> None:
        self.armed = False
        self.before = b""
        self.after = b""

    def __call__(self, frame: bytes) -> bytes:
        if not self.armed or frame[0] not in (SEALED, PLAIN) or len(frame) < _SMALL:
            return frame
        self.armed = False
        self.before, self.after = frame, self.change(frame)
        return self.after

    def change(self, frame: bytes) -> bytes:
        """The bytes to send on."""
        raise NotImplementedError


class FlipBit(Attack):
    """Changes one bit in the middle."""

    def change(self, frame: bytes) -> bytes:
        """The frame with the lowest bit of its middle byte turned over."""
        changed = bytearray(frame)
        changed[len(frame) // 2] ^= 1
        return bytes(changed)


class Repeat(Attack):
    """Sends it twice."""

    def change(self, frame: bytes) -> bytes:
        """The frame and the frame again."""
        return frame + frame


class Rewrite(Attack):
    """Replaces a word by another of the same length, where it finds it."""

    def __init__(self, word: bytes, other: bytes) -> None:
        super().__init__()
        assert len(word) == len(other)
        self._word = word
        self._other = other

    def change(self, frame: bytes) -> bytes:
        """The frame with the other word."""
        return frame.replace(self._word, self._other)
