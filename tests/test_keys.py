"""Keys: the policy, the encodings, signing, and what never leaves an identity."""

from __future__ import annotations

import base64
import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import rsa
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric import rsa as crypto_rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from securelink.errors import ConfigError, KeyFileError, ProtocolError, UnsealError
from securelink.keys import Identity, PublicKey, fingerprint_digest, fingerprint_text
from securelink.keys.public import MAX_SPKI_SIZE

NULL = bytes.fromhex("0500")
RSA_OID = bytes.fromhex("06092a864886f70d010101")
PSS_OID = bytes.fromhex("06092a864886f70d01010a")
E_65537 = bytes.fromhex("0203010001")  # how the SPKI of every ordinary key ends


def spki_of(modulus: int, exponent: int) -> bytes:
    """The DER of a public key that no policy has looked at."""
    key = crypto_rsa.RSAPublicNumbers(exponent, modulus).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def odd_modulus(bits: int) -> int:
    """A number of that many bits that could be a modulus."""
    return (1 << bits) - 1 - (1 << bits // 2)


# --- the policy -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bits", "exponent"),
    [(2048, 65537), (2055, 65537), (3072, 65539), (8192, 65537), (2048, 2**32 - 1)],
)
def test_policy_accepts_its_edges(bits: int, exponent: int) -> None:
    """Keys of 2048 to 8192 bits with odd exponents from 65537 to 2^32 - 1 are accepted."""
    der = spki_of(odd_modulus(bits), exponent)
    assert PublicKey.from_spki(der).spki == der
    assert PublicKey.from_spki(der).bits == bits


@pytest.mark.parametrize(
    ("bits", "exponent", "why"),
    [
        (1024, 65537, "it has 1024 bits, not 2048 to 8192"),
        (2047, 65537, "it has 2047 bits"),
        (8193, 65537, "it has 8193 bits"),
        (2048, 3, "its exponent is not an odd number from 65537"),
        (2048, 65535, "its exponent"),
        (2048, 2**32 + 1, "its exponent"),
    ],
)
def test_policy_refuses_what_lies_beyond(bits: int, exponent: int, why: str) -> None:
    """Sizes and exponents just outside the policy are refused, and the error says which rule."""
    with pytest.raises(ProtocolError, match=why):
        PublicKey.from_spki(spki_of(odd_modulus(bits), exponent))


def test_oversized_key_is_refused_unread() -> None:
    """More bytes than the largest allowed key has are refused before anything parses them."""
    with pytest.raises(ProtocolError, match=f"has {MAX_SPKI_SIZE + 1} bytes"):
        PublicKey.from_spki(bytes(MAX_SPKI_SIZE + 1))
    largest = spki_of(odd_modulus(8192), 2**32 - 1)
    assert len(largest) <= MAX_SPKI_SIZE


def test_even_numbers_are_refused(identity: Identity) -> None:
    """An even exponent or modulus is no RSA key, however the bytes are arranged."""
    der = identity.public.spki
    with pytest.raises(ProtocolError):
        PublicKey.from_spki(der[:-1] + b"\x00")
    even = bytearray(der)
    even[-len(E_65537) - 1] &= 0xFE
    with pytest.raises(ProtocolError):
        PublicKey.from_spki(bytes(even))


