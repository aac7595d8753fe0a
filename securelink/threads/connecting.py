"""
From an address to an open connection: one attempt, and attempts until one succeeds.

An attempt changes nothing but what it returns, and what is known of the server's key: it may be made again, by any
thread, for a new session or for one that shall go on.
"""

from __future__ import annotations

import logging
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from ..app.introduction import Introduction
from ..codes import Code
from ..errors import (
    ConfigError,
    ConnectFailed,
    HandshakeError,
    LinkTimeout,
)
from ..interrupts import Right, Sign
from ..limits import LOOPBACK_KEY_SECONDS
from ..protocol import (
    ClientConnection,
    Item,
    Opened,
    PlaintextServer,
    Resumption,
    Returning,
    SessionCore,
    VerifiedServer,
    refusal,
)
from ..streams.addresses import is_loopback_host, shown
from ..streams.base import Carrier, Stream
from ..streams.sockets import is_chosen_by_system
from ..trust.locking import LOCK_SECONDS
from ..trust.policy import Belief
from ..wire.fields import Mode
from ..wire.messages import Wanted
from .attempts import Steps, made
from .caretaker import Caretaker, caretaker
from .client_link import ClientLink
from .dial import Deadline, Dialogue, open_stream
from .driven import leads_to_own_thread
from .jitter import jitter
from .passing_on import PassingOn

log = logging.getLogger("securelink.client")

_RETRY_FIRST = 0.05  # seconds; doubles up to _RETRY_MOST, with jitter
_RETRY_MOST = 2.0
# An earlier process has numbered its requests from 1, or likewise from here: its answers are not those of ours.
_ANY_REQUEST = 2**52
_PASSING = (
    Code.BUSY,
    Code.BLOCKED,
    Code.SHUTDOWN,
    Code.RESTART,
    Code.HANDOVER,
)  # refusals that may be over when the server has started again


@dataclass(frozen=True)
class Destination:
    """
    Where a server is.

    Attributes:
        carrier: How to get there.
        host, port: As typed.
    """

    carrier: Carrier
    host: str
    port: int

    def __str__(self) -> str:
        return shown(self.host, self.port)


@dataclass(frozen=True)
class Arrival:
    """
    What an attempt gives: an open connection. It belongs to the caller, who gives it a channel or breaks it off.

    Attributes:
        link: The connection; no thread reads it yet.
        core: The session that it carries: the one that was to go on, or a new one.
        opened: WELCOME, whether the session goes on, and what the next attempt can resume it with.
        early: What came together with WELCOME.
    """

    link: ClientLink
    core: SessionCore
    opened: Opened
    early: list[Item]

    def drop(self) -> None:
        """Nobody takes it: close the stream."""
        self.link.stream.close()
        self.link.home.leave(self.link.stream)


@dataclass(frozen=True)
class GoingOn:
    """
    A session that is to go on, or was the last.

    Attributes:
        core: It, which no connection carries; None when an earlier process had it, or when it is over.
        resumption: From its last connection.
        returning: What is left of it here.
    """

    core: SessionCore | None
    resumption: Resumption
    returning: Returning = Returning.TO_GO_ON


class SessionGone(HandshakeError):
    """The server has proved its key, and does not have the session that was to go on."""


