"""A client's session is passed on to another process of the client, by a file."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from ..app.introduction import Introduction
from ..errors import ConfigError, KeyFileError
from ..protocol import Resumption
from ..state import SessionFile
from ..streams.addresses import shown

log = logging.getLogger("securelink.client")


class PassingOn:
    """
    How the sessions of one client are passed on.

    Args:
        path: The file; None: they are not.

    Attributes:
        file: The same.
    """

    def __init__(self, path: Path | None) -> None:
        self.file = SessionFile(path) if path is not None else None

    @contextlib.contextmanager
    def beginning(self) -> Iterator[None]:
        """
        A block that begins a session: the file is this client's from then on, unless that fails.

        Raises:
            ConfigError: Another client uses it.
            KeyFileError: It cannot be used.
        """
        file = self.file
        if file is None:
            yield
            return
        file.take()
        try:
            yield
        except BaseException:
            file.release()
            raise

    def left_by_another(self, host: str, port: int, ours: Introduction) -> Resumption | None:
        """
        The session of an earlier process, if it is one of a client like this one.

        Raises:
            ConfigError: It is one with another server.
            KeyFileError: The file cannot be read, is damaged, or others can read or change it.
        """
        kept = self.file.read() if self.file is not None else None
        if kept is None or self.file is None:
            return None
        if (kept.host, kept.port) != (host, port):
            raise ConfigError(
                f"{self.file.path} is of a session with {shown(kept.host, kept.port)}, not with {shown(host, port)}",
                hint="give each server a file of its own, or remove this one",
            )
        resumption = kept.resumption
        identity = ours.identity.public if ours.identity is not None else None
        fits = resumption.suits(ours.mode, identity, ours.application, ours.version)
        if not fits or resumption.max_packet > ours.max_packet:
            log.info("the session in %s began with other options: a new one begins", self.file.path)
            return None
        return resumption

    def keep(self, host: str, port: int, resumption: Resumption | None, *, goes_on: bool) -> None:
        """
        Write the file after WELCOME, before anything is sent: a ticket is good once, and from then on this one is.

        Args:
            resumption: None: the server keeps no sessions.
            goes_on: The session is one of this process, and is not given up because of its file.

        Raises:
            KeyFileError: The file cannot be written.
        """
        file = self.file
        if file is None:
            return
        if resumption is None:
            file.remove()
            log.warning(
                "%s keeps no sessions: no other process can go on with this one", shown(host, port)
            )
            return
        try:
            file.keep(host, port, resumption)
        except KeyFileError as error:
            if not goes_on:
                raise
            log.error("%s; no other process can go on with the session", error)
