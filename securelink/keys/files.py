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
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from ..errors import ConfigError, KeyFileError
from ..text import quoted
from . import strict
from .failures import file_error, mapped_errors
from .strict import believed_path, check_owner

AnyPath = str | os.PathLike[str]
POSIX = strict.POSIX  # whether there are hard links, and mode bits that mean something

PRIVATE_MODE = 0o600
PUBLIC_MODE = 0o644
FOLDER_MODE = 0o700

IGNORE_FILE = ".gitignore"
# A repository of the user's that the folder lies in would publish keys with the next `git add .`.
_IGNORE = b"# Keys, trust files and tokens belong to one machine and are never committed.\n*\n"

# O_NONBLOCK: opening a named pipe must not wait for a writer. O_BINARY: no line end is changed.
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
NO_LINK = getattr(os, "O_NOFOLLOW", 0)


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to be created: where, what is in it, and who may read it."""

    path: Path
    data: bytes = field(repr=False)
    mode: int = PRIVATE_MODE


def absolute(path: AnyPath) -> Path:
    """
    The full path, with `~` resolved, so that errors and log lines say where a file really is.

    Raises:
        ConfigError: The path is empty, or holds a zero character or one that the system cannot encode.
    """
    try:
        text = os.fspath(path)
        possible = isinstance(text, str) and bool(os.fsencode(text)) and "\0" not in text
    except (TypeError, UnicodeEncodeError):
        text, possible = "", False
    if possible and "-----BEGIN " in text:  # it would be in the error of a path that does not exist
        raise ConfigError(
            "this is the text of a key, not the path of a file", hint="use from_pem() to read text"
        )
    if not possible:
        raise ConfigError(f"{quoted(path)} is not the path of a file")
    return Path(os.path.abspath(os.path.expanduser(text)))


@dataclass(frozen=True, slots=True)
class FileState:
    """
    What tells one state of a file from another: a file that was replaced or written to has another one.

    Attributes:
        device, inode: Which file it is.
        size: In bytes.
        modified, changed: Nanoseconds since 1970: of the content, and of anything about it.
    """

    device: int
    inode: int
    size: int
    modified: int
    changed: int


def state_of(info: os.stat_result) -> FileState:
    """The state that the system's answer tells of."""
    return FileState(info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)


def file_state(path: Path) -> FileState | None:
    """The state of a file that need not be believed for that; None when it cannot be looked at."""
    try:
        return state_of(os.stat(path))
    except OSError:
        return None


class OpenFile:
    """
    A regular file while it is open: `with opened(...) as file`.

    Attributes:
        state: As it was when it was opened.
    """

    def __init__(
        self, path: Path, limit: int, forbidden: int, missing: str, *, believed: bool
    ) -> None:
        self.state: FileState
        self._path = path
        self._limit = limit
        self._forbidden = forbidden
        self._missing = missing
        self._believed = believed
        self._descriptor = -1

    def __enter__(self) -> Self:
        try:
            self._open(self._believed)
        except BaseException as error:
            self._close()
            self._mapped(error)
            raise
        return self

    def _open(self, believed: bool) -> None:
        path = self._path
        real = believed_path(path) if believed else path
        descriptor = os.open(real, _READ | (NO_LINK if believed else 0))
        self._descriptor = descriptor
        info = os.fstat(descriptor)
        _check_file(path, info.st_mode, self._forbidden)
        if believed:
            check_owner(path, info)
        self.state = state_of(info)

    def __exit__(self, _: object, error: BaseException | None, _traceback: object) -> None:
        self._close()
        if error is not None:
            self._mapped(error)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _mapped(self, error: BaseException) -> None:
        if isinstance(error, FileNotFoundError):
            raise file_error(error, "read", self._path, self._missing) from error
        if isinstance(error, OSError):
            raise file_error(error, "read", self._path) from error

    def read(self) -> bytes:
        """
        All of it. To be called once.

        Raises:
            KeyFileError: It is too large.
            OSError: It cannot be read.
        """
        data = _read_up_to(self._descriptor, self._limit + 1)
        if len(data) > self._limit:
            raise KeyFileError(
                f"{self._path} is larger than {self._limit} bytes", hint="this is the wrong file"
            )
        return data


def opened(
    path: Path, limit: int, *, forbidden: int = 0, missing: str = "", believed: bool = True
) -> OpenFile:
    """
    A file of at most `limit` bytes, opened for the length of a `with` block.

    Args:
        path: Absolute.
        limit: In bytes.
        forbidden: Permission bits that must not be set; not asked where the system has none.
        missing: What to do when the file does not exist.
        believed: Whether what it says will be believed: then nobody else may be able to change it, or a folder on the
            way to it (see `strict.py`).

    Raises (when the block begins, and for an `OSError` in it):
        KeyFileError: It cannot be read, is no regular file, is too large, its permissions are too wide, or other users
            could change it. Its cause is a `FileNotFoundError` when there is nothing of this name.
    """
    return OpenFile(path, limit, forbidden, missing, believed=believed)


def read_file(
    path: Path, limit: int, *, forbidden: int = 0, missing: str = "", believed: bool = True
) -> bytes:
    """Read a whole file; see `opened()`."""
    with opened(path, limit, forbidden=forbidden, missing=missing, believed=believed) as file:
        return file.read()


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


def write_temporary(file: NewFile, name: str = "") -> Path:
    """Write the data into a new file beside its path, which has this name, or a random one. Raises `OSError`."""
    # A random name ends like the final one, so that a rule which ignores *_private.pem covers both.
    path = file.path.with_name(name or f".{secrets.token_hex(8)}-{file.path.name}")
    _write_exclusively(path, file.data, file.mode)
    return path


def discard(path: Path) -> None:
    """Remove a file of ours if it is there; a failure must not hide the error that led here."""
    with contextlib.suppress(OSError):
        path.unlink()


def make_folder(path: Path) -> None:
    """
    Create a folder that only its owner can enter, and folders before it. One that exists is left as it is.

    A new folder gets a `.gitignore` that names everything in it.

    Raises:
        KeyFileError: It cannot be created, a file has its name, or other users could put files of theirs in the place
            of those in it.
    """
    with mapped_errors("create the folder", path):
        real = believed_path(path)
        missing = _missing(real)
        try:
            for folder in reversed(missing):
                folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
        except FileExistsError as error:
            raise _no_folder(path) from error
        if not os.path.isdir(real):
            raise _no_folder(path)
        if missing:
            believed_path(path)  # again: somebody else may have been faster
            _ignore_in_git(real)


def check_folder(path: Path) -> None:
    """
    See that what lies in a folder can be believed.

    Raises:
        KeyFileError: Other users could change it, or the system does not let us look.
    """
    with mapped_errors("look at", path):
        believed_path(path)


def _no_folder(path: Path) -> KeyFileError:
    return KeyFileError(f"{path} is a file, not a folder", hint="name a folder")


def _ignore_in_git(folder: Path) -> None:
    # Where this fails, what the folder was made for fails next, and says why.
    with contextlib.suppress(OSError):
        _write_exclusively(folder / IGNORE_FILE, _IGNORE, PRIVATE_MODE)


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


def _missing(path: Path) -> list[Path]:
    return [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _write_exclusively(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, _CREATE, mode)
    try:
        try:
            _write_all(descriptor, data)
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
