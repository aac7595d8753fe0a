"""Inputs to begin with: from the recorded sessions, and made by hand."""

from __future__ import annotations

import functools
from typing import Any

import hostile_keys
from hostile_records import START, colliding_ints, int_keys, tuple_keys
from transcripts import NAMES, load

from securelink import Identity
from securelink.protocol.handshake_client import ClientHandshake
from securelink.protocol.handshake_server import ServerHandshake
from securelink.wire.fields import Mode
from securelink.wire.packets import Packet, encode_packet, encode_value, join_packets


@functools.cache
def key() -> Identity:
    """A key, made once a run: none is in the repository."""
    return Identity.generate(2048)


def frames_of(*kinds: int) -> list[bytes]:
    """Bodies of the recorded frames of these kinds, from the recorded sessions."""
    found = []
    for name in NAMES:
        for step in load(name)["steps"]:
            data = bytes.fromhex(step["bytes"])
            while data:
                end = 4 + int.from_bytes(data[1:4])
                if data[0] in kinds:
                    found.append(data[4:end])
                data = data[end:]
    return found


def plain_records(*contents: int) -> list[bytes]:
    """Bodies of the records of these contents that were recorded in plaintext."""
    return [body[17:] for body in frames_of(4) if body[16] in contents]


def recorded_streams() -> list[bytes]:
    """What was sent in one step of a recorded session, whole frames."""
    return [bytes.fromhex(s["bytes"]) for name in NAMES for s in load(name)["steps"] if s["bytes"]]


def packet_seeds() -> list[bytes]:
    """Records: recorded ones, one of each type of value, and those that cost most."""
    made = [
        Packet("move", {"x": 1.25, "n": -3}, {"h": 1}, 1.5, 4, 2**40),
        Packet("a", [b"bytes" * 20, "text", None, True, {"1": [[]]}]),
        Packet("large", [{"k": [n, n / 3]} for n in range(600)]),
        Packet("ints", {n: n for n in range(400)}),
    ]
    return [
        *plain_records(4),
        *(join_packets([encode_packet(packet)] * many) for packet in made for many in (1, 3)),
        *(bytes([0x91, 0x92, 0xA1, 0x61, first]) + bytes(9) for first in range(0xC0, 0xE0)),
        START + tuple_keys(300),
        START + int_keys(colliding_ints(1024)[:512]),
        START + b"\xdc\xfe\x00" + b"\x80" * 0xFE00,
    ]


def value_seeds() -> list[bytes]:
    """Credentials."""
    return [
        encode_value(value)
        for value in (None, {"user": "ada", "password": "x"}, [1, [2.5, {"k": b"v"}]], "0" * 300)
    ]


def auth_seeds() -> list[bytes]:
    """SERVER_AUTH and CLIENT_AUTH of a handshake made now: the recorded ones are sealed."""
    client, server = ClientHandshake(Mode.REQUIRED), ServerHandshake(Mode.REQUIRED)
    hello = client.hello()
    server.client_hello(hello[:4], hello[4:])
    answer = server.answer()
    client.server_hello(answer[:4], answer[4:])
    proof = server.server_auth(key(), 1)
    client.server_auth(proof)
    words: dict[str, Any] = {"dialled": "localhost", "application": "chat", "version": "1"}
    return [
        proof,
        client.client_auth(identity=None, credentials=b"\xc0", **words),
        client.client_auth(identity=key(), credentials=b"\xa1x" * 9, **words),
    ]


def private_seeds() -> list[bytes]:
    """Private key files: a good one, made now, and the hostile ones."""
    return [key().to_pkcs1_pem(), *hostile_keys.private_files().values()]


def public_seeds() -> list[bytes]:
    """Public key files: good ones and the hostile ones."""
    public = key().public
    good = [public.to_pem(), public.to_pkcs1_pem(), public.to_openssh()]
    return [*good, *(data for data in hostile_keys.public_files().values() if len(data) < 5000)]


LINE = "SHA256:" + "A" * 43
INVITE = f"securelink://example.org:5050/?key={'A' * 43}&token=0d7a9f4e-7b1c-4a9e-8d57-5d2f3f9f0a11"
