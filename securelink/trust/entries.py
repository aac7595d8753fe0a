"""Text files of entries: one a line, `#` begins a comment, edited by people and by us."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ..errors import ConfigError, KeyFileError
from ..keys.files import AnyPath, absolute
from ..keys.remembered import Remembered
from ..limits import MAX_TRUST_FILE
from .locking import LOCK_SECONDS, OTHERS_WRITE, forget_missing, locked_update


class Line(Protocol):
    """An entry, as its file needs it."""

    @property
    def key(self) -> Hashable:
        """The key by which it is found. Two lines with one key may not have different values."""

    @property
    def value(self) -> str:
        """The value for the key."""

    def line(self) -> str:
        """The line as it stands in the file."""


Entry = TypeVar("Entry", bound=Line)


@dataclass(frozen=True, slots=True)
class Content(Generic[Entry]):
    """
    The content of a file of entries.

    Attributes:
        lines: Every line with its entry; None for an empty line and for a comment.
        entries: All entries, in the order of the file.
        found: The first entry of each key.
    """

    lines: tuple[tuple[str, Entry | None], ...]
    entries: tuple[Entry, ...]
    found: Mapping[Hashable, Entry]


class TextFile(Generic[Entry]):
    """
    A file of entries. Comments and the order of lines that people wrote are kept.

    It is parsed once for each state of the file: changes by one process are seen by others at their next access.
    """

    def __init__(self, path: AnyPath, parse: Callable[[str, str], Entry], title: str) -> None:
        self.path = absolute(path)
        self._parse: Callable[[str, str], Entry] = parse
        self._title = title
        self._remembered: Remembered[Content[Entry]] = Remembered(
            self.path, self._content, limit=MAX_TRUST_FILE, forbidden=OTHERS_WRITE
        )

    def read(self) -> Content[Entry]:
        """The content. Raises `KeyFileError`, which names the line, unless every line can be read."""
        try:
            return self._remembered.get()
        except KeyFileError as error:
            if forget_missing(error):
                return Content((), (), {})
            raise

    def change(
        self,
        new: Entry,
        *,
        known: Callable[[list[Entry]], Entry | None],
        outdated: Callable[[Entry], bool],
        timeout: float = LOCK_SECONDS,
    ) -> Entry:
        """
        Append an entry, unless it is known. Outdated entries are removed then.

        Args:
            new: The entry.
            known: Finds the entry that the new one would replace, if there is one.
            outdated: Tells entries that no longer hold.
            timeout: How long to wait while another program changes it, in seconds.

        Returns:
            The entry in the file: the known one, or the new one.
        """
        with locked_update(self.path, timeout=timeout) as file:
            lines = _without(self._remembered.of(file.data).lines, outdated)
            found = known(_entries(lines))
            if found is not None:
                return found
            title = [] if lines else self._lines(f"# {self._title}".encode())
            lines += title + self._lines(new.line().encode())
            file.data = _join(lines)
        self._remembered.wrote(file.data, _content(lines))
        return new

    def add(self, new: Entry) -> Entry:
        """Append an entry, unless there is one with its key. Returns the entry in the file."""

        def known(entries: list[Entry]) -> Entry | None:
            return next((entry for entry in entries if entry.key == new.key), None)

        return self.change(new, known=known, outdated=lambda entry: False)

    def remove(self, unwanted: Callable[[Entry], bool]) -> bool:
        """Remove every entry for which `unwanted` returns True. Returns whether there was one."""
        with locked_update(self.path) as file:
            lines = self._remembered.of(file.data).lines
            kept = _without(lines, unwanted)
            if len(kept) == len(lines):
                return False
            file.data = _join(kept)
        self._remembered.wrote(file.data, _content(kept))
        return True

    def _content(self, data: bytes) -> Content[Entry]:
        return _content(self._lines(data))

    def _lines(self, data: bytes) -> list[tuple[str, Entry | None]]:
        """Every line and its entry; None for an empty line and for a comment."""
        lines: list[tuple[str, Entry | None]] = []
        seen: dict[Hashable, tuple[int, str]] = {}
        for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
            try:
                text = raw.decode().rstrip("\r")
                fields, _, comment = text.partition("#")
                fields = fields.strip()
                entry = self._parse(fields, comment.strip()) if fields else None
            except UnicodeDecodeError:
                raise self._damaged(number, "it is not UTF-8 text") from None
            except ConfigError as error:
                raise self._damaged(number, error.message) from None
            if entry is not None:
                first, value = seen.setdefault(entry.key, (number, entry.value))
                if value != entry.value:
                    raise self._damaged(number, f"it contradicts line {first}")
            lines.append((text, entry))
        if not lines[-1][0]:
            lines.pop()  # after the last line end
        return lines

    def _damaged(self, number: int, why: str) -> KeyFileError:
        return KeyFileError(
            f"{self.path}:{number}: {why}",
            hint="correct or delete that line; until then this file is not used",
        )


def checked_comment(comment: str | None) -> str:
    """
    The comment of a new entry, by default the date of today.

    Raises:
        ConfigError: It does not fit on the line.
    """
    if comment is None:
        return time.strftime("added %Y-%m-%d")
    if not isinstance(comment, str) or not comment.isprintable():
        raise ConfigError("a comment is one line of printable characters")
    return comment.strip()


def entry_line(fields: str, comment: str) -> str:
    """A line with its comment."""
    return f"{fields}  # {comment}" if comment else fields


def _without(
    lines: Iterable[tuple[str, Entry | None]], unwanted: Callable[[Entry], bool]
) -> list[tuple[str, Entry | None]]:
    return [line for line in lines if line[1] is None or not unwanted(line[1])]


def _entries(lines: Iterable[tuple[str, Entry | None]]) -> list[Entry]:
    return [entry for _, entry in lines if entry is not None]


def _content(lines: Sequence[tuple[str, Entry | None]]) -> Content[Entry]:
    entries = tuple(entry for _, entry in lines if entry is not None)
    return Content(tuple(lines), entries, {entry.key: entry for entry in reversed(entries)})


def _join(lines: Iterable[tuple[str, object]]) -> bytes:
    return "".join(f"{text}\n" for text, _ in lines).encode()
