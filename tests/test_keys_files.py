"""Writing key files: names, permissions, races, full disks."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from helpers import pem_label

from securelink.errors import ConfigError, KeyFileError
from securelink.keys import Identity, PublicKey, createEncryptKeys, files, load_or_create

Failing = Callable[[int], Callable[..., NoReturn]]


def mode_of(path: Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def saved(tmp_path: Path, identity: Identity) -> Path:
    """A private key file."""
    return identity.save(tmp_path / "keys", "server")[0]


def test_files_folder_and_modes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default there is `keys/`, 0700, with `server_private.pem`, 0600, and the public key."""
    monkeypatch.chdir(tmp_path)
    previous = os.umask(0o022)
    try:
        made = createEncryptKeys(bits=2048)
    finally:
        os.umask(previous)
    folder = tmp_path / "keys"
    assert made.path == folder / "server_private.pem"
    assert sorted(os.listdir(folder)) == [".gitignore", "server_private.pem", "server_public.pem"]
    assert mode_of(folder) == 0o700
    assert mode_of(folder / "server_private.pem") == 0o600
    assert mode_of(folder / "server_public.pem") == 0o644
    assert Identity.load(made.path).public == made.public
    assert PublicKey.load(folder / "server_public.pem") == made.public
    assert pem_label(made.path) == "PRIVATE KEY"


