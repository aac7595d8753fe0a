"""Key exchange, signatures and OAEP of `crypto.py` against vectors, OpenSSL and hostile input."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import rsa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers, generate_private_key
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors import load, unhex

from securelink import crypto
from securelink.errors import CodecError, ConfigError, ProtocolError, UnsealError

MESSAGE = b"what is signed"
EK_SIZE = 1184
CIPHERTEXT_SIZE = 1088
DECAPSULATIONS = load("mlkem768_decap_kat.json")
SMALL_ORDER = load("x25519.json")["small_order"]
PSS = load("pss_openssl.json")


def recorded(*values: bytes) -> crypto.Random:
    """A random source that gives `values` in turn, whatever number of bytes it is asked for."""
    left = list(values)
    return lambda _size: left.pop(0)


def flipped(data: bytes, bit: int) -> bytes:
    """`data` with one bit changed."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


# --- key exchange ---------------------------------------------------------------------------------


def test_both_sides_get_the_same_fresh_secret() -> None:
    """An exchange gives both sides the same 64 bytes, and no two exchanges the same ones."""
    secrets = set()
    for _ in range(3):
        share = crypto.ClientShare()
        assert len(share.public) == crypto.CLIENT_SHARE_SIZE == 1216
        answer, secret = crypto.answer_key_share(share.public)
        assert len(answer) == crypto.SERVER_SHARE_SIZE == 1120
        assert share.finish(answer) == secret
        secrets |= {secret[:32], secret[32:]}
    assert len(secrets) == 6


@pytest.mark.parametrize("entry", load("mlkem768_keygen_acvp.json"))
def test_mlkem_key_generation_acvp(entry: dict[str, Any]) -> None:
    """The first half of the client share is the ML-KEM-768 key that FIPS 203 makes of the seed."""
    v = unhex(entry)
    share = crypto.ClientShare(recorded(v["d"] + v["z"], b"x" * 32))
    assert share.public[:EK_SIZE] == v["ek"]


@pytest.mark.parametrize("entry", DECAPSULATIONS)
def test_mlkem_decapsulation(entry: dict[str, Any]) -> None:
    """A genuine ciphertext gives the secret; an invalid one silently gives FIPS 203's other one."""
    v = unhex(entry)
    point = crypto.ClientShare().public[EK_SIZE:]
    for ciphertext, secret in ((v["ct"], v["ss"]), (v["ct_invalid"], v["ss_invalid"])):
        share = crypto.ClientShare(recorded(v["d"] + v["z"], b"x" * 32))
        assert share.finish(ciphertext + point)[:32] == secret


@pytest.mark.parametrize("entry", load("x25519.json")["rfc7748"])
def test_x25519_rfc7748(entry: dict[str, Any]) -> None:
    """The second half of the secret is X25519, on both sides."""
    v = unhex(entry)
    share = crypto.ClientShare(recorded(b"s" * 64, v["scalar"]))
    assert share.finish(bytes(CIPHERTEXT_SIZE) + v["u"])[32:] == v["output"]
    ek = share.public[:EK_SIZE]
    assert crypto.answer_key_share(ek + v["u"], recorded(v["scalar"]))[1][32:] == v["output"]


def test_recorded_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """With recorded randomness an exchange repeats byte by byte: ML-KEM first, then X25519."""
    kem = unhex(DECAPSULATIONS[0])
    ecdh = unhex(load("tls13_rfc8448.json")["simple_1rtt"])
    monkeypatch.setattr(crypto, "mlkem_encapsulate", lambda _ek: (kem["ss"], kem["ct"]))
    share = crypto.ClientShare(recorded(kem["d"] + kem["z"], ecdh["client_x25519_private"]))
    answer, secret = crypto.answer_key_share(share.public, recorded(ecdh["server_x25519_private"]))
    assert share.public[EK_SIZE:] == ecdh["client_x25519_public"]
    assert answer == kem["ct"] + ecdh["server_x25519_public"]
    assert secret == share.finish(answer) == kem["ss"] + ecdh["x25519_shared"]


def test_encapsulation_draws_anew() -> None:
    """Two encapsulations to one key have different secrets and ciphertexts of the right size."""
    ek = crypto.ClientShare().public[:EK_SIZE]
    (secret, ciphertext), (other_secret, other_ciphertext) = (
        crypto.mlkem_encapsulate(ek) for _ in range(2)
    )
    assert (len(secret), len(ciphertext)) == (32, CIPHERTEXT_SIZE)
    assert secret != other_secret
    assert ciphertext != other_ciphertext


