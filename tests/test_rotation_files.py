"""What `securelink keys rotate` leaves on disk: the new pair or the old one, whatever comes between."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from commands import fails
from helpers import failure

from securelink import Identity, KeyFileError, Server
from securelink.keys import PublicKey
from securelink.keys.succession import Statement
from securelink.limits import MAX_ROTATIONS
from securelink.trust import locked_update
from securelink.trust.rotation import (
    load_statements,
    restore_public_file,
    rotate,
    statements_path,
)

PRIVATE, PUBLIC = Path("keys/server_private.pem"), Path("keys/server_public.pem")
REPLACE = os.replace
GENERATE = Identity.generate


@pytest.fixture(autouse=True)
def fresh(
    identity: Identity, key_pool: list[Identity], tidy: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Identity]:
    """A server's key in `keys/`, and the next new ones, which are there at once."""
    identity.save("keys", "server")
    new = iter([*key_pool[1:], *key_pool[1:]])
    monkeypatch.setattr("securelink.trust.rotation.Identity.generate", lambda bits: next(new))
    yield identity
    # No step of any rotation leaves a key under another name.
    assert not [name for name in os.listdir("keys") if name[0] == "." and name != ".gitignore"]


def pair() -> tuple[PublicKey, PublicKey]:
    """The key in force, and the one that the public file shows."""
    return Identity.load(PRIVATE).public, PublicKey.load(PUBLIC)


def replacing(
    monkeypatch: pytest.MonkeyPatch, step: Callable[[Path], None], after: bool = False
) -> None:
    """Call `step` with its target before (or after) each rename that a rotation does."""

    def replace(source: Path, target: Path) -> None:
        if after:
            REPLACE(source, target)
        step(target)
        if not after:
            REPLACE(source, target)

    monkeypatch.setattr("securelink.trust.rotation.os.replace", replace)


@pytest.mark.parametrize("name", [PRIVATE.name, PUBLIC.name])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_a_rename_that_fails_leaves_the_old_pair(
    identity: Identity, monkeypatch: pytest.MonkeyPatch, name: str, error: BaseException
) -> None:
    """Whichever file cannot be replaced, both are of the old key afterwards, and the rotation can be tried again."""
    failed: list[Path] = []

    def step(target: Path) -> None:
        if target.name == name and not failed:  # putting back what was there succeeds
            failed.append(target)
            raise error

    with monkeypatch.context() as patch:
        replacing(patch, step)
        with pytest.raises((KeyFileError, KeyboardInterrupt)):
            rotate(bits=2048)
    assert failed
    assert pair() == (identity.public, identity.public)
    done = rotate(bits=2048)
    assert pair() == (done.new, done.new)
    assert len(load_statements("keys", "server", done.new)) == 1


