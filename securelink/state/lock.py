"""One process for each state file: a lock that ends with the process, however that ends, and a word who has it."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from ..errors import StateError
from ..keys.files import NO_LINK, PRIVATE_MODE, mapped_errors

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_HINT = "stop that one first, or give each server a state file of its own"
_PID_SIZE = 20  # digits, and a lock of Windows lies behind them
_ours: set[str] = set()  # a process does not stand in its own way at a lock of POSIX
_guard = threading.Lock()


def _forget() -> None:
    """In a child of fork(): locks of this kind are the parent's."""
    global _guard
    _guard = threading.Lock()
    _ours.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class FileLock:
    """
    The lock of a file, taken. It lies beside it, as `<path>.lock`, and stays.

    Not by flock(): children would have it too, and keep it when the server was killed.

    Args:
        path: The file.

    Raises:
        StateError: Another process, or another server of this one, has it.
        KeyFileError: It cannot be locked.
    """

    def __init__(self, path: Path) -> None:
        self._name = str(path)
        with _guard:
            if self._name in _ours:
                raise StateError(
                    f"another server of this process (pid {os.getpid()}) uses {path}", hint=_HINT
                )
            lock = path.with_name(path.name + ".lock")
            with mapped_errors("lock", lock):
                self._descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | NO_LINK, PRIVATE_MODE)
                try:
                    self._take(path)
                except BaseException:
                    os.close(self._descriptor)
                    raise
            _ours.add(self._name)
        self._pid = os.getpid()

    def _take(self, path: Path) -> None:
        try:
            if sys.platform == "win32":
                os.lseek(self._descriptor, _PID_SIZE, os.SEEK_SET)
                msvcrt.locking(self._descriptor, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            pid = os.read(self._descriptor, _PID_SIZE).decode("ascii", "replace").strip()
            raise StateError(
                f"another process (pid {pid or 'unknown'}) uses {path}", hint=_HINT
            ) from error
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, str(os.getpid()).ljust(_PID_SIZE).encode())

    def release(self) -> None:
        """Let others have it."""
        if self._pid == os.getpid():
            os.close(self._descriptor)
            with _guard:
                _ours.discard(self._name)
