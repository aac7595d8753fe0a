"""
Succession of keys: an old key names its successor, so that clients that trusted the old key can follow.

    statement  = expires u64 | length u16 | old key, DER | length u16 | signature
    succession = statement*        the newest first: each names the key of the one before it

The signature is by the old key, over a context of its own: no signature of a handshake is a statement, and no
statement a signature of a handshake. A statement proves nothing about the side that shows it; it says that the holder
of the old key named the new one. It is valid until it expires.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from .. import crypto
from ..errors import ConfigError, ProtocolError
from ..limits import MAX_ROTATION_SECONDS, MAX_ROTATIONS, MAX_SUCCESSION
from .identity import Identity
from .public import PublicKey

CONTEXT = b"securelink 1, key rotation"


@dataclass(frozen=True, slots=True)
class Statement:
    """
    A statement of an old key about its successor.

    Attributes:
        old: The old key, SubjectPublicKeyInfo.
        expires: Until when it is valid, in whole seconds since 1970.
        signature: By the old key.
    """

    old: bytes
    expires: Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
    signature: bytes = field(repr=False)

    @classmethod
    def sign(cls, old: Identity, new: PublicKey, expires: int) -> Statement:
        """Let the old key name the new one."""
        return cls(old.public.spki, expires, old.sign(_signed(old.public.spki, new.spki, expires)))

    def signer(self, new: PublicKey) -> PublicKey:
        """
        The old key, if it has really named `new`.

        Raises:
            ProtocolError: It has not, or is not a usable key.
        """
        old = PublicKey.from_spki(self.old)
        old.verify(self.signature, _signed(self.old, new.spki, self.expires))
        return old

    def encode(self) -> bytes:
        """The statement on the wire."""
        return self.expires.to_bytes(8) + _sized(self.old) + _sized(self.signature)


def _signed(old: bytes, new: bytes, expires: int) -> bytes:
    digest = crypto.sha256(expires.to_bytes(8) + _sized(old) + _sized(new))
    return crypto.signature_input(CONTEXT, digest)


def _sized(value: bytes) -> bytes:
    return len(value).to_bytes(2) + value


def encode_succession(statements: Iterable[Statement]) -> bytes:
    """As many of the statements, in their order, as may be sent."""
    found = b""
    for _, statement in zip(range(MAX_ROTATIONS), statements, strict=False):
        encoded = statement.encode()
        if len(found) + len(encoded) > MAX_SUCCESSION:
            break
        found += encoded
    return found


def decode_succession(data: bytes) -> tuple[Statement, ...]:
    """
    Read statements from the wire. No key and no signature is parsed.

    Raises:
        ProtocolError: They are cut short, too long or too many.
    """
    if len(data) > MAX_SUCCESSION:
        raise ProtocolError(f"a succession of keys has {len(data)} bytes, at most {MAX_SUCCESSION}")
    statements = []
    at = 0
    while at < len(data):
        expires = int.from_bytes(data[at : at + 8])
        old, at = _read_sized(data, at + 8)
        signature, at = _read_sized(data, at)
        statements.append(Statement(old, expires, signature))
    if len(statements) > MAX_ROTATIONS:
        raise ProtocolError(f"a succession of {len(statements)} keys, at most {MAX_ROTATIONS}")
    return tuple(statements)


def _read_sized(data: bytes, at: int) -> tuple[bytes, int]:
    start = at + 2
    end = start + int.from_bytes(data[at:start])
    if start > len(data) or end > len(data):
        raise ProtocolError("a succession of keys is cut short")
    return data[start:end], end


def follows(statements: Iterable[Statement], key: PublicKey, trusted: str, now: float) -> bool:
    """
    Whether a key succeeds a trusted one.

    Args:
        statements: The statements that the holder of `key` showed, the newest first.
        key: Proved by its holder.
        trusted: The fingerprint of the key that is trusted.
        now: Seconds since 1970.
    """
    for statement in statements:
        # A statement for a hundred years was not made by us: a thief of an old key could use it forever.
        if not now < statement.expires <= now + MAX_ROTATION_SECONDS:
            return False
        try:
            key = statement.signer(key)
        except (ProtocolError, ConfigError):
            return False
        if key.fingerprint == trusted:
            return True
    return False
