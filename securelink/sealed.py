"""
Sealed packets: only the holder of one key can read such a packet, not those who store or relay it.

They are for ends without a session between them: a friend who is offline, a private message through a server that
should not read it. Between two connected ends a session protects better.

**Limits of sealing.** There is no forward secrecy: an attacker who gets the recipient's private key, even years
later, can read every sealed packet that was kept. There is no deniability: the recipient can show others the
signature, which proves what the sender wrote. There is no replay protection: a sealed packet can be delivered twice;
a caller can remember the `id` of accepted packets for as long as `max_age`.

    outside     magic      7   b"SLSEAL\\x1a"
                version    1   1
                recipient  32  the SHA-256 in the fingerprint of the recipient's key
                size       2   of the next field
                secret     n   RSA-OAEP of 32 fresh bytes (SHA-256, MGF1-SHA-256, SECRET_LABEL)
    commitment             32
    ciphertext             ..  AES-256-GCM of the inside: nonce 0, no associated data, tag 16 last

    inside      size       2   of the next field
                sender     n   SubjectPublicKeyInfo, DER
                time       8   float, seconds since 1970
                id         16  uuid4
                size       4   of the next field
                packet     n   MessagePack, as in a record
                signature  ..  RSA-PSS by the sender, to the end

Numbers are big-endian. HKDF-Expand(secret, KEY_LABEL | outside, 64) gives the AES key and then the
commitment. The key is used once, so the nonce may be fixed; it depends on every byte outside, so
these need not be authenticated again. AES-GCM alone would let a sender make one ciphertext that two
keys open to different packets; the commitment does not. The signature is over `64 spaces |
SIGNATURE_CONTEXT | 0x00 | SHA-256(outside | inside up to the signature)`: as the recipient is in it, the receiver of
a packet cannot seal it again for another recipient in the sender's name. A relay can still see the recipient and the
size.
"""

from __future__ import annotations

import enum
import math
import os
import struct
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from . import crypto
from .errors import CodecError, ConfigError, LimitExceeded, ProtocolError, UnsealError
from .keys import Identity, PublicKey, fingerprint_digest
from .limits import MAX_SEALED, SEALED_SKEW, TAG_SIZE
from .options import moment, number
from .text import kind_of
from .wire.packets import Packet, decode_packets, encode_packet, join_packets

MAGIC = b"SLSEAL\x1a"
VERSION = 1
SECRET_LABEL = b"securelink 1, sealed packet secret"
KEY_LABEL = b"securelink 1, sealed packet key"
SIGNATURE_CONTEXT = b"securelink 1, sealed packet signature"

_SECRET_SIZE = 32
_NONCE = bytes(12)
_HEAD = struct.Struct(">7sB32sH")
_STAMP = struct.Struct(">d16s")

_NOT_ACCEPTED = (
    "this sealed packet is not for this key, not from an expected sender, too old, or was changed"
)
_FAILURES = (UnsealError, ProtocolError, CodecError, crypto.InvalidTag)


class Anyone(enum.Enum):
    """The type of `ANYONE`."""

    ANYONE = "anyone"


ANYONE = Anyone.ANYONE
"""As the expected sender: accept every key. The packet then only proves that its sender has a key."""

Senders = PublicKey | str | Iterable[PublicKey | str] | Anyone


@dataclass(frozen=True, slots=True)
class Unsealed:
    """
    A sealed packet that was accepted.

    Attributes:
        packet: The content; kept out of `repr()`.
        sender: The key that signed it.
        created: The time of sealing, by the sender's clock, in seconds since 1970.
        id: A uuid4 of this sealed packet, the same each time that it is delivered.
    """

    packet: Packet = field(repr=False)
    sender: PublicKey
    created: float
    id: uuid.UUID


