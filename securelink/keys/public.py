"""Public keys: the policy, the encodings, the fingerprint."""

from __future__ import annotations

import base64
import re
from typing import cast

import rsa
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    ssh_key_fingerprint,
)

from .. import crypto
from ..errors import ConfigError, KeyFileError, ProtocolError
from ..limits import MAX_KEY_FILE, MAX_RSA_BITS
from ..options import raw
from ..text import kind_of, quoted
from .der import DerError
from .files import AnyPath, absolute, read_file
from .pem import find_block
from .private import MAKE_ANOTHER, pem_bytes
from .shapes import (
    PublicNumbers,
    UnfitKeyError,
    openssh_numbers,
    pkcs1_public_numbers,
    spki_numbers,
)

# An SPKI is the modulus, at most 4 bytes of exponent and under 40 bytes of structure around them.
MAX_SPKI_SIZE = MAX_RSA_BITS // 8 + 64

FINGERPRINT_PREFIX = "SHA256:"
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


def fingerprint_text(digest: bytes) -> str:
    """Spell a SHA-256 digest as `ssh-keygen -lf` does: `SHA256:` and base64 without padding."""
    return FINGERPRINT_PREFIX + base64.b64encode(digest).decode().rstrip("=")


def fingerprint_digest(text: str) -> bytes:
    """
    The 32 bytes of a fingerprint.

    Raises:
        ConfigError: The text is not exactly what `ssh-keygen -lf` prints for some key.
    """
    # 43 letters hold 258 bits: the last letter must have two zero bits to spell 256.
    if isinstance(text, str) and _FINGERPRINT.fullmatch(text):
        digest = base64.b64decode(text.removeprefix(FINGERPRINT_PREFIX) + "=")
        if fingerprint_text(digest) == text:
            return digest
    raise ConfigError(
        f"{quoted(text)} is not a key fingerprint",
        hint="it is SHA256: and 43 letters and digits, as the server prints it when it starts",
    )


