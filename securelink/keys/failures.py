"""What the system says of files, in sentences: an `OSError` becomes a `KeyFileError` that says what to do."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import KeyFileError

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
    errno.ELOOP: ("its symbolic links lead in a circle", "correct the links"),
    errno.EDQUOT: (
        "the disk quota is used up",
        "free some space and try again; nothing was changed",
    ),
}


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
