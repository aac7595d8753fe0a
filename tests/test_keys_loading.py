"""Loading key files: permissions, damage, passphrases, and making what is not there."""

from __future__ import annotations

import base64
import errno
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from helpers import pem_label

from securelink import JoinTokens, KnownServers, Passwords
from securelink.errors import ConfigError, KeyFileError
from securelink.keys import Identity, PublicKey, createEncryptKeys, files, load_or_create
from securelink.keys.pem import write_block
from securelink.keys.private import passphrase_bytes
from securelink.limits import MAX_KEY_FILE

Failing = Callable[[int], Callable[..., NoReturn]]


@pytest.fixture
def saved(tmp_path: Path, identity: Identity) -> Path:
    """A private key file."""
    return identity.save(tmp_path / "keys", "server")[0]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o666, 0o777])
def test_private_key_readable_by_others_is_refused(saved: Path, mode: int) -> None:
    """As ssh does: a private key that others can read is refused, with the line that mends it."""
    saved.chmod(mode)
    with pytest.raises(KeyFileError) as caught:
        Identity.load(saved)
    assert str(caught.value) == (
        f"other users can read {saved} (mode {mode:04o}); run: chmod 600 {saved}"
    )
    subprocess.run(caught.value.hint.removeprefix("run: "), shell=True, check=True)
    assert Identity.load(saved).path == saved


def test_private_key_that_others_can_change_is_refused(tmp_path: Path, identity: Identity) -> None:
    """A private key that others can write to is refused; the path is quoted for the shell."""
    private, _ = identity.save(tmp_path / "my keys", "server")
    private.chmod(0o622)
    with pytest.raises(KeyFileError) as caught:
        Identity.load(private)
    assert caught.value.message == f"other users can change {private} (mode 0622)"
    assert caught.value.hint == f"run: chmod 600 '{private}'"


def test_public_key_may_be_readable_by_all(saved: Path, identity: Identity) -> None:
    """Nobody minds who reads a public key."""
    public = saved.with_name("server_public.pem")
    public.chmod(0o666)
    assert PublicKey.load(public) == identity.public


def test_systems_without_permission_bits(
    tmp_path: Path,
    saved: Path,
    identity: Identity,
    monkeypatch: pytest.MonkeyPatch,
    failing: Failing,
) -> None:
    """Where mode bits mean nothing they are not asked, and files are renamed into place."""
    monkeypatch.setattr(files, "POSIX", False)
    saved.chmod(0o644)
    assert Identity.load(saved).public == identity.public
    monkeypatch.setattr(os, "link", failing(errno.ENOSYS))
    private, _ = identity.save(tmp_path / "other", "server")
    assert Identity.load(private).public == identity.public
    assert len(os.listdir(tmp_path / "other")) == 3


def test_missing_key(tmp_path: Path) -> None:
    """A missing key file is named with its full path and the ways on."""
    path = tmp_path / "server_private.pem"
    with pytest.raises(KeyFileError) as caught:
        Identity.load(path)
    assert str(caught.value) == (
        f"cannot read {path}: it does not exist; "
        "check the path, or make a key with createEncryptKeys()"
    )
    with pytest.raises(KeyFileError, match=r"it does not exist; check the path$"):
        PublicKey.load(path)


