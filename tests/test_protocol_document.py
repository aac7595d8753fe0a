"""
docs/PROTOCOL.md is true: a reader written from it alone understands the recorded sessions.

Nothing of the package is used here: a hash, HMAC, MessagePack and a crypto library only. The reader plays both sides:
from the recorded private values it computes all keys twice, once as the client and once as the server.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_der_public_key

FOLDER = Path(__file__).parent / "transcripts"
ENCRYPTED = ("encrypted_client_key", "encrypted_anonymous", "encrypted_refused")
SEALED = (
    *ENCRYPTED,
    "encrypted_ticket",
    "encrypted_resumed",
    "encrypted_restart",
    "encrypted_forgotten",
)
Fields = dict[int, bytes]


# --- section 3 and 4: frames, fields ----------------------------------------------------------------


def frames(stream: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Header and body of each frame."""
    while stream:
        size = int.from_bytes(stream[1:4])
        assert len(stream) >= 4 + size
        yield stream[:4], stream[4 : 4 + size]
        stream = stream[4 + size :]


def fields(data: bytes) -> Fields:
    """A field list."""
    found: Fields = {}
    while data:
        number, size = data[0], int.from_bytes(data[1:3])
        assert number > max(found, default=0)
        assert len(data) >= 3 + size
        found[number] = data[3 : 3 + size]
        data = data[3 + size :]
    return found


def until(record: bytes, number: int) -> bytes:
    """A record from its content byte up to a field."""
    end = 1
    while record[end] != number:
        end += 3 + int.from_bytes(record[end + 1 : end + 3])
    return record[:end]


# --- section 6: key schedule ------------------------------------------------------------------------


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def mac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def expand_label(secret: bytes, label: bytes, context: bytes, size: int) -> bytes:
    full = b"securelink 1 " + label
    info = size.to_bytes(2) + bytes([len(full)]) + full + bytes([len(context)]) + context
    assert size <= 32
    return mac(secret, info + b"\x01")[:size]


def derive(secret: bytes, label: bytes, transcript: bytes) -> bytes:
    return expand_label(secret, label, sha(transcript), 32)


ZERO = bytes(32)


def handshake_secret(shared: bytes, psk: bytes = ZERO) -> bytes:
    return mac(derive(mac(ZERO, psk), b"derived", b""), shared)


def master_secret(handshake: bytes) -> bytes:
    return mac(derive(handshake, b"derived", b""), ZERO)


def channel_binding(master: bytes, t2: bytes) -> bytes:
    exporter = derive(master, b"exp master", t2)
    return expand_label(derive(exporter, b"channel binding", b""), b"exporter", sha(b""), 32)


def psk_of(master: bytes, transcript: bytes, ticket: bytes) -> bytes:
    """Of a ticket, from the connection that brought it: its transcript goes up to CLIENT_AUTH."""
    resumption = derive(master, b"res master", transcript)
    return expand_label(resumption, b"resumption", ticket, 32)


def binder_of(psk: bytes, up_to_binder: bytes) -> bytes:
    key = derive(mac(ZERO, psk), b"res binder", b"")
    return mac(expand_label(key, b"finished", b"", 32), sha(up_to_binder))


class Direction:
    """Opens the sealed frames of one direction, one after the other."""

    def __init__(self, secret: bytes) -> None:
        self.install(secret)

    def install(self, secret: bytes) -> None:
        self.secret = secret
        self.counter = 0

    def open(self, header: bytes, body: bytes) -> bytes:
        key = expand_label(self.secret, b"key", b"", 32)
        iv = expand_label(self.secret, b"iv", b"", 12)
        nonce = bytes(a ^ b for a, b in zip(iv, self.counter.to_bytes(12), strict=True))
        self.counter += 1
        assert header[0] == 3
        return AESGCM(key).decrypt(nonce, body, header)

    def update(self) -> None:
        self.install(expand_label(self.secret, b"traffic upd", b"", 32))


# --- sections 8 and 9: proofs -----------------------------------------------------------------------


