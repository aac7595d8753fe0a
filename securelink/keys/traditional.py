"""
Private keys under a passphrase as OpenSSL wrote them before PKCS#8: `Proc-Type` and `DEK-Info` (RFC 1421) above PKCS#1.

They are only read. The key comes from one round of MD5, so a guess costs a thief next to nothing.
"""

from __future__ import annotations

import hashlib
import re

from .der import DerError
from .pkcs8 import BLOCK_SIZE, EncryptedKey, UnknownEncryptionError

_DEK_INFO = re.compile(rb"(?:^|\n)DEK-Info: ?([A-Z0-9-]{1,20}),([0-9A-Fa-f]{1,64})\s*(?:\n|$)")
_KEY_SIZES = {b"AES-128-CBC": 16, b"AES-192-CBC": 24, b"AES-256-CBC": 32}  # bytes


def read_traditional(headers: bytes, ciphertext: bytes) -> EncryptedKey:
    """
    Read the encryption parameters of an encrypted `RSA PRIVATE KEY`, before its passphrase is known.

    Raises:
        DerError: It is not one.
        UnknownEncryptionError: It is not encrypted by AES-CBC.
    """
    found = _DEK_INFO.search(headers)
    if found is None:
        raise DerError("there are headers, and none says how it is encrypted")
    key_size = _KEY_SIZES.get(found[1])
    if key_size is None:
        raise UnknownEncryptionError
    if len(found[2]) != 2 * BLOCK_SIZE or not ciphertext or len(ciphertext) % BLOCK_SIZE:
        raise DerError("it is not a whole number of blocks")
    iv = bytes.fromhex(found[2].decode())
    return EncryptedKey(lambda passphrase: _stretched(passphrase, iv[:8], key_size), iv, ciphertext)


def _stretched(passphrase: bytes, salt: bytes, size: int) -> bytes:
    """EVP_BytesToKey of OpenSSL, with MD5 and one round."""
    key = block = b""
    while len(key) < size:
        block = hashlib.md5(block + passphrase + salt, usedforsecurity=False).digest()
        key += block
    return key[:size]
