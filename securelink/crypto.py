"""
The bridge to the crypto library: key schedule, key exchange, signatures, AES-GCM, OAEP, scrypt, PBKDF2.

One suite, no options (protocol version 1): X25519 with ML-KEM-768, AES-256-GCM, SHA-256, RSA-PSS.
Failures leave this module as errors of `errors.py`. The one exception is `InvalidTag`: the record
layer calls the AEAD object directly, because a wrapper would cost a function call a record.

Python cannot reliably wipe memory: a secret lives as long as the objects that hold it, and its
bytes may stay in memory until something else is written there.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import os
from collections.abc import Callable

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.exceptions import InvalidTag as InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey as RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey as RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hmac import HMAC

from .errors import CodecError, ConfigError, ProtocolError, UnsealError
from .text import kind_of

try:
    from cryptography.hazmat.primitives.asymmetric.mlkem import (
        MLKEM768PrivateKey,
        MLKEM768PublicKey,
    )

    # The module can exist while the OpenSSL below it has no ML-KEM; only a call shows that.
    MLKEM768PrivateKey.from_seed_bytes(bytes(64))
except (ImportError, UnsupportedAlgorithm) as error:
    raise ImportError(
        "securelink needs ML-KEM-768, which the installed cryptography package lacks; "
        "install a wheel that has it: pip install 'cryptography>=48'"
    ) from error

BytesLike = bytes | bytearray | memoryview
Random = Callable[[int], bytes]
"""Called with a size, returns that many random bytes (any other number is a `ConfigError`)."""

AEAD = AESGCM
"""AES-GCM with `encrypt(nonce, data, aad)` and `decrypt(...)`, which raises `InvalidTag`."""

HASH_SIZE = 32  # SHA-256; also every secret of the key schedule
AEAD_KEY_SIZE = 32  # AES-256
PSS_SALT_SIZE = 32  # as long as the hash, RFC 9846 4.3.3
LABEL_PREFIX = b"securelink 1 "  # not "tls13 ": our keys differ from those of TLS

# --- sizes of the hybrid key exchange (FIPS 203 table 3, RFC 7748) --------------------------------
_MLKEM_SEED_SIZE = 64
_MLKEM_PUBLIC_SIZE = 1184
_MLKEM_CIPHERTEXT_SIZE = 1088
_X25519_SIZE = 32
CLIENT_SHARE_SIZE = _MLKEM_PUBLIC_SIZE + _X25519_SIZE
SERVER_SHARE_SIZE = _MLKEM_CIPHERTEXT_SIZE + _X25519_SIZE

_SHA256 = hashes.SHA256()
_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=PSS_SALT_SIZE)


# --- hashes ---------------------------------------------------------------------------------------


def sha256(data: BytesLike) -> bytes:
    """SHA-256 of `data`, 32 bytes."""
    return hashlib.sha256(data).digest()


def hmac_sha256(key: bytes, data: BytesLike) -> bytes:
    """HMAC-SHA-256 of `data` under `key`, 32 bytes (RFC 2104)."""
    # Not `hmac.digest`: that gives the interpreter away each time, for 2 us of work, and a handshake has sixty of them.
    mac = HMAC(key, _SHA256)
    mac.update(data)
    return mac.finalize()


def equal(a: BytesLike, b: BytesLike) -> bool:
    """Compare in constant time, so that timing does not show where the two differ; lengths are not secret."""
    return hmac.compare_digest(a, b)


class Transcript:
    """The running SHA-256 over all handshake bytes, in the order in which they were sent."""

    __slots__ = ("_hash",)

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, data: BytesLike) -> None:
        """Append handshake bytes."""
        self._hash.update(data)

    def digest(self) -> bytes:
        """The hash of everything so far, 32 bytes. More may follow."""
        return self._hash.digest()

    def copy(self) -> Transcript:
        """An independent copy."""
        twin = Transcript()
        twin._hash = self._hash.copy()
        return twin


# --- key schedule (RFC 5869, RFC 9846 7.1) --------------------------------------------------------


def hkdf_extract(salt: bytes, ikm: bytes) -> bytes:
    """HKDF-Extract: a 32-byte key from input key material. An empty salt counts as 32 zeros."""
    return hmac_sha256(salt, ikm)


def hkdf_expand(prk: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand: `length` bytes from a pseudorandom key; `ConfigError` if not in 0..8160."""
    _check_length(length)
    output = block = hmac_sha256(prk, info + b"\x01")  # nearly always it is all
    for counter in range(2, -(-length // HASH_SIZE) + 1):
        block = hmac_sha256(prk, block + info + counter.to_bytes(1))
        output += block
    return output[:length]


def hkdf_expand_label(
    secret: bytes, label: bytes, context: bytes, length: int, prefix: bytes = LABEL_PREFIX
) -> bytes:
    """
    HKDF-Expand-Label of RFC 9846 7.1.

    HkdfLabel: length u16 | size u8, prefix + label | size u8, context.

    Args:
        secret: A secret of the key schedule.
        label: What the result is for.
        context: A transcript hash, or empty.
        length: Bytes wanted.
        prefix: Ours, unless a published TLS vector is checked.

    Raises:
        ConfigError: Label or context is longer than 255 bytes, or `length` is not in 0..8160.
    """
    info = _before_context(prefix, label, length, len(context)) + context
    if length > HASH_SIZE:
        return hkdf_expand(secret, info, length)
    mac = HMAC(secret, _SHA256)  # here, and in one block: a handshake derives forty keys
    mac.update(info + b"\x01")
    return mac.finalize()[:length]


@functools.lru_cache(64)  # of the few labels that there are; nothing secret
def _before_context(prefix: bytes, label: bytes, length: int, context_size: int) -> bytes:
    """HkdfLabel up to its context."""
    full_label = prefix + label
    if len(full_label) > 255:
        raise ConfigError("the label of a derived key has at most 255 bytes")
    if context_size > 255:
        raise ConfigError("the context of a derived key has at most 255 bytes")
    _check_length(length)
    sized = len(full_label).to_bytes(1) + full_label
    return length.to_bytes(2) + sized + context_size.to_bytes(1)


def derive_secret(
    secret: bytes, label: bytes, transcript_hash: bytes, prefix: bytes = LABEL_PREFIX
) -> bytes:
    """
    Derive-Secret of RFC 9846 7.1: 32 bytes bound to the handshake so far. Unlike the RFC's function it takes the
    hash, not the messages.
    """
    return hkdf_expand_label(secret, label, transcript_hash, HASH_SIZE, prefix)


def _check_length(length: int) -> None:
    if not 0 <= length <= 255 * HASH_SIZE:
        raise ConfigError(f"HKDF gives 0 to {255 * HASH_SIZE} bytes, not {length}")


# --- key exchange: X25519MLKEM768 -----------------------------------------------------------------


class ClientShare:
    """
    The client's half of one key exchange: two fresh key pairs, used for one answer.

    Wire: ML-KEM-768 encapsulation key 1184 | X25519 public key 32 (draft-ietf-tls-ecdhe-mlkem).

    Attributes:
        public: What goes into the ClientHello, 1216 bytes.
    """

    __slots__ = ("_keys", "public")

    def __init__(self, random: Random = os.urandom) -> None:
        kem = MLKEM768PrivateKey.from_seed_bytes(draw(random, _MLKEM_SEED_SIZE))
        ecdh = X25519PrivateKey.from_private_bytes(draw(random, _X25519_SIZE))
        self._keys: tuple[MLKEM768PrivateKey, X25519PrivateKey] | None = (kem, ecdh)
        self.public = kem.public_key().public_bytes_raw() + ecdh.public_key().public_bytes_raw()

    def finish(self, server_share: bytes) -> bytes:
        """
        Complete the exchange with the server's answer and forget the private keys.

        A changed ML-KEM ciphertext is not detected here: by design it gives another secret
        (FIPS 203, implicit rejection), and the server's first sealed record then fails.

        Args:
            server_share: ML-KEM ciphertext 1088 | X25519 public key 32.

        Returns:
            ML-KEM secret 32 | X25519 secret 32.

        Raises:
            CodecError: The share has the wrong size.
            ProtocolError: The X25519 key is one of those that make the secret zero.
            ConfigError: This key share was answered before.
        """
        if self._keys is None:
            raise ConfigError("a key share completes one exchange only", hint="make a new one")
        kem, ecdh = self._keys
        self._keys = None
        ciphertext, point = _split(server_share, _MLKEM_CIPHERTEXT_SIZE, "server")
        return kem.decapsulate(ciphertext) + _x25519(ecdh, point)


def answer_key_share(client_share: bytes, random: Random = os.urandom) -> tuple[bytes, bytes]:
    """
    Do the server's half of the key exchange.

    Args:
        client_share: `ClientShare.public` of the peer, untrusted.
        random: Gives the X25519 key; the crypto library draws what ML-KEM needs.

    Returns:
        The server share for `ClientShare.finish()`, 1120 bytes, and the secret, 64 bytes.

    Raises:
        CodecError: The share has the wrong size.
        ProtocolError: It holds no valid ML-KEM key, or an X25519 key that makes the secret zero.
    """
    encapsulation_key, point = _split(client_share, _MLKEM_PUBLIC_SIZE, "client")
    ecdh = X25519PrivateKey.from_private_bytes(draw(random, _X25519_SIZE))
    ecdh_secret = _x25519(ecdh, point)
    # Called by its global name, so that tests can put a recorded answer here.
    kem_secret, ciphertext = mlkem_encapsulate(encapsulation_key)
    return ciphertext + ecdh.public_key().public_bytes_raw(), kem_secret + ecdh_secret


def mlkem_encapsulate(encapsulation_key: bytes) -> tuple[bytes, bytes]:
    """
    ML-KEM-768 encapsulation with the library's own randomness (FIPS 203, algorithm 20).

    Returns:
        The secret, 32 bytes, and its ciphertext, 1088 bytes.

    Raises:
        ProtocolError: Wrong size, or a coefficient that is not reduced (the check of FIPS 203 7.2).
    """
    try:
        return MLKEM768PublicKey.from_public_bytes(encapsulation_key).encapsulate()
    except ValueError:
        raise ProtocolError("the peer's ML-KEM key is not valid") from None


def draw(random: Random, size: int) -> bytes:
    """Random bytes from a source; `ConfigError` when it does not give exactly that many bytes."""
    drawn = random(size)
    if not isinstance(drawn, bytes):
        raise ConfigError(f"the random source gave {kind_of(drawn)} instead of bytes")
    # A source that gives too little would weaken every key, so its output is never used.
    if len(drawn) != size:
        raise ConfigError(f"the random source gave {len(drawn)} bytes instead of {size}")
    return drawn


def _split(share: bytes, kem_size: int, side: str) -> tuple[bytes, bytes]:
    expected = kem_size + _X25519_SIZE
    if len(share) != expected:
        raise CodecError(f"the {side}'s key share has {len(share)} bytes instead of {expected}")
    return share[:kem_size], share[kem_size:]


def _x25519(private: X25519PrivateKey, their_public: bytes) -> bytes:
    try:
        # Refuses the all-zero result, as RFC 9846 7.4.2 requires: points of small order would let
        # the peer choose the secret.
        return private.exchange(X25519PublicKey.from_public_bytes(their_public))
    except ValueError:
        raise ProtocolError("the peer's X25519 key is not valid") from None


# --- signatures: RSASSA-PSS, SHA-256, MGF1-SHA-256, salt 32 (RFC 8017 8.1) ------------------------


def signature_input(context: bytes, transcript_hash: bytes) -> bytes:
    """
    The input of a handshake signature: 64 spaces | context | 0x00 | transcript hash (RFC 9846 4.5.2).

    The spaces prevent the reuse of a signature over a hello of an old TLS version; the context separates
    the signatures of the two sides.
    """
    return b" " * 64 + context + b"\0" + transcript_hash


def pss_sign(private_key: RSAPrivateKey, message: bytes) -> bytes:
    """
    Sign `message` with a fresh salt. The signature is as long as the key's modulus.

    Raises:
        ConfigError: The key is too small for the hash and the salt.
    """
    try:
        return private_key.sign(message, _PSS, hashes.SHA256())
    except ValueError:
        raise ConfigError(f"a key of {private_key.key_size} bits cannot sign") from None


def pss_verify(public_key: RSAPublicKey, signature: bytes, message: bytes) -> None:
    """
    Check a signature. It is valid if this returns; every failure is the same error.

    Raises:
        ProtocolError: Wrong key, message, signature length or hash, or a salt not of 32 bytes.
    """
    try:
        # RFC 8017 8.1.2, step 1. OpenSSL takes a signature that begins with a zero byte without it, too.
        if len(signature) != (public_key.key_size + 7) // 8:
            raise InvalidSignature
        public_key.verify(signature, message, _PSS, hashes.SHA256())
    except InvalidSignature:
        raise ProtocolError(
            "the signature is not valid",
            hint="the peer does not hold the key that it shows; somebody may be intercepting the connection",
        ) from None


# --- AES-256-GCM, RSA-OAEP --------------------------------------------------------------------------


def new_aead(key: bytes) -> AEAD:
    """
    AES-256-GCM under `key`.

    Raises:
        ConfigError: The key does not have 32 bytes; a shorter one would silently be AES-128.
    """
    if len(key) != AEAD_KEY_SIZE:
        raise ConfigError(f"an AES-256 key has {AEAD_KEY_SIZE} bytes, not {len(key)}")
    return AESGCM(key)


def oaep_encrypt(public_key: RSAPublicKey, plaintext: bytes, label: bytes) -> bytes:
    """
    RSAES-OAEP with SHA-256 and MGF1-SHA-256 (RFC 8017 7.1).

    Args:
        public_key: The recipient's.
        plaintext: A secret; at most the modulus size less 66 bytes.
        label: What it is for; decryption demands the same.

    Raises:
        ConfigError: The plaintext is too long for this key.
    """
    try:
        return public_key.encrypt(plaintext, _oaep(label))
    except ValueError:
        raise ConfigError(
            f"{len(plaintext)} bytes are too long for one RSA block of {public_key.key_size} bits"
        ) from None


def oaep_decrypt(private_key: RSAPrivateKey, ciphertext: bytes, label: bytes) -> bytes:
    """
    Undo `oaep_encrypt()`.

    Raises:
        UnsealError: Wrong key, label, length or content. It does not say which: that would help a forger.
    """
    try:
        return private_key.decrypt(ciphertext, _oaep(label))
    except ValueError:
        raise UnsealError("this cannot be decrypted with this key") from None


def _oaep(label: bytes) -> padding.OAEP:
    return padding.OAEP(
        mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=label or None
    )
