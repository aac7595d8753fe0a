"""
Fuzz the parsers of bytes from the network: python -m tests.fuzz.fuzz_parsers [seconds] [seed]

Invariant: any bytes give a result or one of the two documented errors; anything else, or a crash of
the process, is a bug. What is accepted survives being encoded again.
"""

from __future__ import annotations

import random
import sys
import time

from securelink.codec import Packet, decode_packets, decode_value, encode_packet, join_packets
from securelink.errors import CodecError, ProtocolError
from securelink.frames import FrameBuffer, frame_header

SEEDS = [
    join_packets([encode_packet(Packet("move", {"x": 1.25, "n": -3}, {"h": 1}, 1.5, 4, 2**40))]),
    join_packets([encode_packet(Packet("a", [b"bytes" * 20, "text", None, True, {1: [[]]}]))] * 3),
    join_packets([encode_packet(Packet("large", [{"k": [n, n / 3]} for n in range(600)]))]),
    *(bytes([0x91, 0x92, 0xA1, 0x61, first]) + bytes(9) for first in range(0xC0, 0xE0)),
]


def mutate(data: bytes, random: random.Random) -> bytes:
    """Change, insert, repeat or drop bytes in a few places."""
    result = bytearray(data)
    for _ in range(random.randint(1, 6)):
        at = random.randrange(len(result) + 1)
        piece = random.randbytes(random.randint(0, 3)) * random.choice((1, 1, 1, 2000))
        result[at : at + random.choice((0, 1, len(piece), 50))] = piece
    return bytes(result)


def check(data: bytes) -> None:
    """Give the bytes to every parser."""
    try:
        for packet in decode_packets(data):
            encode_packet(packet)
    except CodecError:
        pass
    try:
        decode_value(data)
    except CodecError:
        pass
    buffer, half = FrameBuffer(), len(data) // 2
    try:
        for piece in (frame_header(3, half), data[:half], data[half:]):
            buffer.feed(piece)
            while buffer.next_frame():
                pass
    except ProtocolError:
        pass


def main(seconds: float, seed: int) -> None:
    """Run until the time is over; the seed and the count make a failure repeatable."""
    source, end, count = random.Random(seed), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        count += 1
        data = mutate(source.choice(SEEDS), source)
        try:
            check(data)
        except BaseException:
            print(f"seed {seed}, input {count}: {data.hex()}")
            raise
    print(f"{count} inputs")


if __name__ == "__main__":
    main(
        float(sys.argv[1]) if len(sys.argv) > 1 else 60,
        int(sys.argv[2]) if len(sys.argv) > 2 else 1,
    )