def seal(
    packet: Packet | tuple[str, Any],
    recipient: Any,
    *,
    sender: Identity,
    now: Callable[[], float] = time.time,
    random: crypto.Random = os.urandom,
) -> bytes:
    """
    Encrypt a packet to a key and sign it.

    The module's description explains the limits of sealing: no forward secrecy, no deniability.

    Args:
        packet: A packet, or its action and data.
        recipient: The `PublicKey`, or `rsa.PublicKey`, of the recipient.
        sender: The identity that signs.
        now: The clock, in seconds since 1970.
        random: The source of the secret and the id.

    Returns:
        Bytes for `unseal()`; with keys of 3072 bits 1,310 more than the packet has.

    Raises:
        CodecError: The packet cannot be encoded.
        ConfigError: The recipient is not a usable RSA key, or an argument has a wrong type.
        LimitExceeded: The result would have more than `MAX_SEALED` bytes.
    """
    key = recipient if isinstance(recipient, PublicKey) else PublicKey.from_rsa(recipient)
    created = moment("now", now)
    if not callable(random):
        raise ConfigError(f"random= is {kind_of(random)}", hint="give a function of a size")
    if not isinstance(sender, Identity):
        raise ConfigError(f"the sender is {kind_of(sender)}, not an Identity")
    if not isinstance(packet, Packet):
        try:
            action, data = packet
        except (TypeError, ValueError):
            raise ConfigError("give a Packet, or (action, data)") from None
        packet = Packet(action, data, created=created)
    encoded = encode_packet(packet)
    secret = crypto.draw(random, _SECRET_SIZE)
    outside = _outside(key, key.encrypt(secret, SECRET_LABEL))
    body = b"".join(
        (
            len(sender.public.spki).to_bytes(2),
            sender.public.spki,
            _STAMP.pack(created, uuid.UUID(bytes=crypto.draw(random, 16), version=4).bytes),
            len(encoded).to_bytes(4),
            encoded,
        )
    )
    signature = sender.sign(_signed(outside, body))
    size = len(outside) + crypto.HASH_SIZE + len(body) + len(signature) + TAG_SIZE
    if size > MAX_SEALED:
        raise LimitExceeded(
            f"the sealed packet would have {size:,} bytes, allowed are {MAX_SEALED:,}",
            limit="MAX_SEALED",
            hint="split the data, or send it in a session",
        )
    aead_key, commitment = _derive(secret, outside)
    return outside + commitment + crypto.new_aead(aead_key).encrypt(_NONCE, body + signature, None)


def unseal(
    blob: bytes | bytearray | memoryview,
    identity: Identity,
    *,
    sender: Senders,
    max_age: float | None = None,
    now: Callable[[], float] = time.time,
) -> Unsealed:
    """
    Decrypt a sealed packet and accept it from an expected sender only.

    The caller must detect replays: `Unsealed.id` is the same for each delivery of one sealed packet. Each call needs
    a private key operation, so bound the number of calls for packets from a network.

    Args:
        blob: The result of `seal()`, from any store; untrusted.
        identity: The recipient.
        sender: The expected sender: a key, a fingerprint, several of these, or `ANYONE`.
        max_age: In seconds; packets dated more than two minutes (`SEALED_SKEW`) ahead of our clock are refused too.
            With None the date is not checked.
        now: The clock, in seconds since 1970.

    Raises:
        UnsealError: It cannot be accepted. The error never says why, because that would help a forger.
        ConfigError: `sender` or `max_age` is not valid.
    """
    senders = _fingerprints(sender)
    if not isinstance(identity, Identity):
        raise ConfigError(f"the recipient is {kind_of(identity)}, not an Identity")
    if max_age is not None:
        number("max_age", max_age, 0, unit="seconds, or None")
    unsealed = None
    try:
        unsealed = _open(blob, identity, senders)
    except _FAILURES:
        pass  # raised below, outside this block, so that the cause is not chained to the error
    if unsealed is None or not _fresh(unsealed.created, max_age, now):
        raise UnsealError(_NOT_ACCEPTED)
    return unsealed


