"""Updates of trust files: locked, complete, and lost by nobody."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from securelink.errors import KeyFileError
from securelink.keys import fingerprint_text, replacing
from securelink.trust import KnownServers, locked_update, read_trust_file

Failing = Callable[[int], Callable[..., NoReturn]]

ONE = fingerprint_text(bytes(32))
TWO = fingerprint_text(bytes([1]) * 32)
BOM = b"\xef\xbb\xbf"  # what some editors put in front of UTF-8


@pytest.fixture
def servers(tmp_path: Path) -> KnownServers:
    """A file of known servers that does not exist yet."""
    return KnownServers(tmp_path / "known_servers")


def test_update_replaces_the_file(tmp_path: Path) -> None:
    """What the block leaves in `data` is the new content; folder and file are the owner's only."""
    path = tmp_path / "new" / "file"
    with locked_update(path) as file:
        assert file.data == b""
        file.data = b"one"
    with locked_update(path) as file:
        assert file.data == b"one"
        file.data += b" two"
    assert read_trust_file(path) == b"one two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert sorted(os.listdir(path.parent)) == [".gitignore", "file", "file.lock"]


def test_failed_update_changes_nothing(tmp_path: Path) -> None:
    """An exception in the block leaves the file as it was and frees the lock."""
    path = tmp_path / "file"
    path.write_bytes(b"before")
    path.chmod(0o600)

    def fail() -> None:
        with locked_update(path) as file:
            file.data = b"after"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_bytes() == b"before"
    with locked_update(path, timeout=0) as file:
        file.data = b"after"
    assert path.read_bytes() == b"after"


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_full_disk(
    servers: KnownServers, monkeypatch: pytest.MonkeyPatch, failing: Failing, call: str
) -> None:
    """A full disk is an error that says so; the old file stays and nothing else is left."""
    servers.remember("localhost", 5050, ONE)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(errno.ENOSPC))
        with pytest.raises(KeyFileError, match=f"write {servers.path}: the disk is full; free"):
            servers.remember("new", 5050, ONE)
    assert [entry.host for entry in servers.entries()] == ["localhost"]
    assert sorted(os.listdir(servers.path.parent)) == ["known_servers", "known_servers.lock"]


def test_symbolic_link_stays(tmp_path: Path) -> None:
    """A link to the file is followed, not replaced, and both names share one lock."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.touch(mode=0o600)
    link.symlink_to(real)
    KnownServers(link).remember("localhost", 5050, ONE)
    assert link.is_symlink()
    assert KnownServers(real).get("localhost", 5050) == ONE
    assert (tmp_path / "real.lock").exists()
    assert not (tmp_path / "link.lock").exists()


def test_lock_that_stays_taken(tmp_path: Path) -> None:
    """Whoever waits too long for a lock gets an error that names it, and never half the lock."""
    path = tmp_path / "file"
    with locked_update(path):
        started = time.monotonic()
        with (
            pytest.raises(
                KeyFileError, match=r"has kept .*file\.lock locked for 0\.05 s; end that"
            ),
            locked_update(path, timeout=0.05),
        ):
            raise AssertionError("two have the lock")
        assert time.monotonic() - started < 5
    with locked_update(path, timeout=0):
        pass


def test_system_that_cannot_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: Failing
) -> None:
    """Where locking fails for another reason there is no update without a lock."""
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", failing(errno.ENOLCK))
        with pytest.raises(KeyFileError, match="cannot lock "), locked_update(tmp_path / "file"):
            raise AssertionError("updated without a lock")
    monkeypatch.setattr(os, "open", failing(errno.EROFS))
    with (
        pytest.raises(
            KeyFileError, match=r"cannot lock .*file\.lock: the file system is read-only"
        ),
        locked_update(tmp_path / "file"),
    ):
        raise AssertionError("updated without a lock")


def test_readers_that_block_a_replacement(
    servers: KnownServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an open file cannot be replaced (Windows), the update waits until it can."""
    replace, refusals = os.replace, [PermissionError(errno.EACCES, "in use")] * 3

    def busy(source: Path, target: Path) -> None:
        if refusals:
            raise refusals.pop()
        replace(source, target)

    monkeypatch.setattr(replacing, "POSIX", False)
    monkeypatch.setattr(os, "replace", busy)
    servers.remember("localhost", 5050, ONE)
    assert servers.get("localhost", 5050) == ONE
    assert refusals == []
    monkeypatch.setattr(replacing, "_PAUSE", 0)
    refusals.extend([PermissionError(errno.EACCES, "in use")] * 1000)
    with pytest.raises(KeyFileError, match="permission denied"):
        servers.remember("new", 5050, ONE)


def test_threads_lose_nothing(tmp_path: Path) -> None:
    """Threads that write at the same time keep each other's entries."""
    path = tmp_path / "known_servers"

    def remember(port: int) -> None:
        for number in range(10):
            KnownServers(path).remember(f"host{number}", port, ONE)

    threads = [threading.Thread(target=remember, args=(port,)) for port in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert len(KnownServers(path).entries()) == 30


def test_processes_lose_nothing(tmp_path: Path) -> None:
    """Programs that write at the same time keep each other's entries; readers see whole files."""
    servers = KnownServers(tmp_path / "known_servers")
    code = (
        "import sys; from securelink.trust import KnownServers\n"
        "print('ready', flush=True); sys.stdin.read(1)\n"
        "for number in range(40):\n"
        "    KnownServers(sys.argv[1]).remember(f'host{number}', int(sys.argv[2]), sys.argv[3])\n"
        "    if number % 2:\n"
        "        KnownServers(sys.argv[1]).forget(f'host{number}', int(sys.argv[2]))\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(servers.path), str(port), ONE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for port in (1, 2)
    ]
    try:
        for process in processes:  # all are waiting at the start line
            assert process.stdout is not None
            assert process.stdout.readline().strip() == b"ready"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"x")
            process.stdin.flush()
        deadline = time.monotonic() + 60
        while any(process.poll() is None for process in processes):
            servers.entries()
            assert time.monotonic() < deadline
        assert [process.communicate(timeout=120)[0] for process in processes] == [b"", b""]
        assert [process.returncode for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    expected = {(f"host{number}", port) for number in range(0, 40, 2) for port in (1, 2)}
    assert {entry.key for entry in servers.entries()} == expected


def test_lock_ends_with_the_update(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that was forked in the middle of an update, and lives on, does not keep the lock."""
    path = tmp_path / "file"
    inherited = []
    real_open = os.open

    def open_and_inherit(*args: Any) -> int:
        descriptor = real_open(*args)
        if str(args[0]).endswith(".lock"):
            inherited.append(os.dup(descriptor))  # what fork() does to every open file
        return descriptor

    monkeypatch.setattr(os, "open", open_and_inherit)
    try:
        with locked_update(path):
            assert len(inherited) == 1
        with locked_update(path, timeout=0) as file:
            file.data = b"free"
    finally:
        for descriptor in inherited:
            os.close(descriptor)
    assert path.read_bytes() == b"free"