def test_without_a_public_file_none_is_left_by_a_failure(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder with the private key alone has that alone after a failure, and both files after a rotation."""
    PUBLIC.unlink()

    def step(target: Path) -> None:
        if target.name == PRIVATE.name:
            raise OSError(errno.EACCES, "no")

    with monkeypatch.context() as patch:
        replacing(patch, step)
        failure(KeyFileError, lambda: rotate(bits=2048), "permission denied")
    assert Identity.load(PRIVATE).public == identity.public
    assert not PUBLIC.exists()
    assert not restore_public_file("keys", "server")
    done = rotate(bits=2048)
    assert pair() == (done.new, done.new)


def test_ctrl_c_after_the_last_step_keeps_the_new_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the private key is replaced the rotation is done: an interrupt then takes nothing back."""

    def step(target: Path) -> None:
        if target.name == PRIVATE.name:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        replacing(patch, step, after=True)
        with pytest.raises(KeyboardInterrupt):
            rotate(bits=2048)
    private, public = pair()
    assert private == public
    assert len(load_statements("keys", "server", private)) == 1


def test_a_public_file_that_cannot_be_read_stops_it(identity: Identity) -> None:
    """What could not be put back is not replaced: the rotation fails before anything has changed."""
    PUBLIC.unlink()
    PUBLIC.mkdir()
    failure(KeyFileError, lambda: rotate(bits=2048), "server_public.pem: it is a folder")
    assert Identity.load(PRIVATE).public == identity.public


KILLED = """
import os, sys
from securelink.trust import rotation

replace = os.replace

def dying(source, target):
    if str(target).endswith(sys.argv[1]):
        os._exit(9)
    replace(source, target)

rotation.os.replace = dying
rotation.rotate(bits=2048)
"""


def test_a_process_that_died_amid_a_rotation(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """The old key stays in force; the next start says that the public file was of another key, and mends it."""
    command = [sys.executable, "-c", KILLED, PRIVATE.name]
    assert subprocess.run(command, timeout=60, check=False).returncode == 9
    for left in Path("keys").glob(".*.pem"):  # what a dying process cannot remove
        assert left.stat().st_mode & 0o077 == 0 or left.name.endswith(PUBLIC.name)
        left.unlink()
    private, public = pair()
    assert private == identity.public != public
    for started in (1, 2):
        with Server("127.0.0.1", 0) as server:
            assert server.fingerprint == identity.fingerprint
        assert pair() == (identity.public, identity.public)
        assert caplog.text.count("as after a rotation that was interrupted") == 1, started
    assert f"it shows {identity.fingerprint} again" in caplog.text
    done = rotate(bits=2048)
    assert pair() == (done.new, done.new)


def test_what_a_dead_process_left_is_removed(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """A server and a rotation remove new keys that nobody has put in their place, an hour later; nothing else."""
    folder = Path("keys")
    own = [
        ".0123456789abcdef-server_private.pem",
        ".0123456789abcdef-server_public.pem",
        ".0123456789abcdef-server-old-01234567_private.pem",
    ]
    others = [
        ".0123456789abcdef-other_private.pem",
        ".0123456789abcde-server_private.pem",
        ".0123456789abcdef-server_private.pem.bak",
        "0123456789abcdef-server_private.pem",
        ".0123456789abcdef-server_trust",
    ]

    def leave(age: float) -> None:
        for name in own + others:
            (folder / name).write_text("x")
            os.utime(folder / name, (time.time() - age,) * 2)

    def left(names: list[str]) -> list[str]:
        return [name for name in names if (folder / name).exists()]

    def start() -> None:
        with Server("127.0.0.1", 0) as server:
            assert server.fingerprint == Identity.load(PRIVATE).fingerprint

    leave(3000.0)
    start()
    rotate(bits=2048)
    assert left(own + others) == own + others  # another process may be about to rename them
    leave(4000.0)
    start()
    assert left(own + others) == others
    assert "removed 3 files of keys in" in caplog.text
    leave(4000.0)
    rotate(bits=2048)
    assert left(own + others) == others
    (folder / own[0]).symlink_to(PRIVATE.name)
    (folder / own[1]).mkdir()
    for name in own[:2]:
        os.utime(folder / name, (0.0, 0.0), follow_symlinks=False)
    start()
    assert left(own[:2]) == own[:2]
    (folder / own[1]).rmdir()
    for name in (own[0], *others):
        (folder / name).unlink()


def test_a_public_file_that_cannot_be_mended_is_said(
    identity: Identity,
    other_identity: Identity,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server starts with its private key all the same; the log says which one is in force."""
    PUBLIC.write_bytes(other_identity.public.to_pem())

    def step(_: Path) -> None:
        raise OSError(errno.EROFS, "read-only")

    with monkeypatch.context() as patch:
        replacing(patch, step)
        with Server("127.0.0.1", 0) as server:
            assert server.fingerprint == identity.fingerprint
    assert f"this server's key is {identity.fingerprint}, which its public key file does not" in (
        caplog.text
    )
    assert "the file system is read-only" in caplog.text


def test_a_rotation_under_way_is_not_mended(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that starts between the two renames waits for the second, and then finds nothing to mend."""
    seen = []

    def step(target: Path) -> None:
        if target.name == PRIVATE.name:  # the public file is new already
            private, public = pair()
            assert private != public
            with pytest.raises(KeyFileError, match="locked"):
                seen.append(restore())

    def restore() -> bool:
        with monkeypatch.context() as patch:
            patch.setattr(
                "securelink.trust.rotation.locked_update",
                lambda path: locked_update(path, timeout=0),
            )
            return restore_public_file("keys", "server")

    with monkeypatch.context() as patch:
        replacing(patch, step)
        done = rotate(bits=2048)
    assert not seen
    assert pair() == (done.new, done.new)


@pytest.mark.parametrize("path", [PRIVATE, PUBLIC])
def test_a_link_is_not_rotated(identity: Identity, path: Path) -> None:
    """A rename would replace the link, and leave the old key where it points to: it is refused."""
    real = path.rename(path.with_name("elsewhere.pem"))
    path.symlink_to(real.name)
    before = sorted(os.listdir("keys"))
    failure(KeyFileError, lambda: rotate(bits=2048), f"{path.name} is a symbolic link")
    assert "is a symbolic link" in fails("keys", "rotate")
    assert pair() == (identity.public, identity.public)
    assert path.is_symlink()
    assert sorted(os.listdir("keys")) == before


def test_a_link_that_comes_meanwhile_is_not_replaced(
    identity: Identity, other_identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Making a key takes seconds: the files are looked at again when it is there."""

    def slow(_: int) -> Identity:
        real = PUBLIC.rename(PUBLIC.with_name("elsewhere.pem"))
        PUBLIC.symlink_to(real.name)
        return other_identity

    monkeypatch.setattr("securelink.trust.rotation.Identity.generate", slow)
    failure(KeyFileError, lambda: rotate(bits=2048), "is a symbolic link")
    assert pair() == (identity.public, identity.public)


@pytest.mark.parametrize("late", [False, True])
def test_a_key_that_was_replaced_meanwhile_is_not_signed_away(
    identity: Identity, key_pool: list[Identity], monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """Who put another key there while the new one was made finds it again, and an error says so."""
    third = key_pool[2]
    calls = []

    def update(path: Path) -> object:
        calls.append(path)
        if len(calls) == 1 + late:
            PRIVATE.write_bytes(third.to_pkcs8_pem())
        return locked_update(path)

    with monkeypatch.context() as patch:
        patch.setattr("securelink.trust.rotation.locked_update", update)
        failure(KeyFileError, lambda: rotate(bits=2048), "was replaced meanwhile")
    assert Identity.load(PRIVATE).public == third.public
    assert not list(Path("keys").glob("server-old-*"))
    assert statements_path("keys", "server").exists() == late


def test_the_new_key_has_the_passphrase_of_the_old_one(identity: Identity) -> None:
    """A key that was encrypted stays so, under both names, and none of them others can read."""
    PRIVATE.unlink()
    PUBLIC.unlink()
    identity.save("keys", "server", "correct horse")
    done = rotate(bits=2048, passphrase="correct horse")
    for path in (PRIVATE, done.kept):
        assert b"BEGIN ENCRYPTED PRIVATE KEY" in path.read_bytes()
        assert path.stat().st_mode & 0o777 == 0o600
        failure(KeyFileError, lambda path=path: Identity.load(path), "passphrase")  # type: ignore[misc]
    assert Identity.load(PRIVATE, "correct horse").public == done.new
    assert Identity.load(done.kept, "correct horse").public == identity.public
    for public in (PUBLIC, done.kept.with_name(done.kept.name.replace("private", "public"))):
        assert public.stat().st_mode & 0o777 == 0o644


def test_what_has_expired_goes_and_the_rest_is_bounded(
    identity: Identity, key_pool: list[Identity]
) -> None:
    """The file of statements grows by no more than a rotation that failed may need again; the newest comes first."""
    path = statements_path("keys", "server")
    now = int(time.time())
    stored = [
        Statement.sign(key_pool[1], key_pool[2].public, now + ends)
        for ends in (-10, *range(1000, 1000 + 3 * MAX_ROTATIONS))
    ]
    with locked_update(path) as file:
        file.data = encoded(stored)
    done = rotate(bits=2048, lifetime=500)
    kept = decoded(path)
    assert kept == [kept[0], *stored[1 : 2 * MAX_ROTATIONS]]
    assert kept[0].signer(done.new) == identity.public
    assert now + 500 <= kept[0].expires <= time.time() + 500


def encoded(statements: list[Statement]) -> bytes:
    """Statements as the file holds them."""
    return msgspec.json.encode(statements)


def decoded(path: Path) -> list[Statement]:
    """The statements in the file."""
    return msgspec.json.decode(path.read_bytes(), type=list[Statement])


def test_which_statements_are_shown(key_pool: list[Identity]) -> None:
    """Only a chain that ends in the key itself, in its order, without what has expired, and no longer than allowed."""
    oldest, middle, newest = key_pool
    now = int(time.time())

    def shown(*statements: Statement) -> tuple[Statement, ...]:
        with locked_update(statements_path("keys", "server")) as file:
            file.data = encoded(list(statements))
        return load_statements("keys", "server", newest.public)

    first = Statement.sign(middle, newest.public, now + 100)
    second = Statement.sign(oldest, middle.public, now + 100)
    gone = Statement.sign(middle, newest.public, now - 1)
    assert shown(second, first) == (first, second)
    assert shown(second) == ()  # about a key between, which nobody shows here
    assert shown(gone, second) == ()
    assert shown(gone, first, second) == (first, second)
    circle = [Statement.sign(newest, oldest.public, now + 100 + n) for n in range(MAX_ROTATIONS)]
    circle += [Statement.sign(oldest, newest.public, now + 100 + n) for n in range(MAX_ROTATIONS)]
    assert len(shown(*circle)) == MAX_ROTATIONS


def test_statements_that_others_can_change_are_refused(identity: Identity) -> None:
    """The file decides whom clients follow: one that others can write is an error, as any file of trust."""
    done = rotate(bits=2048)
    path = statements_path("keys", "server")
    path.chmod(0o666)
    failure(
        KeyFileError, lambda: load_statements("keys", "server", done.new), "other users can change"
    )
    failure(KeyFileError, lambda: rotate(bits=2048), "other users can change")
    assert pair() == (done.new, done.new)


def test_all_of_it_is_on_disk_before_the_key_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut finds the statement and the old key under its new name, and both new files, complete."""
    events: list[str] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        events.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    monkeypatch.setattr("securelink.keys.files.os.fsync", note)
    replacing(monkeypatch, lambda target: events.append(f"to {target.name}"))
    rotate(bits=2048)
    at = events.index(f"to {PUBLIC.name}")
    assert [event for event in events[:at] if event[:3] == "to "] == ["to server_rotation.json"]
    assert events[at:] == [f"to {PUBLIC.name}", f"to {PRIVATE.name}", "keys"]
    for name in ("server_rotation.json", "_private.pem", "_public.pem"):
        assert any(event.endswith(name) for event in events[:at]), name
    assert events[:at].count("keys") == 2  # the statement's name, and those of the old pair