@pytest.mark.parametrize("point", SMALL_ORDER)
@pytest.mark.parametrize("top_bit", [0, 0x80])
def test_points_of_small_order_are_refused(point: str, top_bit: int) -> None:
    """No peer can force an all-zero X25519 secret, on either side, whatever the unused top bit."""
    hostile = bytearray.fromhex(point)
    hostile[31] |= top_bit
    share = crypto.ClientShare()
    with pytest.raises(ProtocolError, match="X25519 key is not valid"):
        crypto.answer_key_share(share.public[:EK_SIZE] + hostile)
    answer, _ = crypto.answer_key_share(share.public)
    with pytest.raises(ProtocolError, match="X25519 key is not valid"):
        share.finish(answer[:CIPHERTEXT_SIZE] + hostile)


@pytest.mark.parametrize("index", [0, 1, 383, 767])
@pytest.mark.parametrize("value", [3329, 4095])
def test_coefficients_that_are_not_reduced_are_refused(index: int, value: int) -> None:
    """The modulus check of FIPS 203 7.2 is made: 3329 is refused anywhere, 3328 is not."""
    public = crypto.ClientShare().public

    def with_coefficient(number: int) -> bytes:
        vector = int.from_bytes(public[:1152], "little")
        vector &= ~(0xFFF << 12 * index)
        return (vector | number << 12 * index).to_bytes(1152, "little") + public[1152:]

    crypto.answer_key_share(with_coefficient(3328))
    with pytest.raises(ProtocolError, match="ML-KEM key is not valid"):
        crypto.answer_key_share(with_coefficient(value))


@pytest.mark.parametrize("change", [-1216, -33, -32, -1, 1, 32])
def test_client_share_of_wrong_size(change: int) -> None:
    """A client share is taken at its exact size only."""
    public = crypto.ClientShare().public + bytes(32)
    with pytest.raises(CodecError, match=f"client's key share has {1216 + change} bytes"):
        crypto.answer_key_share(public[: 1216 + change])


@pytest.mark.parametrize("change", [-1120, -32, -1, 1, 32])
def test_server_share_of_wrong_size(change: int) -> None:
    """A server share is taken at its exact size only."""
    share = crypto.ClientShare()
    answer, _ = crypto.answer_key_share(share.public)
    with pytest.raises(CodecError, match=f"server's key share has {1120 + change} bytes"):
        share.finish((answer + bytes(32))[: 1120 + change])


@pytest.mark.parametrize("size", [0, EK_SIZE - 1, EK_SIZE + 1, 1568])
def test_mlkem_key_of_wrong_size(size: int) -> None:
    """A key of another size, also that of ML-KEM-1024, is no ML-KEM-768 key."""
    with pytest.raises(ProtocolError, match="ML-KEM key is not valid"):
        crypto.mlkem_encapsulate(bytes(size))


@given(st.binary(min_size=1120, max_size=1120), st.binary(min_size=1216, max_size=1216))
@settings(max_examples=30, deadline=None)
def test_random_shares(answer: bytes, public: bytes) -> None:
    """Arbitrary bytes of the right size give a secret or our error, nothing else."""
    for call, share in ((crypto.ClientShare().finish, answer), (crypto.answer_key_share, public)):
        try:
            call(share)
        except ProtocolError:
            pass


@pytest.mark.parametrize("first", [True, False])
def test_a_share_is_used_once(first: bool) -> None:
    """The private keys are gone after the first answer, be it right or wrong."""
    share = crypto.ClientShare()
    answer, _ = crypto.answer_key_share(share.public)
    if first:
        share.finish(answer)
    else:
        with pytest.raises(CodecError):
            share.finish(b"")
    with pytest.raises(ConfigError, match="one exchange only; make a new one"):
        share.finish(answer)


def test_short_random_is_refused() -> None:
    """A random source that gives too little never becomes a key."""
    with pytest.raises(ConfigError, match="63 bytes instead of 64"):
        crypto.ClientShare(recorded(b"r" * 63))
    with pytest.raises(ConfigError, match="31 bytes instead of 32"):
        crypto.ClientShare(recorded(b"r" * 64, b"r" * 31))
    with pytest.raises(ConfigError, match="0 bytes instead of 32"):
        crypto.answer_key_share(crypto.ClientShare().public, recorded(b""))


# --- RSASSA-PSS -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def key() -> crypto.RSAPrivateKey:
    """One key of 2048 bits."""
    return generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def tiny_key() -> crypto.RSAPrivateKey:
    """A key in which neither PSS nor OAEP with SHA-256 has room."""
    loaded = serialization.load_pem_private_key(rsa.newkeys(512)[1].save_pkcs1(), None)
    assert isinstance(loaded, crypto.RSAPrivateKey)
    return loaded


