"""
The file in which a client keeps what its session is resumed with, so that another process of it can go on.

Three lines: what it is, the content as JSON, and the SHA-256 of that, which tells a damaged file. It holds the ticket
and the PSK in clear, as SSH keeps a private key without a passphrase: a key beside it would protect nothing, and a
program that is to go on by itself has nobody to ask. It is worth something while the server keeps the session.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from .. import crypto
from ..errors import ConfigError, KeyFileError, ProtocolError
from ..keys import PublicKey
from ..keys.failures import mapped_errors
from ..keys.files import absolute, discard, exists, make_folder, read_file
from ..keys.replacing import replace_file
from ..keys.strict import believed_path
from ..limits import (
    MAX_FRAME_BODY,
    MAX_KEY_FILE,
    MAX_NAME,
    MIN_PACKET,
    PSK_SIZE,
    TICKET_SIZE,
    TOKEN_SIZE,
)
from ..protocol import Resumption
from ..streams.addresses import shown
from .lock import FileLock

_OTHERS = 0o077
_ABOUT = (
    b"# securelink: a session. Whoever has this file can go on with it: keep it like a password.\n"
)
_VERSION = 1

_Token = Annotated[bytes, msgspec.Meta(min_length=TOKEN_SIZE, max_length=TOKEN_SIZE)]
_Ticket = Annotated[bytes, msgspec.Meta(min_length=TICKET_SIZE, max_length=TICKET_SIZE)]
_Psk = Annotated[bytes, msgspec.Meta(min_length=PSK_SIZE, max_length=PSK_SIZE)]
_Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]


class _Content(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is in the file. Keys are SPKI DER; bytes are base64."""

    version: int
    host: str
    port: int
    token: _Token
    ticket: _Ticket
    psk: _Psk | None
    lifetime: Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
    max_packet: Annotated[int, msgspec.Meta(ge=MIN_PACKET, le=MAX_FRAME_BODY)]
    server: bytes | None
    offered: bytes | None
    application: _Name
    application_version: _Name

    def __repr__(self) -> str:
        return f"<a session of {shown(self.host, self.port)}>"


class _Version(msgspec.Struct):
    version: int


@dataclass(frozen=True)
class Kept:
    """
    What a file holds.

    Attributes:
        host, port: Of the server, as they were typed.
        resumption: Of the last connection.
    """

    host: str
    port: int
    resumption: Resumption


class SessionFile:
    """
    The file of one client. It is locked from `take` to `over`, so that no two clients go on with one session.

    Args:
        path: Where. Beside it lies `<path>.lock`.

    Attributes:
        path: The same, absolute.
        holds_one: Whether it holds the session of this process.
    """

    def __init__(self, path: Path) -> None:
        self.path = absolute(path)
        self.holds_one = False
        self._lock: FileLock | None = None
        self._real = self.path
        self._pid = 0
        self._guard = threading.Lock()  # a session may end while its next connection is being kept

    def __repr__(self) -> str:
        return f"<SessionFile {self.path}>"

    def take(self) -> None:
        """
        Lock the file for this client, unless it has it already.

        Raises:
            ConfigError: Another client uses it.
            KeyFileError: It cannot be locked, or other users could put another one in its place.
        """
        if self._is_the_parents:  # of whose threads one may have the guard
            self._lock, self._guard = None, threading.Lock()
        if self._lock is not None:
            return
        make_folder(self.path.parent)
        with mapped_errors("look at", self.path):
            self._real = believed_path(self.path)
        self._lock, self._pid = FileLock(self._real, who="client", taken=ConfigError), os.getpid()

    def read(self) -> Kept | None:
        """
        What the process before has left; None if that is nothing.

        Raises:
            KeyFileError: It cannot be read, other users can read or change it, or it is damaged.
        """
        if not exists(self._real):
            return None
        data = read_file(self._real, MAX_KEY_FILE, forbidden=_OTHERS)
        found = self._content(data)
        try:
            resumption = Resumption(
                token=found.token,
                ticket=found.ticket,
                psk=found.psk,
                lifetime=found.lifetime,
                max_packet=found.max_packet,
                server=None if found.server is None else PublicKey.from_spki(found.server),
                offered=None if found.offered is None else PublicKey.from_spki(found.offered),
                application=found.application,
                version=found.application_version,
            )
        except ProtocolError as error:
            raise self._damaged() from error
        if resumption.encrypted != (resumption.server is not None):
            raise self._damaged()
        return Kept(found.host, found.port, resumption)

    def _content(self, data: bytes) -> _Content:
        _, _, rest = data.partition(b"\n")
        line, _, told = rest.partition(b"\n")
        if not data.startswith(b"#") or told.strip() != _digest(line):
            raise self._damaged()
        try:
            version = msgspec.json.decode(line, type=_Version).version
            if version == _VERSION:
                return msgspec.json.decode(line, type=_Content)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise self._damaged() from None  # what it says may quote the content
        raise KeyFileError(
            f"{self.path} was written by another version of securelink",
            hint="use that one, or remove the file: a new session begins then",
        )

    def _damaged(self) -> KeyFileError:
        return KeyFileError(
            f"{self.path} is damaged, or no file of a session",
            hint="remove it, or name another one: a new session begins then",
        )

    def keep(self, host: str, port: int, resumption: Resumption) -> None:
        """
        Write the file anew. When this returns it is on the disk; until then nothing may be sent over the connection.

        Raises:
            KeyFileError: It cannot be written; the one before is still there.
        """
        content = _Content(
            version=_VERSION,
            host=host,
            port=port,
            token=resumption.token,
            ticket=resumption.ticket,
            psk=resumption.psk,
            lifetime=resumption.lifetime,
            max_packet=resumption.max_packet,
            server=None if resumption.server is None else resumption.server.spki,
            offered=None if resumption.offered is None else resumption.offered.spki,
            application=resumption.application,
            application_version=resumption.version,
        )
        line = msgspec.json.encode(content)
        data = b"".join((_ABOUT, line, b"\n", _digest(line), b"\n"))
        if self._is_the_parents:
            return
        with self._guard:
            if self._lock is not None:
                replace_file(self._real, data, alone=True)
                self.holds_one = True

    def remove(self) -> None:
        """Remove the file: there is no session that another process could go on with."""
        if self._is_the_parents:
            return
        with self._guard:
            if self._lock is not None:
                self.holds_one = False
                discard(self._real)

    def over(self) -> None:
        """Remove the file, and let others use it: the session has ended."""
        self.remove()
        self.release()

    def release(self) -> None:
        """Let others use the file, as it is. Not while a session lasts."""
        if self._is_the_parents:
            return
        with self._guard:
            lock, self._lock = self._lock, None
            if lock is not None:
                lock.release()

    @property
    def _is_the_parents(self) -> bool:
        """Whether this process is a fork of the one that has it."""
        return self._lock is not None and self._pid != os.getpid()


def _digest(line: bytes) -> bytes:
    return crypto.sha256(line).hex().encode()
