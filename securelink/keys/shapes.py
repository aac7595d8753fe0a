"""
Reads the numbers of a key from the formats in which keys are sent and stored.

No function here computes with the numbers: the time is proportional to the number of bytes, for any bytes. The crypto
library gets only numbers that the key policy has checked, never foreign bytes.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

from ..limits import (
    MAX_RSA_BITS,
    MAX_RSA_EXPONENT,
    MIN_RSA_BITS,
    MIN_RSA_EXPONENT,
)
from .der import BITS, NULL, OBJECT, OCTETS, SEQUENCE, DerError, Reader

_RSA = bytes.fromhex("2a864886f70d010101")
_KINDS = {
    bytes.fromhex("2a864886f70d01010a"): "RSA-PSS",
    bytes.fromhex("2a864886f70d010107"): "RSA-OAEP",
    bytes.fromhex("2a8648ce3d0201"): "EC",
    bytes.fromhex("2a8648ce380401"): "DSA",
    bytes.fromhex("2a864886f70d010301"): "DH",
    bytes.fromhex("2a8648ce3e0201"): "DH",
    bytes.fromhex("2b656e"): "X25519",
    bytes.fromhex("2b656f"): "X448",
    bytes.fromhex("2b6570"): "Ed25519",
    bytes.fromhex("2b6571"): "Ed448",
}
_SSH_MAGIC = b"openssh-key-v1\0"


class UnfitKeyError(ValueError):
    """The bytes are a key that cannot be used; the text says why: "it is of type EC, not RSA"."""


@dataclass(frozen=True, slots=True)
class PublicNumbers:
    """Modulus and exponent."""

    n: int
    e: int

    def check(self) -> None:
        """
        Apply the key policy.

        Raises:
            UnfitKeyError: The policy does not allow the key.
        """
        bits = self.n.bit_length() if self.n > 0 else 0
        if not MIN_RSA_BITS <= bits <= MAX_RSA_BITS:
            raise UnfitKeyError(f"it has {bits} bits, not {MIN_RSA_BITS} to {MAX_RSA_BITS}")
        if not MIN_RSA_EXPONENT <= self.e <= MAX_RSA_EXPONENT or self.e % 2 == 0:
            raise UnfitKeyError(
                f"its exponent is not an odd number from {MIN_RSA_EXPONENT} to {MAX_RSA_EXPONENT}"
            )
        if self.n % 2 == 0:
            raise UnfitKeyError("its modulus is even")


@dataclass(frozen=True, slots=True)
class PrivateNumbers:
    """The numbers of a private key in PKCS#1."""

    public: PublicNumbers
    d: int = field(repr=False)
    p: int = field(repr=False)
    q: int = field(repr=False)
    dmp1: int = field(repr=False)
    dmq1: int = field(repr=False)
    iqmp: int = field(repr=False)

    def fit(self) -> bool:
        """
        Whether the numbers belong together (RFC 8017 3.2). Call `public.check()` before.

        The primality of p and q is not tested: for 8192 bits that takes five seconds at each start, with the
        interpreter locked. A key whose factors are not prime fails the test signature of its loader.
        """
        p, q = self.p, self.q
        # The first line bounds the size of every number in the computations.
        if not (1 < p < self.public.n and 1 < q < self.public.n and p & q & 1 and p != q):
            return False
        if p * q != self.public.n or not 1 < self.d < self.public.n:
            return False
        return (
            self.dmp1 == self.d % (p - 1)
            and self.dmq1 == self.d % (q - 1)
            and self.dmp1 * self.public.e % (p - 1) == 1
            and self.dmq1 * self.public.e % (q - 1) == 1
            and 0 < self.iqmp < p
            and self.iqmp * q % p == 1
        )


# --- public keys ----------------------------------------------------------------------------------


def spki_numbers(der: bytes) -> PublicNumbers:
    """
    The numbers in a SubjectPublicKeyInfo (RFC 5280 4.1, RFC 3279 2.3.1).

    Raises:
        DerError: It is not one, or not in DER.
        UnfitKeyError: Its type is not rsaEncryption with NULL.
    """
    outer = Reader(der)
    spki = outer.enter()
    outer.end()
    _demand_rsa(spki)
    bits = spki.read(BITS)
    spki.end()
    if bits[:1] != b"\0":  # no unused bits
        raise DerError("the key is not a whole number of bytes")
    return pkcs1_public_numbers(bits[1:])


def pkcs1_public_numbers(der: bytes) -> PublicNumbers:
    """The numbers in an RSAPublicKey (RFC 8017 A.1.1). Raises `DerError`."""
    outer = Reader(der)
    numbers = outer.enter()
    outer.end()
    found = PublicNumbers(numbers.integer(), numbers.integer())
    numbers.end()
    return found


