"""Damage to bytes, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence


def damaged(data: bytes, source: random.Random) -> bytes:
    """Change, insert, repeat or drop bytes in a few places."""
    result = bytearray(data)
    for _ in range(source.randint(1, 6)):
        at = source.randrange(len(result) + 1)
        piece = source.randbytes(source.randint(0, 3)) * source.choice((1, 1, 1, 1, 1, 500))
        result[at : at + source.choice((0, 1, len(piece), 50))] = piece
    return bytes(result)


def inputs(seeds: Sequence[bytes], name: str, count: int) -> Iterator[bytes]:
    """So many damaged seeds."""
    source = random.Random(name)
    for _ in range(count):
        yield damaged(source.choice(seeds), source)
