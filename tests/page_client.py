"""
A client written from docs/PROTOCOL.md alone: it opens sessions, loses its connection, and resumes them.

Nothing of the package is used here: sockets, a hash, HMAC, MessagePack and a crypto library only. It is as small as the
page allows: it trusts every server, has no key of its own and no heartbeat, and acknowledges when it is told to.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = bytes.fromhex("5345434c494e4b1a")
CLIENT_HELLO, SERVER_HELLO, SEALED, PLAIN, ALERT = 1, 2, 3, 4, 5
SERVER_AUTH, CLIENT_AUTH, WELCOME, DATA, DATA_ACK, ACK, PING, PONG, KEY_UPDATE, CLOSE = range(1, 11)
ZERO = bytes(32)
Fields = dict[int, bytes]


class AlertError(Exception):
    """The server ended the attempt with this code."""


def frame(kind: int, body: bytes) -> bytes:
    """Section 3."""
    return bytes([kind]) + len(body).to_bytes(3) + body


def listed(found: Fields) -> bytes:
    """Section 4."""
    return b"".join(bytes([k]) + len(v).to_bytes(2) + v for k, v in sorted(found.items()))


def fields(data: bytes) -> Fields:
    """Section 4, the other way."""
    found = {}
    while data:
        end = 3 + int.from_bytes(data[1:3])
        found[data[0]] = data[3:end]
        data = data[end:]
    return found


def sha(data: bytes) -> bytes:
    """H of section 1."""
    return hashlib.sha256(data).digest()


def mac(key: bytes, data: bytes) -> bytes:
    """HMAC of section 1, and Extract of section 6."""
    return hmac.new(key, data, hashlib.sha256).digest()


def expand_label(secret: bytes, label: str, context: bytes, size: int) -> bytes:
    """Section 6."""
    full = b"securelink 1 " + label.encode()
    info = size.to_bytes(2) + bytes([len(full)]) + full + bytes([len(context)]) + context
    return mac(secret, info + b"\x01")[:size]


def derive(secret: bytes, label: str, transcript: bytes) -> bytes:
    """Section 6, with the hash of this transcript."""
    return expand_label(secret, label, sha(transcript), 32)


class Sealed:
    """Section 7: one direction under one secret."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self._cipher = AESGCM(expand_label(secret, "key", b"", 32))
        self._iv = int.from_bytes(expand_label(secret, "iv", b"", 12))
        self._counter = 0

    def _nonce(self) -> bytes:
        self._counter += 1
        return (self._iv ^ (self._counter - 1)).to_bytes(12)

    def seal(self, record: bytes) -> bytes:
        """The frame of a record."""
        header = bytes([SEALED]) + (len(record) + 16).to_bytes(3)
        return header + self._cipher.encrypt(self._nonce(), record, header)

    def open(self, kind: int, body: bytes) -> bytes:
        """The record of a frame."""
        assert kind == SEALED
        header = bytes([kind]) + len(body).to_bytes(3)
        return self._cipher.decrypt(self._nonce(), body, header)

    @property
    def finished_key(self) -> bytes:
        """Section 6: of a handshake secret."""
        return expand_label(self.secret, "finished", b"", 32)


class Plain:
    """Section 7: one direction in plaintext."""

    def __init__(self) -> None:
        self.token = bytes(16)

    def seal(self, record: bytes) -> bytes:
        """The frame of a record."""
        return frame(PLAIN, self.token + record)

    def open(self, kind: int, body: bytes) -> bytes:
        """The record of a frame."""
        assert (kind, body[:16]) == (PLAIN, self.token)
        return body[16:]


@dataclass
class Session:
    """
    What the client keeps of a session, section 17.

    Attributes:
        sent: Records so far.
        kept: Those that are not acknowledged, oldest first.
        accepted: Records of the server so far.
        handled: How many of them the application has had.
    """

    encrypted: bool
    token: bytes = b""
    ticket: bytes = b""
    psk: bytes = b""
    sent: int = 0
    acknowledged: int = 0
    kept: deque[bytes] = field(default_factory=deque)
    accepted: int = 0
    handled: int = 0
    inbox: list[Any] = field(default_factory=list)
    forgotten: bool = False  # nothing is known of it but token, ticket and PSK