def test_folder_instead_of_a_file(
    saved: Path, monkeypatch: pytest.MonkeyPatch, failing: Failing
) -> None:
    """A folder is named as such, also where the system calls that permission denied."""
    message = "cannot read .*keys: it is a folder; give the path of a file in it"
    with pytest.raises(KeyFileError, match=message):
        Identity.load(saved.parent)
    monkeypatch.setattr(os, "open", failing(errno.EACCES))
    with pytest.raises(KeyFileError, match=message):
        Identity.load(saved.parent)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (
            errno.EACCES,
            "permission denied; run as the user who owns it, or correct its permissions",
        ),
        (errno.EPERM, "permission denied; run as the user"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_unreadable_key(
    saved: Path, monkeypatch: pytest.MonkeyPatch, code: int, why: str, failing: Failing
) -> None:
    """A file that the system does not open is named with the system's reason."""
    monkeypatch.setattr(os, "open", failing(code))
    for load in (Identity.load, PublicKey.load):
        with pytest.raises(KeyFileError, match=f"cannot read {saved}: {why}"):
            load(saved)


def test_named_pipe_does_not_hang(tmp_path: Path) -> None:
    """A pipe in the place of a key is refused at once instead of waited for."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(KeyFileError, match="pipe is not a regular file"):
        Identity.load(tmp_path / "pipe")


def test_size_limit(tmp_path: Path, identity: Identity) -> None:
    """A key file of the largest size is read, one byte more is refused."""
    path = tmp_path / "large.pem"
    pem = identity.public.to_pem()
    path.write_bytes(pem + b"\n" * (MAX_KEY_FILE - len(pem)))
    assert PublicKey.load(path) == identity.public
    path.write_bytes(pem + b"\n" * (MAX_KEY_FILE - len(pem) + 1))
    with pytest.raises(KeyFileError, match=f"is larger than {MAX_KEY_FILE} bytes"):
        PublicKey.load(path)


def test_damaged_private_key(saved: Path) -> None:
    """A cut, changed or empty file is called damaged, with what to do and none of its content."""
    good = saved.read_bytes()
    for bad in (b"", good[:200], good[:-40], good.replace(b"M", b"A", 3), b"\0" * len(good)):
        saved.write_bytes(bad)
        with pytest.raises(KeyFileError) as caught:
            Identity.load(saved)
        assert str(caught.value) == (
            f"{saved} is damaged, or not a private key in PEM form; "
            "restore it from a backup, or make a new key under another name"
        )
        assert caught.value.__cause__ is None


def test_passphrase_errors(tmp_path: Path, identity: Identity, saved: Path) -> None:
    """Missing, wrong, and not needed: two clear errors, and the third is fine."""
    locked, _ = identity.save(tmp_path, "locked", passphrase="right")
    assert pem_label(locked) == "ENCRYPTED PRIVATE KEY"
    assert Identity.load(locked, "right").public == identity.public
    assert Identity.load(locked, b"right").public == identity.public
    with pytest.raises(KeyFileError) as caught:
        Identity.load(locked)
    assert str(caught.value) == f"{locked} is protected by a passphrase; give its passphrase"
    with pytest.raises(KeyFileError, match=f"wrong passphrase for {locked}; try again") as caught:
        Identity.load(locked, "wrong passphrase")
    assert "wrong passphrase for" in str(caught.value)
    assert caught.value.__cause__ is None
    assert Identity.load(saved, "not needed").public == identity.public
    with pytest.raises(ConfigError, match="the passphrase is empty"):
        Identity.load(locked, "")


# --- load_or_create -------------------------------------------------------------------------------


def test_load_or_create(tmp_path: Path, identity: Identity) -> None:
    """What is there is loaded; only what is not is made, and the answer tells which."""
    identity.save(tmp_path, "client")
    assert load_or_create(tmp_path, "client")[0].public == identity.public
    assert load_or_create(tmp_path, "client")[1] is False
    made, created = load_or_create(tmp_path, "server", passphrase="word")
    assert created
    assert made.public != identity.public
    assert load_or_create(tmp_path, "server", passphrase="word")[0].public == made.public
    with pytest.raises(KeyFileError, match="protected by a passphrase"):
        load_or_create(tmp_path, "server")


def test_slower_program_takes_the_key_of_the_faster(
    tmp_path: Path, identity: Identity, other_identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When another program finishes its key while we make ours, its key is the one."""

    def overtaken(bits: int) -> Identity:
        other_identity.save(tmp_path, "server")
        return identity

    monkeypatch.setattr(Identity, "generate", overtaken)
    loaded, created = load_or_create(tmp_path)
    assert (loaded.public, created) == (other_identity.public, False)


def test_programs_that_start_together_share_one_key(tmp_path: Path) -> None:
    """Of real processes that start at once, one makes the key and all have it."""
    code = (
        "import sys; from securelink.keys import load_or_create\n"
        "print('ready', flush=True); sys.stdin.read(1)\n"
        "identity, created = load_or_create(sys.argv[1])\n"
        "print(identity.fingerprint, created)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "keys")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    try:
        for process in processes:  # all are waiting at the start line
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("x")
            process.stdin.flush()
        answers = [process.communicate(timeout=120)[0].split() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert len({fingerprint for fingerprint, _ in answers}) == 1
    assert sorted(created for _, created in answers) == ["False", "False", "True"]
    names = [".gitignore", "server_private.pem", "server_public.pem"]
    assert sorted(os.listdir(tmp_path / "keys")) == names


# --- what no caller may see: exceptions that are not ours -----------------------------------------


@pytest.mark.parametrize("passphrase", [None, "right"])
def test_every_kind_of_damage_gives_the_documented_error(
    tmp_path: Path, identity: Identity, passphrase: str | None
) -> None:
    """Private key files with changed bytes are read, or refused with `KeyFileError`: encrypted ones too."""
    private, _ = identity.save(tmp_path, "key")
    if passphrase is not None:  # with few rounds, which our own files have not
        key = load_pem_private_key(private.read_bytes(), None)
        private.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"right"))
        )
    good = private.read_bytes()
    source = random.Random(5)
    files_ = [good[:cut] for cut in range(0, len(good), 97)]
    for _ in range(25):
        changed = bytearray(good)
        changed[source.randrange(len(good))] = source.choice(b"A+/=\n0-:\xff")
        files_.append(bytes(changed))
    label, der = pem_label(private), base64.b64decode(b"".join(good.splitlines()[1:-1]))
    for _ in range(25 if passphrase else 200):
        damaged = bytearray(der)
        damaged[source.randrange(len(der))] ^= 1 << source.randrange(8)
        files_.append(write_block(label, bytes(damaged)))
    refused = 0
    for data in files_:
        try:
            read = Identity.from_pem(data, passphrase)
        except KeyFileError as error:
            refused += bool(error.hint) and error.__cause__ is None
        else:
            refused += read.public == identity.public
    assert refused == len(files_)


