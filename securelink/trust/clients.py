"""`authorized_clients`: the keys of the clients that a server admits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from ..keys import fingerprint_digest
from ..keys.files import AnyPath, FileState, file_state
from ..limits import MAX_NAME
from ..text import kind_of, quoted
from .entries import TextFile, checked_comment, entry_line


@dataclass(frozen=True, slots=True)
class AuthorizedClient:
    """A line of `authorized_clients`."""

    fingerprint: str
    name: str
    comment: str = ""

    @property
    def key(self) -> str:
        """The fingerprint."""
        return self.fingerprint

    @property
    def value(self) -> str:
        """The name."""
        return self.name

    def line(self) -> str:
        """The line as it stands in the file."""
        return entry_line(f"{self.fingerprint} {self.name}", self.comment)

    @classmethod
    def parse(cls, fields: str, comment: str) -> AuthorizedClient:
        """
        Read a line.

        Raises:
            ConfigError: It is not an entry of this file.
        """
        fingerprint, *rest = fields.split(maxsplit=1)
        fingerprint_digest(fingerprint)
        if not rest:
            raise ConfigError("a line is 'SHA256:... name', and the name is missing")
        return cls(fingerprint, client_name(rest[0]), comment)


class AuthorizedClients:
    """
    The clients that a server admits, by the fingerprint of their key, and their names.

    Args:
        path: The file; it may not exist yet.
    """

    def __init__(self, path: AnyPath) -> None:
        self._file = TextFile(path, AuthorizedClient.parse, "Clients that may enter, by key.")

    @property
    def path(self) -> Path:
        """The file, absolute."""
        return self._file.path

    def entries(self) -> list[AuthorizedClient]:
        """
        All entries, in the order of the file.

        Raises:
            KeyFileError: The file is damaged or cannot be read.
        """
        return list(self._file.read().entries)

    def names(self) -> Mapping[str, str]:
        """
        The current names of all authorized clients, by fingerprint.

        Raises:
            KeyFileError: The file is damaged or cannot be read.
        """
        return {entry.fingerprint: entry.name for entry in self._file.read().entries}

    def state(self) -> FileState | None:
        """A value that changes with the file: one system call, nothing is read. None if there is no file."""
        return file_state(self.path)

    def allows(self, fingerprint: str) -> str | None:
        """
        The name of an authorized client, or None. Checks the file each time, so revoking works at once.

        Raises:
            KeyFileError: The file is damaged or cannot be read.
        """
        if not isinstance(fingerprint, str):
            raise ConfigError(f"a fingerprint is a text, not {kind_of(fingerprint)}")
        entry = self._file.read().found.get(fingerprint)
        return None if entry is None else entry.name

    def authorize(self, fingerprint: str, name: str, *, comment: str | None = None) -> None:
        """
        Authorize a client. Doing it again under the same name changes nothing.

        Args:
            fingerprint: The fingerprint of the client's key, `SHA256:...`.
            name: Its name on the server; one line without `#`. Several keys may share a name.
            comment: For people; by default the date of today.

        Raises:
            ConfigError: One of them is not valid, or the key is authorized under another name.
            KeyFileError: The file is damaged or cannot be written.
            LimitExceeded: The file is full.
        """
        fingerprint_digest(fingerprint)
        name = client_name(name)
        text = checked_comment(comment)
        known = self._file.add(AuthorizedClient(fingerprint, name, text))
        if known.name != name:
            raise ConfigError(
                f"{fingerprint} is authorized already, as {known.name!r}",
                hint="revoke it first to give it another name",
            )

    def revoke(self, fingerprint_or_name: str) -> bool:
        """
        Remove a client by its fingerprint, or all keys of a name. Returns whether there was one.

        Raises:
            KeyFileError: The file is damaged or cannot be written.
        """
        return self._file.remove(
            lambda entry: fingerprint_or_name in (entry.fingerprint, entry.name)
        )


def client_name(name: str) -> str:
    """
    Check the name of a client; spaces around it are dropped.

    Raises:
        ConfigError: It is empty, too long, or cannot be written on a line.
    """
    if not isinstance(name, str):
        raise ConfigError(f"a name is a text, not {kind_of(name)}")
    name = name.strip()
    if len(name) > MAX_NAME:
        raise ConfigError(f"a name has at most {MAX_NAME} characters")
    if not name or "#" in name or not name.isprintable():
        raise ConfigError(
            f"{quoted(name)} is not a name: it needs printable characters without '#'"
        )
    return name
