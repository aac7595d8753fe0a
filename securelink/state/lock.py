"""One process for each file of sessions: a lock that ends with the process, however that ends, and who has it."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from pathlib import Path

from ..errors import SecureLinkError, StateError
from ..keys.failures import mapped_errors
from ..keys.files import NO_LINK, PRIVATE_MODE
from ..keys.strict import check_owner

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_LOOK_SECONDS = 0.02  # between two looks at a lock that another process has
_PID_SIZE = 20  # digits, and a lock of Windows lies behind them
_ours: set[str] = set()  # a process does not stand in its own way at a lock of POSIX
_guard = threading.RLock()  # the garbage collector may let go of one anywhere

log = logging.getLogger("securelink.server")


def _forget() -> None:
    """In a child of fork(): locks of this kind are the parent's."""
    global _guard
    _guard = threading.RLock()
    _ours.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class FileLock:
    """
    The lock of a file, taken. It lies beside it, as `<path>.lock`, and stays.

    Not by flock(): children would have it too, and keep it when the server was killed.

    Args:
        path: The file.
        wait: Seconds to wait for another process to let go of it.
        who: Uses it: a "server" or a "client".
        taken: What is raised when another one has it.

    Raises:
        StateError: Another process, or another server of this one, has it; or `taken` in its place.
        KeyFileError: It cannot be locked.
    """

    # Those of a lock that was not taken, because Ctrl-C came or another one has the file.
    _pid, _descriptor, _is_ours = 0, -1, False

    def __init__(
        self,
        path: Path,
        wait: float = 0.0,
        who: str = "server",
        taken: type[SecureLinkError] = StateError,
    ) -> None:
        self._name = str(path)
        self._pid = os.getpid()
        self._hint = f"stop that one first, or give each {who} a file of its own"
        self._taken = taken
        with _guard:
            if self._name in _ours:
                raise taken(
                    f"another {who} of this process (pid {os.getpid()}) uses {path}",
                    hint=self._hint,
                )
            self._is_ours = True
            _ours.add(self._name)
        lock = path.with_name(path.name + ".lock")
        try:
            with mapped_errors("lock", lock):
                self._descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | NO_LINK, PRIVATE_MODE)
                check_owner(lock, os.fstat(self._descriptor))
                self._take(path, wait)
        except BaseException:
            self.release()
            raise

    def _take(self, path: Path, wait: float) -> None:
        deadline, waiting = time.monotonic() + wait, False
        while (error := self._tried()) is not None:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            pid = os.read(self._descriptor, _PID_SIZE).strip()
            who = pid.decode() if pid.isdigit() else "unknown"
            busy = f"another process (pid {who}) uses {path}"
            if time.monotonic() >= deadline:
                raise self._taken(busy, hint=self._hint) from error
            if not waiting:
                log.info("%s; waiting up to %g s for it to hand its sessions over", busy, wait)
                waiting = True
            time.sleep(_LOOK_SECONDS)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, str(os.getpid()).ljust(_PID_SIZE).encode())

    def _tried(self) -> OSError | None:
        """Lock it, if nobody has."""
        try:
            if sys.platform == "win32":
                os.lseek(self._descriptor, _PID_SIZE, os.SEEK_SET)
                msvcrt.locking(self._descriptor, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error
        return None

    def release(self) -> None:
        """Let others have it. May be called again."""
        if self._pid != os.getpid():
            return
        with _guard:
            if not self._is_ours:
                return
            descriptor, self._descriptor, self._is_ours = self._descriptor, -1, False
            if descriptor >= 0:
                os.close(descriptor)
            _ours.discard(self._name)

    def __del__(self) -> None:
        self.release()  # Ctrl-C has come before anybody had it
