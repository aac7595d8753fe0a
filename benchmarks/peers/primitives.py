"""The calls below every packet, without a connection: what is left when all protocol code is free."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..measure import Figures, clock
from ..target import CHUNK, PACKET


def _microseconds(call: Callable[[], Any], count: int) -> float:
    for _ in range(min(count, 200)):
        call()
    began = clock()
    for _ in range(count):
        call()
    return (clock() - began) / count / 1000


def primitives(count: int) -> Figures:
    """Microseconds of each call; the rate is packets a second of encode, seal, open and decode in one thread."""
    cipher, nonce, header = AESGCM(os.urandom(32)), bytes(12), bytes(4)
    encoder, decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder()
    packed = encoder.encode(PACKET)
    sealed = cipher.encrypt(nonce, packed, header)
    large = os.urandom(CHUNK)
    large_sealed = cipher.encrypt(nonce, large, header)
    few = max(100, count // 10)
    seal = _microseconds(lambda: cipher.encrypt(nonce, packed, header), count)
    open_ = _microseconds(lambda: cipher.decrypt(nonce, sealed, header), count)
    codec = _microseconds(lambda: decoder.decode(encoder.encode(PACKET)), count)
    return {
        "rate": 1e6 / (seal + open_ + codec),
        "seal_us": seal,
        "open_us": open_,
        "msgspec_us": codec,
        "json_us": _microseconds(lambda: json.loads(json.dumps(PACKET).encode()), count),
        "seal_64k_us": _microseconds(lambda: cipher.encrypt(nonce, large, header), few),
        "open_64k_us": _microseconds(lambda: cipher.decrypt(nonce, large_sealed, header), few),
    }