def check_proof(
    record: bytes, transcript: bytes, context: bytes, secret: bytes, finished_field: int
) -> Fields:
    """Verify signature (if there is a key), padding and Finished of an authentication record."""
    found = fields(record[1:])
    if 1 in found:
        key = load_der_public_key(found[1])
        assert isinstance(key, rsa.RSAPublicKey)
        signed = b" " * 64 + context + b"\0" + sha(transcript + until(record, 2))
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        key.verify(found[2], signed, pss, hashes.SHA256())
        with pytest.raises(InvalidSignature):
            key.verify(found[2], signed + b"x", pss, hashes.SHA256())
    assert len(record[1:]) % 1024 == 0
    assert not any(found[finished_field - 1])
    finished_key = expand_label(secret, b"finished", b"", 32)
    over = transcript + until(record, finished_field)
    assert found[finished_field] == mac(finished_key, sha(over))
    return found


# --- the recordings ---------------------------------------------------------------------------------


def load(name: str) -> dict[str, Any]:
    recording: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return recording


def sent_by(recording: dict[str, Any], role: str) -> list[tuple[bytes, bytes]]:
    stream = b"".join(bytes.fromhex(s["bytes"]) for s in recording["steps"] if s["role"] == role)
    return list(frames(stream))


def shared_secrets(recording: dict[str, Any], client: Fields, server: Fields) -> set[bytes]:
    """The shared secret as each side computes it from its own private values."""
    _, kem_seed, client_x = (bytes.fromhex(value) for value in recording["client"]["random"][:3])
    _, server_x = (bytes.fromhex(value) for value in recording["server"]["random"][:2])
    kem = MLKEM768PrivateKey.from_seed_bytes(kem_seed)
    ecdh = X25519PrivateKey.from_private_bytes(client_x)
    assert client[3] == kem.public_key().public_bytes_raw() + ecdh.public_key().public_bytes_raw()
    by_client = kem.decapsulate(server[3][:1088]) + ecdh.exchange(
        X25519PublicKey.from_public_bytes(server[3][1088:])
    )
    other = X25519PrivateKey.from_private_bytes(server_x)
    by_server = bytes.fromhex(recording["kem"]["secret"]) + other.exchange(
        X25519PublicKey.from_public_bytes(client[3][1184:])
    )
    return {by_client, by_server}


class Reader:
    """Reads a whole encrypted session."""

    def __init__(self, recording: dict[str, Any]) -> None:
        client, server = sent_by(recording, "client"), sent_by(recording, "server")
        self.hellos = self._hellos(recording, client.pop(0), server.pop(0))
        t1 = self.hellos
        hello, answer = self.client_hello, self.server_hello
        (shared,) = shared_secrets(recording, hello, answer)
        before = recording.get("before")
        psk = bytes.fromhex(before["psk"]) if before else ZERO
        if before:
            assert self.hello_frame[-32:] == hello[5] == binder_of(psk, self.hello_frame[:-32])
        handshake = handshake_secret(shared, psk)
        early_server = derive(handshake, b"s hs traffic", t1)
        early_client = derive(handshake, b"c hs traffic", t1)
        proof = Direction(early_server).open(*server.pop(0))
        assert proof[0] == 1
        self.server_auth = check_proof(
            proof, t1, b"securelink 1, server signature", early_server, finished_field=5
        )
        t2 = t1 + proof
        proof = Direction(early_client).open(*client.pop(0))
        assert proof[0] == 2
        self.client_auth = check_proof(
            proof, t2, b"securelink 1, client signature", early_client, finished_field=9
        )
        master = master_secret(handshake)
        late_client = derive(master, b"c ap traffic", t2)
        late_server = derive(master, b"s ap traffic", t2)
        self.secrets = {
            "client_handshake": early_client.hex(),
            "server_handshake": early_server.hex(),
            "client_application": late_client.hex(),
            "server_application": late_server.hex(),
            "binding": channel_binding(master, t2).hex(),
        }
        self.from_client = self._records(Direction(late_client), client)
        self.from_server = self._records(Direction(late_server), server)
        ticket = fields(self.from_server[0][1:]).get(2) if self.from_client else None
        self.psk = psk_of(master, t2 + proof, ticket) if ticket else b""

    def _hellos(
        self, recording: dict[str, Any], client: tuple[bytes, bytes], server: tuple[bytes, bytes]
    ) -> bytes:
        self.client_hello, self.server_hello = read_hellos(recording, client, server)
        self.hello_frame = b"".join(client)
        return b"".join(client + server)

    @staticmethod
    def _records(direction: Direction, sealed: list[tuple[bytes, bytes]]) -> list[bytes]:
        records = []
        for header, body in sealed:
            records.append(direction.open(header, body))
            if records[-1] == b"\x09":
                direction.update()
        return records


