"""Revocation while a server runs: sessions end when their key is removed from its file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ..errors import ConfigError, SecureLinkError
from ..keys.files import FileState
from ..limits import HANDSHAKE_SECONDS, MAX_CLOSE_TEXT, SWEEP_SECONDS
from ..options import text
from ..signatures import checked, did_run
from ..text import kind_of
from ..trust import AuthorizedClients
from .hooks import FailureLog
from .scheduling import Scheduler

log = logging.getLogger("securelink.server")

# For this many seconds after a change, clients that the old file let in may still become sessions: their handshake
# ends, and then they show that they are in.
_LATE = 2 * HANDSHAKE_SECONDS + 2 * SWEEP_SECONDS


class Keyed(Protocol):
    """A session, as revocation needs it."""

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of its client's key."""

    def kick(self, reason: str = "") -> None:
        """End it."""


Member = TypeVar("Member", bound=Keyed)


@dataclass(slots=True)
class _Watch(Generic[Member]):
    """One file, and the sessions that it concerns."""

    file: AuthorizedClients
    concerns: Callable[[Member], bool]
    reason: str
    state: FileState | None
    # by the loop's clock: it is enforced until then, even without further changes
    until: float = 0.0
    unread: bool = False  # the last attempt to read it failed: it is repeated until one succeeds


class Revocations(Generic[Member]):
    """
    Checks files of authorized keys once a second and ends the sessions of keys that are no longer in them.

    The check of an unchanged file is one system call of the leader. A changed file is read as an inbox is run: if that
    takes long, another thread leads meanwhile.

    Args:
        sessions: Returns all sessions.
    """

    def __init__(self, sessions: Callable[[], Iterable[Member]]) -> None:
        self._sessions = sessions
        self._watches: list[_Watch[Member]] = []
        self._loop: Scheduler | None = None
        self._failures = FailureLog()

    def watch(
        self, file: AuthorizedClients, concerns: Callable[[Member], bool], reason: str
    ) -> None:
        """
        Watch a file; also possible while the server runs.

        Args:
            file: The keys that are authorized.
            concerns: Whether a session was let in because of this file.
            reason: The text for the client.
        """
        if not isinstance(file, AuthorizedClients):
            raise ConfigError(f"the file is {kind_of(file)}, not AuthorizedClients")
        checked("concerns", concerns, ("session",))
        text("reason", reason, most=MAX_CLOSE_TEXT)
        self._watches.append(_Watch(file, concerns, reason, file.state()))
        loop = self._loop
        if loop is not None and len(self._watches) == 1:
            loop.call(lambda: self._look(loop))

    def start(self, loop: Scheduler) -> None:
        """By the leader: begin to check."""
        self._loop = loop
        for watch in self._watches:  # a store may have kept sessions whose keys were revoked since
            watch.until = loop.now + _LATE
        if self._watches:
            self._look(loop)

    def _look(self, loop: Scheduler) -> None:
        if loop.stopping or loop is not self._loop:
            return
        for watch in self._watches:
            state = watch.file.state()
            if state != watch.state:
                watch.state, watch.until = state, loop.now + _LATE
        if any(watch.unread or loop.now < watch.until for watch in self._watches):
            loop.make_ready(self)
        loop.call_later(SWEEP_SECONDS, lambda: self._look(loop))

    def run(self) -> bool:
        """The loop runs it like an inbox."""
        loop = self._loop
        for watch in self._watches:
            if loop is not None and (watch.unread or loop.now < watch.until):
                self._enforce(watch)
        return False

    def _enforce(self, watch: _Watch[Member]) -> None:
        try:
            authorized = watch.file.names()
        except SecureLinkError as error:
            # This may be temporary: the file is being saved, or the process has no free descriptor.
            if not watch.unread:
                log.error("whose key was revoked cannot be seen yet, sessions stay: %s", error)
            watch.unread = True
            return
        watch.unread = False
        for session in tuple(self._sessions()):
            if session.fingerprint in authorized:
                continue
            try:
                concerned = watch.concerns(session)
                did_run(concerned)
            except Exception as error:
                watch.unread = True  # asked again; until then others are not spared
                self._failures.log(
                    error, "whether %s ends with its key cannot be seen yet, it stays", session
                )
                continue
            if concerned:
                log.info("%s ends: %s", session, watch.reason)
                session.kick(watch.reason)
