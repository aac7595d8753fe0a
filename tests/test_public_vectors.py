"""
Vectors that others made, through our own doors: the key loader and the bridge to the crypto library.

They come with the package `cryptography-vectors`. What our suite does not have (other hashes, sizes, kinds of keys,
forms of files) must be refused, and that is checked as well.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from securelink import Identity, PublicKey, crypto
from securelink.errors import ConfigError, KeyFileError, ProtocolError, SecureLinkError, UnsealError
from securelink.keys import stretching
from securelink.keys.der import SEQUENCE, element, integer
from securelink.keys.pem import write_block
from securelink.limits import MAX_SCRYPT_MEMORY

ROOT = Path(cryptography_vectors.__file__).parent
PASSPHRASES = (
    None,
    "foobar",
    "baz",
    "password",
    "123456",
    "a123456",
    "PolarSSLTest",
    "hunter2",
    "Red Hat Enterprise Linux 7.4",
)


def entries(path: str) -> Iterator[dict[str, str]]:
    """
    The groups of `name = value` lines of a file; headings in brackets go with all that follow.

    A group begins at its count, or, in files without counts, ends at an empty line.
    """
    lines = [line.strip() for line in (ROOT / path).read_text().splitlines()]
    counted = any(line.lower().startswith("count") for line in lines)
    heading: dict[str, str] = {}
    entry: dict[str, str] = {}
    for line in [*lines, "["]:
        ends = line.startswith("[") or (line.lower().startswith("count") if counted else not line)
        if ends and entry:
            yield heading | entry
            entry = {}
        name, _, value = line.strip("[]").partition("=")
        if line.startswith("["):
            heading[name.strip()] = value.strip()
        elif line and not line.startswith("#"):
            entry[name.strip()] = value.strip()


def unhex(entry: dict[str, str], *names: str) -> list[bytes]:
    """Values of an entry as bytes."""
    return [bytes.fromhex(entry.get(name, "")) for name in names]


def rsa_pem(n: int, e: int, d: int, p: int, q: int) -> bytes:
    """A private key file, PKCS#1."""
    numbers = (0, n, e, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p))
    return write_block("RSA PRIVATE KEY", element(SEQUENCE, b"".join(map(integer, numbers))))


def public_pem(n: int, e: int) -> bytes:
    """A public key file, PKCS#1."""
    return write_block("RSA PUBLIC KEY", element(SEQUENCE, integer(n) + integer(e)))


# --- AES-GCM, HKDF, scrypt ----------------------------------------------------------------------------


def suits_us(entry: dict[str, str]) -> bool:
    """Whether an AES-GCM case has our sizes of nonce and tag."""
    return entry["IVlen"] == "96" and entry["Taglen"] == "128"


def test_aes_gcm_encrypts_as_nist_says() -> None:
    """Every case of NIST with our sizes: the ciphertext and the tag."""
    count = 0
    for entry in filter(suits_us, entries("ciphers/AES/GCM/gcmEncryptExtIV256.rsp")):
        key, nonce, aad, plain, cipher, tag = unhex(entry, "Key", "IV", "AAD", "PT", "CT", "Tag")
        assert crypto.new_aead(key).encrypt(nonce, plain, aad) == cipher + tag
        count += 1
    assert count == 375


def test_aes_gcm_decrypts_as_nist_says() -> None:
    """The same backwards; the forged ones are refused."""
    good = forged = 0
    for entry in filter(suits_us, entries("ciphers/AES/GCM/gcmDecrypt256.rsp")):
        key, nonce, aad, plain, cipher, tag = unhex(entry, "Key", "IV", "AAD", "PT", "CT", "Tag")
        aead = crypto.new_aead(key)
        if "FAIL" in entry:
            with pytest.raises(crypto.InvalidTag):
                aead.decrypt(nonce, cipher + tag, aad)
            forged += 1
        else:
            assert aead.decrypt(nonce, cipher + tag, aad) == plain
            good += 1
    assert good > 150
    assert forged > 150
    assert good + forged == 375


