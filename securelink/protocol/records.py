"""
Record protection: one plaintext `content u8 | body` in, one frame out, and back.

Encrypted: SEALED frame, AES-256-GCM, nonce = iv XOR 64-bit counter (RFC 9846 5.3), AAD = the frame header.
Plaintext: PLAIN frame, `token 16 | content u8 | body`; no protection, a wrong token ends the connection.

Both modes have the same methods (`RecordSender`, `RecordReceiver`), so modules above need not know the mode. Sending
and receiving halves share no field. Keys are never reused: a counter only rises, a key update starts a new key at
zero.
"""

from __future__ import annotations

from math import inf
from typing import ClassVar, Protocol

from .. import crypto
from ..codes import Code
from ..errors import ProtocolError, RecordError
from ..limits import MAX_FRAME_BODY, TAG_SIZE, TOKEN_SIZE, UPDATE_BYTES, UPDATE_RECORDS
from ..wire.fields import Content, Kind
from . import key_schedule, key_update

INTERFERES = "connect again; if it happens again, something on the path interferes"

_SEALED = (Kind.SEALED << 24) + TAG_SIZE  # the tag counts as a part of the body
_MAX_SEALED = MAX_FRAME_BODY - TAG_SIZE
_PLAIN = Kind.PLAIN << 24
_KEY_UPDATE = Content.KEY_UPDATE.to_bytes(1)


class RecordSender(Protocol):
    """A sending half, as a connection needs it."""

    overhead: ClassVar[int]

    @property
    def due(self) -> bool:
        """Whether the next record must be preceded by a KEY_UPDATE."""

    def seal(self, plaintext: bytes) -> bytes:
        """One frame, header included."""

    def update(self) -> bytes:
        """The KEY_UPDATE frame; later records use the next key."""

    def want_update(self) -> None:
        """Called twice an hour: request an update of a key that existed at the last call."""


class RecordReceiver(Protocol):
    """A receiving half, as a connection needs it."""

    kind: int

    def open(self, header: bytes, body: bytes) -> bytes:
        """The plaintext `content u8 | body` of one frame."""

    def update(self, now: float) -> None:
        """Take the next key. Raises `ProtocolError` if it comes too soon, or there are no keys."""


class Sealer:
    """
    The sending half of AES-256-GCM protection.

    Args:
        secret: A traffic secret of the key schedule, 32 bytes.

    Attributes:
        due: A key update is due before the next record: after UPDATE_RECORDS, UPDATE_BYTES, or `want_update`.
    """

    __slots__ = ("_asked", "_bytes", "_counter", "_encrypt", "_iv", "_secret", "due")
    overhead: ClassVar[int] = TAG_SIZE + 1

    def __init__(self, secret: bytes) -> None:
        self._install(secret)

    def _install(self, secret: bytes) -> None:
        key, iv = key_schedule.traffic_keys(secret)
        self._secret = secret
        self._encrypt = crypto.new_aead(key).encrypt
        self._iv = int.from_bytes(iv)
        self._counter = 0
        self._bytes = 0
        self._asked = False
        self.due = False

    def seal(self, plaintext: bytes) -> bytes:
        """
        Encrypt and authenticate one record.

        Raises:
            RecordError: Twice the key-update limit was passed: a bug of the caller, refused here (RFC 9846 5.5).
        """
        size = len(plaintext)
        if size > _MAX_SEALED:
            raise RecordError(f"a record of {size} bytes does not fit a frame")
        if self.due and key_update.is_overdue(self._counter, self._bytes):
            raise RecordError("this key has reached its limit; a key update was missed")
        counter = self._counter
        self._counter = after = counter + 1
        self._bytes = sealed = self._bytes + size
        if after >= UPDATE_RECORDS or sealed >= UPDATE_BYTES:
            self.due = True
        header, encrypt = (_SEALED + size).to_bytes(4), self._encrypt
        return header + encrypt((self._iv ^ counter).to_bytes(12), plaintext, header)

    def want_update(self) -> None:
        """Called twice an hour: a key that existed at the last call is replaced, a newer one is not."""
        if self._asked and self._counter:
            self.due = True
        self._asked = True

    def update(self) -> bytes:
        """Seal KEY_UPDATE under the old key and install the next one."""
        frame = self.seal(_KEY_UPDATE)
        self._install(key_schedule.next_traffic_secret(self._secret))
        return frame