class Connector:
    """
    Connects a client.

    Args:
        introduction: As whom.
        belief: Which key of the server it believes.
        session: The file of its session; None: it has none.
        home: Cares for its connections; None: one for all clients that threads drive.

    Attributes:
        passing_on: The session, to another process.
        right: To connect: one thread at a time has it.
        given_up: Set by `close()`: an attempt under way gives up. The next `connect()` clears it.
        home: See above.
        server_fingerprint: Of the key that the server proved in the last attempt; None in plaintext, and before.
    """

    def __init__(
        self,
        introduction: Introduction,
        belief: Belief,
        session: Path | None = None,
        home: Caretaker | None = None,
    ) -> None:
        self.introduction = introduction
        self.home = home or caretaker
        self._belief = belief
        self.passing_on = PassingOn(session)
        self.right = Right()
        self.given_up = Sign()
        self.server_fingerprint: str | None = None

    def deadline(self, timeout: float) -> Deadline:
        """So many seconds from now, or when the client is closed."""
        return Deadline(timeout, self.given_up)

    def persist(
        self,
        place: Destination,
        deadline: Deadline,
        last: Resumption | None = None,
        back_at: float = 0.0,
    ) -> Arrival:
        """
        Attempts, with growing pauses, while the server cannot be reached or says that it will be back.

        Args:
            place: Where to.
            deadline: Until when.
            last: See `attempt`.
            back_at: The server has asked to stay away until then. At least half of the time is for attempts.

        Raises:
            SecureLinkError: As `attempt`: the last one's error, when there is no time for another one or it would end
                the same way.
        """
        pause = _RETRY_FIRST
        away = min(back_at - time.monotonic(), deadline.left / 2)
        if away > 0 and deadline.pause(away):
            raise deadline.called_off()
        while True:
            try:
                return self.attempt(place, deadline, last=last)
            except (ConnectFailed, LinkTimeout, HandshakeError) as error:
                final = (
                    isinstance(error, HandshakeError) and error.final and error.code not in _PASSING
                )
                wait = pause * jitter.uniform(0.5, 1.5)
                if final or wait >= deadline.left:
                    raise
            if deadline.pause(wait):
                raise deadline.called_off()
            pause = min(pause * 2, _RETRY_MOST)

    def attempt(
        self,
        place: Destination,
        deadline: Deadline,
        going_on: GoingOn | None = None,
        last: Resumption | None = None,
    ) -> Arrival:
        """
        Connect once. If it fails everything is as before, and the session that was to go on can be tried again.

        Args:
            place: Where to.
            deadline: Until when; it may also be called off.
            going_on: The session to resume. None: that of an earlier process, or a new one.
            last: Of the client's last session, which is over: a new one begins behind what the server has of it.

        Returns:
            The open connection. If the server knows the session and does not let it go on it carries a new one.

        Raises:
            ConfigError: This thread drives the server, or credentials would go where they must not.
            ConnectFailed: Nothing listens there.
            ConnectionClosed: The client was closed meanwhile.
            HandshakeError: Refused, incompatible, not trusted, or the connection ended.
            KeyFileError: `known_servers` or the file of the session is damaged, or that cannot be written.
            LinkTimeout: The deadline passed.
            ProtocolError: No securelink server, or an attacker on the path tampers.
            SessionGone: The server says that it does not know the session. Nobody was introduced.
        """
        return made(self.steps(place, deadline, going_on, last, waits=True))

    def steps(
        self,
        place: Destination,
        deadline: Deadline,
        going_on: GoingOn | None = None,
        last: Resumption | None = None,
        *,
        waits: bool = False,
    ) -> Steps[Arrival]:
        """
        As `attempt`, in steps.

        Args:
            waits: The thread that makes them may as well wait.
        """
        mode = self._belief.consult(self.introduction.mode)
        if going_on is None:
            left = self.passing_on.left_by_another(place.host, place.port, self.introduction)
            if left is not None:
                going_on = GoingOn(None, left, Returning.WITHOUT_MEMORY)
            elif last is not None:
                going_on = GoingOn(None, last, Returning.FOR_ANOTHER)
        stream = yield from open_stream(
            place.carrier, place.host, place.port, deadline, waits=waits
        )
        try:
            loop = self.home.loop(stream)
            if leads_to_own_thread(stream):
                raise ConfigError(
                    "this thread drives the server by update(), and cannot wait for it in connect()",
                    hint="connect in another thread, or let the server run by itself: start()",
                )
            connection, core, opened, early = yield from self._shake_hands(
                place, stream, mode, deadline, going_on
            )
            link = ClientLink(loop, stream, connection, self.home)
            return Arrival(link, core, opened, early)
        except BaseException:
            stream.close()
            self.home.leave(stream)
            raise

    def _shake_hands(
        self,
        place: Destination,
        stream: Stream,
        mode: Mode,
        deadline: Deadline,
        going_on: GoingOn | None,
    ) -> Steps[tuple[ClientConnection, SessionCore, Opened, list[Item]]]:
        ours = self.introduction
        loopback = is_loopback_host(stream.peer[0])
        mode = self._belief.mode(mode, credentials=ours.has_credentials, loopback=loopback)
        resumption, known, returning = None, None, Returning.TO_GO_ON
        if going_on is not None:
            resumption, known, returning = going_on.resumption, going_on.core, going_on.returning
            if known is None and not resumption.allows(mode):
                resumption = None
        connection = ClientConnection(
            mode,
            max_packet=ours.max_packet,
            resumption=resumption,
            returning=returning,
        )
        core = SessionCore(ours.bounds) if known is None else known
        core.attach(connection)
        try:
            dialogue = Dialogue(
                stream,
                connection,
                where=str(place),
                decide=lambda server: self._introduce(place, connection, server, known, loopback),
                confirm=lambda opened: self._confirm(place, deadline, opened, known, loopback),
                deadline=deadline,
                deciding_waits=callable(ours.credentials),
                confirming_waits=self._confirming_waits,
            )
            opened, early = yield from dialogue.steps()
            deadline.check()
        except BaseException:
            core.detach(connection)
            raise
        if known is not None and not opened.resumed:
            core.detach(connection)
        if connection.numbering is not core.numbering:
            # It is not the session that was attached: another one, or one of which only its counts are known.
            core = SessionCore(ours.bounds, numbering=connection.numbering)
            core.attach(connection)
            early += connection.reconsider(time.monotonic())
            if opened.resumed:
                core.requests.go_on_from(secrets.randbelow(_ANY_REQUEST))
        return connection, core, opened, early

    def _introduce(
        self,
        place: Destination,
        connection: ClientConnection,
        server: VerifiedServer | PlaintextServer,
        known: SessionCore | None,
        loopback: bool,
    ) -> None:
        """The server has proved its key, or answered in plaintext as we allow: trust it, and say who we are."""
        ours = self.introduction
        identity = None
        self.server_fingerprint = None
        if isinstance(server, PlaintextServer):
            log.warning(
                "PLAINTEXT session with %s: anyone on the path can read and change everything",
                place,
            )
        else:
            self.server_fingerprint = server.key.fingerprint
            self._belief.judge(server, credentials=ours.has_credentials, loopback=loopback)
            if server.wanted != Wanted.NO:
                identity = ours.identity
        if known is not None and not connection.resumes:
            raise SessionGone("the server does not have the session any more", code=Code.NORMAL)
        wanted = server.wanted if isinstance(server, VerifiedServer) else Wanted.NO
        if wanted == Wanted.REQUIRED and identity is None:
            raise refusal(Code.CLIENT_KEY_REQUIRED, "")
        connection.authenticate(
            server,
            identity=identity,
            dialled=place.host,
            application=ours.application,
            version=ours.version,
            credentials=ours.encoded_credentials(server),
        )

    def _confirming_waits(self) -> bool:
        """Whether a file is to be written."""
        return self.passing_on.file is not None or self._belief.has_news

    def _confirm(
        self,
        place: Destination,
        deadline: Deadline,
        opened: Opened,
        known: SessionCore | None,
        loopback: bool,
    ) -> None:
        """Remember key and session on the disk: the server has let us in, and does not know yet that we know."""
        self._remember(place.port, deadline, loopback=loopback)
        if known is None or opened.resumed:
            self.passing_on.keep(
                place.host, place.port, opened.resumption, goes_on=known is not None
            )

    def _remember(self, port: int, deadline: Deadline, *, loopback: bool) -> None:
        """The server has let us in: its key may be written down."""
        if self.server_fingerprint is not None:
            soon = self.introduction.forget_soon and loopback and is_chosen_by_system(port)
            lifetime = LOOPBACK_KEY_SECONDS if soon else None
            # The rest is for what comes after it.
            wait = min(LOCK_SECONDS, max(0.0, deadline.left) / 2)
            self._belief.remember(self.server_fingerprint, lifetime=lifetime, timeout=wait)