class PublicKey:
    """
    The public half of an identity. Immutable; equal when the keys are equal.

    Only its class methods make one; they enforce the key policy: RSA, 2048 to 8192 bits, an odd exponent from 65537
    to 2^32 - 1, and one encoding for each key.
    """

    __slots__ = ("_fingerprint", "_spki")

    def __init__(self, key: crypto.RSAPublicKey) -> None:
        if not isinstance(key, crypto.RSAPublicKey):
            raise ConfigError(
                f"a PublicKey is not made of {kind_of(key)}",
                hint="use PublicKey.load(), from_pem(), from_spki() or from_rsa()",
            )
        numbers = key.public_numbers()
        try:
            PublicNumbers(numbers.n, numbers.e).check()
        except UnfitKeyError as error:
            raise ConfigError(f"this key cannot be used: {error}", hint=MAKE_ANOTHER) from None
        # The object is not kept: it has 2 KiB, which each session would hold for as long as it lasts.
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
        if not isinstance(der, bytes):
            raise ConfigError(f"from_spki() takes bytes, not {kind_of(der)}")
        if len(der) > MAX_SPKI_SIZE:
            raise ProtocolError(f"the peer's key has {len(der)} bytes, at most {MAX_SPKI_SIZE}")
        try:
            public = cls._of(spki_numbers(der))
        except UnfitKeyError as error:
            raise ProtocolError(f"the peer's key cannot be used: {error}") from None
        except DerError:
            raise ProtocolError("the peer's key is not a public key in DER") from None
        if public.spki != der:
            raise ProtocolError("the peer's key is not in the one encoding that is allowed")
        return public

    @classmethod
    def from_pem(cls, data: bytes | str, *, source: str = "the key") -> PublicKey:
        """
        Read a public key in a file format.

        Args:
            data: PEM (`PUBLIC KEY`, or PKCS#1 `RSA PUBLIC KEY`), or an OpenSSH line, `ssh-rsa ...`.
            source: Its name in an error.

        Raises:
            KeyFileError: It is none of these, or outside the key policy.
            ConfigError: `data` is neither bytes nor text.
        """
        data = pem_bytes(data, source)
        if b"PRIVATE KEY-----" in data:
            raise KeyFileError(
                f"{source} is a private key", hint="give the public one, never hand out the other"
            )
        try:
            return cls._of(_file_numbers(data))
        except UnfitKeyError as error:
            raise KeyFileError(f"{source} cannot be used: {error}", hint=MAKE_ANOTHER) from None
        except ValueError:
            raise KeyFileError(
                f"{source} is damaged, or not a public key in PEM or OpenSSH form",
                hint="ask its owner for the file again",
            ) from None

    @classmethod
    def load(cls, path: AnyPath) -> PublicKey:
        """
        Read a public key file, whoever its owner is: check the fingerprint to know whose key it is.

        Raises:
            KeyFileError: It is missing, unreadable, damaged, or not a usable key.
        """
        path = absolute(path)
        return cls.from_pem(read_file(path, MAX_KEY_FILE, believed=False), source=str(path))

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
            return cls._of(PublicNumbers(key.n, key.e))
        except UnfitKeyError as error:
            raise ConfigError(f"this key cannot be used: {error}", hint=MAKE_ANOTHER) from None

    @classmethod
    def _of(cls, numbers: PublicNumbers) -> PublicKey:
        """
        A key made of untrusted numbers. The crypto library sees them only if the policy allows them.

        Raises:
            UnfitKeyError: The policy does not allow them.
        """
        numbers.check()
        return cls(RSAPublicNumbers(numbers.e, numbers.n).public_key())

    def _loaded(self) -> crypto.RSAPublicKey:
        """The key as the crypto library takes it; 6 microseconds."""
        return cast("crypto.RSAPublicKey", load_der_public_key(self._spki))

    @property
    def spki(self) -> bytes:
        """SubjectPublicKeyInfo, DER: the bytes on the wire."""
        return self._spki

    @property
    def bits(self) -> int:
        """Size of the modulus."""
        return self._loaded().key_size

    @property
    def fingerprint(self) -> str:
        """`SHA256:...`, exactly as `ssh-keygen -lf` prints it for the same key."""
        return self._fingerprint

    def verify(self, signature: bytes, message: bytes) -> None:
        """
        Check an RSA-PSS signature (SHA-256, salt 32). It is valid if this returns.

        Raises:
            ProtocolError: The signature is not by this key over this message.
            ConfigError: An argument is not bytes.
        """
        raw("the signature", signature)
        raw("the message", message)
        crypto.pss_verify(self._loaded(), signature, message)

    def encrypt(self, plaintext: bytes, label: bytes) -> bytes:
        """
        Encrypt a short secret for the holder of this key (RSA-OAEP, SHA-256).

        Raises:
            ConfigError: The plaintext is too long for the key, or an argument is not bytes.
        """
        raw("the plaintext", plaintext)
        raw("the label", label)
        return crypto.oaep_encrypt(self._loaded(), bytes(plaintext), bytes(label))

    def to_pem(self) -> bytes:
        """PEM, `PUBLIC KEY`: the format of our own files."""
        return self._loaded().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def to_pkcs1_pem(self) -> bytes:
        """PEM, `RSA PUBLIC KEY` (PKCS#1): the format that python-rsa reads and writes."""
        return self._loaded().public_bytes(Encoding.PEM, PublicFormat.PKCS1)

    def to_openssh(self) -> bytes:
        """One line, `ssh-rsa ...`, as in `authorized_keys`."""
        return self._loaded().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)

    def to_rsa(self) -> rsa.PublicKey:
        """A key object of the python-rsa package."""
        numbers = self._loaded().public_numbers()
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


def _file_numbers(data: bytes) -> PublicNumbers:
    """The numbers in a public key file. Raises `ValueError`, of which `UnfitKeyError` is one."""
    if data.lstrip()[:8] == b"ssh-rsa ":
        return openssh_numbers(data.strip())
    block = find_block(data, "PUBLIC KEY")
    if block is None or block.label not in ("PUBLIC KEY", "RSA PUBLIC KEY"):
        raise DerError("no block of this name is known")
    return (spki_numbers if block.label == "PUBLIC KEY" else pkcs1_public_numbers)(block.der)
