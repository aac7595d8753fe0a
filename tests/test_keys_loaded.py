"""A private key is read from its file once, and never given to who may not have it."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path

import pytest
from inside import bytes_below

from securelink import Client, Identity, KeyFileError, Server
from securelink.errors import ConfigError
from securelink.keys import loaded
from securelink.keys.private import Passphrase, private_key
from securelink.limits import MAX_LOADED_KEYS


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read as keys."""
    found: list[str] = []

    def counting(data: bytes, passphrase: Passphrase, source: str) -> object:
        found.append(source)
        return private_key(data, passphrase, source)

    monkeypatch.setattr(loaded, "private_key", counting)
    monkeypatch.setattr(loaded, "_files", {})
    return found


def test_a_folder_is_read_once(tmp_path: Path, identity: Identity, reads: list[str]) -> None:
    """A thousand clients and a server with keys in one folder read each key once."""
    for name in ("client", "server"):
        identity.save(tmp_path, name)
    for _ in range(1000):
        Client("127.0.0.1", 5050, keys=tmp_path)
    for _ in range(3):
        assert Server("127.0.0.1", 0, keys=tmp_path).fingerprint == identity.fingerprint
    assert len(reads) == 2


def test_each_loaded_identity_is_its_own(tmp_path: Path, identity: Identity) -> None:
    """Two identities of one file share a key and no attributes."""
    path, _ = identity.save(tmp_path, "server")
    one, two = Identity.load(path), Identity.load(path)
    assert one is not two
    one.path = None
    assert two.path == path
    two.public.verify(one.sign(b"message"), b"message")


def test_a_new_key_shows_at_once(
    tmp_path: Path, identity: Identity, other_identity: Identity
) -> None:
    """When the file is replaced, or written over, the next load has the new key."""
    path, _ = identity.save(tmp_path, "server")
    other, _ = other_identity.save(tmp_path, "other")
    assert Identity.load(path).fingerprint == identity.fingerprint
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    assert Identity.load(path).fingerprint == other_identity.fingerprint
    other.write_bytes(content)
    other.replace(path)
    assert Identity.load(path).fingerprint == identity.fingerprint


def test_permissions_are_asked_each_time(tmp_path: Path, identity: Identity) -> None:
    """A key that is kept ready is refused when others can read its file by now, and when the file is gone."""
    path, _ = identity.save(tmp_path, "server")
    Identity.load(path)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="other users can read"):
        Identity.load(path)
    path.unlink()
    with pytest.raises(KeyFileError, match="does not exist"):
        Identity.load(path)


def test_no_key_without_its_passphrase(
    tmp_path: Path, identity: Identity, reads: list[str]
) -> None:
    """Somebody's passphrase opens an encrypted key for nobody else; the right one is worked on once."""
    path, _ = identity.save(tmp_path, "server", "correct horse")
    wrong: list[Passphrase] = [None, "wrong horse", "correct horse ", b"wrong", "", "\ud800"]
    for _ in range(2):
        for passphrase in wrong:
            with pytest.raises((KeyFileError, ConfigError)):
                Identity.load(path, passphrase)
        for right in ("correct horse", b"correct horse"):
            assert Identity.load(path, right).fingerprint == identity.fingerprint
    assert len(reads) == 2 * len(wrong) + 1


def test_a_passphrase_that_is_not_needed(tmp_path: Path, identity: Identity) -> None:
    """A file without passphrase opens with any and with none, in any order."""
    path, _ = identity.save(tmp_path, "server")
    for passphrase in ("any", None, "other", None):
        assert Identity.load(path, passphrase).fingerprint == identity.fingerprint


def test_the_passphrase_is_not_kept(tmp_path: Path, identity: Identity) -> None:
    """Of a passphrase only a keyed hash stays."""
    path, _ = identity.save(tmp_path, "server", "correct horse battery")
    Identity.load(path, "correct horse battery")
    kept = bytes_below(vars(loaded))
    assert path.read_bytes() in kept
    assert b"horse" not in kept


def test_so_many_are_kept(
    tmp_path: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that loads the keys of many does not keep them all."""
    kept: dict[Path, object] = {}
    monkeypatch.setattr(loaded, "_files", kept)
    path, _ = identity.save(tmp_path, "0")
    for number in range(1, MAX_LOADED_KEYS + 10):
        other = tmp_path / f"{number}_private.pem"
        other.write_bytes(path.read_bytes())
        other.chmod(0o600)
        Identity.load(other)
        assert 0 < len(kept) <= MAX_LOADED_KEYS


def test_after_a_fork(tmp_path: Path, identity: Identity) -> None:
    """A child process uses the key that its parent had read."""
    path, _ = identity.save(tmp_path, "server")
    Identity.load(path)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # threads of earlier tests may still end
        child = os.fork()
    if child == 0:
        signature = Identity.load(path).sign(b"message")
        identity.public.verify(signature, b"message")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.usefixtures("tidy")
def test_a_new_server_key_is_announced(caplog: pytest.LogCaptureFixture) -> None:
    """A server that makes a key says where, and that an old one may lie elsewhere; one that has a key does not."""
    path = Path("keys/server_private.pem").absolute()
    with Server("127.0.0.1", 0):
        assert f"made a new server key in {path}" in caplog.text
        assert "if this server ran in another folder before, its key lies" in caplog.text
    (record,) = [record for record in caplog.records if "made a new" in record.getMessage()]
    assert record.levelno == logging.WARNING
    caplog.clear()
    with Server("127.0.0.1", 0):
        assert "made a new" not in caplog.text
