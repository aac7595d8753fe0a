"""Private keys under a passphrase: PKCS#8, PBES2, scrypt, AES-256-CBC (RFC 5958, 8018, 7914)."""

from __future__ import annotations

import os

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from .. import crypto
from .der import OBJECT, OCTETS, SEQUENCE, element, integer
from .pem import write_block

# The crypto library's own writer takes 2,048 rounds of PBKDF2: thousands of guesses a second. This
# is 16 MiB and about 0.1 s a guess, and the openssl program refuses what needs 32 MiB or more.
SCRYPT_N = 2**14
SCRYPT_R = 8
SCRYPT_P = 5

_SALT_SIZE = 16
_BLOCK_SIZE = 16

_PBES2 = bytes.fromhex("2a864886f70d01050d")  # 1.2.840.113549.1.5.13
_SCRYPT = bytes.fromhex("2b06010401da47040b")  # 1.3.6.1.4.1.11591.4.11
_AES256_CBC = bytes.fromhex("60864801650304012a")  # 2.16.840.1.101.3.4.1.42


def encrypted_pem(pkcs8: bytes, passphrase: bytes) -> bytes:
    """
    Encrypt a private key for storage.

    The crypto library and the openssl program read the result. CBC does not authenticate: what
    decrypts to a broken key is refused by the numbers not fitting together.

    Args:
        pkcs8: PrivateKeyInfo, DER.
        passphrase: Not empty.

    Returns:
        PEM, `ENCRYPTED PRIVATE KEY`.
    """
    salt, iv = os.urandom(_SALT_SIZE), os.urandom(_BLOCK_SIZE)
    key = crypto.scrypt(passphrase, salt, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P)
    padder = PKCS7(8 * _BLOCK_SIZE).padder()
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
    """AlgorithmIdentifier: an object identifier and what belongs to it."""
    return element(SEQUENCE, element(OBJECT, name) + parameters)
