"""
Private keys under a passphrase: PKCS#8 with PBES2 (RFC 5958, 8018, 7914), written and read.

It is read here, not by the crypto library, which would parse a key of any type inside, and for some types test
numbers for minutes with the interpreter locked. `shapes.py` checks the decrypted bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from ..errors import ConfigError
from ..limits import MAX_KDF_ROUNDS, MAX_SCRYPT_LANES, MAX_SCRYPT_MEMORY, MAX_SCRYPT_WORK
from . import stretching
from .der import INTEGER, NULL, OBJECT, OCTETS, SEQUENCE, DerError, Reader, element, integer
from .pem import write_block
from .shapes import UnfitKeyError

# The crypto library's own writer takes 2,048 rounds of PBKDF2: thousands of guesses a second. This
# is 16 MiB and about 0.1 s a guess, and the openssl program refuses what needs 32 MiB or more.
SCRYPT_N = 2**14
SCRYPT_R = 8
SCRYPT_P = 5

BLOCK_SIZE = 16  # of AES, in bytes
_SALT_SIZE = 16

_PBES2 = bytes.fromhex("2a864886f70d01050d")  # 1.2.840.113549.1.5.13
_SCRYPT = bytes.fromhex("2b06010401da47040b")  # 1.3.6.1.4.1.11591.4.11
_PBKDF2 = bytes.fromhex("2a864886f70d01050c")  # 1.2.840.113549.1.5.12
_AES256_CBC = bytes.fromhex("60864801650304012a")  # 2.16.840.1.101.3.4.1.42

_KEY_SIZES = {  # AES in CBC mode, by its object identifier (NIST); bytes
    bytes.fromhex("608648016503040102"): 16,
    bytes.fromhex("608648016503040116"): 24,
    _AES256_CBC: 32,
}
_HASHES = {  # HMAC with these, 1.2.840.113549.2.7 to 11 (RFC 8018 B.1)
    bytes.fromhex("2a864886f70d0207"): "SHA1",
    bytes.fromhex("2a864886f70d0208"): "SHA224",
    bytes.fromhex("2a864886f70d0209"): "SHA256",
    bytes.fromhex("2a864886f70d020a"): "SHA384",
    bytes.fromhex("2a864886f70d020b"): "SHA512",
}


class UnknownEncryptionError(ValueError):
    """The file is encrypted, in a way that is not read here."""


@dataclass(frozen=True, slots=True)
class EncryptedKey:
    """An encrypted private key, before its passphrase is known."""

    _derive: Callable[[bytes], bytes] = field(repr=False)
    _iv: bytes = field(repr=False)
    _ciphertext: bytes = field(repr=False)

    def decrypt(self, passphrase: bytes) -> bytes | None:
        """
        The decrypted bytes, which may be anything, because they are not authenticated.

        Returns:
            None if the padding is wrong, as it almost always is after a wrong passphrase.
        """
        decryptor = Cipher(AES(self._derive(passphrase)), CBC(self._iv)).decryptor()
        unpadder = PKCS7(8 * BLOCK_SIZE).unpadder()
        padded = decryptor.update(self._ciphertext) + decryptor.finalize()
        try:
            return unpadder.update(padded) + unpadder.finalize()
        except ValueError:
            return None


def encrypted_pem(pkcs8: bytes, passphrase: bytes) -> bytes:
    """
    Encrypt a private key for storage.

    The crypto library and the openssl program read the result. CBC does not authenticate: a broken key is refused
    because its numbers do not fit together.

    Args:
        pkcs8: PrivateKeyInfo, DER.
        passphrase: Not empty.

    Returns:
        PEM, `ENCRYPTED PRIVATE KEY`.
    """
    salt, iv = os.urandom(_SALT_SIZE), os.urandom(BLOCK_SIZE)
    key = stretching.scrypt(passphrase, salt, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P)
    padder = PKCS7(8 * BLOCK_SIZE).padder()
    encryptor = Cipher(AES(key), CBC(iv)).encryptor()
    padded = padder.update(pkcs8) + padder.finalize()
    ciphertext = encryptor.update(padded) + encryptor.finalize()
    costs = integer(SCRYPT_N) + integer(SCRYPT_R) + integer(SCRYPT_P)
    derivation = _algorithm(_SCRYPT, element(SEQUENCE, element(OCTETS, salt) + costs))
    cipher = _algorithm(_AES256_CBC, element(OCTETS, iv))
    scheme = _algorithm(_PBES2, element(SEQUENCE, derivation + cipher))
    return write_block(
        "ENCRYPTED PRIVATE KEY", element(SEQUENCE, scheme + element(OCTETS, ciphertext))
    )


def _algorithm(name: bytes, parameters: bytes) -> bytes:
    """AlgorithmIdentifier: an object identifier and its parameters."""
    return element(SEQUENCE, element(OBJECT, name) + parameters)


def read_encrypted(der: bytes) -> EncryptedKey:
    """
    Read the encryption parameters of an EncryptedPrivateKeyInfo (RFC 5958), before its passphrase is known.

    Raises:
        DerError: It is not one.
        UnknownEncryptionError: It is not encrypted by PBES2 with PBKDF2 or scrypt and AES-CBC.
        UnfitKeyError: Its passphrase would take more time or memory than any honest file.
    """
    outer = Reader(der)
    info = outer.enter()
    outer.end()
    scheme, ciphertext = info.enter(), info.read(OCTETS)
    info.end()
    if scheme.read(OBJECT) != _PBES2:
        raise UnknownEncryptionError
    parameters = scheme.enter()
    scheme.end()
    derivation, cipher = parameters.enter(), parameters.enter()
    parameters.end()
    key_size = _KEY_SIZES.get(cipher.read(OBJECT))
    kind = derivation.read(OBJECT)
    if key_size is None or kind not in (_PBKDF2, _SCRYPT):
        raise UnknownEncryptionError
    iv = cipher.read(OCTETS)
    cipher.end()
    if len(iv) != BLOCK_SIZE or not ciphertext or len(ciphertext) % BLOCK_SIZE:
        raise DerError("it is not a whole number of blocks")
    read = _pbkdf2 if kind == _PBKDF2 else _scrypt
    derive = read(derivation.enter(), key_size)
    derivation.end()
    return EncryptedKey(derive, iv, ciphertext)


def _pbkdf2(parameters: Reader, key_size: int) -> Callable[[bytes], bytes]:
    """PBKDF2-params (RFC 8018 A.2)."""
    # The standard permits a salt from elsewhere; no program writes that.
    if parameters.tag != OCTETS:
        raise UnknownEncryptionError
    salt, rounds = parameters.read(OCTETS), parameters.integer()
    _check_key_size(parameters, key_size)
    name: str | None = "SHA1"  # the default
    if parameters.tag:
        algorithm = parameters.enter()
        name = _HASHES.get(algorithm.read(OBJECT))
        if algorithm.tag:
            algorithm.read(NULL)
        algorithm.end()
    parameters.end()
    if name is None:
        raise UnknownEncryptionError
    if rounds > MAX_KDF_ROUNDS:
        raise UnfitKeyError(f"its passphrase goes through more than {MAX_KDF_ROUNDS:,} rounds")
    if rounds == 0:
        raise DerError("no round is no derivation")
    return lambda passphrase: stretching.pbkdf2(passphrase, salt, rounds, name, key_size)


def _scrypt(parameters: Reader, key_size: int) -> Callable[[bytes], bytes]:
    """scrypt-params (RFC 7914 7)."""
    salt = parameters.read(OCTETS)
    n, r, p = parameters.integer(), parameters.integer(), parameters.integer()
    _check_key_size(parameters, key_size)
    parameters.end()
    # In addition to the table there is a block for each lane, filled and read by PBKDF2 (RFC 7914 6).
    table, lanes, work = 128 * n * r, 128 * r * p, n * r * p
    if table > MAX_SCRYPT_MEMORY or lanes > MAX_SCRYPT_LANES or work > MAX_SCRYPT_WORK:
        raise UnfitKeyError("its passphrase goes through more scrypt than is allowed")

    def derive(passphrase: bytes) -> bytes:
        try:
            return stretching.scrypt(passphrase, salt, n, r, p, key_size)
        except ConfigError:  # the file has impossible parameters; our caller is not at fault
            raise DerError("its scrypt parameters are impossible") from None

    return derive


def _check_key_size(parameters: Reader, key_size: int) -> None:
    """The optional length of the key, which must be that of the cipher."""
    if parameters.tag == INTEGER and parameters.integer() != key_size:
        raise DerError("the key has another length than the cipher's")
