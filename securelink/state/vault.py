"""Rows are sealed under a key of their own for each start of a server, which nothing else is sealed with."""

from __future__ import annotations

import os
from enum import IntEnum

from .. import crypto
from ..errors import StateError

SALT_SIZE = 32
_NONCE = 12
_LABEL = b"state rows"


class Kind(IntEnum):
    """What a row is. It is bound to its place: a row of another one does not open."""

    CHECK = 0
    SESSION = 1
    COUNTS = 2
    RECEIVED = 3
    SENT = 4
    QUEUED = 5


class Vault:
    """
    AES-256-GCM under HKDF(key of the ring, salt of this start).

    The nonce is a counter: the key is new at each start, also when the file went back in time, for the salt is.

    Args:
        key: Of the ring.
        salt: Of a start.
    """

    __slots__ = ("_aead", "_count")

    def __init__(self, key: bytes, salt: bytes) -> None:
        secret = crypto.hkdf_extract(salt, key)
        self._aead = crypto.new_aead(crypto.hkdf_expand_label(secret, _LABEL, b"", 32))
        self._count = 0

    def seal(self, kind: Kind, session: int, number: int, data: bytes) -> bytes:
        """A row for this place."""
        self._count += 1
        nonce = self._count.to_bytes(_NONCE)
        return nonce + self._aead.encrypt(nonce, data, _place(kind, session, number))

    def open(self, kind: Kind, session: int, number: int, row: bytes) -> bytes:
        """
        What is in a row.

        Raises:
            StateError: It was changed, or belongs somewhere else, or is sealed under another key.
        """
        try:
            nonce, sealed = row[:_NONCE], row[_NONCE:]
            return self._aead.decrypt(nonce, sealed, _place(kind, session, number))
        except (crypto.InvalidTag, ValueError, TypeError, OverflowError, AttributeError) as error:
            raise StateError("a row of the state file does not open") from error


def _place(kind: Kind, session: int, number: int) -> bytes:
    return kind.to_bytes(1) + session.to_bytes(8) + number.to_bytes(8)


def fresh_salt() -> bytes:
    """For one start."""
    return os.urandom(SALT_SIZE)
