"""Reads private keys from all supported formats, and checks them before the crypto library computes with them."""

from __future__ import annotations

import shlex

from cryptography.exceptions import InternalError, InvalidSignature
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers, RSAPublicNumbers

from .. import crypto
from ..errors import ConfigError, KeyFileError, ProtocolError
from ..text import kind_of
from .der import DerError
from .pem import Block, find_block
from .pkcs8 import UnknownEncryptionError, read_encrypted
from .shapes import (
    PrivateNumbers,
    UnfitKeyError,
    openssh_private_numbers,
    pkcs1_private_numbers,
    pkcs8_numbers,
)
from .traditional import read_traditional

Passphrase = str | bytes | None

MAKE_ANOTHER = "make another key with createEncryptKeys()"

# Errors of the crypto library for numbers that are not a key; `InternalError` comes from OpenSSL itself.
_LIBRARY = (ValueError, TypeError, OverflowError, InternalError)
_OTHER_KINDS = {"EC PRIVATE KEY": "EC", "DSA PRIVATE KEY": "DSA"}


def passphrase_bytes(passphrase: str | bytes) -> bytes:
    """
    A passphrase as bytes.

    Raises:
        ConfigError: It is empty, not a text, or cannot be encoded.
    """
    if not isinstance(passphrase, str | bytes):
        raise ConfigError(
            f"a passphrase is a str or bytes, not {kind_of(passphrase)}",
            hint="leave it out to use a key without one",
        )
    if isinstance(passphrase, str) and any("\ud800" <= c <= "\udfff" for c in passphrase):
        # It is not encoded as a trial: that error would quote the passphrase, and be the context of ours.
        raise ConfigError(
            "the passphrase has lone surrogates, which no encoding knows", hint="type it again"
        )
    encoded = passphrase.encode() if isinstance(passphrase, str) else passphrase
    if not encoded:
        raise ConfigError("the passphrase is empty", hint="leave it out to store the key without")
    return encoded


def pem_bytes(data: object, source: str) -> bytes:
    """
    PEM, given as bytes or as text.

    Raises:
        ConfigError: It is neither.
        KeyFileError: The text has letters that no key has.
    """
    if isinstance(data, bytes):
        return data
    if isinstance(data, str):
        # Any text may surround the block; only inside it other letters are damage.
        return data.encode(errors="replace")
    raise ConfigError(
        f"{source} is {kind_of(data)}, not bytes", hint="give the content of the file"
    )


def private_key(data: bytes, passphrase: Passphrase, source: str) -> crypto.RSAPrivateKey:
    """
    The key in a private PEM, if the policy allows it and its numbers belong together.

    Args:
        data: PEM: PKCS#8, PKCS#1 or OpenSSH.
        passphrase: Needed only if it is encrypted.
        source: What to call it in an error.

    Raises:
        KeyFileError: It is damaged, encrypted with another passphrase or in an unsupported way, or not a usable key.
        ConfigError: The passphrase is not valid.
    """
    try:
        block = find_block(data, "PRIVATE KEY")
        if block is None:
            if b"PUBLIC KEY-----" in data or b"ssh-rsa " in data[:16]:
                raise KeyFileError(f"{source} is a public key", hint="give the private key")
            raise ValueError("no block")
        if block.label in _OTHER_KINDS:
            raise UnfitKeyError(f"it is of type {_OTHER_KINDS[block.label]}, not RSA")
        numbers = _numbers(block, passphrase, source)
        numbers.public.check()
    except UnfitKeyError as error:
        raise KeyFileError(f"{source} cannot be used: {error}", hint=MAKE_ANOTHER) from None
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise damaged(source) from None
    key = checked_key(numbers)
    if key is None:
        encrypted = block.label == "ENCRYPTED PRIVATE KEY" or block.headers
        raise wrong_passphrase(source) if encrypted else damaged(source)
    return key


def checked_key(numbers: PrivateNumbers) -> crypto.RSAPrivateKey | None:
    """The key of these numbers, which have passed the policy; None if they do not belong together."""
    if not numbers.fit():
        return None
    public = RSAPublicNumbers(numbers.public.e, numbers.public.n)
    try:
        key = RSAPrivateNumbers(
            numbers.p, numbers.q, numbers.d, numbers.dmp1, numbers.dmq1, numbers.iqmp, public
        ).private_key(unsafe_skip_rsa_key_validation=True)
        # Pairwise consistency (FIPS 140): the skipped tests would take seconds, and this one finds every relevant
        # fault.
        crypto.pss_verify(key.public_key(), crypto.pss_sign(key, b"consistent"), b"consistent")
    except (*_LIBRARY, InvalidSignature, ProtocolError, ConfigError):
        return None
    return key


def damaged(source: str) -> KeyFileError:
    """The error for data that is not a private key."""
    return KeyFileError(
        f"{source} is damaged, or not a private key in PEM form",
        hint="restore it from a backup, or make a new key under another name",
    )


def wrong_passphrase(source: str) -> KeyFileError:
    """The error for data that does not decrypt to a key: the two causes cannot be told apart."""
    return KeyFileError(
        f"wrong passphrase for {source}", hint="try again; if it is right, the file is damaged"
    )


def _numbers(block: Block, passphrase: Passphrase, source: str) -> PrivateNumbers:
    """The numbers in a block. Raises `KeyFileError`, `UnfitKeyError`, and `ValueError` for damage."""
    if block.label == "PRIVATE KEY":
        return pkcs8_numbers(block.der)
    if block.label == "ENCRYPTED PRIVATE KEY":
        return _decrypted_numbers(block, passphrase, source)
    if block.label == "OPENSSH PRIVATE KEY":
        numbers = openssh_private_numbers(block.der)
        if numbers is None:
            raise _unknown_encryption(source, f"ssh-keygen -p -m PKCS8 -f {shlex.quote(source)}")
        return numbers
    if block.label != "RSA PRIVATE KEY":
        raise DerError("no block of this name is known")
    if block.headers:
        return _decrypted_numbers(block, passphrase, source)
    return pkcs1_private_numbers(block.der)


def _decrypted_numbers(block: Block, passphrase: Passphrase, source: str) -> PrivateNumbers:
    traditional = block.label == "RSA PRIVATE KEY"
    try:
        encrypted = (
            read_traditional(block.headers, block.der) if traditional else read_encrypted(block.der)
        )
    except UnknownEncryptionError:
        raise _unknown_encryption(source, _to_pkcs8(source)) from None
    if passphrase is None:
        raise KeyFileError(f"{source} is protected by a passphrase", hint="give its passphrase")
    inside = encrypted.decrypt(passphrase_bytes(passphrase))
    if inside is None:
        raise wrong_passphrase(source)
    try:
        return pkcs1_private_numbers(inside) if traditional else pkcs8_numbers(inside)
    except DerError:
        raise wrong_passphrase(source) from None


def _to_pkcs8(source: str) -> str:
    """The command that encrypts a key in a supported way; it asks for the passphrases."""
    return f"openssl pkcs8 -topk8 -scrypt -in {shlex.quote(source)} -out new_private.pem"


def _unknown_encryption(source: str, command: str) -> KeyFileError:
    return KeyFileError(
        f"{source} is encrypted in a way that is not read here",
        hint=f"convert a copy of it with: {command}",
    )
