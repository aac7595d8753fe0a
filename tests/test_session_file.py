"""The file of a client's session: what is in it, who may read it, and what becomes of one that is no good."""

from __future__ import annotations

import gc
import logging
import os
import re
import warnings
from pathlib import Path

import pytest
from helpers import WAIT, failure, until
from passed_on import is_free, scene
from storm import interrupted, points

from securelink import crypto
from securelink.errors import ConfigError, KeyFileError
from securelink.keys import Identity
from securelink.protocol import Resumption
from securelink.state import Kept, SessionFile
from securelink.text import escaped

TOKEN, TICKET, PSK = bytes(range(16)), bytes(range(40, 72)), bytes(range(100, 132))


def resumption(identity: Identity | None, *, ticket: bytes = TICKET) -> Resumption:
    """What a connection has brought; None: without encryption."""
    key = identity.public if identity is not None else None
    psk = PSK if identity is not None else None
    return Resumption(TOKEN, ticket, psk, 120, 2**20, key, key, "game", "1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "me.session"


@pytest.mark.parametrize("encrypted", [True, False])
def test_it_gives_back_what_it_was_given(path: Path, identity: Identity, encrypted: bool) -> None:
    """All of it, to the next process; and nothing when there is none, or the session is over."""
    given = resumption(identity if encrypted else None)
    file = SessionFile(path)
    file.take()
    assert file.read() is None
    file.keep("example.org", 5050, given)
    assert file.holds_one
    file.take()  # again: it has it
    file.release()
    other = SessionFile(path)
    other.take()
    assert other.read() == Kept("example.org", 5050, given)
    other.over()
    assert not path.exists()
    other.keep("example.org", 5050, given)  # a connection that comes after the end
    assert not path.exists()
    other.take()
    assert other.read() is None
    other.release()


def test_only_its_owner_can_read_it(path: Path, identity: Identity) -> None:
    """It is made so, in a folder of that kind, also where umask would allow more; one that others read is refused."""
    before = os.umask(0)
    try:
        file = SessionFile(path)
        file.take()
        file.keep("example.org", 5050, resumption(identity))
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.with_name(path.name + ".lock").stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o777 == 0o700
    for mode in (0o640, 0o604, 0o620):
        path.chmod(mode)
        failure(KeyFileError, file.read, "other users can", "chmod 600")
    path.chmod(0o600)
    path.parent.chmod(0o777)
    file.release()
    failure(KeyFileError, file.take, "other users can write in the folder")
    path.parent.chmod(0o700)


def test_it_is_replaced_in_one_step(
    path: Path, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written is on the disk before it has the name; a process that is killed there leaves the old one."""
    file = SessionFile(path)
    file.take()
    file.keep("example.org", 5050, resumption(identity))
    seen: list[str] = []
    fsync = os.fsync

    def killed(source: Path, target: Path) -> None:
        seen.append("replace")
        raise OSError("killed")

    def synced(descriptor: int) -> None:
        seen.append("fsync")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", synced)
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyFileError):
            file.keep("example.org", 5050, resumption(identity, ticket=bytes(32)))
    assert seen == ["fsync", "replace"]
    kept = file.read()
    assert kept is not None
    assert kept.resumption.ticket == TICKET
    left = path.with_name(path.name + ".new")
    left.write_bytes(b"half a fi")  # of one that was killed in the middle
    file.keep("example.org", 5050, resumption(identity, ticket=bytes(32)))
    assert not left.exists()
    kept = file.read()
    assert kept is not None
    assert kept.resumption.ticket == bytes(32)
    file.over()


def test_a_damaged_file_is_an_error(path: Path, identity: Identity) -> None:
    """Cut or changed anywhere: said, with the way on, never taken for another session, and never quoted."""
    file = SessionFile(path)
    file.take()
    file.keep("example.org", 5050, resumption(identity))
    whole = path.read_bytes()
    for size in range(0, len(whole) - 1, 23):
        path.write_bytes(whole[:size])
        error = failure(KeyFileError, file.read, "is damaged", "a new session begins")
        assert error.__cause__ is None
    begin = whole.index(b"\n") + 1
    for place in range(begin, len(whole) - 1, 29):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        error = failure(KeyFileError, file.read, "is damaged", "remove it")
        assert not re.search(r"[A-Za-z0-9+/=]{40}", f"{error}{error.__cause__!r}")
    path.write_bytes(b"x" * 100_000)
    failure(KeyFileError, file.read, "larger than")
    path.unlink()
    path.symlink_to(path.with_name("nothing"))
    failure(KeyFileError, file.read, "a link that leads nowhere")
    path.unlink()
    file.release()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'"version":1', b'"version":2', "written by another version"),
        (b'"version":1', b'"version":"1"', "is damaged"),
        (b'"port":5050', b'"port":"5050"', "is damaged"),
        (b'"port":5050', b'"port":5050,"more":1', "is damaged"),
        (b'"max_packet":1048576', b'"max_packet":1', "is damaged"),
        (b'"lifetime":120', b'"lifetime":-1', "is damaged"),
        (b'"psk":"', b'"psk":"AAAA', "is damaged"),
        (b'"token":"', b'"token":"AAAA', "is damaged"),
        (b'"ticket":"', b'"ticket":"AAAA', "is damaged"),
        (b'"server":"', b'"server":"AAAA', "is damaged"),
        (b'"server":"', b'"server":null,"was":"', "is damaged"),
    ],
)
def test_what_cannot_be_in_it(
    path: Path, identity: Identity, old: bytes, new: bytes, words: str
) -> None:
    """A file that is whole and says what no session is: an error, too."""
    file = SessionFile(path)
    file.take()
    file.keep("example.org", 5050, resumption(identity))
    about, line, _ = path.read_bytes().split(b"\n", 2)
    assert old in line
    line = line.replace(old, new)
    path.write_bytes(b"\n".join((about, line, crypto.sha256(line).hex().encode(), b"")))
    failure(KeyFileError, file.read, words, "a new session begins")
    file.over()


def test_one_client_uses_it(path: Path, identity: Identity) -> None:
    """Another one of this process is told so; of another process: `test_session_processes.py`."""
    first, second = SessionFile(path), SessionFile(path)
    first.take()
    failure(ConfigError, second.take, "another client of this process", "a file of its own")
    second.keep("example.org", 5050, resumption(identity))  # it does not have it
    second.over()
    assert not path.exists()
    first.keep("example.org", 5050, resumption(identity))
    second.over()
    assert path.exists()
    first.release()
    second.take()
    second.over()


def test_a_fork_does_not_have_it(path: Path, identity: Identity) -> None:
    """A child neither writes nor removes what is its parent's, and cannot use it either."""
    file = SessionFile(path)
    file.take()
    file.keep("example.org", 5050, resumption(identity))
    before = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: threads and fork()
        child = os.fork()
    if not child:
        wrong = 1
        try:
            file.keep("example.org", 1, resumption(identity))
            file.over()
            try:
                file.take()
            except ConfigError:
                wrong = 0
        finally:
            os._exit(wrong)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert path.read_bytes() == before
    file.over()


def test_its_secrets_are_not_shown(
    path: Path, identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in a `repr` of anything on the way nor in a log."""
    caplog.set_level(logging.DEBUG)
    file = SessionFile(path)
    file.take()
    file.keep("example.org", 5050, resumption(identity))
    kept = file.read()
    text = escaped(f"{file!r} {kept!r} {caplog.text}")
    for secret in (TICKET, PSK):
        for form in (secret.hex(), repr(secret), str(secret)[2:20]):
            assert form not in text
    file.over()


@pytest.mark.cost
def test_connecting_interrupted(identity: Identity, tmp_path: Path) -> None:
    """Wherever Ctrl-C interrupts `connect()`, this client can connect again, and others have the file after it."""
    # Before Python 3.13 its handlers have locks that a signal can leave taken.
    logging.disable(logging.CRITICAL)
    try:
        with scene(identity, tmp_path) as found, warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            for at in points(first=3, step=37):
                client = found.client()
                storm = interrupted(at, client.connect)
                if not client.connected:
                    client.connect(WAIT)
                client.close(WAIT)
                found.clients.clear()
                del client
                gc.collect()
                # It has what was left, where the interrupted attempt had a session already.
                other = found.client()
                until(lambda: is_free(other))  # noqa: B023
                assert not found.path.exists()
                found.clients.clear()
                if not storm.where:
                    break
    finally:
        logging.disable(logging.NOTSET)