class Opener:
    """
    The receiving half of AES-256-GCM protection. The first bad tag ends it for good.

    Attributes:
        kind: Of the frames that it opens.
    """

    __slots__ = ("_bytes", "_counter", "_dead", "_decrypt", "_iv", "_secret", "_updated", "kind")

    def __init__(self, secret: bytes) -> None:
        self.kind = int(Kind.SEALED)  # of the object, not of the class: looked up in half the time
        self._dead = False
        self._updated = -inf
        self._install(secret)

    def _install(self, secret: bytes) -> None:
        key, iv = key_schedule.traffic_keys(secret)
        self._secret = secret
        self._decrypt = crypto.new_aead(key).decrypt
        self._iv = int.from_bytes(iv)
        self._counter = 0
        self._bytes = 0

    def open(self, header: bytes, body: bytes) -> bytes:
        """
        Authenticate and decrypt one record, then advance the counter.

        Args:
            header: The 4 header bytes as received; authenticated, not encrypted.
            body: Ciphertext and tag.

        Raises:
            RecordError: Changed, replayed, reordered, or sealed with another key; these look the same.
        """
        counter, decrypt = self._counter, self._decrypt
        if self._dead or len(body) <= TAG_SIZE:
            self._dead = True
            raise RecordError("a sealed record is too short, or one came after a failure")
        try:
            plaintext = decrypt((self._iv ^ counter).to_bytes(12), body, header)
        except crypto.InvalidTag:
            self._dead = True
            raise RecordError(
                "a record failed authentication: it was changed, replayed or injected on the way",
                hint=INTERFERES,
            ) from None
        self._counter = counter + 1
        self._bytes += len(body)
        return plaintext

    def update(self, now: float) -> None:
        """
        Take the next key (RFC 9846 7.2).

        Raises:
            ProtocolError: It comes so soon after the last one that it is a flood.
        """
        if key_update.is_flood(self._counter, self._bytes, now - self._updated):
            raise ProtocolError(
                "a flood of key updates: more than one per 1,000 records and second"
            )
        self._updated = now
        self._install(key_schedule.next_traffic_secret(self._secret))


class PlainSender:
    """The sending half of plaintext mode. There is no key, so no update is ever due."""

    __slots__ = ("token",)
    overhead: ClassVar[int] = TOKEN_SIZE + 1
    due: ClassVar[bool] = False

    def __init__(self) -> None:
        self.token = bytes(TOKEN_SIZE)

    def seal(self, plaintext: bytes) -> bytes:
        """One PLAIN frame."""
        size = len(plaintext) + TOKEN_SIZE
        if size > MAX_FRAME_BODY:
            raise RecordError(f"a record of {size} bytes does not fit a frame")
        return (_PLAIN + size).to_bytes(4) + self.token + plaintext

    def update(self) -> bytes:
        """Without a key nothing is sent."""
        return b""

    def want_update(self) -> None:
        """There is no key."""


class PlainReceiver:
    """The receiving half of plaintext mode: checks the session token of every record in constant time."""

    __slots__ = ("kind", "token")

    def __init__(self) -> None:
        self.kind = int(Kind.PLAIN)
        self.token = bytes(TOKEN_SIZE)

    def open(self, header: bytes, body: bytes) -> bytes:
        """
        The record without its token.

        Raises:
            RecordError: The token belongs to another session: a mix-up, or blind injection.
        """
        if len(body) <= TOKEN_SIZE or not crypto.equal(body[:TOKEN_SIZE], self.token):
            raise RecordError("a plaintext record carries the token of another session")
        return body[TOKEN_SIZE:]

    def update(self, now: float) -> None:
        """There is no key."""
        raise ProtocolError("a key update in plaintext mode", code=Code.PROTOCOL)