def test_private_key_is_never_readable_by_others(
    tmp_path: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has its final mode from the moment it exists, even under an open umask."""
    modes = []
    write = os.write

    def watch(descriptor: int, data: memoryview) -> int:
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", watch)
    previous = os.umask(0)
    try:
        identity.save(tmp_path, "server")
    finally:
        os.umask(previous)
    assert modes == [0o600, 0o644]


def test_existing_folder_keeps_its_mode(tmp_path: Path, identity: Identity) -> None:
    """A folder that was there belongs to its owner: its mode is not touched."""
    tmp_path.chmod(0o755)
    identity.save(tmp_path, "server")
    assert mode_of(tmp_path) == 0o755


def test_keys_are_never_overwritten(saved: Path, other_identity: Identity) -> None:
    """Where a private key is, neither `save()` nor `createEncryptKeys()` changes a byte."""
    before = {path: path.read_bytes() for path in saved.parent.iterdir()}
    for write in (
        lambda: other_identity.save(saved.parent, "server"),
        lambda: createEncryptKeys(saved.parent, bits=2048),
    ):
        with pytest.raises(KeyFileError) as caught:
            write()
        assert str(caught.value) == (
            f"{saved} exists already and is never overwritten; "
            "load it with Identity.load(), or choose another name"
        )
    assert {path: path.read_bytes() for path in saved.parent.iterdir()} == before


def test_dangling_link_is_not_followed(tmp_path: Path, identity: Identity) -> None:
    """A link in the place of the key file counts as existing, wherever it leads."""
    (tmp_path / "server_private.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError, match="exists already"):
        identity.save(tmp_path, "server")
    assert not (tmp_path / "elsewhere").exists()


def test_public_key_without_private_key(saved: Path) -> None:
    """A lost private key is not silently replaced: clients know the public one."""
    saved.unlink()
    for create in (createEncryptKeys, load_or_create):
        with pytest.raises(KeyFileError, match=r"its private key server_private\.pem is missing"):
            create(saved.parent)
    assert sorted(os.listdir(saved.parent)) == [".gitignore", "server_public.pem"]


def test_late_arrival_is_not_overwritten(
    tmp_path: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch, failing: Failing
) -> None:
    """A file that appears after the first look is not overwritten, and nothing is left behind."""
    (tmp_path / "b").write_bytes(b"theirs")
    new = [files.NewFile(tmp_path / "a", b"ours"), files.NewFile(tmp_path / "b", b"ours")]
    for link in (os.link, failing(errno.EPERM)):  # with and without hard links
        monkeypatch.setattr(os, "link", link)
        with pytest.raises(KeyFileError, match=r"create .*/b: it exists already"):
            files.create_files(new)
        assert os.listdir(tmp_path) == ["b"]
        assert (tmp_path / "b").read_bytes() == b"theirs"


def test_file_system_without_hard_links(
    tmp_path: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch, failing: Failing
) -> None:
    """Where there are no hard links keys are written all the same, with their modes."""
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    private, public = identity.save(tmp_path, "server")
    assert sorted(os.listdir(tmp_path)) == [private.name, public.name]
    assert mode_of(private) == 0o600
    assert Identity.load(private).public == PublicKey.load(public) == identity.public


@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize(
    ("code", "why"), [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "the disk quota")]
)
def test_full_disk(
    tmp_path: Path,
    identity: Identity,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    code: int,
    why: str,
    failing: Failing,
) -> None:
    """A full disk is an error that says so, and no half-written file is left."""
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(code))
        with pytest.raises(KeyFileError, match=rf"create .*server_private\.pem: {why}.*free some"):
            identity.save(tmp_path, "server")
    assert os.listdir(tmp_path) == []
    identity.save(tmp_path, "server")  # once there is room again


def test_disk_full_at_the_second_file(
    tmp_path: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch, failing: Failing
) -> None:
    """When only the public key fails, the private key is not left alone behind."""
    calls = iter([os.link, failing(errno.ENOSPC)])
    monkeypatch.setattr(os, "link", lambda *paths: next(calls)(*paths))
    opens = iter([os.open] * 2 + [failing(errno.ENOSPC)])
    monkeypatch.setattr(os, "open", lambda *args: next(opens)(*args))
    with pytest.raises(KeyFileError, match=r"server_public\.pem: the disk is full"):
        identity.save(tmp_path, "server")
    assert os.listdir(tmp_path) == []


def test_failed_clean_up_does_not_hide_the_cause(
    tmp_path: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch, failing: Failing
) -> None:
    """When even removing the half-written file fails, the error is still the full disk."""
    monkeypatch.setattr(os, "write", failing(errno.ENOSPC))
    monkeypatch.setattr(os, "unlink", failing(errno.EIO))
    with pytest.raises(KeyFileError, match="the disk is full"):
        identity.save(tmp_path, "server")


def test_short_writes_are_continued(
    tmp_path: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system that takes 100 bytes at a time gets the whole key nevertheless."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda number, data: write(number, data[:100]))
    private, _ = identity.save(tmp_path, "server")
    assert Identity.load(private).public == identity.public


def test_folder_cannot_be_created(tmp_path: Path, identity: Identity) -> None:
    """A file in the place of the folder, or of one above it, is named."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(KeyFileError, match="file is a file, not a folder; name a folder"):
        files.make_folder(tmp_path / "file")
    with pytest.raises(KeyFileError, match="a part of the path is a file"):
        identity.save(tmp_path / "file" / "keys", "server")


def test_folder_may_not_be_entered(
    tmp_path: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch, failing: Failing
) -> None:
    """A folder that cannot be looked into is an error, not a folder without keys."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", failing(errno.EACCES))
        patch.setattr(os, "stat", failing(errno.EACCES))
        with pytest.raises(KeyFileError, match=r"cannot look at .*permission denied"):
            load_or_create(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", failing(errno.EROFS))
        with pytest.raises(KeyFileError, match=r"cannot create the folder .*read-only"):
            identity.save(tmp_path / "new", "server")
    assert os.listdir(tmp_path) == []


def test_folders_that_cannot_be_synced(
    saved: Path, monkeypatch: pytest.MonkeyPatch, failing: Failing
) -> None:
    """A system that cannot open or sync folders does without; the files are there already."""
    monkeypatch.setattr(os, "fsync", failing(errno.EINVAL))
    files.sync_folder(saved.parent)
    monkeypatch.setattr(os, "open", failing(errno.EACCES))
    files.sync_folder(saved.parent)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../server", "a/b", "a\\b", ".hidden", "-x", "a b", "a\0", "x" * 101]
)
def test_names_that_are_no_names(tmp_path: Path, name: str) -> None:
    """A name that would lead elsewhere, or be no file name, is refused."""
    for create in (createEncryptKeys, load_or_create):
        with pytest.raises(ConfigError, match="cannot be the name of a key; use letters"):
            create(tmp_path, name)
    assert os.listdir(tmp_path) == []


def test_names_of_people(tmp_path: Path, identity: Identity) -> None:
    """Names with accents, digits and `_ . @ -` are fine."""
    private, _ = identity.save(tmp_path, "josé_2.b@home-pc")
    assert private.name == "josé_2.b@home-pc_private.pem"
    assert Identity.load(private).public == identity.public


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_paths_that_are_no_paths(path: str) -> None:
    """An empty path, or one with a zero character, is the caller's mistake and named so."""
    for use in (Identity.load, PublicKey.load, createEncryptKeys):
        with pytest.raises(ConfigError, match="is not the path of a file"):
            use(path)


def test_home_folder_is_resolved(
    tmp_path: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`~` is the home folder, in saving and in loading, and paths are absolute."""
    monkeypatch.setenv("HOME", str(tmp_path))
    private, _ = identity.save("~/keys", "me")
    assert private == tmp_path / "keys" / "me_private.pem"
    assert Identity.load("~/keys/me_private.pem").path == private


@pytest.mark.parametrize("passphrase", ["", b""])
def test_empty_passphrase(tmp_path: Path, identity: Identity, passphrase: str | bytes) -> None:
    """An empty passphrase protects nothing and is refused before anything is written."""
    with pytest.raises(ConfigError, match="the passphrase is empty; leave it out"):
        identity.save(tmp_path / "keys", "server", passphrase)
    assert os.listdir(tmp_path) == []
