"""
Files that hold keys or trust: read within bounds, written completely or not at all.

Every `OSError` leaves this module as a `KeyFileError` that names the path and the way on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shlex
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError, KeyFileError

AnyPath = str | os.PathLike[str]

POSIX = os.name == "posix"  # elsewhere the mode bits of a file say nothing about who may read it

PRIVATE_MODE = 0o600
PUBLIC_MODE = 0o644
FOLDER_MODE = 0o700

# O_NONBLOCK: opening a named pipe must not wait for a writer. O_BINARY: no line end is changed.
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)

_FAILURES = {
    errno.ENOENT: ("it does not exist", "check the path"),
    errno.EISDIR: ("it is a folder", "give the path of a file in it"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "check the path"),
    errno.EEXIST: (
        "it exists already and is never overwritten",
        "choose another name or folder, or move the file away first",
    ),
    errno.EACCES: ("permission denied", "run as the user who owns it, or correct its permissions"),
    errno.EPERM: ("permission denied", "run as the user who owns it, or correct its permissions"),
    errno.EROFS: ("the file system is read-only", "choose another folder"),
    errno.ENOSPC: ("the disk is full", "free some space and try again; nothing was changed"),
    errno.EDQUOT: (
        "the disk quota is used up",
        "free some space and try again; nothing was changed",
    ),
}


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to be created: where, what is in it, and who may read it."""

    path: Path
    data: bytes
    mode: int = PRIVATE_MODE


def absolute(path: AnyPath) -> Path:
    """
    The full path, with `~` resolved, so that errors and log lines say where a file really is.

    Raises:
        ConfigError: The path is empty or holds a zero character.
    """
    text = os.fspath(path)
    if not text or "\0" in text:
        raise ConfigError(f"{text!r} is not the path of a file")
    return Path(os.path.abspath(os.path.expanduser(text)))


def file_error(error: OSError, doing: str, path: Path, hint: str = "") -> KeyFileError:
    """
    The error for a failed system call: what could not be done, why, and what to do.

    Args:
        error: What the system said.
        doing: A verb: what was tried.
        path: With what.
        hint: Instead of the usual one.
    """
    # Windows says "permission denied" of a folder. Not `path.is_dir()`, which may raise.
    folder = error.errno == errno.EACCES and os.path.isdir(path)
    code = errno.EISDIR if folder else error.errno
    reason, usual = _FAILURES.get(code or 0, (error.strerror or type(error).__name__, ""))
    return KeyFileError(f"cannot {doing} {path}: {reason}", hint=hint or usual)


@contextlib.contextmanager
def mapped_errors(doing: str, path: Path, missing: str = "") -> Iterator[None]:
    """Turn every `OSError` of the block into a `KeyFileError` about `path`."""
    try:
        yield
    except FileNotFoundError as error:
        raise file_error(error, doing, path, missing) from error
    except OSError as error:
        raise file_error(error, doing, path) from error


def read_file(path: Path, limit: int, *, forbidden: int = 0, missing: str = "") -> bytes:
    """
    Read a whole file of at most `limit` bytes.

    Args:
        path: Absolute.
        limit: In bytes.
        forbidden: Permission bits that must not be set; not asked where the system has none.
        missing: What to do when the file does not exist.

    Raises:
        KeyFileError: It cannot be read, is no regular file, is too large, or its permissions are
            too wide.
    """
    with mapped_errors("read", path, missing):
        descriptor = os.open(path, _READ)
        try:
            _check_file(path, os.fstat(descriptor).st_mode, forbidden)
            data = _read_up_to(descriptor, limit + 1)
        finally:
            os.close(descriptor)
    if len(data) > limit:
        raise KeyFileError(f"{path} is larger than {limit} bytes", hint="this is the wrong file")
    return data


def create_files(files: Sequence[NewFile]) -> None:
    """
    Create all of the files or none, and never touch one that exists.

    Each is complete on disk before its name appears. The first is the one that decides a race.

    Raises:
        KeyFileError: One of them exists already, or cannot be written.
    """
    temporary: list[Path] = []
    created: list[Path] = []
    try:
        for file in files:
            with mapped_errors("create", file.path):
                temporary.append(write_temporary(file))
        for file, source in zip(files, temporary, strict=True):
            with mapped_errors("create", file.path):
                _publish(source, file)
            created.append(file.path)
    except BaseException:
        for path in created:
            discard(path)
        raise
    finally:
        for path in temporary:
            discard(path)
    sync_folder(files[0].path.parent)


def write_temporary(file: NewFile) -> Path:
    """Write the data into a new file beside the path it is meant for. Raises `OSError`."""
    # The name ends like the final one, so that a rule which ignores *_private.pem covers both.
    path = file.path.with_name(f".{secrets.token_hex(8)}-{file.path.name}")
    _write_exclusively(path, file.data, file.mode)
    return path


def discard(path: Path) -> None:
    """Remove a file of ours if it is there; a failure must not hide the error that led here."""
    with contextlib.suppress(OSError):
        path.unlink()


def make_folder(path: Path) -> None:
    """
    Create a folder that only its owner can enter. One that exists is left as it is.

    Raises:
        KeyFileError: It cannot be created, or a file has its name.
    """
    try:
        path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise KeyFileError(f"{path} is a file, not a folder", hint="name a folder") from error
    except OSError as error:
        raise file_error(error, "create the folder", path) from error


def exists(path: Path) -> bool:
    """
    Whether anything has this name, be it a link that leads nowhere.

    Raises:
        KeyFileError: That cannot be found out: a folder may not be entered.
    """
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise file_error(error, "look at", path) from error
    return True


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power cut, where the system can do that."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return  # Windows opens no folders; the files themselves are on disk already
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some network file systems cannot; nothing more can be done
    finally:
        os.close(descriptor)


def _check_file(path: Path, mode: int, forbidden: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder")
    if not stat.S_ISREG(mode):
        raise KeyFileError(f"{path} is not a regular file", hint="give the path of a file")
    if POSIX and mode & forbidden:
        what = "read" if mode & forbidden & 0o044 else "change"
        raise KeyFileError(
            f"other users can {what} {path} (mode {stat.S_IMODE(mode):04o})",
            hint=f"run: chmod 600 {shlex.quote(str(path))}",
        )


def _read_up_to(descriptor: int, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = os.read(descriptor, size - len(data))
        if not chunk:
            break
        data += chunk
    return bytes(data)


def _write_exclusively(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, _CREATE, mode)
    try:
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        discard(path)
        raise


def _publish(source: Path, file: NewFile) -> None:
    """Give a complete file its final name, unless that name is taken."""
    if not POSIX:
        os.rename(source, file.path)  # on Windows this fails when the name is taken
        return
    try:
        os.link(source, file.path)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links. Still exclusive, though no longer in one step.
        _write_exclusively(file.path, file.data, file.mode)