def read_hellos(
    recording: dict[str, Any], client: tuple[bytes, bytes], server: tuple[bytes, bytes]
) -> tuple[Fields, Fields]:
    """Section 5: both hellos, with everything about them checked."""
    header, body = client
    assert (header[0], body[:8], body[8]) == (1, bytes.fromhex("5345434c494e4b1a"), 1)
    hello = fields(body[9:])
    assert hello[1][0] == {"off": 0, "optional": 1, "required": 2}[recording["client"]["mode"]]
    assert hello[2].hex() == recording["client"]["random"][0]
    header, body = server
    assert (header[0], body[0]) == (2, 1)
    answer = fields(body[1:])
    assert answer[2].hex() == recording["server"]["random"][0]
    encrypted = answer[1] == b"\x01"
    assert encrypted == (hello[1] != b"\x00" and recording["server"]["mode"] != "off")
    assert (3 in hello, 3 in answer) == (hello[1] != b"\x00", encrypted)
    before = recording.get("before")
    assert hello.get(4) == (bytes.fromhex(before["ticket"]) if before else None)
    assert (5 in hello) == (before is not None and encrypted)
    assert answer.get(4) == (b"\x01" if before else None)
    return hello, answer


def readable(records: list[bytes]) -> list[tuple[str, Any]]:
    """Sections 10 and 11: what the records of one direction say."""
    names = {
        3: "WELCOME", 4: "DATA", 5: "DATA_ACK", 6: "ACK", 7: "PING", 8: "PONG", 9: "KEY_UPDATE", 10: "CLOSE"
    }  # fmt: skip
    said: list[tuple[str, Any]] = []
    for record in records:
        name, body = names[record[0]], record[1:]
        if name == "WELCOME":
            said.append((name, fields(body)))
        elif name == "DATA":
            said.append((name, msgspec.msgpack.decode(body)))
        elif name == "DATA_ACK":
            count = int.from_bytes(body[:8])
            said.append((name, (count, msgspec.msgpack.decode(body[8:]))))
        elif name == "CLOSE":
            words = body[9:]
            if body[0] in (24, 25):  # RESTART, HANDOVER
                said.append(("delay", int.from_bytes(words[:4])))
                words = words[4:]
            said.append((name, (body[0], int.from_bytes(body[1:9]), words.decode())))
        else:
            said.append((name, body))
    return said


CLIENT_SAYS = [
    ("DATA", [["say", "hello", None, 0.0, None, None],
              ["move", {"x": 1, "y": -2.5}, None, 0.0, None, None]]),
    ("ACK", (1).to_bytes(8)),
    ("PING", bytes(range(8))),
    ("DATA", [["where", None, None, 0.0, 1, None]]),
]  # fmt: skip
SERVER_SAYS = [
    ("DATA_ACK", (1, [["said", "hello", {"by": "ann"}, 1.5, None, None]])),
    ("PONG", bytes(range(8))),
    ("DATA_ACK", (2, [["here", [1, 2, b"\x00\xff"], None, 0.0, None, 1]])),
]
UPDATE = ("KEY_UPDATE", b"")


