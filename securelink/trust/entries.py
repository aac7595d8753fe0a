"""Text files of entries: one a line, `#` begins a comment, edited by people and by us."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from ..errors import ConfigError, KeyFileError
from ..keys.files import AnyPath, absolute
from .locking import locked_update, read_trust_file


class Line(Protocol):
    """What an entry can do: spell itself."""

    def line(self) -> str:
        """The line as the file holds it."""


Entry = TypeVar("Entry", bound=Line)


class TextFile(Generic[Entry]):
    """
    A file of entries. Comments and the order of lines that people wrote are kept.

    Holds nothing but the path: what one process changes, another sees at its next look.
    """

    def __init__(self, path: AnyPath, parse: Callable[[str, str], Entry], title: str) -> None:
        self.path = absolute(path)
        self._parse: Callable[[str, str], Entry] = parse
        self._title = title

    def read(self) -> list[Entry]:
        """All entries. Raises `KeyFileError`, naming the line, unless every line can be read."""
        return [entry for _, entry in self._lines(read_trust_file(self.path)) if entry is not None]

    def add(self, new: Entry, check: Callable[[Entry], bool]) -> None:
        """Append an entry unless `check` says True of one that is there; `check` may raise."""
        with locked_update(self.path) as file:
            lines = self._lines(file.data)
            if any(check(entry) for _, entry in lines if entry is not None):
                return
            texts = [text for text, _ in lines] or [f"# {self._title}"]
            file.data = _join([*texts, new.line()])

    def remove(self, unwanted: Callable[[Entry], bool]) -> bool:
        """Take out every entry that `unwanted` says True of. Returns whether there was one."""
        with locked_update(self.path) as file:
            lines = self._lines(file.data)
            kept = [text for text, entry in lines if entry is None or not unwanted(entry)]
            if len(kept) == len(lines):
                return False
            file.data = _join(kept)
            return True

    def _lines(self, data: bytes) -> list[tuple[str, Entry | None]]:
        """Every line, and what it says; None for an empty line and for a comment."""
        lines: list[tuple[str, Entry | None]] = []
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
            lines.append((text, entry))
        if not lines[-1][0]:
            lines.pop()  # what follows the last line end
        return lines

    def _damaged(self, number: int, why: str) -> KeyFileError:
        return KeyFileError(
            f"{self.path}:{number}: {why}",
            hint="correct or delete that line; until then nobody is trusted by this file",
        )


def checked_comment(comment: str | None) -> str:
    if comment is None:
        return time.strftime("added %Y-%m-%d")
    if not comment.isprintable():
        raise ConfigError("a comment is one line of printable characters")
    return comment.strip()


def entry_line(fields: str, comment: str) -> str:
    return f"{fields}  # {comment}" if comment else fields


def _join(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
