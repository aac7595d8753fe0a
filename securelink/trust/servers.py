"""`known_servers`: the keys of the servers that a client has met."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError, NotTrusted
from ..keys import fingerprint_digest
from ..keys.files import AnyPath
from ..limits import MAX_NAME
from .entries import TextFile, checked_comment, entry_line


@dataclass(frozen=True, slots=True)
class KnownServer:
    """A line of `known_servers`."""

    host: str
    port: int
    fingerprint: str
    comment: str = ""

    @property
    def key(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port

    @property
    def value(self) -> str:
        """The fingerprint."""
        return self.fingerprint

    def line(self) -> str:
        """The line as the file holds it."""
        return entry_line(f"{self.host} {self.port} {self.fingerprint}", self.comment)

    @classmethod
    def parse(cls, fields: str, comment: str) -> KnownServer:
        """
        Read a line.

        Raises:
            ConfigError: It is no entry of this file.
        """
        parts = fields.split()
        if len(parts) != 3:
            raise ConfigError(f"a line is 'host port SHA256:...', not {len(parts)} words")
        host, port, fingerprint = parts
        # 5 digits: a longer number would only be refused more slowly.
        number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else -1
        server_key(host, number)
        fingerprint_digest(fingerprint)
        return cls(host.lower(), number, fingerprint, comment)


class KnownServers:
    """
    The servers this user has met: host and port as typed, and the key each of them had.

    Args:
        path: The file; it may not exist yet.
    """

    def __init__(self, path: AnyPath) -> None:
        self._file = TextFile(path, KnownServer.parse, "Servers met before, and their keys.")

    @property
    def path(self) -> Path:
        """The file, absolute."""
        return self._file.path

    def entries(self) -> list[KnownServer]:
        """
        All entries, in the order of the file.

        Raises:
            KeyFileError: The file is damaged or cannot be read.
        """
        return self._file.read()

    def get(self, host: str, port: int) -> str | None:
        """
        The fingerprint of a server's key, or None if it was never met.

        Raises:
            ConfigError: Host or port cannot be such.
            KeyFileError: The file is damaged or cannot be read.
        """
        key = server_key(host, port)
        for entry in self.entries():
            if entry.key == key:
                return entry.fingerprint
        return None

    def remember(
        self, host: str, port: int, fingerprint: str, *, comment: str | None = None
    ) -> None:
        """
        Write down the key of a server. Writing down the same key again changes nothing.

        Args:
            host: As typed; upper and lower case are the same.
            port: 1 to 65535.
            fingerprint: `SHA256:...`.
            comment: For people; by default the date of today.

        Raises:
            ConfigError: One of them cannot be such.
            NotTrusted: Another key is written down for this server. It stays.
            KeyFileError: The file is damaged or cannot be written.
            LimitExceeded: The file is full.
        """
        key = server_key(host, port)
        fingerprint_digest(fingerprint)
        text = checked_comment(comment)
        known = self._file.add(KnownServer(*key, fingerprint, text))
        if known.fingerprint != fingerprint:
            raise NotTrusted(
                f"{self.path} has another key for {host} port {port}",
                fingerprint=fingerprint,
                expected=known.fingerprint,
                hint="if the server really has a new key, forget the old one first",
            )

    def forget(self, host: str, port: int) -> bool:
        """
        Remove a server. Returns whether it was there.

        Raises:
            ConfigError: Host or port cannot be such.
            KeyFileError: The file is damaged or cannot be written.
        """
        key = server_key(host, port)
        return self._file.remove(lambda entry: entry.key == key)


def server_key(host: str, port: int) -> tuple[str, int]:
    """
    What a known server is found by: the host as typed, in lower case, and the port.

    Raises:
        ConfigError: The host cannot be written on a line, or the port is not from 1 to 65535.
    """
    if len(host) > MAX_NAME:
        raise ConfigError(f"the name of a host has at most {MAX_NAME} characters")
    if not host or "#" in host or " " in host or not host.isprintable():
        raise ConfigError(f"{host!r} is not the name or address of a host")
    if not 1 <= port <= 65535:
        raise ConfigError("a port is a number from 1 to 65535")
    return host.lower(), port
