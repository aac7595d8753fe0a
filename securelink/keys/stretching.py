"""Keys from passwords: scrypt, and PBKDF2 for files of other programs."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from ..errors import ConfigError
from ..limits import MAX_SCRYPT_MEMORY

_SCRYPT_N = 2**15  # with r=8: 32 MiB and about 0.1 s for each password, and so for each guess

_PBKDF2_HASHES: dict[str, Callable[[], hashes.HashAlgorithm]] = {
    "SHA1": hashes.SHA1,  # still sound in HMAC (RFC 8018 B.1), and the default of that RFC
    "SHA224": hashes.SHA224,
    "SHA256": hashes.SHA256,
    "SHA384": hashes.SHA384,
    "SHA512": hashes.SHA512,
}


def scrypt(
    password: bytes, salt: bytes, n: int = _SCRYPT_N, r: int = 8, p: int = 1, length: int = 32
) -> bytes:
    """
    Derive a key from a password, slowly and with much memory (RFC 7914).

    Args:
        password: As typed, encoded.
        salt: Random, at least 16 bytes, different for each password.
        n: Cost, a power of two; memory is 128 * n * r bytes, 32 MiB by default.
        r: Block size.
        p: Parallelism; multiplies the time only.
        length: Bytes wanted.

    Raises:
        ConfigError: The parameters are not possible, or need more than 256 MiB.
    """
    if 128 * n * r > MAX_SCRYPT_MEMORY:
        raise ConfigError(f"scrypt with n={n}, r={r} needs more than 256 MiB")
    try:
        return Scrypt(salt=salt, length=length, n=n, r=r, p=p).derive(password)
    except (ValueError, OverflowError, MemoryError):
        raise ConfigError(f"scrypt cannot work with n={n}, r={r}, p={p}") from None


def pbkdf2(password: bytes, salt: bytes, rounds: int, hash_name: str, length: int) -> bytes:
    """
    PBKDF2 with HMAC (RFC 8018 5.2), for key files made by other programs; ours use scrypt.

    Args:
        password: As typed, encoded.
        salt: As the file has it.
        rounds: At least 1.
        hash_name: A key of `_PBKDF2_HASHES`.
        length: Bytes wanted.
    """
    algorithm = _PBKDF2_HASHES[hash_name]()
    return PBKDF2HMAC(algorithm, length=length, salt=salt, iterations=rounds).derive(password)