def test_other_kinds_of_keys_are_refused() -> None:
    """An elliptic curve key is refused by name."""
    der = (
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(ProtocolError, match="it is of type EC, not RSA"):
        PublicKey.from_spki(der)


def without_null(der: bytes) -> bytes:
    """The same key, the parameters of its algorithm left out."""
    body = der[4:].replace(
        b"\x30\x0d" + RSA_OID + NULL,
        b"\x30\x0b" + RSA_OID,
    )
    return b"\x30\x82" + len(body).to_bytes(2) + body


def long_length(der: bytes) -> bytes:
    """The same key, its outer length spelled with one byte more than needed (BER)."""
    return b"\x30\x83\x00" + der[2:]


@pytest.mark.parametrize(
    "respell",
    [
        without_null,
        long_length,
        lambda der: der + b"\x00",
        lambda der: der.replace(RSA_OID + NULL, PSS_OID + NULL),
        lambda der: b"",
        lambda der: b"\x30\x00",
        lambda der: base64.b64encode(der),
    ],
)
def test_only_one_encoding_of_a_key_is_accepted(
    respell: Callable[[bytes], bytes], identity: Identity
) -> None:
    """Other spellings of the same key, or another algorithm for it, are refused."""
    respelled = respell(identity.public.spki)
    assert respelled != identity.public.spki
    with pytest.raises(ProtocolError):
        PublicKey.from_spki(respelled)


def test_every_truncation_is_refused(identity: Identity) -> None:
    """No proper beginning of a key is a key."""
    der = identity.public.spki
    for size in range(len(der)):
        with pytest.raises(ProtocolError):
            PublicKey.from_spki(der[:size])


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_changed_bytes_are_another_key_or_refused(data: st.DataObject, identity: Identity) -> None:
    """Whatever bytes come: a key with exactly these bytes, or the one documented error."""
    der = bytearray(identity.public.spki)
    for _ in range(data.draw(st.integers(1, 3))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    try:
        key = PublicKey.from_spki(bytes(der))
    except ProtocolError:
        return
    assert key.spki == der


# --- fingerprints ---------------------------------------------------------------------------------


@given(st.binary(min_size=32, max_size=32))
@settings(max_examples=100, deadline=None)
def test_fingerprint_text_and_digest_are_inverse(digest: bytes) -> None:
    """Every digest has one spelling, and that spelling gives it back."""
    text = fingerprint_text(digest)
    assert text.startswith("SHA256:")
    assert len(text) == 50
    assert fingerprint_digest(text) == digest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SHA256:",
        "A" * 43,
        "sha256:" + "A" * 43,
        "SHA256:" + "A" * 42,
        "SHA256:" + "A" * 44,
        "SHA256:" + "A" * 43 + "=",
        "SHA256:" + "A" * 43 + "\n",
        "SHA256:" + "A" * 42 + "B",  # a spelling of the same digest with bits that do not count
        "SHA256:" + "-" * 43,
        "MD5:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff",
    ],
)
def test_other_texts_are_no_fingerprint(text: str) -> None:
    """A fingerprint has one spelling; anything else is refused with the form it should have."""
    with pytest.raises(ConfigError, match="43 letters and digits"):
        fingerprint_digest(text)


# --- PublicKey ------------------------------------------------------------------------------------


def test_public_keys_are_equal_by_their_bytes(identity: Identity, other_identity: Identity) -> None:
    """Equal keys are equal and hash alike, other keys and other things are not equal."""
    again = PublicKey.from_spki(identity.public.spki)
    assert again == identity.public
    assert hash(again) == hash(identity.public)
    assert again != other_identity.public
    assert again != identity.public.spki


def test_public_key_cannot_be_changed(identity: Identity) -> None:
    """The parts of a public key are read-only."""
    for name in ("spki", "bits", "fingerprint", "other"):
        with pytest.raises(AttributeError):
            setattr(identity.public, name, b"")


def test_public_key_can_be_pickled(identity: Identity) -> None:
    """A public key survives the way to another process."""
    assert pickle.loads(pickle.dumps(identity.public)) == identity.public


def test_public_pem_round_trip(identity: Identity) -> None:
    """Each form a public key is written in reads back as the same key."""
    public = identity.public
    for data in (public.to_pem(), public.to_pkcs1_pem(), public.to_openssh()):
        assert PublicKey.from_pem(data) == public
    assert PublicKey.from_pem(b"\n" + public.to_openssh() + b" me@home\n") == public
    assert PublicKey.from_pem(public.to_pem().replace(b"\n", b"\r\n")) == public


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 100,
        b"ssh-rsa ",
        b"ssh-rsa AAAA",
        b"ssh-rsa !!!! me",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ],
)
def test_damaged_public_key_is_refused(data: bytes) -> None:
    """What is no public key is refused with what to do, whatever is wrong with it."""
    with pytest.raises(KeyFileError, match=r"^the file is damaged, or not a public key.*again$"):
        PublicKey.from_pem(data, source="the file")


def test_private_key_is_no_public_key(identity: Identity) -> None:
    """A private key given for a public one is refused with a warning not to hand it out."""
    with pytest.raises(KeyFileError, match="the key is a private key; give the public one"):
        PublicKey.from_pem(identity.to_pkcs1_pem())


def test_policy_holds_for_public_pem() -> None:
    """A file with a key that is too small is refused with the reason and the way on."""
    key = crypto_rsa.RSAPublicNumbers(65537, odd_modulus(1024)).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(KeyFileError, match=r"1024 bits.*createEncryptKeys"):
        PublicKey.from_pem(pem)


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"ssh-rsa ", b"-----BEGIN PUBLIC KEY-----\n"])
)
@settings(max_examples=200, deadline=None)
def test_any_bytes_as_public_key(data: bytes, start: bytes) -> None:
    """Arbitrary bytes in a public key file give the documented error and no other."""
    with pytest.raises(KeyFileError):
        PublicKey.from_pem(start + data)