@pytest.mark.parametrize("name", SEALED)
def test_all_secrets_come_out(name: str) -> None:
    """Keys, proofs and records follow from the document: what the reader computes is what was recorded."""
    recording = load(name)
    reader = Reader(recording)
    assert reader.secrets == recording["secrets"]
    if name in ("encrypted_resumed", "encrypted_forgotten"):
        assert set(reader.server_auth) == {4, 5}
        return
    assert reader.server_auth[1].hex() == recording["server"]["key"]
    assert reader.server_auth[3] == b"\x01"
    shown = reader.client_auth.get(1)
    assert (shown.hex() if shown else None) == recording["client"]["key"]
    assert (shown is not None) == (name == "encrypted_client_key")


@pytest.mark.parametrize("name", ENCRYPTED)
def test_the_clients_words(name: str) -> None:
    """CLIENT_AUTH has the names and the credentials in the fields that the document gives."""
    recording = load(name)
    found = Reader(recording).client_auth
    for number, key in ((3, "dialled"), (4, "application"), (5, "version")):
        assert found[number].decode() == recording["client"][key]
    assert msgspec.msgpack.decode(found[7]) == {"user": "ann", "password": "correct horse"}
    assert set(found) - {1, 2} == {3, 4, 5, 7, 8, 9}


@pytest.mark.parametrize("name", ["encrypted_client_key", "encrypted_anonymous"])
def test_what_was_said(name: str) -> None:
    """WELCOME, packets, acknowledgements, key updates and CLOSE read as the document says, in both directions."""
    recording = load(name)
    reader = Reader(recording)
    welcome, *server = readable(reader.from_server)
    check_welcome(recording, welcome)
    after = [["after", "our update", None, 0.0, None, None]]
    both = [["after", "both updates", None, 0.0, None, None]]
    assert readable(reader.from_client) == [
        *CLIENT_SAYS, UPDATE, ("DATA_ACK", (2, after)), ("ACK", (3).to_bytes(8)), ("CLOSE", (0, 3, ""))
    ]  # fmt: skip
    assert server == [
        *SERVER_SAYS, UPDATE, ("DATA_ACK", (3, both)), ("CLOSE", (0, 3, "see you"))
    ]  # fmt: skip


def check_welcome(recording: dict[str, Any], welcome: tuple[str, Any]) -> None:
    name, found = welcome
    assert name == "WELCOME"
    assert found[1].hex() == recording["server"]["token"]
    assert found[4] == b"\x00"
    assert int.from_bytes(found[6]) == recording["server"]["max_packet"]
    assert int.from_bytes(found[7]) == recording["server"]["heartbeat"] * 1000
    assert set(found) == {1, 4, 6, 7}


def packet(action: str, data: Any) -> list[Any]:
    return [action, data, None, 0.0, None, None]


def check_resume(
    recording: dict[str, Any], first: dict[str, Any], said: dict[str, list[tuple[str, Any]]]
) -> None:
    """Section 17, the same in both modes: counts, what is sent again, the next ticket."""
    welcome, *server = said["server"]
    assert welcome[0] == "WELCOME"
    assert welcome[1][1].hex() == recording["server"]["token"] == first["server"]["token"]
    assert (welcome[1][4], int.from_bytes(welcome[1][5])) == (b"\x01", 2)
    assert len(welcome[1][2]) == 32
    assert welcome[1][2].hex() != recording["before"]["ticket"]
    assert said["client"] == [
        ("PING", bytes(8)),
        ("DATA", [packet("say", "three")]),
        ("DATA_ACK", (2, [packet("say", "four")])),
        ("ACK", (3).to_bytes(8)),
        ("CLOSE", (0, 4, "")),
    ]
    assert server == [
        ("DATA", [packet("said", "two")]),
        ("DATA_ACK", (4, [packet("said", "four")])),
        ("CLOSE", (0, 3, "see you")),
    ]


def test_a_resume() -> None:
    """The PSK of the ticket comes out of the connection before; then binder, keys, counts, and what is sent again."""
    first, recording = load("encrypted_ticket"), load("encrypted_resumed")
    before = Reader(first)
    ticket = fields(before.from_server[0][1:])[2]
    assert ticket.hex() == recording["before"]["ticket"]
    assert before.psk.hex() == recording["before"]["psk"]
    reader = Reader(recording)
    assert int.from_bytes(reader.client_auth[6]) == 1
    assert set(reader.client_auth) == {3, 4, 5, 6, 7, 8, 9}
    said = {"client": readable(reader.from_client), "server": readable(reader.from_server)}
    check_resume(recording, first, said)
    assert reader.psk != before.psk


