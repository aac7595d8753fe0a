"""Public keys: the policy, the encodings, the fingerprint."""

from __future__ import annotations

import base64
import re

import rsa
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
    load_ssh_public_key,
    ssh_key_fingerprint,
)

from .. import crypto
from ..errors import ConfigError, KeyFileError, ProtocolError
from ..limits import (
    MAX_KEY_FILE,
    MAX_RSA_BITS,
    MAX_RSA_EXPONENT,
    MIN_RSA_BITS,
    MIN_RSA_EXPONENT,
)
from .files import AnyPath, absolute, read_file

# An SPKI is the modulus, at most 4 bytes of exponent and under 40 bytes of structure around them.
MAX_SPKI_SIZE = MAX_RSA_BITS // 8 + 64

FINGERPRINT_PREFIX = "SHA256:"
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


def fingerprint_text(digest: bytes) -> str:
    """Spell a SHA-256 digest as `ssh-keygen -lf` does: `SHA256:` and base64 without padding."""
    return FINGERPRINT_PREFIX + base64.b64encode(digest).decode().rstrip("=")


def fingerprint_digest(text: str) -> bytes:
    """
    The 32 bytes that a fingerprint stands for.

    Raises:
        ConfigError: The text is not exactly what `ssh-keygen -lf` prints for some key.
    """
    # 43 letters hold 258 bits: only a last letter with two zero bits is the spelling of 256.
    if isinstance(text, str) and _FINGERPRINT.fullmatch(text):
        digest = base64.b64decode(text.removeprefix(FINGERPRINT_PREFIX) + "=")
        if fingerprint_text(digest) == text:
            return digest
    raise ConfigError(
        f"{str(text)[:60]!r} is not a key fingerprint",
        hint="it is SHA256: and 43 letters and digits, as the server prints it when it starts",
    )


def key_fault(key: object) -> str:
    """What the key policy has against a key that the crypto library has read, or ""."""
    if not isinstance(key, crypto.RSAPublicKey):
        return f"it is of type {type(key).__name__.removesuffix('PublicKey')}, not RSA"
    numbers = key.public_numbers()
    if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        return f"it has {key.key_size} bits, not {MIN_RSA_BITS} to {MAX_RSA_BITS}"
    if not MIN_RSA_EXPONENT <= numbers.e <= MAX_RSA_EXPONENT or numbers.e % 2 == 0:
        return f"its exponent is not an odd number from {MIN_RSA_EXPONENT} to {MAX_RSA_EXPONENT}"
    if numbers.n % 2 == 0:
        return "its modulus is even"
    return ""