@pytest.mark.parametrize("bits", [128, 192])
def test_shorter_keys_are_refused(bits: int) -> None:
    """AES-128 and AES-192 are not in our suite: their keys are refused."""
    for entry in itertools.islice(entries(f"ciphers/AES/GCM/gcmEncryptExtIV{bits}.rsp"), 20):
        with pytest.raises(ConfigError, match="32 bytes"):
            crypto.new_aead(bytes.fromhex(entry["Key"]))


@pytest.mark.parametrize("file", ["rfc-5869-HKDF-SHA256.txt", "hkdf-generated.txt"])
def test_hkdf(file: str) -> None:
    """HKDF with SHA-256, from 22 to 1,200 bytes."""
    count = 0
    for entry in entries(f"KDF/{file}"):
        if "OKM" not in entry:
            continue
        ikm, salt, info, okm = unhex(entry, "IKM", "salt", "info", "OKM")
        prk = crypto.hkdf_extract(salt, ikm)
        assert entry.get("PRK", prk.hex()) == prk.hex()
        assert crypto.hkdf_expand(prk, info, int(entry["L"])) == okm
        count += 1
    assert count


def test_scrypt() -> None:
    """scrypt, of which we give the first 32 bytes; what needs too much memory is refused."""
    given = refused = 0
    for entry in entries("KDF/scrypt.txt"):
        if "DERIVED_KEY" not in entry:
            continue
        n, r, p = (int(entry[name]) for name in ("N", "r", "p"))
        arguments = (entry["PASSWORD"].encode(), entry["SALT"].encode())
        if 128 * n * r > MAX_SCRYPT_MEMORY:
            with pytest.raises(ConfigError, match="256 MiB"):
                stretching.scrypt(*arguments, n=n, r=r, p=p)
            refused += 1
        else:
            # PBKDF2 makes the output in blocks of 32 bytes: a longer one begins with ours.
            wanted = bytes.fromhex(entry["DERIVED_KEY"])[:32]
            assert stretching.scrypt(*arguments, n=n, r=r, p=p) == wanted
            given += 1
    assert given >= 3
    assert refused >= 1


# --- the key exchange -----------------------------------------------------------------------------------


def share(seed: bytes, scalar: bytes) -> crypto.ClientShare:
    """A client's key share that draws these."""
    drawn = iter((seed, scalar))
    return crypto.ClientShare(lambda _size: next(drawn))


def test_x25519_of_rfc_7748() -> None:
    """The shared secret of our key exchange ends with that of X25519."""
    count = 0
    for entry in entries("asymmetric/X25519/rfc7748.txt"):
        if "INPUT_SCALAR" not in entry:
            continue
        scalar, point, wanted = unhex(entry, "INPUT_SCALAR", "INPUT_U", "OUTPUT_U")
        assert share(bytes(64), scalar).finish(bytes(1088) + point)[32:] == wanted
        count += 1
    assert count >= 3


def test_ml_kem_768() -> None:
    """Key generation, decapsulation and implicit rejection of ML-KEM-768."""
    scalar, point = bytes([8]) * 32, bytes([9]) + bytes(31)
    count = 0
    for entry in itertools.islice(entries("asymmetric/MLKEM/kat_MLKEM_768.rsp"), 100):
        z, d, public, ct, secret, other_ct, other = unhex(
            entry, "z", "d", "pk", "ct", "ss", "ct_n", "ss_n"
        )
        assert share(d + z, scalar).public[:1184] == public
        assert share(d + z, scalar).finish(ct + point)[:32] == secret
        assert share(d + z, scalar).finish(other_ct + point)[:32] == other
        assert crypto.mlkem_encapsulate(public)[0] != secret  # it draws its own
        count += 1
    assert count == 100


@pytest.mark.parametrize("size", [512, 1024])
def test_other_sizes_of_ml_kem_are_refused(size: int) -> None:
    """A key or ciphertext of another parameter set has another size."""
    entry = next(entries(f"asymmetric/MLKEM/kat_MLKEM_{size}.rsp"))
    public, ct = unhex(entry, "pk", "ct")
    with pytest.raises(ProtocolError):
        crypto.mlkem_encapsulate(public)
    with pytest.raises(SecureLinkError):
        crypto.ClientShare().finish(ct + bytes(32))


# --- RSA ------------------------------------------------------------------------------------------------


