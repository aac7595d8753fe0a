"""`known_servers`: the keys of the servers that a client has met."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError, KeyFileError, NotTrusted
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
        found: dict[tuple[str, int], KnownServer] = {}
        entries = self._file.read()
        for entry in entries:
            first = found.setdefault((entry.host, entry.port), entry)
            if first.fingerprint != entry.fingerprint:
                raise KeyFileError(
                    f"{self.path} has two different keys for {entry.host} port {entry.port}",
                    hint="delete the wrong line",
                )
        return entries

    def get(self, host: str, port: int) -> str | None:
        """
        The fingerprint of a server's key, or None if it was never met.

        Raises:
            ConfigError: Host or port cannot be such.
            KeyFileError: The file is damaged or cannot be read.
        """
        key = server_key(host, port)
        for entry in self.entries():
            if (entry.host, entry.port) == key:
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

        def same(entry: KnownServer) -> bool:
            if (entry.host, entry.port) != key:
                return False
            if entry.fingerprint != fingerprint:
                raise NotTrusted(
                    f"{self.path} has another key for {host} port {port}",
                    fingerprint=fingerprint,
                    expected=entry.fingerprint,
                    hint="if the server really has a new key, forget the old one first",
                )
            return True

        self._file.add(KnownServer(*key, fingerprint, text), same)

    def forget(self, host: str, port: int) -> bool:
        """
        Remove a server. Returns whether it was there.

        Raises:
            ConfigError: Host or port cannot be such.
            KeyFileError: The file is damaged or cannot be written.
        """
        key = server_key(host, port)
        return self._file.remove(lambda entry: (entry.host, entry.port) == key)


def server_key(host: str, port: int) -> tuple[str, int]:
    """
    What a known server is found by: the host as typed, in lower case, and the port.

    Raises:
        ConfigError: The host cannot be written on a line, or the port is not from 1 to 65535.
    """
    if not host or "#" in host or " " in host or not host.isprintable():
        raise ConfigError(f"{host!r} is not the name or address of a host")
    if len(host.encode()) > MAX_NAME:
        raise ConfigError(f"the name of a host has at most {MAX_NAME} bytes")
    if not 1 <= port <= 65535:
        raise ConfigError("a port is a number from 1 to 65535")
    return host.lower(), port
