"""
The board of arena.py as text and as a picture: writing a PNG file needs no library.

It has no main program; run arena.py, which imports it.
"""

import colorsys
import struct
import zlib

SIZE = 64  # fields of the board in each direction
PIXELS = 8  # of a field in the picture, in each direction
DARK, WHITE = b"\x10\x12\x18", b"\xff\xff\xff"  # red, green, blue


def as_text(board: dict[str, list[int]]) -> str:
    """The board for a terminal; a line shows two rows, as letters are higher than wide."""
    rows = [["."] * SIZE for _ in range(SIZE // 2)]
    for user, (x, y) in board.items():
        rows[y // 2][x] = user[-1]
    return "\033[H\033[J" + "\n".join("".join(row) for row in rows)


def as_png(trails: dict[str, list[tuple[int, int]]]) -> bytes:
    """The board as a picture: where each player went, fading with age, and in white where it is."""
    fields = [[DARK] * SIZE for _ in range(SIZE)]
    for number, trail in enumerate(trails.values()):
        for step, (x, y) in enumerate(trail):
            colour = colorsys.hsv_to_rgb(number * 0.618 % 1, 0.7, 0.3 + 0.5 * step / len(trail))
            fields[y][x] = bytes(int(255 * part) for part in colour)
    for trail in trails.values():
        fields[trail[-1][1]][trail[-1][0]] = WHITE
    lines = (b"\0" + b"".join(colour * PIXELS for colour in row) for row in fields)
    header = struct.pack(">IIBBBBB", SIZE * PIXELS, SIZE * PIXELS, 8, 2, 0, 0, 0)
    chunks = [
        (b"IHDR", header),
        (b"IDAT", zlib.compress(b"".join(line * PIXELS for line in lines))),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in [*chunks, (b"IEND", b"")]
    )