def test_a_resume_without_memory() -> None:
    """Section 17: no count of the client's, both counts of the server's, and what was not acknowledged comes again."""
    recording = load("encrypted_forgotten")
    reader = Reader(recording)
    assert reader.client_auth[6] == b"\xff" * 8
    (name, welcome), *server = readable(reader.from_server)
    assert name == "WELCOME"
    assert (welcome[4], int.from_bytes(welcome[5]), int.from_bytes(welcome[8])) == (b"\x01", 2, 1)
    assert readable(reader.from_client) == [
        ("PING", bytes(8)),
        ("DATA_ACK", (2, [packet("say", "four")])),
        ("ACK", (3).to_bytes(8)),
        ("CLOSE", (0, 3, "")),
    ]
    assert server == [
        ("DATA", [packet("said", "two")]),
        ("DATA_ACK", (3, [packet("said", "four")])),
        ("CLOSE", (0, 3, "see you")),
    ]


def plain_records(recording: dict[str, Any]) -> dict[str, list[bytes]]:
    """What both sides say after the hellos; each frame carries the token it has to."""
    client, server = sent_by(recording, "client"), sent_by(recording, "server")
    read_hellos(recording, client.pop(0), server.pop(0))
    token = bytes.fromhex(recording["server"]["token"])
    records: dict[str, list[bytes]] = {"client": [], "server": []}
    for role, sent in (("client", client), ("server", server)):
        for number, (header, body) in enumerate(sent):
            assert header[0] == 4
            assert body[:16] == (bytes(16) if number == 0 else token)
            records[role].append(body[16:])
    return records


def test_a_resume_in_plaintext() -> None:
    """The same without a binder: the ticket alone."""
    first, recording = load("plaintext_ticket"), load("plaintext_resumed")
    before = plain_records(first)
    assert fields(before["server"][0][1:])[2].hex() == recording["before"]["ticket"]
    records = plain_records(recording)
    auth = fields(records["client"].pop(0)[1:])
    assert (set(auth), int.from_bytes(auth[6])) == ({3, 4, 5, 6, 7}, 1)
    check_resume(recording, first, {role: readable(said) for role, said in records.items()})


def test_a_refusal() -> None:
    """A server that refuses says so under its application key, in place of WELCOME."""
    reader = Reader(load("encrypted_refused"))
    assert readable(reader.from_server) == [("CLOSE", (16, 0, "not today"))]
    assert reader.from_client == []


def test_a_restart() -> None:
    """A server that restarts says in CLOSE how long its client shall stay away."""
    reader = Reader(load("encrypted_restart"))
    assert readable(reader.from_server)[-2:] == [("delay", 2500), ("CLOSE", (24, 2, "back soon"))]
    assert readable(reader.from_client)[-1] == ("CLOSE", (0, 2, ""))


def test_plaintext() -> None:
    """In plaintext every frame after the hellos is PLAIN, with a token of zero until WELCOME."""
    recording = load("plaintext")
    records = plain_records(recording)
    auth = records["client"].pop(0)
    assert auth[0] == 2
    assert set(fields(auth[1:])) == {3, 4, 5, 7}
    welcome, *said = readable(records["server"])
    check_welcome(recording, welcome)
    assert readable(records["client"]) == [
        *CLIENT_SAYS,
        ("ACK", (2).to_bytes(8)),
        ("CLOSE", (0, 2, "")),
    ]
    assert said == [*SERVER_SAYS, ("CLOSE", (0, 2, "see you"))]


def test_the_reader_knows_nothing_of_the_package() -> None:
    """This file imports no module of the package, so it can only know what the document says."""
    source = Path(__file__).read_text()
    package = "secure" + "link"
    assert f"import {package}" not in source
    assert f"from {package}" not in source
