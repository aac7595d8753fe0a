"""Entries by name: in memory for a test or a short game, in a file for a server."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from .. import limits
from ..errors import KeyFileError, LimitExceeded
from ..keys.files import AnyPath, absolute
from ..keys.remembered import Remembered
from ..trust.locking import (
    LOCK_SECONDS,
    OTHERS_WRITE,
    LockTaken,
    forget_missing,
    locked_update,
)

# How full a file may become by adding entries. The rest is for additions to entries (times of use and revocation): no
# login must fail because its use cannot be stored.
_FULL = 2 / 3

Entry = TypeVar("Entry", bound=msgspec.Struct)


class Book(Generic[Entry]):
    """
    A dictionary of entries that threads share, and processes too if it is in a file. The file is JSON, one entry a
    line. It is checked each time and parsed when it has changed, so changes by other processes are seen at once. A
    file that cannot be read completely is an error, never a smaller book.

    Args:
        path: The file, which may not exist yet; None for memory.
        kind: The type of an entry; immutable.
        key: Gives the name of an entry.
    """

    def __init__(
        self, path: AnyPath | None, kind: type[Entry], key: Callable[[Entry], str]
    ) -> None:
        self.path: Path | None = None if path is None else absolute(path)
        self._key: Callable[[Entry], str] = key
        self._decoder = msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]  # a variable type
        self._lock = threading.Lock()  # held while _entries are exchanged
        self._entries: Mapping[str, Entry] = {}
        # Held by the hurried update that waits for the file; guards _stuck.
        self._hurried = threading.Lock()
        self._stuck = False  # the last hurried update waited for the file in vain
        self._remembered: Remembered[Mapping[str, Entry]] | None = None
        if self.path is not None:
            self._remembered = Remembered(
                self.path, self._decode, limit=limits.MAX_TRUST_FILE, forbidden=OTHERS_WRITE
            )

    def read(self) -> Mapping[str, Entry]:
        """
        All current entries: later changes are in another mapping.

        Raises:
            KeyFileError: The file is damaged or cannot be read, or other users could change it.
        """
        if self._remembered is None:
            return self._entries
        try:
            return self._remembered.get()
        except KeyFileError as error:
            if forget_missing(error):
                return {}
            raise

    @contextlib.contextmanager
    def update(self, *, hurry: bool = False) -> Iterator[dict[str, Entry]]:
        """
        The entries, to be changed in the block while no other thread or process changes them.

        They are stored when the block ends, and stay as they were after an exception in it.

        Args:
            hurry: Others wait for this thread: it waits for a program that has the file locked for `LOGIN_LOCK_SECONDS`
                instead of `LOCK_SECONDS`, and after one that waited in vain for a tenth, until one gets it again.

        Raises:
            LockTaken: Another program has the file locked.
            KeyFileError: The file is damaged or cannot be written.
            LimitExceeded: It would grow too large.
        """
        if self._remembered is None:
            with self._lock:
                entries = dict(self._entries)
                yield entries
                self._entries = entries
            return
        if not hurry:
            with self._update_file(self._remembered, LOCK_SECONDS) as entries:
                yield entries
            return
        with self._hurried:  # each of our own has its turn, and only the first waits for long
            wait = limits.STUCK_LOCK_SECONDS if self._stuck else limits.LOGIN_LOCK_SECONDS
            try:
                with self._update_file(self._remembered, wait) as entries:
                    self._stuck = False
                    yield entries
            except LockTaken:
                self._stuck = True
                raise

    @contextlib.contextmanager
    def _update_file(
        self, remembered: Remembered[Mapping[str, Entry]], timeout: float
    ) -> Iterator[dict[str, Entry]]:
        with locked_update(remembered.path, timeout=timeout) as file:
            before = remembered.of(file.data)
            entries = dict(before)
            yield entries
            changed = entries != before
            if changed:
                lines = b",\n".join(msgspec.json.encode(entry) for entry in entries.values())
                file.data = b"[\n" + lines + b"\n]\n"
                if len(entries) > len(before):
                    self._check_room(len(file.data))
        if changed:
            # a copy, because the block may have kept the mapping
            remembered.wrote(file.data, dict(entries))

    def _check_room(self, size: int) -> None:
        if size > limits.MAX_TRUST_FILE * _FULL:
            raise LimitExceeded(
                f"{self.path} is full",
                limit="MAX_TRUST_FILE",
                hint="use another file for more, or delete entries that have ended",
            )

    def _decode(self, data: bytes) -> Mapping[str, Entry]:
        if not data:
            return {}
        try:
            found: list[Entry] = self._decoder.decode(data)
        # msgspec before 0.23 has a ValueError for text that is not UTF-8, not a DecodeError.
        except (ValueError, RecursionError) as error:
            raise self._damaged(str(error)) from None
        entries = {self._key(entry): entry for entry in found}
        if len(entries) != len(found):
            raise self._damaged("two entries have the same name")
        return entries

    def _damaged(self, why: str) -> KeyFileError:
        return KeyFileError(
            f"{self.path} is damaged: {why}",
            hint="correct it or restore a copy; until then it admits nobody",
        )