def openssh_numbers(line: bytes) -> PublicNumbers:
    """
    The numbers in an OpenSSH line, `ssh-rsa <base64> <comment>` (RFC 4253 6.6). Raises `DerError`.
    """
    parts = line.split(None, 2)
    try:
        blob = _SshReader(base64.b64decode(parts[1], validate=True))
    except (IndexError, binascii.Error):
        raise DerError("no base64 follows the name of the type") from None
    if parts[0] != b"ssh-rsa" or blob.string() != b"ssh-rsa":
        raise DerError("it is of another type than ssh-rsa")
    exponent, modulus = blob.integer(), blob.integer()
    blob.end()
    return PublicNumbers(modulus, exponent)


# --- private keys ---------------------------------------------------------------------------------


def pkcs8_numbers(der: bytes) -> PrivateNumbers:
    """
    The numbers in a PrivateKeyInfo or OneAsymmetricKey (RFC 5958); attributes are ignored.

    Raises:
        DerError: It is not one, or not in DER.
        UnfitKeyError: Its type is not rsaEncryption with NULL.
    """
    outer = Reader(der)
    info = outer.enter()
    outer.end()
    if info.integer() > 1:
        raise DerError("it is of another version of PKCS#8")
    _demand_rsa(info)
    return pkcs1_private_numbers(info.read(OCTETS))


def pkcs1_private_numbers(der: bytes) -> PrivateNumbers:
    """The numbers in an RSAPrivateKey of two primes (RFC 8017 A.1.2). Raises `DerError`."""
    outer = Reader(der)
    numbers = outer.enter()
    outer.end()
    if numbers.integer() != 0:
        raise DerError("it has more than two primes")
    n, e, d, p, q, dmp1, dmq1, iqmp = (numbers.integer() for _ in range(8))
    numbers.end()
    return PrivateNumbers(PublicNumbers(n, e), d, p, q, dmp1, dmq1, iqmp)


def openssh_private_numbers(der: bytes) -> PrivateNumbers | None:
    """
    The numbers in a private key in OpenSSH's format (PROTOCOL.key of OpenSSH).

    Returns:
        None for one that is encrypted.

    Raises:
        DerError: It is not one.
        UnfitKeyError: It is of another type than ssh-rsa.
    """
    if not der.startswith(_SSH_MAGIC):
        raise DerError("it does not begin as an OpenSSH key does")
    outer = _SshReader(der[len(_SSH_MAGIC) :])
    cipher, kdf, _ = outer.string(), outer.string(), outer.string()
    if outer.number() != 1:
        raise DerError("it contains more or fewer keys than one")
    public, inside = _SshReader(outer.string()), _SshReader(outer.string())
    kind = public.string()
    if kind != b"ssh-rsa":
        raise UnfitKeyError(f"it is of type {kind[:40].decode('ascii', 'replace')}, not ssh-rsa")
    exponent, modulus = public.integer(), public.integer()
    if cipher != b"none" or kdf != b"none":
        return None
    outer.end()
    if inside.number() != inside.number() or inside.string() != kind:
        raise DerError("the private part does not belong to this key")
    n, e, d, iqmp, p, q = (inside.integer() for _ in range(6))
    if (n, e) != (modulus, exponent):
        raise DerError("the two halves belong to different keys")
    # Checked before any division: a number may have as many digits as fit into the file.
    if max(d, iqmp, p, q).bit_length() > MAX_RSA_BITS or min(p, q) < 2:
        raise DerError("one of its numbers cannot belong to a modulus")
    return PrivateNumbers(PublicNumbers(n, e), d, p, q, d % (p - 1), d % (q - 1), iqmp)


def _demand_rsa(info: Reader) -> None:
    """Take an AlgorithmIdentifier, which must be rsaEncryption with NULL."""
    algorithm = info.enter(SEQUENCE)
    kind = algorithm.read(OBJECT)
    if kind != _RSA:
        raise UnfitKeyError(f"it is of type {_KINDS.get(kind, 'unknown')}, not RSA")
    if algorithm.read(NULL):
        raise DerError("NULL has a value")
    algorithm.end()


class _SshReader:
    """Takes fields off the front of OpenSSH's data (RFC 4251 5). Raises `DerError`."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise DerError("the data is cut short")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def number(self) -> int:
        """A uint32."""
        return int.from_bytes(self._take(4))

    def string(self) -> bytes:
        """A string: bytes preceded by their size."""
        return self._take(self.number())

    def integer(self) -> int:
        """An mpint that is not negative."""
        body = self.string()
        if body[:1] >= b"\x80":
            raise DerError("a number is negative")
        return int.from_bytes(body)

    def end(self) -> None:
        """Check that nothing follows."""
        if self._at != len(self._data):
            raise DerError("bytes follow where the data should end")