def _open(blob: object, identity: Identity, senders: frozenset[str] | None) -> Unsealed:
    """All checks except the age. Raises one of `_FAILURES`."""
    if not isinstance(blob, bytes | bytearray | memoryview) or len(blob) > MAX_SEALED:
        raise UnsealError(_NOT_ACCEPTED)
    outer = _Cursor(bytes(blob))
    encrypted_secret = _read_head(outer, identity.public)
    outside = outer.passed()
    commitment, ciphertext = outer.take(crypto.HASH_SIZE), outer.rest()
    secret = identity.decrypt(encrypted_secret, SECRET_LABEL)
    if len(secret) != _SECRET_SIZE:
        raise UnsealError(_NOT_ACCEPTED)
    aead_key, expected = _derive(secret, outside)
    if not crypto.equal(commitment, expected):
        raise UnsealError(_NOT_ACCEPTED)
    inner = _Cursor(crypto.new_aead(aead_key).decrypt(_NONCE, ciphertext, None))
    public = PublicKey.from_spki(inner.sized(2))
    if senders is not None and public.fingerprint not in senders:
        raise UnsealError(_NOT_ACCEPTED)
    created, packet_id = _read_stamp(inner)
    encoded = inner.sized(4)
    body = inner.passed()
    public.verify(inner.rest(), _signed(outside, body))
    # A list of exactly one: bytes behind the packet are an error of the codec.
    (packet,) = decode_packets(join_packets([encoded]))
    return Unsealed(packet, public, created, packet_id)


def _outside(recipient: PublicKey, encrypted_secret: bytes) -> bytes:
    digest = fingerprint_digest(recipient.fingerprint)
    return _HEAD.pack(MAGIC, VERSION, digest, len(encrypted_secret)) + encrypted_secret


def _read_head(outer: _Cursor, recipient: PublicKey) -> bytes:
    """The encrypted secret, once magic, version and recipient are right."""
    magic, version, digest, size = _HEAD.unpack(outer.take(_HEAD.size))
    expected = (MAGIC, VERSION, fingerprint_digest(recipient.fingerprint))
    if (magic, version, digest) != expected:
        raise UnsealError(_NOT_ACCEPTED)
    return outer.take(size)


def _read_stamp(inner: _Cursor) -> tuple[float, uuid.UUID]:
    created, raw_id = _STAMP.unpack(inner.take(_STAMP.size))
    packet_id = uuid.UUID(bytes=raw_id)
    if not math.isfinite(created) or packet_id.version != 4:
        raise UnsealError(_NOT_ACCEPTED)
    return created, packet_id


def _derive(secret: bytes, outside: bytes) -> tuple[bytes, bytes]:
    """The AES key and the commitment."""
    size = crypto.AEAD_KEY_SIZE
    output = crypto.hkdf_expand(secret, KEY_LABEL + outside, size + crypto.HASH_SIZE)
    return output[:size], output[size:]


def _signed(outside: bytes, body: bytes) -> bytes:
    transcript = crypto.Transcript()
    transcript.update(outside)  # contains its own size, so the two cannot be divided differently
    transcript.update(body)
    return crypto.signature_input(SIGNATURE_CONTEXT, transcript.digest())


def _fresh(created: float, max_age: float | None, now: Callable[[], float]) -> bool:
    return max_age is None or -SEALED_SKEW <= moment("now", now) - created <= max_age


def _fingerprints(sender: object) -> frozenset[str] | None:
    """The accepted fingerprints, or None for any."""
    if sender is ANYONE:
        return None
    if isinstance(sender, PublicKey):
        return frozenset((sender.fingerprint,))
    if isinstance(sender, str):
        fingerprint_digest(sender)
        return frozenset((sender,))
    if not isinstance(sender, Iterable):
        raise ConfigError(
            f"the expected sender is {kind_of(sender)}",
            hint="give a PublicKey, a fingerprint, several of these, or ANYONE",
        )
    found: set[str] = set()
    for one in sender:
        if not isinstance(one, PublicKey | str):
            raise ConfigError(
                f"among the expected senders is {kind_of(one)}",
                hint="give keys and fingerprints; ANYONE stands alone",
            )
        found.update(_fingerprints(one) or ())
    return frozenset(found)


class _Cursor:
    """Takes fields off the front of bytes; asking for more than the rest raises `UnsealError`."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise UnsealError(_NOT_ACCEPTED)
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def sized(self, width: int) -> bytes:
        """A field preceded by its size, a number of `width` bytes."""
        return self.take(int.from_bytes(self.take(width)))

    def passed(self) -> bytes:
        """All bytes taken so far."""
        return self._data[: self._at]

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)