@pytest.mark.parametrize("load", [Identity.from_pem, PublicKey.from_pem])
def test_keys_are_bytes_or_text(
    load: Callable[[Any], Identity | PublicKey], identity: Identity
) -> None:
    """Text is as good as bytes; anything else is named, and so is text in another encoding."""
    pem = identity.to_pkcs1_pem() if load == Identity.from_pem else identity.public.to_pem()
    assert load(pem.decode()).fingerprint == identity.fingerprint
    assert load("\N{BYTE ORDER MARK}Größe\n" + pem.decode()).fingerprint == identity.fingerprint
    for wrong in (None, 5, bytearray(pem), ["x"], Path("x")):
        with pytest.raises(ConfigError, match="not bytes"):
            load(wrong)
    for damaged in (
        "",
        "text",
        "\ud800",
        pem.decode().replace("M", "\ud800"),
        pem.decode().encode("utf-16"),
    ):
        with pytest.raises(KeyFileError):
            load(damaged)


@pytest.mark.parametrize("passphrase", ["\ud800", 5, object(), ["word"], ""])
def test_what_is_no_passphrase(passphrase: Any, tmp_path: Path, identity: Identity) -> None:
    """A passphrase that is no text, or text that cannot be encoded, is an error that does not quote it."""
    locked, _ = identity.save(tmp_path, "locked", passphrase="right")
    for use in (
        lambda: Identity.load(locked, passphrase),
        lambda: identity.save(tmp_path, "other", passphrase),
    ):
        with pytest.raises(ConfigError, match=r"the passphrase|a passphrase") as caught:
            use()
        assert caught.value.__cause__ is None
        assert "d800" not in str(caught.value)


@pytest.mark.parametrize("path", ["\ud800", "a\ud800/b", "", "\0", b"bytes", 5, None, ["x"]])
def test_what_is_no_path(path: Any) -> None:
    """A path that the system cannot have is a ConfigError, wherever it is given."""
    given: Any = 5 if path is None else path  # there None means memory
    for use in (
        lambda: Identity.load(path),
        lambda: PublicKey.load(path),
        lambda: createEncryptKeys(path, bits=2048),
        lambda: load_or_create(path),
        lambda: KnownServers(path).entries(),
        lambda: JoinTokens(given).create(),
        lambda: Passwords(given).add("ada", "correct horse"),
    ):
        with pytest.raises(ConfigError):
            use()


@pytest.mark.parametrize(
    "data", [b'[{"id": "\xff"}]', b"\xff\xfe", b"[" * 100_000, b'{"a": 1}', b"[5]"]
)
def test_books_that_are_not_text(tmp_path: Path, data: bytes) -> None:
    """Files of tokens and passwords that are not UTF-8, or not ours, are damaged, and say so."""
    path = tmp_path / "book.json"
    path.write_bytes(data)
    path.chmod(0o600)
    for use in (
        lambda: JoinTokens(path).create(),
        lambda: Passwords(path).add("ada", "correct horse"),
    ):
        with pytest.raises(KeyFileError, match="is damaged"):
            use()


def test_a_passphrase_is_in_no_error() -> None:
    """Nor in one that came before it: a collector of errors may keep all of them."""
    with pytest.raises(ConfigError, match="surrogates") as caught:
        passphrase_bytes("open sesame\ud800")
    assert caught.value.__context__ is None
    assert "sesame" not in str(caught.value)
