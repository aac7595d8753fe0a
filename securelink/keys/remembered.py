"""Files that are read often and change seldom: parsed once for each state of the file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from ..crypto import sha256
from .files import FileState, opened

T = TypeVar("T")

# Two writes within one tick of the file system's clock leave the same times. Until so many nanoseconds after the last
# change the content is read again, and compared; it is not parsed again unless it differs. FAT counts in 2 seconds.
_SETTLED = 2_500_000_000


@dataclass(frozen=True, slots=True)
class _Seen(Generic[T]):
    """What was found."""

    state: FileState | None
    settled: bool
    digest: bytes
    value: T


class Remembered(Generic[T]):
    """
    What a file says.

    The file is opened and its owner and permissions are checked at each look. It is read and parsed only when it is
    another file than the last time, or another state of it: so a change is seen at once, and costs once.
    Safe to use from any thread; no lock is taken, so a fork at any time does no harm.

    Args:
        path: Absolute.
        parse: Makes the value of the content. Everybody gets the same object: it must not be changed afterwards.
        limit: Of its size, in bytes.
        forbidden: Permission bits that it must not have.
        missing: What to do when it does not exist.
    """

    def __init__(
        self,
        path: Path,
        parse: Callable[[bytes], T],
        *,
        limit: int,
        forbidden: int,
        missing: str = "",
    ) -> None:
        self.path = path
        self._parse: Callable[[bytes], T] = parse
        self._limit = limit
        self._forbidden = forbidden
        self._missing = missing
        self._seen: _Seen[T] | None = None

    def get(self) -> T:
        """
        What the file says now.

        Raises:
            KeyFileError: It cannot be read, or other users could change it; see `files.opened()`.
            Exception: What `parse` raises.
        """
        started = time.time_ns()
        with opened(
            self.path, self._limit, forbidden=self._forbidden, missing=self._missing
        ) as file:
            seen = self._seen
            if seen is not None and seen.settled and seen.state == file.state:
                return seen.value
            data = file.read()
        last = max(file.state.modified, file.state.changed)
        return self._keep(data, file.state, started - last > _SETTLED)

    def of(self, data: bytes) -> T:
        """
        What the file would say if it held this: parsed only if it is not what was found the last time.

        Raises:
            Exception: What `parse` raises.
        """
        return self._keep(data, None, False)

    def wrote(self, data: bytes, value: T) -> None:
        """
        The file was replaced by this: the next look need not parse it.

        Args:
            data: What it holds now.
            value: What `parse` would make of that.
        """
        self._seen = _Seen(None, False, sha256(data), value)

    def _keep(self, data: bytes, state: FileState | None, settled: bool) -> T:
        digest, seen = sha256(data), self._seen
        value = seen.value if seen is not None and seen.digest == digest else self._parse(data)
        self._seen = _Seen(state, settled, digest, value)
        return value
