"""`known_servers`: the keys of the servers that a client has met."""

from __future__ import annotations

import functools
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
from .locking import LOCK_SECONDS
from .places import Place, checked_host, similar, spelled

_UNTIL = "until="
# seconds: a date beyond a century is a mistake, and one beyond the year 9999 cannot be written
_MAX_LIFETIME = 3e9


@dataclass(frozen=True, slots=True)
class KnownServer:
    """
    A line of `known_servers`.

    Attributes:
        host, port: As in the line, the host in lower case.
        fingerprint: The fingerprint of the server's key.
        comment: For people.
        until: When the entry expires, in seconds since 1970; None for never.
    """

    host: str
    port: int
    fingerprint: str
    comment: str = ""
    until: float | None = None
    _similar: str | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        checked_host(self.host)
        checked_port(self.port)

    @property
    def similar(self) -> str:
        """A form of the host that its other spellings share, see `places.similar`. Computed when it is asked for."""
        form = self._similar
        if form is None:
            form = similar(self.host)
            object.__setattr__(self, "_similar", form)
        return form

    @property
    def key(self) -> tuple[str, int]:
        """Host and port as written; two lines may name one server under two spellings."""
        return self.host, self.port

    @property
    def value(self) -> str:
        """The fingerprint."""
        return self.fingerprint

    def holds(self, now: float) -> bool:
        """Whether the entry has not expired."""
        return self.until is None or now < self.until

    def line(self) -> str:
        """The line as it stands in the file."""
        end = ""
        if self.until is not None:
            end = f" {_UNTIL}{datetime.fromtimestamp(self.until, UTC):%Y-%m-%dT%H:%M:%SZ}"
        return entry_line(f"{self.host} {self.port} {self.fingerprint}{end}", self.comment)

    @classmethod
    def parse(cls, fields: str, comment: str) -> KnownServer:
        """
        Read a line.

        Raises:
            ConfigError: It is not an entry of this file.
        """
        parts = fields.split()
        until = None
        if len(parts) == 4 and parts[3].startswith(_UNTIL):
            until = _read_time(parts.pop())
        if len(parts) != 3:
            raise ConfigError(f"a line is 'host port SHA256:...', not {len(parts)} words")
        host, port, fingerprint = parts
        # at most 5 digits: a longer number would only be refused more slowly
        number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else -1
        fingerprint_digest(fingerprint)
        return cls(host.lower(), number, fingerprint, comment, until)


class KnownServers:
    """
    The servers that this user has met: their addresses and keys.

    A server has one entry for all spellings of its address: `127.1`, `localhost` and `::1` are the same one (see
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
        where = _Where(host, port)
        known = where.find(self._file.read().entries)
        return None if known is None else known.fingerprint

    def remember(
        self,
        host: str,
        port: int,
        fingerprint: str,
        *,
        comment: str | None = None,
        lifetime: float | None = None,
        timeout: float = LOCK_SECONDS,
    ) -> None:
        """
        Store the key of a server. Storing the same key again changes nothing.

        Args:
            host: In any spelling; it is stored as an invite spells it.
            port: 1 to 65535.
            fingerprint: `SHA256:...`.
            comment: For people; by default the date of today.
            lifetime: Seconds until it is forgotten; None for never.
            timeout: Seconds to wait while somebody else changes the file.

        Raises:
            ConfigError: One of them cannot be such.
            NotTrusted: Another key is stored for this server. It stays.
            KeyFileError: The file is damaged or cannot be written.
            LimitExceeded: The file is full.
        """
        where = _Where(host, port)
        new = self._new(host, port, fingerprint, comment, lifetime)
        now = time.time()
        known = self._file.change(
            new,
            known=where.find,
            outdated=lambda entry: not entry.holds(now),
            timeout=timeout,
        )
        self._check(known, new)

    def replace(
        self,
        host: str,
        port: int,
        old: str,
        new: str,
        *,
        lifetime: float | None = None,
        timeout: float = LOCK_SECONDS,
    ) -> None:
        """
        Store the new key of a server whose old key is stored.

        Args:
            host: As for `remember()`.
            port: As for `remember()`.
            old: Fingerprint of the stored key.
            new: Fingerprint of the key that replaces it.
            lifetime: As for `remember()`.
            timeout: As for `remember()`.

        Raises:
            ConfigError: One of them cannot be such.
            NotTrusted: A third key is stored for this server by now. It stays.
            KeyFileError: The file is damaged or cannot be written.
            LimitExceeded: The file is full.
        """
        where = _Where(host, port)
        entry = self._new(host, port, new, time.strftime("replaced %Y-%m-%d"), lifetime)
        known = self._file.change(
            entry,
            known=where.find,
            outdated=lambda other: other.fingerprint == old and where.is_of(other),
            timeout=timeout,
        )
        self._check(known, entry)

    def _new(
        self, host: str, port: int, fingerprint: str, comment: str | None, lifetime: float | None
    ) -> KnownServer:
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
        return self._file.remove(_Where(host, port).is_of)

    def forget_expiring(self, host: str, port: int) -> bool:
        """
        Remove an entry that would expire, under all spellings: the system has given the port to another server.

        Entries that last stay. The file is locked only if there is such an entry.

        Returns:
            Whether it was there.

        Raises:
            ConfigError: Host or port cannot be such.
            KeyFileError: The file is damaged or cannot be written.
        """
        where = _Where(host, port)

        def expires(entry: KnownServer) -> bool:
            return entry.until is not None and where.is_of(entry)

        return any(map(expires, self._file.read().entries)) and self._file.remove(expires)


class _Where:
    """
    The address of a server to look for.

    Args:
        host: In any spelling.
        port: Its port.

    Raises:
        ConfigError: The host cannot be written on a line, or the port is not from 1 to 65535.
    """

    def __init__(self, host: str, port: int) -> None:
        self._typed = checked_host(host)
        self._place = _place(self._typed)
        self._port = checked_port(port)

    def is_of(self, entry: KnownServer) -> bool:
        """Whether an entry belongs to this server."""
        if entry.port != self._port or not self._place.may_be(entry.host):
            return False
        return self._place.means(entry.host, entry.similar)

    def find(self, entries: Iterable[KnownServer]) -> KnownServer | None:
        """The entry of this server; one with the same spelling is preferred."""
        now, first = time.time(), None
        for entry in entries:
            if entry.port == self._port and entry.holds(now):
                if entry.host == self._typed:
                    return entry
                if first is None and self.is_of(entry):
                    first = entry
        return first


# A client asks for its own server, at every attempt to connect.
_place = functools.lru_cache(64)(Place)


def checked_port(port: int) -> int:
    """
    Check a port.

    Raises:
        ConfigError: It is not from 1 to 65535.
    """
    if type(port) is not int or not 1 <= port <= 65535:
        raise ConfigError("a port is a number from 1 to 65535")
    return port


def _read_time(word: str) -> float:
    try:
        return datetime.fromisoformat(word.removeprefix(_UNTIL)).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ConfigError(
            f"{quoted(word)} is not a time such as {_UNTIL}2026-01-31T12:00:00Z"
        ) from None
