"""Updates of small text files that threads and processes share: one at a time, all or nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import KeyFileError, LimitExceeded
from ..keys.failures import mapped_errors
from ..keys.files import (
    NO_LINK,
    PRIVATE_MODE,
    AnyPath,
    absolute,
    make_folder,
    read_file,
)
from ..keys.replacing import replace_file
from ..keys.strict import believed_path, check_owner
from ..limits import MAX_TRUST_FILE
from ..options import seconds

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# An update takes milliseconds: a process that holds the lock for longer is stuck.
LOCK_SECONDS = 10.0
_LOCK_PAUSE = 0.01
_LOCK = os.O_RDWR | os.O_CREAT | NO_LINK | getattr(os, "O_NONBLOCK", 0)
OTHERS_WRITE = 0o022
_BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)  # the errors of the systems for a taken lock


class LockTaken(KeyFileError):
    """Another program has kept a file locked for as long as was to be waited. Nothing has changed."""


class LockedFile:
    """
    A file that no other program updates meanwhile.

    Attributes:
        path: The file itself, after symbolic links.
        data: Its content, b"" if it does not exist. Set it to replace the file.
    """

    __slots__ = ("data", "path")

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        self.data = data


@contextlib.contextmanager
def locked_update(path: AnyPath, *, timeout: float = LOCK_SECONDS) -> Iterator[LockedFile]:
    """
    Read, change and replace a file while no other thread or process does.

    The file is replaced in one step when the block ends and `data` was changed; readers, who take
    no lock, see the old file or the new one. After an exception in the block it is as it was.

    Args:
        path: The file; its folder is created if need be. Beside it `<path>.lock` appears and stays.
        timeout: How long to wait for the lock, in seconds.

    Raises:
        ConfigError: `timeout` is not a number.
        LockTaken: A `KeyFileError`: its lock stayed taken.
        KeyFileError: The file cannot be read or replaced, or other users could change it.
        LimitExceeded: The new content is larger than `MAX_TRUST_FILE`.
    """
    timeout = seconds("timeout", timeout)
    named = absolute(path)
    make_folder(named.parent)
    with mapped_errors("write", named):
        target = believed_path(named)
    with _lock(target.with_name(target.name + ".lock"), timeout):
        before = read_trust_file(target)
        file = LockedFile(target, before)
        yield file
        if file.data != before:
            _replace(target, file.data)


def read_trust_file(path: AnyPath) -> bytes:
    """
    Read a file as `locked_update()` does, without the lock. b"" if it does not exist.

    Raises:
        KeyFileError: It exists and cannot be read, is too large, or other users can change it.
    """
    try:
        return read_file(absolute(path), MAX_TRUST_FILE, forbidden=OTHERS_WRITE)
    except KeyFileError as error:
        if forget_missing(error):
            return b""
        raise


def forget_missing(error: KeyFileError) -> bool:
    """
    Whether reading a file failed because the name does not exist.

    Only this failure means "nothing written yet". `exists()` would also be False for a forbidden folder and for a
    dangling link.

    Such an error is handled, and its frames are released. From Python 3.13 on they refer to it in a circle, and would
    keep objects of their callers, such as a client, until the collector runs.
    """
    cause = error.__cause__
    if not isinstance(cause, FileNotFoundError):
        return False
    error.__traceback__ = cause.__traceback__ = None
    return True


@contextlib.contextmanager
def _lock(path: Path, timeout: float) -> Iterator[None]:
    # The lock is on a separate file, because the real one is replaced together with its lock. It is never removed: a
    # waiting process could then hold a lock that others cannot see.
    with mapped_errors("lock", path):
        # No link is followed: otherwise its target would be created, or kept locked.
        descriptor = os.open(path, _LOCK, PRIVATE_MODE)
    try:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            raise KeyFileError(
                f"{path} is not a regular file", hint="remove it; it will be made again"
            )
        check_owner(path, info)
        deadline = time.monotonic() + timeout
        while True:
            if _try_lock(descriptor, path):
                break
            if time.monotonic() >= deadline:
                raise LockTaken(
                    f"another program has kept {path} locked for {timeout:g} s",
                    hint="end that program and try again",
                )
            time.sleep(_LOCK_PAUSE)
        try:
            yield
        finally:
            _unlock(descriptor)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, path: Path) -> bool:
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        with mapped_errors("lock", path):
            raise
    return True


def _unlock(descriptor: int) -> None:
    # Closing is not enough while a child process that was forked meanwhile has the file open.
    if sys.platform == "win32":
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _replace(path: Path, data: bytes) -> None:
    if len(data) > MAX_TRUST_FILE:
        raise LimitExceeded(
            f"{path} would grow to {len(data)} bytes, at most {MAX_TRUST_FILE} are allowed",
            limit="MAX_TRUST_FILE",
            hint="remove entries that are no longer needed",
        )
    replace_file(path, data)
