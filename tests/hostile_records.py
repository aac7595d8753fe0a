"""Records that somebody made to cost their receiver time or memory: colliding keys, floods of elements."""

from __future__ import annotations

import itertools
import random
import struct

START = b"\x91\x92\xa1a"  # a record of one packet, up to its data


def map_header(count: int) -> bytes:
    """The header of a map of so many entries."""
    return b"\xdf" + count.to_bytes(4)


def tuple_keys(count: int, length: int = 12) -> bytes:
    """A map whose keys are arrays with one hash: hash(-1) == hash(-2)."""
    keys = itertools.islice(itertools.product((b"\xff", b"\xfe"), repeat=length), count)
    body = b"".join(bytes([0x90 + length]) + b"".join(key) + b"\x00" for key in keys)
    return map_header(count) + body


def colliding_ints(size: int, seed: int = 1) -> list[int]:
    """
    Ints for which a dict of `size` places (a power of two) tries place after place.

    CPython tries `i = 5 * i + perturb + 1`, where perturb runs out after a few tries: then all keys go through the same
    circle of places. The first keys fill half of it without being tried twice; of random ints those are taken whose
    first tries fall into the full half, so that they walk to its end.
    """
    source, mask = random.Random(seed), size - 1
    place, circle = 0, []
    for _ in range(size):
        circle.append(place)
        place = (5 * place + 1) & mask
    usable = size * 2 // 3
    full = set(circle[: usable // 2])
    keys = circle[: usable // 2]
    for end in circle[usable // 2 : usable]:
        while True:
            key = source.getrandbits(30)
            at, perturb = key & mask, key
            while perturb and at in full:
                perturb >>= 5
                at = (5 * at + perturb + 1) & mask
            if at in full:
                break
        keys.append(key)
        full.add(end)
    return list(dict.fromkeys(keys))


def int_keys(keys: list[int]) -> bytes:
    """A map with these keys."""
    return map_header(len(keys)) + b"".join(struct.pack(">BIB", 0xCE, key, 0) for key in keys)
