"""Keys against programs and libraries that are not ours: openssl, ssh-keygen, python-rsa."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import hostile_keys
import pytest
import rsa
import rsa.key
from clock import cost_ms
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from securelink.errors import ConfigError, KeyFileError, ProtocolError
from securelink.keys import Identity, PublicKey, createEncryptKeys
from securelink.keys.pem import find_block

PASSPHRASE = "correct horse, dirección"


def run(*command: str | Path) -> str:
    """Run a program, which must succeed, and return what it printed."""
    result = subprocess.run(
        command, capture_output=True, check=False, timeout=120, stdin=subprocess.DEVNULL
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.decode()


def ssh_fingerprint(public_pem: Path) -> str:
    """What `ssh-keygen -lf` says about a public key in PEM."""
    line = public_pem.with_suffix(".ssh")
    line.write_text(run("ssh-keygen", "-i", "-m", "PKCS8", "-f", public_pem))
    bits, fingerprint, *_ = run("ssh-keygen", "-l", "-f", line).split()
    assert int(bits) == PublicKey.load(public_pem).bits
    return fingerprint


def openssl_key(path: Path, *options: str) -> Path:
    """A private key made by the openssl program."""
    run("openssl", "genpkey", "-out", path, *options)
    path.chmod(0o600)
    return path


# --- openssl --------------------------------------------------------------------------------------


def test_openssl_accepts_our_key_and_ssh_keygen_prints_our_fingerprint(tmp_path: Path) -> None:
    """A key of `createEncryptKeys()` is sound to openssl and has the fingerprint of ssh-keygen."""
    made = createEncryptKeys(tmp_path / "keys")
    assert made.public.bits == 3072
    assert made.path is not None
    assert "Key is valid" in run("openssl", "pkey", "-check", "-noout", "-in", made.path)
    public_pem = made.path.with_name("server_public.pem")
    assert ssh_fingerprint(public_pem) == made.fingerprint
    assert run("openssl", "pkey", "-in", made.path, "-pubout").encode() == public_pem.read_bytes()


def test_openssl_reads_our_encrypted_key(tmp_path: Path, identity: Identity) -> None:
    """A key saved under a passphrase opens with it in openssl and ssh-keygen, and not without."""
    private, public = identity.save(tmp_path, "locked", passphrase=PASSPHRASE)
    check = ("openssl", "pkey", "-check", "-noout", "-in", private, "-passin")
    assert "Key is valid" in run(*check, f"pass:{PASSPHRASE}")
    assert run("ssh-keygen", "-y", "-P", PASSPHRASE, "-f", private).split()[:2] == (
        identity.public.to_openssh().decode().split()
    )
    wrong = subprocess.run([*check, "pass:wrong"], capture_output=True, check=False, timeout=120)
    assert wrong.returncode != 0
    assert ssh_fingerprint(public) == identity.fingerprint


def test_encrypted_key_names_scrypt_and_aes(tmp_path: Path, identity: Identity) -> None:
    """The passphrase is stretched by scrypt at the documented cost, as openssl reads the file."""
    private, _ = identity.save(tmp_path, "locked", passphrase=PASSPHRASE)
    structure = run("openssl", "asn1parse", "-in", private)
    assert ":PBES2" in structure
    assert ":1.3.6.1.4.1.11591.4.11" in structure or ":scrypt" in structure
    assert ":aes-256-cbc" in structure
    integers = [line.rsplit(":", 1)[1] for line in structure.splitlines() if "INTEGER" in line]
    assert [int(number, 16) for number in integers] == [2**14, 8, 5]


def test_openssl_key_loads(tmp_path: Path) -> None:
    """A key of `openssl genpkey -algorithm RSA` loads and has the fingerprint of ssh-keygen."""
    path = openssl_key(tmp_path / "k.pem", "-algorithm", "RSA")
    run("openssl", "pkey", "-in", path, "-pubout", "-out", tmp_path / "pub.pem")
    loaded = Identity.load(path)
    assert loaded.fingerprint == ssh_fingerprint(tmp_path / "pub.pem")
    assert loaded.public == PublicKey.load(tmp_path / "pub.pem")


HASHES = ["SHA1", "SHA224", "SHA256", "SHA384", "SHA512"]
ENCRYPTIONS = [
    ["-v2", cipher, *stretching]
    for cipher in ("aes-128-cbc", "aes-192-cbc", "aes-256-cbc")
    for stretching in (*(["-v2prf", f"hmacWith{name}"] for name in HASHES), ["-scrypt"])
]


@pytest.mark.parametrize(
    "encryption",
    [*ENCRYPTIONS, [], ["-iter", "100000"], ["-scrypt", "-scrypt_N", "1024"]],
    ids=" ".join,
)
def test_encrypted_openssl_key_loads(
    tmp_path: Path, identity: Identity, encryption: list[str]
) -> None:
    """Keys that openssl encrypts with AES, by each way to stretch a passphrase, load with it and not without."""
    plain, _ = identity.save(tmp_path, "plain")
    path = tmp_path / "encrypted.pem"
    command = ["openssl", "pkcs8", "-topk8", *encryption, "-in", str(plain), "-out", str(path)]
    run(*command, "-passout", f"pass:{PASSPHRASE}")
    path.chmod(0o600)
    assert Identity.load(path, PASSPHRASE).public == identity.public
    assert Identity.load(path, PASSPHRASE.encode()).public == identity.public
    with pytest.raises(KeyFileError, match="is protected by a passphrase; give its passphrase"):
        Identity.load(path)
    for number in range(3):
        with pytest.raises(KeyFileError, match=f"wrong passphrase for {path}; try again"):
            Identity.load(path, f"wrong {number}")


def test_key_that_genpkey_encrypts_loads(tmp_path: Path) -> None:
    """`openssl genpkey -aes256` makes a key that loads with its passphrase."""
    options = ("-algorithm", "RSA", "-aes256", "-pass", f"pass:{PASSPHRASE}")
    path = openssl_key(tmp_path / "k.pem", *options)
    assert Identity.load(path, PASSPHRASE).public.bits == 2048


@pytest.mark.parametrize("cipher", ["-aes128", "-aes192", "-aes256"])
def test_a_traditional_key_under_a_passphrase(
    tmp_path: Path, identity: Identity, cipher: str
) -> None:
    """`openssl rsa -traditional -aes256` and its kind are read; another passphrase and damage are told."""
    plain, _ = identity.save(tmp_path, "plain")
    path = tmp_path / "old.pem"
    run(
        "openssl", "rsa", "-traditional", cipher, "-in", str(plain), "-out", str(path),
        "-passout", f"pass:{PASSPHRASE}",
    )  # fmt: skip
    pem = path.read_bytes()
    for form in (pem, pem.replace(b"\n", b"\r\n"), pem.replace(b"\n", b"  \n")):
        assert Identity.from_pem(form, PASSPHRASE).public == identity.public
    with pytest.raises(KeyFileError, match="is protected by a passphrase"):
        Identity.from_pem(pem)
    with pytest.raises(KeyFileError, match="wrong passphrase"):
        Identity.from_pem(pem, "wrong")
    for damage in (
        pem.replace(b"DEK-Info", b"DEK-Nifo"),
        re.sub(rb"-CBC,[0-9A-F]{2}", b"-CBC,", pem),
        pem.replace(b"-CBC,", b"-CBC,zz"),
        re.sub(rb"(?s)(DEK-Info[^\n]*\n\n).*(-----END)", rb"\1QUFB\n\2", pem),
        re.sub(rb"(?s)(DEK-Info[^\n]*\n\n).*(-----END)", rb"\1\2", pem),
    ):
        assert damage != pem
        with pytest.raises(KeyFileError, match="is damaged"):
            Identity.from_pem(damage, PASSPHRASE)


@pytest.mark.parametrize(
    "encryption",
    [
        ["pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES"],
        ["pkcs8", "-topk8", "-v2", "des3"],
        ["pkcs8", "-topk8", "-v2", "camellia-256-cbc"],
        ["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512-256"],
        ["rsa", "-traditional", "-des3"],
        ["rsa", "-traditional", "-camellia256"],
    ],
    ids=" ".join,
)
def test_other_encryption_is_refused_with_the_command_that_converts(
    tmp_path: Path, identity: Identity, encryption: list[str]
) -> None:
    """What is encrypted in another way is not read; the command in the hint makes a file that is."""
    plain, _ = identity.save(tmp_path, "plain")
    path = tmp_path / "my key.pem"
    command = ["openssl", *encryption, "-in", str(plain), "-out", str(path)]
    run(*command, "-passout", f"pass:{PASSPHRASE}")
    path.chmod(0o600)
    for passphrase in (None, PASSPHRASE, "wrong"):
        with pytest.raises(KeyFileError, match="is encrypted in a way that is not read") as caught:
            Identity.load(path, passphrase)
    command = shlex.split(caught.value.hint.removeprefix("convert a copy of it with: "))
    assert command[:3] == ["openssl", "pkcs8", "-topk8"]
    assert str(path) in command
    command[-1] = str(tmp_path / command[-1])
    run(*command, "-passin", f"pass:{PASSPHRASE}", "-passout", f"pass:{PASSPHRASE}")
    assert Identity.load(command[-1], PASSPHRASE).public == identity.public


ENCRYPTED_OTHERS = hostile_keys.private_infos()


@pytest.mark.parametrize("name", ENCRYPTED_OTHERS)
def test_what_is_inside_an_encrypted_file_is_looked_at_first(name: str) -> None:
    """Another kind of key under a passphrase that we know is refused by its type, and in no time."""
    pem = hostile_keys.locked(ENCRYPTED_OTHERS[name])
    why = r"cannot be used: it (has 120000 bits|is of type \S+), not"
    with pytest.raises(KeyFileError, match=why):
        Identity.from_pem(pem, "word")
    assert cost_ms(lambda: Identity.from_pem(pem, "word"), 5.0) < 5.0
    with pytest.raises(KeyFileError, match="wrong passphrase"):
        Identity.from_pem(pem, "another word")


def test_bounds_of_stretching() -> None:
    """A file that asks for more rounds or memory than any writer that means well is refused before that is spent."""
    files = hostile_keys.private_files()
    for name, why in (
        ("PBKDF2, 2**31 rounds", "goes through more than 10,000,000 rounds"),
        ("scrypt, 2**40 bytes", "goes through more scrypt than is allowed"),
        ("scrypt, 2**30 lanes", "goes through more scrypt than is allowed"),
        ("scrypt, wide blocks", "goes through more scrypt than is allowed"),
    ):
        with pytest.raises(KeyFileError, match=why):
            Identity.from_pem(files[name])  # it is known before the passphrase is


def test_what_an_encrypted_file_may_say(identity: Identity) -> None:
    """Anything but one whole PrivateKeyInfo under whole blocks is damage or a wrong passphrase, never another error."""
    block = find_block(identity.to_pkcs8_pem(), "PRIVATE KEY")
    assert block is not None
    inside = block.der
    assert Identity.from_pem(hostile_keys.locked(inside), b"word").public == identity.public
    for wrong in (inside[:-1], inside + b"\0", b"", b"\x30", b"\x30\x80" * 100):
        with pytest.raises(KeyFileError, match="wrong passphrase"):
            Identity.from_pem(hostile_keys.locked(wrong), "word")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"), "it has 1024 bits"),
        (("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_pubexp:3"), "its exponent is not"),
        (("-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"), "it is of type RSA-PSS"),
        (("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"), "it is of type EC"),
        (("-algorithm", "ED25519"), "it is of type Ed25519"),
    ],
)
def test_openssl_keys_outside_the_policy(
    tmp_path: Path, options: tuple[str, ...], why: str
) -> None:
    """Both halves of a key that the policy forbids are refused: file, reason and the way on."""
    path = openssl_key(tmp_path / "k.pem", *options)
    run("openssl", "pkey", "-in", path, "-pubout", "-out", tmp_path / "pub.pem")
    with pytest.raises(KeyFileError, match=f"{path} cannot be used: {why}.*createEncryptKeys"):
        Identity.load(path)
    with pytest.raises(KeyFileError, match=f"pub.pem cannot be used: {why}"):
        PublicKey.load(tmp_path / "pub.pem")
    run("openssl", "pkey", "-in", path, "-pubout", "-outform", "DER", "-out", tmp_path / "pub.der")
    with pytest.raises(ProtocolError):
        PublicKey.from_spki((tmp_path / "pub.der").read_bytes())


# --- ssh-keygen -----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["PEM", "PKCS8", "RFC4716"])
def test_ssh_keygen_key_loads(tmp_path: Path, form: str) -> None:
    """Keys of ssh-keygen load in each of its forms (RFC4716 means OpenSSH's own), both halves."""
    path = tmp_path / "id_rsa"
    run("ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-m", form, "-N", "", "-f", path)
    loaded = Identity.load(path)
    assert run("ssh-keygen", "-l", "-f", path).split()[1] == loaded.fingerprint
    assert PublicKey.load(tmp_path / "id_rsa.pub") == loaded.public
    assert Identity.load(path, "not needed").public == loaded.public


def test_key_encrypted_by_openssh(tmp_path: Path, identity: Identity) -> None:
    """OpenSSH's own encryption is not read; the command in the hint leads to a file that is."""
    path = tmp_path / "id_rsa"
    run("ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", PASSPHRASE, "-f", path)
    for passphrase in (None, PASSPHRASE):
        with pytest.raises(KeyFileError, match="is encrypted in a way that is not read") as caught:
            Identity.load(path, passphrase)
    command = caught.value.hint.removeprefix("convert a copy of it with: ").split()
    assert command[-1] == str(path)
    run(*command, "-P", PASSPHRASE, "-N", PASSPHRASE)
    converted = Identity.load(path, PASSPHRASE)
    assert PublicKey.load(tmp_path / "id_rsa.pub") == converted.public


def test_openssh_line_of_ours_is_read_by_ssh_keygen(tmp_path: Path, identity: Identity) -> None:
    """The OpenSSH line of a public key has our fingerprint in ssh-keygen."""
    (tmp_path / "line").write_bytes(identity.public.to_openssh() + b"\n")
    assert run("ssh-keygen", "-l", "-f", tmp_path / "line").split()[1] == identity.fingerprint


# --- python-rsa -----------------------------------------------------------------------------------


def test_python_rsa_objects_both_ways(identity: Identity) -> None:
    """Key objects of python-rsa become ours and ours become theirs, with the same numbers."""
    private, public = identity.to_rsa(), identity.public.to_rsa()
    assert (private.n, private.e) == (public.n, public.e)
    assert Identity.from_rsa(private).public == identity.public
    assert PublicKey.from_rsa(public) == identity.public
    assert Identity.from_rsa(private).to_rsa() == private


def test_python_rsa_files_both_ways(identity: Identity) -> None:
    """PKCS#1 files that one side writes, the other reads as the same key."""
    private, public = identity.to_rsa(), identity.public.to_rsa()
    assert rsa.PrivateKey.load_pkcs1(identity.to_pkcs1_pem()) == private
    assert rsa.PublicKey.load_pkcs1(identity.public.to_pkcs1_pem()) == public
    assert rsa.PublicKey.load_pkcs1_openssl_pem(identity.public.to_pem()) == public
    assert Identity.from_pem(private.save_pkcs1()).to_rsa() == private
    assert PublicKey.from_pem(public.save_pkcs1()) == identity.public


def test_key_with_the_exponent_of_python_rsa(identity: Identity) -> None:
    """
    The private exponent that python-rsa computes, another one than openssl's, makes the same key.

    It works modulo (p-1)(q-1), openssl modulo their least common multiple.
    """
    ours = identity.to_rsa()
    e, d = rsa.key.calculate_keys_custom_exponent(ours.p, ours.q, ours.e)
    theirs = Identity.from_rsa(rsa.PrivateKey(ours.n, e, d, ours.p, ours.q))
    assert theirs.to_rsa().d == d
    identity.public.verify(theirs.sign(b"message"), b"message")
    again = Identity.from_pem(theirs.to_rsa().save_pkcs1())
    identity.public.verify(again.sign(b"message"), b"message")


def test_python_rsa_signs_with_our_key(identity: Identity) -> None:
    """What python-rsa signs with our private key, another library verifies with our public key."""
    signature = rsa.sign(b"message", identity.to_rsa(), "SHA-256")
    public = load_der_public_key(identity.public.spki)
    assert isinstance(public, RSAPublicKey)
    public.verify(signature, b"message", padding.PKCS1v15(), hashes.SHA256())
    with pytest.raises(ProtocolError):  # the old padding is no signature of ours
        identity.public.verify(signature, b"message")


def test_small_python_rsa_key_is_refused() -> None:
    """A key of the size that python-rsa examples use is refused with the reason."""
    _, private = rsa.newkeys(512)
    with pytest.raises(ConfigError, match=r"512 bits, not 2048 to 8192.*createEncryptKeys"):
        Identity.from_rsa(private)
    with pytest.raises(KeyFileError, match="512 bits"):
        Identity.from_pem(private.save_pkcs1())