def oaep_examples(path: str) -> Iterator[tuple[Identity, bytes, bytes]]:
    """(key, message, ciphertext) of a file of OAEP examples, the key through our loader."""
    lines = [line.strip() for line in (ROOT / path).read_text().splitlines()]
    values: dict[str, int] = {}
    key, message = None, b""
    for name, value in itertools.pairwise(lines):
        name = name.strip("# :").lower()
        if value.startswith("#") or not value:
            continue
        if name == "message":
            message = bytes.fromhex(value)
        elif name == "encryption":
            assert key is not None
            yield key, message, bytes.fromhex(value)
        elif name == "coefficient":
            v = values
            key = Identity.from_pem(
                rsa_pem(
                    v["modulus"], v["public exponent"], v["exponent"], v["prime 1"], v["prime 2"]
                )
            )
        elif name in ("modulus", "public exponent", "exponent", "prime 1", "prime 2"):
            values[name] = int(value, 16)


def test_oaep_with_our_hashes() -> None:
    """What others encrypted with SHA-256 twice is decrypted."""
    count = 0
    for key, message, ciphertext in oaep_examples(
        "asymmetric/RSA/oaep-custom/oaep-sha256-sha256.txt"
    ):
        assert key.decrypt(ciphertext, b"") == message
        count += 1
    assert count == 60


@pytest.mark.parametrize(
    "hashes_", ["sha1-sha256", "sha256-sha1", "sha512-sha512", "sha224-sha256"]
)
def test_oaep_with_other_hashes_is_refused(hashes_: str) -> None:
    """Another hash, of the label or of the mask, is the one error."""
    for key, _, ciphertext in itertools.islice(
        oaep_examples(f"asymmetric/RSA/oaep-custom/oaep-{hashes_}.txt"), 6
    ):
        with pytest.raises(UnsealError):
            key.decrypt(ciphertext, b"")


def pss_cases() -> Iterator[tuple[int, int, dict[str, str]]]:
    """(n, e, entry) of the PSS cases of NIST; p and q are in every entry."""
    key: dict[str, str] = {}
    for entry in entries("asymmetric/RSA/FIPS_186-2/SigVerPSS_186-3.rsp"):
        key |= {name: entry[name] for name in ("n", "p", "q") if name in entry}
        if "S" in entry:
            yield int(key["n"], 16), int(entry["e"], 16), entry | key


def test_pss_of_nist_is_refused() -> None:
    """
    NIST's signatures have salts of 10 bytes, ours of 32: the good ones are refused too, and keys outside the policy.

    That they are good is asked of the crypto library, so that the refusal is not one of a misread vector.
    """
    ours = pss_kinds = small = 0
    for n, e, entry in pss_cases():
        message, signature = unhex(entry, "Msg", "S")
        try:
            key = PublicKey.from_pem(public_pem(n, e))
        except KeyFileError:
            assert n.bit_length() < 2048 or e < 65537 or e > 2**32 or e % 2 == 0
            small += 1
            continue
        with pytest.raises(ProtocolError, match="signature is not valid"):
            key.verify(signature, message)
        ours += 1
        if entry["SHAAlg"] == "SHA256" and entry["Result"].startswith("P"):
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), 10)
            RSAPublicNumbers(e, n).public_key().verify(signature, message, pss, hashes.SHA256())
            pss_kinds += 1
    assert ours + small == 450
    assert pss_kinds >= 3


def test_our_signatures_with_keys_of_others() -> None:
    """Keys of NIST, through our loader, sign and verify with our salt; with a changed number they do not load."""
    done = 0
    for n, e, entry in pss_cases():
        if n.bit_length() < 2048 or not 65537 <= e < 2**32 or done == 3:
            continue
        d, p, q = (int(entry[name], 16) for name in "dpq")
        if (e * d - 1) % (p - 1):
            continue  # one of the cases in which the exponent was changed
        key = Identity.from_pem(rsa_pem(n, e, d, p, q))
        public = PublicKey.from_pem(public_pem(n, e))
        public.verify(key.sign(b"message"), b"message")
        assert key.public == public
        for wrong in (
            (n, e, d + 2, p, q),
            (n, e, d, q + 2, p),
            (n + 2, e, d, p, q),
            (n, e + 2, d, p, q),
        ):
            with pytest.raises(KeyFileError):
                Identity.from_pem(rsa_pem(*wrong))
        done += 1
    assert done == 3