class PublicKey:
    """
    The public half of an identity. Immutable; equal when the keys are equal.

    Only made by its class methods, which enforce the key policy: RSA, 2048 to 8192 bits, an odd
    exponent from 65537 to 2^32 - 1, and one encoding for each key.
    """

    __slots__ = ("_fingerprint", "_key", "_spki")

    def __init__(self, key: crypto.RSAPublicKey) -> None:
        fault = key_fault(key)
        if fault:
            raise ConfigError(f"this key cannot be used: {fault}", hint=_MAKE_ANOTHER)
        self._key = key
        self._spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self._fingerprint = fingerprint_text(ssh_key_fingerprint(key, hashes.SHA256()))

    @classmethod
    def from_spki(cls, der: bytes) -> PublicKey:
        """
        Read a key that came over the network.

        Args:
            der: SubjectPublicKeyInfo. Other bytes for the same key are refused: the key is compared
                and hashed as bytes.

        Raises:
            ProtocolError: Not an RSA key, outside the policy, or not the one encoding of its key.
        """
        if len(der) > MAX_SPKI_SIZE:
            raise ProtocolError(f"the peer's key has {len(der)} bytes, at most {MAX_SPKI_SIZE}")
        try:
            key = load_der_public_key(der)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ProtocolError("the peer's key is not a public key in DER") from None
        fault = key_fault(key)
        if fault:
            raise ProtocolError(f"the peer's key cannot be used: {fault}")
        assert isinstance(key, crypto.RSAPublicKey)
        public = cls(key)
        if public.spki != der:
            raise ProtocolError("the peer's key is not in the one encoding that is allowed")
        return public

    @classmethod
    def from_pem(cls, data: bytes, *, source: str = "the key") -> PublicKey:
        """
        Read a public key as files hold it.

        Args:
            data: PEM (`PUBLIC KEY`, or PKCS#1 `RSA PUBLIC KEY`), or an OpenSSH line, `ssh-rsa ...`.
            source: What to call it in an error.

        Raises:
            KeyFileError: It is none of these, or outside the key policy.
        """
        if b"PRIVATE KEY-----" in data:
            raise KeyFileError(
                f"{source} is a private key", hint="give the public one, never hand out the other"
            )
        ssh = data.lstrip()[:8] == b"ssh-rsa "
        try:
            key = load_ssh_public_key(data.strip()) if ssh else load_pem_public_key(data)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise KeyFileError(
                f"{source} is damaged, or not a public key in PEM or OpenSSH form",
                hint="ask its owner for the file again",
            ) from None
        fault = key_fault(key) or pss_fault(data)
        if fault:
            raise KeyFileError(f"{source} cannot be used: {fault}", hint=_MAKE_ANOTHER)
        assert isinstance(key, crypto.RSAPublicKey)
        return cls(key)

    @classmethod
    def load(cls, path: AnyPath) -> PublicKey:
        """
        Read a public key file.

        Raises:
            KeyFileError: It is missing, unreadable, damaged, or no key that can be used.
        """
        path = absolute(path)
        return cls.from_pem(read_file(path, MAX_KEY_FILE), source=str(path))

    @classmethod
    def from_rsa(cls, key: rsa.PublicKey) -> PublicKey:
        """
        Take over a key object of the python-rsa package.

        Raises:
            ConfigError: It is not one, or outside the key policy.
        """
        if not isinstance(key, rsa.PublicKey):
            raise ConfigError(f"from_rsa() takes an rsa.PublicKey, not {type(key).__name__}")
        try:
            return cls(RSAPublicNumbers(key.e, key.n).public_key())
        except ValueError as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError("this rsa.PublicKey is not a valid key") from None

    @property
    def spki(self) -> bytes:
        """SubjectPublicKeyInfo, DER: the bytes on the wire."""
        return self._spki

    @property
    def bits(self) -> int:
        """Size of the modulus."""
        return self._key.key_size

    @property
    def fingerprint(self) -> str:
        """`SHA256:...`, exactly as `ssh-keygen -lf` prints it for the same key."""
        return self._fingerprint

    def verify(self, signature: bytes, message: bytes) -> None:
        """
        Check an RSA-PSS signature (SHA-256, salt 32). Returning is the success.

        Raises:
            ProtocolError: The signature is not by this key over this message.
        """
        crypto.pss_verify(self._key, signature, message)

    def encrypt(self, plaintext: bytes, label: bytes) -> bytes:
        """
        Encrypt a short secret for the holder of this key (RSA-OAEP, SHA-256).

        Raises:
            ConfigError: The plaintext is too long for the key.
        """
        return crypto.oaep_encrypt(self._key, plaintext, label)

    def to_pem(self) -> bytes:
        """PEM, `PUBLIC KEY`: the form of our own files."""
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def to_pkcs1_pem(self) -> bytes:
        """PEM, `RSA PUBLIC KEY` (PKCS#1): the form that python-rsa reads and writes."""
        return self._key.public_bytes(Encoding.PEM, PublicFormat.PKCS1)

    def to_openssh(self) -> bytes:
        """One line, `ssh-rsa ...`, as in `authorized_keys`."""
        return self._key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)

    def to_rsa(self) -> rsa.PublicKey:
        """A key object of the python-rsa package."""
        numbers = self._key.public_numbers()
        return rsa.PublicKey(numbers.n, numbers.e)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PublicKey):
            return NotImplemented
        return self._spki == other._spki

    def __hash__(self) -> int:
        return hash(self._spki)

    def __reduce__(self) -> tuple[object, ...]:
        return PublicKey.from_spki, (self._spki,)

    def __repr__(self) -> str:
        return f"<PublicKey {self._fingerprint}>"


_MAKE_ANOTHER = "make another key with createEncryptKeys()"

# 1.2.840.113549.1.1.10, id-RSASSA-PSS, as DER: the crypto library reads such a key as a plain one.
_PSS_OID = bytes.fromhex("06092a864886f70d01010a")
# The first 66 bytes of the DER, which hold the algorithm; 88 clean letters always decode.
_PEM_START = re.compile(rb"-----BEGIN (?:PUBLIC|PRIVATE) KEY-----\s*((?:[A-Za-z0-9+/]\s*){88})")


def pss_fault(pem: bytes) -> str:
    """Say so if a PEM file declares its RSA key to be of the type that is bound to RSASSA-PSS."""
    start = _PEM_START.search(pem)
    declared = start is not None and _PSS_OID in base64.b64decode(start[1])
    return "it is of type RSA-PSS, not plain RSA" if declared else ""
