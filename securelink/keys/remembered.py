"""A cache for files that are read often and change seldom: each state of a file is parsed once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from ..crypto import sha256
from .files import FileState, opened

T = TypeVar("T")

# Two writes within one tick of the file system's clock leave the same times. Until this many nanoseconds after the
# last change the content is read again and compared; it is parsed again only if it differs. FAT has ticks of 2
# seconds.
_SETTLED = 2_500_000_000


@dataclass(frozen=True, slots=True)
class _Seen(Generic[T]):
    """A state of the file, and its parsed value."""

    state: FileState | None
    settled: bool
    digest: bytes
    value: T


class Remembered(Generic[T]):
    """
    The parsed value of a file.

    At each access the file is opened, and its owner and permissions are checked. It is read and parsed only if it is
    another file than the last time, or in another state: so a change takes effect at once, and is parsed once. Safe
    to use from any thread; no lock is taken, so a fork at any time does no harm.

    Args:
        path: Absolute.
        parse: Makes the value from the content. All callers get the same object, which must not be changed.
        limit: The largest size, in bytes.
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
        The current value.

        Raises:
            KeyFileError: It cannot be read, or other users could change it; see `files.opened()`.
            Exception: Any exception of `parse`.
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
        The value for this content: parsed only if it differs from the last content.

        Raises:
            Exception: Any exception of `parse`.
        """
        return self._keep(data, None, False)

    def wrote(self, data: bytes, value: T) -> None:
        """
        The file was replaced with this content: the next access need not parse it.

        Args:
            data: Its content now.
            value: The value that `parse` would return for it.
        """
        self._seen = _Seen(None, False, sha256(data), value)

    def _keep(self, data: bytes, state: FileState | None, settled: bool) -> T:
        digest, seen = sha256(data), self._seen
        value = seen.value if seen is not None and seen.digest == digest else self._parse(data)
        self._seen = _Seen(state, settled, digest, value)
        return value
