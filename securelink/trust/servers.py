"""`known_servers`: the keys of the servers that a client has met."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ..errors import ConfigError, NotTrusted
from ..keys import fingerprint_digest
from ..keys.files import AnyPath
from ..options import number
from ..text import quoted
from .entries import TextFile, checked_comment, entry_line
from .places import same_server, spelled

_UNTIL = "until="
_MAX_LIFETIME = (
    3e9  # seconds: a date beyond a century is a mistake, and beyond the year 9999 not to be written
)


@dataclass(frozen=True, slots=True)
class KnownServer:
    """
    A line of `known_servers`.

    Attributes:
        host, port: As the line has them, the host in lower case.
        fingerprint: Of the server's key.
        comment: For people.
        until: When the line ends, in seconds since 1970; None for never.
        place: What all spellings of this server have in common.
    """

    host: str
    port: int
    fingerprint: str
    comment: str = ""
    until: float | None = None
    place: tuple[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "place", server_key(self.host, self.port))

    @property
    def key(self) -> tuple[str, int]:
        """Host and port as they are written; two lines may name one server under two spellings."""
        return self.host, self.port

    @property
    def value(self) -> str:
        """The fingerprint."""
        return self.fingerprint

    def holds(self, now: float) -> bool:
        """Whether the line has not ended."""
        return self.until is None or now < self.until

    def line(self) -> str:
        """The line as the file holds it."""
        end = ""
        if self.until is not None:
            end = f" {_UNTIL}{datetime.fromtimestamp(self.until, UTC):%Y-%m-%dT%H:%M:%SZ}"
        return entry_line(f"{self.host} {self.port} {self.fingerprint}{end}", self.comment)

    @classmethod
    def parse(cls, fields: str, comment: str) -> KnownServer:
        """
        Read a line.

        Raises:
            ConfigError: It is no entry of this file.
        """
        parts = fields.split()
        until = None
        if len(parts) == 4 and parts[3].startswith(_UNTIL):
            until = _read_time(parts.pop())
        if len(parts) != 3:
            raise ConfigError(f"a line is 'host port SHA256:...', not {len(parts)} words")
        host, port, fingerprint = parts
        # 5 digits: a longer number would only be refused more slowly.
        number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else -1
        server_key(host, number)
        fingerprint_digest(fingerprint)
        return cls(host.lower(), number, fingerprint, comment, until)


class KnownServers:
    """
    The servers this user has met: where they are, and the key each of them had.

    A server has one entry, however its place is spelled: `127.1`, `localhost` and `::1` are the same one (see
    `places.py`). Lines that people wrote stay as they are.

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
        return list(self._file.read().entries)

    def get(self, host: str, port: int) -> str | None:
        """
        The fingerprint of a server's key, or None if it was never met.

        Raises:
            ConfigError: Host or port cannot be such.
            KeyFileError: The file is damaged or cannot be read.
        """
        server_key(host, port)
        known = _find(self._file.read().entries, host, port)
        return None if known is None else known.fingerprint

    def remember(
        self,
        host: str,
        port: int,
        fingerprint: str,
        *,
        comment: str | None = None,
        lifetime: float | None = None,
    ) -> None:
        """
        Write down the key of a server. Writing down the same key again changes nothing.

        Args:
            host: In any spelling; it is written down as an invite spells it.
            port: 1 to 65535.
            fingerprint: `SHA256:...`.
            comment: For people; by default the date of today.
            lifetime: Seconds until it is forgotten; None for never.

        Raises:
            ConfigError: One of them cannot be such.
            NotTrusted: Another key is written down for this server. It stays.
            KeyFileError: The file is damaged or cannot be written.
            LimitExceeded: The file is full.
        """
        new = self._new(host, port, fingerprint, comment, lifetime)
        now = time.time()
        known = self._file.change(
            new,
            known=lambda entries: _find(entries, host, port),
            outdated=lambda entry: not entry.holds(now),
        )
        self._check(known, new)

    def replace(
        self, host: str, port: int, old: str, new: str, *, lifetime: float | None = None
    ) -> None:
        """
        Write down the new key of a server whose old one is written down.

        Args:
            host: As for `remember()`.
            port: As for `remember()`.
            old: Fingerprint of the key that is written down.
            new: Fingerprint of the one that takes its place.
            lifetime: As for `remember()`.

        Raises:
            ConfigError: One of them cannot be such.
            NotTrusted: A third key is written down for this server by now. It stays.
            KeyFileError: The file is damaged or cannot be written.
            LimitExceeded: The file is full.
        """
        entry = self._new(host, port, new, time.strftime("replaced %Y-%m-%d"), lifetime)
        known = self._file.change(
            entry,
            known=lambda entries: _find(entries, host, port),
            outdated=lambda other: other.place == entry.place and other.fingerprint == old,
        )
        self._check(known, entry)

    def _new(
        self, host: str, port: int, fingerprint: str, comment: str | None, lifetime: float | None
    ) -> KnownServer:
        server_key(host, port)
        fingerprint_digest(fingerprint)
        until = None
        if lifetime is not None:
            until = time.time() + number("lifetime", lifetime, 0, _MAX_LIFETIME, unit="seconds")
        return KnownServer(spelled(host), port, fingerprint, checked_comment(comment), until)

    def _check(self, known: KnownServer, new: KnownServer) -> None:
        if known.fingerprint != new.fingerprint:
            raise NotTrusted(
                f"{self.path} has another key for {new.host} port {new.port}",
                fingerprint=new.fingerprint,
                expected=known.fingerprint,
                hint="if the server really has a new key, forget the old one first",
            )

    def forget(self, host: str, port: int) -> bool:
        """
        Remove a server, under all its spellings. Returns whether it was there.

        Raises:
            ConfigError: Host or port cannot be such.
            KeyFileError: The file is damaged or cannot be written.
        """
        place = server_key(host, port)
        return self._file.remove(lambda entry: entry.place == place)


def _find(entries: Iterable[KnownServer], host: str, port: int) -> KnownServer | None:
    """The entry of a server: one with this very spelling before one with another."""
    place, typed, now = server_key(host, port), host.lower(), time.time()
    same = [entry for entry in entries if entry.place == place and entry.holds(now)]
    return next((entry for entry in same if entry.host == typed), same[0] if same else None)


def server_key(host: str, port: int) -> tuple[str, int]:
    """
    What a known server is found by: one spelling of the host, and the port.

    Raises:
        ConfigError: The host cannot be written on a line, or the port is not from 1 to 65535.
    """
    host = same_server(host)
    if type(port) is not int or not 1 <= port <= 65535:
        raise ConfigError("a port is a number from 1 to 65535")
    return host, port


def _read_time(word: str) -> float:
    try:
        return datetime.fromisoformat(word.removeprefix(_UNTIL)).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ConfigError(
            f"{quoted(word)} is no time, such as {_UNTIL}2026-01-31T12:00:00Z"
        ) from None