class PageClient:
    """
    One connection, and the session that it carries.

    Args:
        port: Of the server, on this machine.
        session: What an earlier connection has left, to be resumed; None begins a new one.
        encrypted: Otherwise plaintext.
        spoilt: Show a binder that is not the right one.
        timeout: In seconds, of everything.
    """

    def __init__(
        self,
        port: int,
        session: Session | None = None,
        *,
        encrypted: bool = True,
        spoilt: bool = False,
        timeout: float = 60.0,
    ) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.encrypted = encrypted
        self._asked = session
        self._spoilt = spoilt
        self.session = session if session is not None else Session(encrypted)
        self._kem = MLKEM768PrivateKey.generate()
        self._x = X25519PrivateKey.generate()
        self.out: Sealed | Plain = Plain()
        self.into: Sealed | Plain = self.out
        self.resumed = False
        try:
            self._shake_hands()
        except BaseException:
            self.sock.close()
            raise

    # Sections 5 to 10.

    def _hello(self) -> bytes:
        found = {1: bytes([2 if self.encrypted else 0]), 2: os.urandom(32)}
        if self.encrypted:
            found[3] = (
                self._kem.public_key().public_bytes_raw() + self._x.public_key().public_bytes_raw()
            )
        asked = self._asked
        if asked is None:
            return frame(CLIENT_HELLO, MAGIC + b"\x01" + listed(found))
        found[4] = asked.ticket
        if not self.encrypted:
            return frame(CLIENT_HELLO, MAGIC + b"\x01" + listed(found))
        found[5] = bytes(32)
        up_to_binder = frame(CLIENT_HELLO, MAGIC + b"\x01" + listed(found))[:-32]
        binder_key = derive(mac(ZERO, asked.psk), "res binder", b"")
        binder = mac(expand_label(binder_key, "finished", b"", 32), sha(up_to_binder))
        return up_to_binder + (bytes(32) if self._spoilt else binder)

    def _shake_hands(self) -> None:
        hello = self._hello()
        self.sock.sendall(hello)
        kind, body = self._frame()
        if kind == ALERT:
            raise AlertError(body[0])
        assert (kind, body[0]) == (SERVER_HELLO, 1)
        answer = fields(body[1:])
        assert answer[1] == bytes([self.encrypted])
        assert (4 in answer) == (self._asked is not None)
        known = answer.get(4) == b"\x01"
        t1 = hello + frame(kind, body)
        if self.encrypted:
            resumption = self._encrypted_handshake(t1, answer[3], known)
        else:
            self.sock.sendall(self.out.seal(self._client_auth(known)))
            resumption = b""
        self._welcome(self._record(), known, resumption)

    def _encrypted_handshake(self, t1: bytes, share: bytes, known: bool) -> bytes:
        """Returns the resumption secret."""
        shared = self._kem.decapsulate(share[:1088])
        shared += self._x.exchange(X25519PublicKey.from_public_bytes(share[1088:]))
        early = mac(ZERO, self.session.psk if known else ZERO)
        handshake = mac(derive(early, "derived", b""), shared)
        ours = Sealed(derive(handshake, "c hs traffic", t1))
        theirs = Sealed(derive(handshake, "s hs traffic", t1))
        auth = theirs.open(*self._frame())
        assert auth[0] == SERVER_AUTH
        proof = fields(auth[1:])
        assert set(proof) >= {4, 5} if known else set(proof) >= {1, 2, 3, 4, 5}
        assert not (known and set(proof) - {4, 5})
        before = auth[: auth.rindex(proof[5]) - 3]
        assert proof[5] == mac(theirs.finished_key, sha(t1 + before))
        t2 = t1 + auth
        record = self._client_auth(known)
        # Padding makes the fields a multiple of 1,024 bytes: its own 3, and the 35 of Finished, are among them.
        padding = bytes(-(len(record) - 1 + 3 + 35) % 1024)
        record += listed({8: padding})
        record += listed({9: mac(ours.finished_key, sha(t2 + record))})
        self.sock.sendall(ours.seal(record))
        master = mac(derive(handshake, "derived", b""), ZERO)
        self.out = Sealed(derive(master, "c ap traffic", t2))
        self.into = Sealed(derive(master, "s ap traffic", t2))
        return derive(master, "res master", t2 + record)

    def _client_auth(self, known: bool) -> bytes:
        found = {3: b"127.0.0.1", 4: b"", 5: b"", 7: b"\xc0"}
        if known:
            session = self.session
            found[6] = bytes([255]) * 8 if session.forgotten else session.accepted.to_bytes(8)
        return bytes([CLIENT_AUTH]) + listed(found)

    def _welcome(self, record: bytes, known: bool, resumption: bytes) -> None:
        assert record[0] == WELCOME, record
        welcome = fields(record[1:])
        self.resumed = welcome[4] == b"\x01"
        assert known or not self.resumed
        if not self.resumed:
            self.session = Session(self.encrypted, token=welcome[1])
        session = self.session
        assert session.token == welcome[1]
        if isinstance(self.out, Plain):
            self.out.token = session.token
        session.ticket = welcome[2]
        if self.encrypted:
            session.psk = expand_label(resumption, "resumption", session.ticket, 32)
        self.say(PING, bytes(8))
        if session.forgotten:
            session.forgotten = False
            if self.resumed:
                session.sent = int.from_bytes(welcome[5])
                session.accepted = session.handled = int.from_bytes(welcome[8])
        elif self.resumed:
            assert 8 not in welcome
            count = int.from_bytes(welcome[5])
            assert session.acknowledged <= count <= session.sent
            for packets in list(session.kept)[len(session.kept) - (session.sent - count) :]:
                self.say(DATA, packets)

    # Section 11.

    def _frame(self) -> tuple[int, bytes]:
        head = self._exactly(4)
        return head[0], self._exactly(int.from_bytes(head[1:]))

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def _record(self) -> bytes:
        return self.into.open(*self._frame())

    def say(self, content: int, body: bytes = b"") -> None:
        """Send one record."""
        self.sock.sendall(self.out.seal(bytes([content]) + body))

    def send(self, *packets: Any, lost: bool = False) -> None:
        """Number, keep and send one record; `lost`: it gets no further than this side."""
        session = self.session
        encoded = msgspec.msgpack.encode(list(packets))
        session.sent += 1
        session.kept.append(encoded)
        if not lost:
            self.say(DATA, encoded)

    def read(self) -> int:
        """Take one record; its content."""
        record = self._record()
        content, body = record[0], record[1:]
        if content in (DATA_ACK, ACK):
            self._acknowledged(int.from_bytes(body[:8]))
        if content in (DATA, DATA_ACK):
            packets = body[8:] if content == DATA_ACK else body
            self.session.accepted += 1
            self.session.inbox += msgspec.msgpack.decode(packets)
        elif content == PING:
            self.say(PONG, body)
        elif content == CLOSE:
            assert int.from_bytes(body[1:9]) == self.session.accepted
        return content

    def _acknowledged(self, count: int) -> None:
        session = self.session
        assert session.acknowledged <= count <= session.sent
        while len(session.kept) > session.sent - count:
            session.kept.popleft()
        session.acknowledged = count

    def read_until(self, size: int) -> list[Any]:
        """Read until so many packets have come in the session; what has come."""
        while len(self.session.inbox) < size:
            self.read()
        return self.session.inbox

    def acknowledge(self) -> None:
        """All that has come is handled."""
        self.session.handled = self.session.accepted
        self.say(ACK, self.session.handled.to_bytes(8))

    def cut(self) -> Session:
        """The connection breaks; what is left of it."""
        self.sock.close()
        return self.session

    def close(self) -> int:
        """CLOSE, and its answer: what it did not acknowledge is what was not handled."""
        self.say(CLOSE, bytes([0]) + self.session.sent.to_bytes(8))
        while self.read() != CLOSE:
            pass
        self.sock.close()
        return len(self.session.kept)