# --- key files --------------------------------------------------------------------------------------------

FOLDERS = ("PKCS8", "PEM_Serialization", "Traditional_OpenSSL_Serialization", "OpenSSH", "DER_Serialization", "public",
           "X25519", "MLKEM", "DH", "DSA", "EC", "Ed25519", "Ed448", "X448", "ECDH", "MLDSA")  # fmt: skip


def key_files() -> Iterator[tuple[str, bytes]]:
    """(name, content) of all key files; DER is put into PEM under each label that could let it in."""
    for folder in FOLDERS:
        for path in sorted((ROOT / "asymmetric" / folder).rglob("*")):
            if not path.is_file() or path.suffix not in (".pem", ".der", ".key", ".pub"):
                continue
            data, name = path.read_bytes(), f"{folder}/{path.name}"
            if path.suffix != ".der":
                yield name, data
                continue
            for label in (
                "PRIVATE KEY",
                "ENCRYPTED PRIVATE KEY",
                "RSA PRIVATE KEY",
                "PUBLIC KEY",
                "RSA PUBLIC KEY",
            ):
                yield f"{name} as {label}", write_block(label, data)


def loaded(data: bytes) -> str | None:
    """The fingerprint of what our loaders make of a file, or None for a refusal; other errors go through."""
    for passphrase in PASSPHRASES:
        try:
            return Identity.from_pem(data, passphrase).fingerprint
        except KeyFileError:
            pass
    try:
        return PublicKey.from_pem(data).fingerprint
    except KeyFileError:
        return None


KEYS_FOR_US = """
DER_Serialization/rsa_public_key.der as PUBLIC KEY
DER_Serialization/testrsa.der as RSA PRIVATE KEY
OpenSSH/rsa-nopsw.key
OpenSSH/rsa-nopsw.key.pub
OpenSSH/rsa-psw.key.pub
PEM_Serialization/rsa_public_key.pem
PKCS8/rsa-aes-192-cbc.pem
Traditional_OpenSSL_Serialization/key2.pem
Traditional_OpenSSL_Serialization/testrsa-encrypted.pem
Traditional_OpenSSL_Serialization/testrsa.pem
""".strip().splitlines()


def test_key_files_of_others() -> None:
    """Of some 400 key files exactly these are keys for us; all others are refused with the documented error."""
    files = dict(key_files())
    accepted = {name: key for name, data in files.items() if (key := loaded(data)) is not None}
    assert set(accepted) == set(KEYS_FOR_US)
    assert len(files) > 300
    # The same key in several forms.
    for one, other in (
        ("DER_Serialization/testrsa.der as RSA PRIVATE KEY", "Traditional_OpenSSL_Serialization/testrsa.pem"),
        ("OpenSSH/rsa-nopsw.key", "OpenSSH/rsa-nopsw.key.pub"),
        ("Traditional_OpenSSL_Serialization/testrsa.pem", "Traditional_OpenSSL_Serialization/testrsa-encrypted.pem"),
    ):  # fmt: skip
        assert accepted[one] == accepted[other]
    theirs = load_pem_private_key(files["PKCS8/rsa-aes-192-cbc.pem"], b"PolarSSLTest")
    spki = theirs.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert PublicKey.from_spki(spki).fingerprint == accepted["PKCS8/rsa-aes-192-cbc.pem"]


def test_key_files_of_others_read_as_the_library_reads_them() -> None:
    """What our strict reader accepts is, number for number, what the crypto library makes of the same file."""
    done = 0
    for name, data in key_files():
        if (
            name not in KEYS_FOR_US
            or "PRIVATE" not in data.decode()
            or b"ENCRYPTED" in data
            or b"DEK" in data
        ):
            continue
        load = load_ssh_private_key if b"OPENSSH" in data else load_pem_private_key
        theirs = load(data, None)
        assert isinstance(theirs, crypto.RSAPrivateKey)
        assert Identity.from_pem(data).to_pkcs1_pem() == theirs.private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
        )
        done += 1
    assert done >= 3