# --- Identity -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [0, 1024, 2047, 8193])
def test_generate_refuses_other_sizes(bits: int) -> None:
    """Sizes outside the policy are refused before any work."""
    with pytest.raises(ConfigError, match=f"bits={bits} is not possible; .* from 2,048 to 8,192"):
        Identity.generate(bits)


def test_signature_round_trip(identity: Identity, other_identity: Identity) -> None:
    """A signature verifies with its key and message, and with nothing else."""
    signature = identity.sign(b"message")
    identity.public.verify(signature, b"message")
    for key, bad, message in (
        (other_identity.public, signature, b"message"),
        (identity.public, signature, b"massage"),
        (identity.public, signature[:-1] + bytes([signature[-1] ^ 1]), b"message"),
        (identity.public, b"", b"message"),
    ):
        with pytest.raises(ProtocolError):
            key.verify(bad, message)


def test_encryption_round_trip(identity: Identity, other_identity: Identity) -> None:
    """A secret encrypted to a key is read by its holder under the same label only."""
    blob = identity.public.encrypt(b"secret", b"label")
    assert identity.decrypt(blob, b"label") == b"secret"
    with pytest.raises(UnsealError):
        identity.decrypt(blob, b"other label")
    with pytest.raises(UnsealError):
        other_identity.decrypt(blob, b"label")


def test_identity_has_the_fingerprint_of_its_public_key(identity: Identity) -> None:
    """An identity that is in no file has no path, and the fingerprint of its public key."""
    assert identity.fingerprint == identity.public.fingerprint
    assert identity.path is None


def test_repr_shows_the_fingerprint_only(identity: Identity) -> None:
    """What a log or a debugger prints of a key is its type and fingerprint."""
    assert repr(identity) == f"<Identity {identity.fingerprint}>"
    assert repr(identity.public) == f"<PublicKey {identity.fingerprint}>"
    assert str(identity) == repr(identity)


def test_identity_is_not_copied_or_pickled(identity: Identity) -> None:
    """A private key leaves the process only by methods that say so."""
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            leave(identity)


def test_elliptic_curve_private_key_is_refused() -> None:
    """A private key of another kind is refused by name, with the way on."""
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    with pytest.raises(KeyFileError, match=r"it is of type EC, not RSA.*createEncryptKeys"):
        Identity.from_pem(pem)


def test_public_key_is_no_private_key(identity: Identity) -> None:
    """A public key given for a private one is refused by name."""
    for data in (identity.public.to_pem(), identity.public.to_openssh()):
        with pytest.raises(KeyFileError, match="the key is a public key; give the private key"):
            Identity.from_pem(data)


def test_from_rsa_refuses_other_objects(identity: Identity) -> None:
    """Handing in the wrong half of a python-rsa key, or anything else, is named."""
    public: Any = identity.public.to_rsa()
    private: Any = identity.to_rsa()
    with pytest.raises(ConfigError, match=r"takes an rsa\.PrivateKey, not PublicKey"):
        Identity.from_rsa(public)
    with pytest.raises(ConfigError, match=r"takes an rsa\.PublicKey, not PrivateKey"):
        PublicKey.from_rsa(private)


def test_from_rsa_refuses_numbers_that_do_not_fit(identity: Identity) -> None:
    """A python-rsa object with a wrong number is no identity, and the error holds no number."""
    good = identity.to_rsa()
    bad = rsa.PrivateKey(good.n, good.e, good.d + 2, good.p, good.q)
    with pytest.raises(ConfigError) as caught:
        Identity.from_rsa(bad)
    assert str(caught.value) == "the numbers of this rsa.PrivateKey do not fit together"


@pytest.mark.parametrize(
    ("modulus", "exponent", "why"),
    [
        (odd_modulus(1024), 65537, "1024 bits"),
        (odd_modulus(2048), 4, "its exponent is not an odd number"),
        (-odd_modulus(2048), 65537, "it has 0 bits"),
        (odd_modulus(2048) - 1, 65537, "its modulus is even"),
    ],
)
def test_policy_holds_for_python_rsa(modulus: int, exponent: int, why: str) -> None:
    """A python-rsa object outside the policy is refused with the reason."""
    with pytest.raises(ConfigError, match=why):
        PublicKey.from_rsa(rsa.PublicKey(modulus, exponent))