@pytest.fixture(scope="module")
def key_files(key: crypto.RSAPrivateKey, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the key in the two forms that the openssl program reads."""
    folder = tmp_path_factory.mktemp("openssl")
    (folder / "private.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (folder / "public.pem").write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return folder


def openssl(folder: Path, data: bytes, *words: str) -> bytes:
    """Run the openssl program on `data`, with the key files at hand."""
    command = ["openssl", *words]
    done = subprocess.run(
        command, input=data, cwd=folder, capture_output=True, timeout=120, check=True
    )
    return done.stdout


def test_signature_input() -> None:
    """What is signed: 64 spaces, the context, a zero byte, the transcript hash (RFC 9846 4.5.2)."""
    signed = crypto.signature_input(b"context", b"h" * 32)
    assert signed == b"\x20" * 64 + b"context" + b"\x00" + b"h" * 32


def test_certificate_verify_rfc8448() -> None:
    """The signature in the trace of RFC 8448 holds over our transcript and our signature input."""
    trace = load("tls13_rfc8448.json")["simple_1rtt"]
    messages = unhex(trace["messages"])
    modulus = bytes.fromhex(trace["certificate_modulus"])
    assert modulus in messages["certificate"]
    public = RSAPublicNumbers(65537, int.from_bytes(modulus)).public_key()
    transcript = crypto.Transcript()
    for name in ("client_hello", "server_hello", "encrypted_extensions", "certificate"):
        transcript.update(messages[name])
    signature = messages["certificate_verify"][8:]
    context = b"TLS 1.3, server CertificateVerify"
    signed = crypto.signature_input(context, transcript.digest())
    crypto.pss_verify(public, signature, signed)
    with pytest.raises(ProtocolError, match="the signature is not valid"):
        crypto.pss_verify(public, signature, signed.replace(b"server", b"client"))


@pytest.mark.parametrize("entry", PSS["signatures"], ids=lambda entry: entry["name"])
def test_pss_parameters_openssl(entry: dict[str, Any]) -> None:
    """Of what OpenSSL can sign only SHA-256, MGF1-SHA-256 and a salt of 32 bytes are accepted."""
    public = RSAPublicNumbers(PSS["exponent"], int(PSS["modulus"], 16)).public_key()
    signature, message = bytes.fromhex(entry["signature"]), bytes.fromhex(PSS["message"])
    if entry["valid"]:
        crypto.pss_verify(public, signature, message)
    else:
        with pytest.raises(ProtocolError, match="the signature is not valid"):
            crypto.pss_verify(public, signature, message)


def test_openssl_accepts_our_signature(key: crypto.RSAPrivateKey, key_files: Path) -> None:
    """OpenSSL, told to expect a salt of exactly 32 bytes, verifies what we sign."""
    (key_files / "signature").write_bytes(crypto.pss_sign(key, MESSAGE))
    options = "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32 -sigopt rsa_mgf1_md:sha256"
    words = f"dgst -sha256 {options} -verify public.pem -signature signature"
    assert openssl(key_files, MESSAGE, *words.split()).strip() == b"Verified OK"


def test_we_accept_openssl_signature(key: crypto.RSAPrivateKey, key_files: Path) -> None:
    """What OpenSSL signs over a SHA-256 digest with the same parameters we verify."""
    words = "pkeyutl -sign -inkey private.pem -pkeyopt digest:sha256"
    options = "-pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:32"
    digest = crypto.sha256(MESSAGE)
    signature = openssl(key_files, digest, *words.split(), *options.split())
    crypto.pss_verify(key.public_key(), signature, MESSAGE)


def test_signatures_are_salted(key: crypto.RSAPrivateKey) -> None:
    """Two signatures of one message differ, have the size of the modulus, and both hold."""
    first, second = crypto.pss_sign(key, MESSAGE), crypto.pss_sign(key, MESSAGE)
    assert first != second
    assert len(first) == len(second) == 256
    crypto.pss_verify(key.public_key(), first, MESSAGE)
    crypto.pss_verify(key.public_key(), second, MESSAGE)


def test_every_flipped_bit_of_a_signature_is_noticed(key: crypto.RSAPrivateKey) -> None:
    """No bit of a signature or of a message can change."""
    public, signature = key.public_key(), crypto.pss_sign(key, MESSAGE)
    for bit in range(8 * len(signature)):
        with pytest.raises(ProtocolError):
            crypto.pss_verify(public, flipped(signature, bit), MESSAGE)
    for bit in range(8 * len(MESSAGE)):
        with pytest.raises(ProtocolError):
            crypto.pss_verify(public, signature, flipped(MESSAGE, bit))


def test_signatures_of_another_size(key: crypto.RSAPrivateKey) -> None:
    """Truncated, extended, empty and non-canonical signatures are refused with the same error."""
    public, signature = key.public_key(), crypto.pss_sign(key, MESSAGE)
    modulus, number = public.public_numbers().n, int.from_bytes(signature)
    hostile = [
        signature[:-1],
        signature[1:],
        signature + b"\x00",
        b"\x00" + signature,
        b"",
        bytes(256),
        b"\xff" * 256,
        (number + modulus).to_bytes(257),
        modulus.to_bytes(256),
    ]
    for changed in hostile:
        with pytest.raises(ProtocolError, match="the signature is not valid") as caught:
            crypto.pss_verify(public, changed, MESSAGE)
        assert caught.value.__cause__ is None


def test_a_signature_has_its_leading_zeros(key: crypto.RSAPrivateKey) -> None:
    """One signature in 256 begins with a zero byte; without it the number is the same, and it is refused."""
    public = key.public_key()
    signature = next(s for s in iter(lambda: crypto.pss_sign(key, MESSAGE), b"") if s[0] == 0)
    crypto.pss_verify(public, signature, MESSAGE)
    with pytest.raises(ProtocolError, match="the signature is not valid"):
        crypto.pss_verify(public, signature[1:], MESSAGE)


def test_signature_of_another_key(
    key: crypto.RSAPrivateKey, tiny_key: crypto.RSAPrivateKey
) -> None:
    """A signature holds for the key that made it; a key without room for one verifies nothing."""
    signature = crypto.pss_sign(key, MESSAGE)
    other = RSAPublicNumbers(65537, int(PSS["modulus"], 16)).public_key()
    for public, size in ((other, 256), (tiny_key.public_key(), 64)):
        with pytest.raises(ProtocolError):
            crypto.pss_verify(public, signature[:size], MESSAGE)
    with pytest.raises(ConfigError, match="512 bits cannot sign"):
        crypto.pss_sign(tiny_key, MESSAGE)


# --- RSAES-OAEP -----------------------------------------------------------------------------------


@pytest.mark.parametrize("plaintext", [b"", b"s" * 32, b"m" * 190])
@pytest.mark.parametrize("label", [b"", b"label"])
def test_oaep_round_trip(key: crypto.RSAPrivateKey, plaintext: bytes, label: bytes) -> None:
    """What is encrypted for a key comes out with the same label, up to the modulus less 66."""
    ciphertext = crypto.oaep_encrypt(key.public_key(), plaintext, label)
    assert len(ciphertext) == 256
    assert crypto.oaep_decrypt(key, ciphertext, label) == plaintext


def test_oaep_openssl(key: crypto.RSAPrivateKey, key_files: Path) -> None:
    """OpenSSL and we read each other: SHA-256, MGF1-SHA-256, label."""
    options = [f"-pkeyopt rsa_{o}" for o in ("padding_mode:oaep", "oaep_md:sha256")]
    options += ["-pkeyopt rsa_mgf1_md:sha256", f"-pkeyopt rsa_oaep_label:{b'label'.hex()}"]
    words = " ".join(options).split()
    ours = crypto.oaep_encrypt(key.public_key(), b"secret", b"label")
    decrypt = ("pkeyutl", "-decrypt", "-inkey", "private.pem", *words)
    assert openssl(key_files, ours, *decrypt) == b"secret"
    encrypt = ("pkeyutl", "-encrypt", "-pubin", "-inkey", "public.pem", *words)
    theirs = openssl(key_files, b"secret", *encrypt)
    assert crypto.oaep_decrypt(key, theirs, b"label") == b"secret"


def test_oaep_has_one_error(key: crypto.RSAPrivateKey, tiny_key: crypto.RSAPrivateKey) -> None:
    """Wrong label, key, length or content: the same sentence, so that nobody learns which."""
    good = crypto.oaep_encrypt(key.public_key(), b"secret", b"label")
    attempts = [(key, good, b"other"), (key, good, b""), (tiny_key, good[:64], b"label")]
    attempts += [(key, bad, b"label") for bad in (b"", good[:-1], good + b"\x00", b"\xff" * 256)]
    attempts += [(key, flipped(good, bit), b"label") for bit in range(0, 2048, 61)]
    sentences = set()
    for private, ciphertext, label in attempts:
        with pytest.raises(UnsealError) as caught:
            crypto.oaep_decrypt(private, ciphertext, label)
        assert caught.value.__cause__ is None
        sentences.add(str(caught.value))
    assert sentences == {"this cannot be decrypted with this key"}


def test_oaep_plaintext_too_long(key: crypto.RSAPrivateKey, tiny_key: crypto.RSAPrivateKey) -> None:
    """One byte more than fits, or a key in which nothing fits, is the caller's error."""
    with pytest.raises(ConfigError, match="191 bytes are too long for one RSA block of 2048 bits"):
        crypto.oaep_encrypt(key.public_key(), b"m" * 191, b"label")
    with pytest.raises(ConfigError, match="0 bytes are too long for one RSA block of 512 bits"):
        crypto.oaep_encrypt(tiny_key.public_key(), b"", b"label")
