"""
A connection that a client opened, and its handshake.

RSA, key exchange and `authenticate` run in the pool. While a worker has the connection, the leader does not read.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Hashable
from functools import partial
from typing import Protocol, cast

from ..app.admission import cannot_say
from ..app.budget import FailureBudget
from ..codes import Code, code_text
from ..errors import HandshakeError, ProtocolError, Refused, SecureLinkError
from ..protocol import (
    Alerted,
    AuthReceived,
    Confirmed,
    Event,
    Failed,
    HelloReceived,
    Overdue,
    Resuming,
    ServerConnection,
    SessionCore,
    State,
)
from ..protocol.handshake_server import VerifiedClient
from ..streams.addresses import networks
from ..streams.base import Address, Stream
from ..text import escaped
from ..wire.fields import Mode
from ..wire.messages import Wanted
from .book import Book
from .carried import Carried
from .channel import Channel
from .chores import Chores
from .ends import CLOSED
from .errand import Errand
from .holdings import Holdings
from .host import Host
from .jobs import Task
from .link import Link
from .loop import Loop
from .settings import HandshakeSettings
from .suspensions import Suspensions, places_of
from .taking_over import take_over

log = logging.getLogger("securelink.server")


class Gatekeeper(Protocol):
    """The bounds before a session, as a link needs them."""

    budget: FailureBudget

    def no_longer_half_open(self, link: ServerLink) -> None:
        """The handshake of this link succeeded."""

    def failed_at(self, host: str, *, charge: bool) -> None:
        """A handshake of this address has failed."""


class Entrance(Protocol):
    """Where a link came in."""

    loop: Loop
    settings: HandshakeSettings
    host: Host
    chores: Chores
    holdings: Holdings
    suspensions: Suspensions
    resuming: Resuming | None
    book: Book | None

    @property
    def gate(self) -> Gatekeeper:
        """The bounds before a session."""

    @property
    def closed(self) -> bool:
        """Whether no connection gets in any more."""

    def forget(self, link: ServerLink) -> None:
        """The socket of this link is closed."""


class ServerLink(Link):
    """A connection that a client opened."""

    __slots__ = (
        "_charged", "_entrance", "_replayed", "counted", "errand", "failed", "half_open", "network", "provisional",
        "token", "told",
    )  # fmt: skip

    def __init__(self, entrance: Entrance, stream: Stream, address: Address) -> None:
        # The address is what a trusted proxy says, if there is one: the stream's is then that of the proxy.
        settings = entrance.settings
        connection = ServerConnection(
            settings.policy,
            settings.wanted if settings.policy != Mode.OFF else Wanted.NO,
            succession=settings.succession,
            deadline=entrance.loop.now + settings.handshake_seconds,
            resuming=entrance.resuming,
        )
        super().__init__(entrance.loop, stream, connection, address)
        self._entrance = entrance
        self.network = networks(self.address[0])[-1]
        self.half_open = True
        self.counted = False  # as one of its address
        self.failed = False  # its handshake has failed, and is counted
        self._charged = False  # to its address, for what has failed or may fail
        self.errand = Errand()
        self.told = False  # the application hears of the end, and may ask what is unconfirmed
        self.provisional = False  # something is given back unless the client shows that it is in
        self.token = b""
        self._replayed = 0  # records that go again because of it

    def _handshake_event(self, event: Event) -> None:
        match event:
            case Overdue():
                self._overdue(event)
            case HelloReceived():
                self._work(self._answer, quick=True)
            case AuthReceived():
                self._work(self._authorize)
            case Confirmed():
                self._confirmed()
            case Alerted(code):
                log.info("%s gave up the handshake: %s", self.address[0], code_text(code))
                if not self.was_kept_waiting:
                    self.count_failure()
                self.lost()

    def _work(self, job: Callable[[], None], *, quick: bool = False) -> None:
        """Give the connection to a worker; nothing is read until it comes back."""
        self.reader.open = False
        self.errand.queue(job)
        self.update_interest()
        standing = partial(self._entrance.gate.budget.standing, self.address[0])
        if not self.loop.pool.submit(
            self.network, Task(self.errand.do, self._displaced, standing, quick)
        ):
            self._displaced()

    def _give_up_job(self) -> bool:
        """By the leader: nobody comes to its job, or not in time, and the client hears that. False: a worker has it."""
        if self.errand.take() is None:
            return False
        log.warning("too many handshakes at once; %s is turned away", self.address[0])
        self._entrance.host.note("limit_handshakes")
        self.errand.excuse()
        assert isinstance(self.connection, ServerConnection)
        self.finish_raw(self.connection.give_up(Code.BUSY))
        return True

    def _displaced(self) -> None:
        self._give_up_job()

    @property
    def was_heard(self) -> bool:
        """Whether its client has said anything."""
        return isinstance(self.connection, ServerConnection) and self.connection.heard

    @property
    def was_kept_waiting(self) -> bool:
        """Whether its client has waited so long for this side that it may well have given up."""
        return self.errand.was_late

    # In the pool.

    def _answer(self) -> None:
        if self.writer.end is CLOSED:
            return
        connection = self.connection
        assert isinstance(connection, ServerConnection)
        try:
            connection.begin_answer()
            self.write_raw(connection.data_to_send())  # the client computes while this side signs
            connection.finish_answer(self._entrance.settings.identity)
        except SecureLinkError as error:
            self._turn_away(error)
            return
        self.write_raw(connection.data_to_send())
        self.loop.call(self._read_on)

    def _authorize(self) -> None:
        if self.writer.end is CLOSED:
            return  # it waited for too long: nobody would learn of a use of a join token
        connection = self.connection
        assert isinstance(connection, ServerConnection)
        budget, host = self._entrance.gate.budget, self.address[0]
        # Before anybody looks: guesses that wait here together would all be made before the first has failed.
        left = budget.charge(host, under_way=True)
        if left:
            connection.refuse(Code.BLOCKED, f"this address is blocked for {math.ceil(left)} s")
            self._turn_away(HandshakeError("its address is blocked", code=Code.BLOCKED))
            return
        self._charged = True
        try:
            client = connection.verify_client()
            channel = self._entrance.host.authorize(self, client)
        except HandshakeError as error:
            if connection.state is State.AUTHORIZING:
                text = error.text if isinstance(error, Refused) else error.message
                connection.refuse(error.code, text)
            budget.failed(host)
            self._turn_away(error)
            return
        except SecureLinkError as error:
            ours = connection.state is State.AUTHORIZING  # our own trouble, such as a damaged file
            if ours:
                connection.refuse(*cannot_say(error))
            (budget.take_back if ours else budget.failed)(host)
            self._turn_away(error)
            return
        budget.let_in(host)
        self._charged = False
        if client.grant is not None and client.grant.session is channel:
            self.loop.call(partial(self._resume, client, channel))
            return
        settings = self._entrance.settings
        channel.core.attach(connection)
        channel.hold(self)
        connection.welcome(
            client,
            self.token,
            settings.max_packet,
            settings.heartbeat,
            wait_for_sign=self.provisional,
            session=channel,
        )
        # Before anybody can send through the channel: WELCOME is the first under the application key.
        self.writer.queue_raw(connection.data_to_send())
        channel.carried_by(self)
        self.loop.call(self._opened)

    def _turn_away(self, error: SecureLinkError) -> None:
        assert isinstance(self.connection, ServerConnection)
        answer = self.connection.data_to_send()
        self.loop.call(lambda: self._handshake_failed(error, answer))

    # By the leader.

    @property
    def book(self) -> Book | None:
        """What commits the turns of sessions, if a store keeps them."""
        return self._entrance.book

    @property
    def session(self) -> Channel | None:
        """Its channel, as what it is."""
        return cast(Channel | None, self.channel)

    def _opened(self) -> None:
        assert self.session is not None
        self._entrance.gate.no_longer_half_open(self)
        if self.writer.end is CLOSED:
            self.session.finished(Code.BROKEN, "", clean=False)
            self._entrance.suspensions.over(self.session, self.token)
            self._not_entered()
            return
        if self.provisional:
            # Until it gives a sign there is no session to be seen, and none that could be ended: that is not for long.
            self.connection.hurry(self.loop.now + self._entrance.settings.handshake_seconds)
        else:
            self._public(self.session, known=False)
        self.session.let_out(self)  # WELCOME: its client finds a session that is public already
        self._read_on()

    def _public(self, session: Channel, *, known: bool) -> None:
        self._entrance.suspensions.begun(session, self, known=known)
        self._entrance.host.opened(session)

    def _resume(self, client: VerifiedClient, session: Channel) -> None:
        """Let a session go on over this link, whatever carries it now."""
        connection = self.connection
        assert isinstance(connection, ServerConnection)
        if self.writer.end is CLOSED:
            return
        try:
            resumed = take_over(session, self, partial(self._resume_core, client, session.core))
        except ProtocolError as error:
            # One side's memory of the session went back in time.
            self._handshake_failed(error, connection.data_to_send())
            session.end(Code.PROTOCOL)
            return
        except HandshakeError as error:
            log.info("%s: %s", self.address[0], error)
            self.errand.excuse()
            self.finish_raw(connection.data_to_send())
            return
        if not resumed:  # it has ended in between; its client asks for a new one
            connection.refuse(Code.BUSY)
            self.errand.excuse()
            self.finish_raw(connection.data_to_send())
            return
        self._entrance.gate.no_longer_half_open(self)
        self._entrance.suspensions.begun(session, self, known=True)
        connection.hurry(self.loop.now + self._entrance.settings.handshake_seconds)
        self._entrance.host.resumed(self, self._replayed)
        session.let_out(self)
        self._read_on()

    def _resume_core(self, client: VerifiedClient, core: SessionCore) -> bool:
        connection, grant = self.connection, client.grant
        assert isinstance(connection, ServerConnection)
        assert grant is not None
        if not core.resume(connection, client, self._entrance.settings.heartbeat):
            return False
        self._replayed = len(core.numbering.outgoing.again)
        self.token = grant.token
        cast(Channel, grant.session).hold(self)
        # WELCOME, before anybody can send through this link.
        self.writer.queue_raw(connection.data_to_send())
        return True

    def _answer_close(self) -> None:
        """As `Link`; what is acknowledged with it has to be kept first, where a store does that."""
        session = self.session
        if session is None:
            super()._answer_close()
        else:
            session.when_kept(super()._answer_close)

    def _confirmed(self) -> None:
        """WELCOME has arrived: what was taken for it, such as a use of a join token, is not given back."""
        if not self.provisional:
            return  # a session that goes on has taken nothing
        assert self.session is not None
        host = self._entrance.host
        if host.confirmed(self):
            self.provisional = False
            self._public(self.session, known=True)
        else:
            self.session.end(Code.REFUSED)

    def _not_entered(self) -> None:
        if self.provisional:
            self.provisional = False
            if not (self._entrance.closed or self.was_kept_waiting):
                self.count_failure()  # a client that gives up logins costs as much as one that fails
            self._entrance.host.not_entered(self, at_once=self._entrance.closed)

    def _read_on(self) -> None:
        self.errand.done()
        if self.writer.end is not CLOSED:
            self.reader.open = True
            self.update_interest()
            self.reader.take_items(self.connection.reconsider(self.loop.now), self)

    def count_failure(self) -> None:
        """Its handshake has failed: counted now, not when its socket is closed, which may take as long as it likes."""
        if not self.failed:
            self.failed = True
            self._entrance.gate.failed_at(self.address[0], charge=not self._charged)

    def _handshake_failed(self, error: SecureLinkError, answer: bytes) -> None:
        self.count_failure()
        knock = self.connection.knock if isinstance(self.connection, ServerConnection) else ""
        log.log(
            logging.INFO if knock or isinstance(error, HandshakeError) else logging.WARNING,
            "handshake with %s failed: %s",
            self.address[0],
            escaped(str(error)),  # a refusal in the application's words may quote the client
        )
        self.finish_raw(answer)

    @property
    def places(self) -> tuple[Hashable, ...]:
        """What its session counts for: its address and the networks around it; on this machine only itself."""
        return places_of(self.session, self.address[0])

    @property
    def held(self) -> int:
        """Bytes that its session keeps, for and of its peer."""
        channel = self.session
        if channel is None:
            return 0
        return channel.held + self.connection.pending

    def end(self, code: int, text: str = "", delay: float = 0.0) -> None:
        """As `Link.end`; a client that takes too little gets nothing more of what waits for it."""
        channel = self.channel
        if code == Code.TOO_SLOW and channel is not None:
            self.writer.when_not_sending(lambda _: channel.core.sending.drop())
        super().end(code, text, delay)

    def _silent(self, seconds: float) -> None:
        if self.channel is not None:
            log.info("%s: nothing heard for %.0f s", self.channel.name, seconds)
        super()._silent(seconds)

    def _too_slow(self) -> None:
        if self.channel is not None:
            log.warning(
                "%s takes nothing, and is not read meanwhile: it is ended", self.channel.name
            )
        super()._too_slow()

    def _overdue(self, overdue: Overdue) -> None:
        log.info(
            "%s did not finish its handshake in time (while %s)",
            self.address[0],
            overdue.state.value,
        )
        if not self.reader.open:
            if not self._give_up_job():
                # A worker has the connection; it may have had it all the time, in the hook of the application.
                self.errand.excuse()
                self.lost()
            return
        # A client that has said nothing has cost a place, of which its address has a bounded share. It may be a probe.
        if self.was_heard and not self.was_kept_waiting:
            self.count_failure()
        if overdue.answer:
            self.finish_raw(overdue.answer)  # the next sweep closes what is still there
        else:
            self.lost()

    def _expired(self) -> None:
        channel = self.channel
        if self.provisional and channel is not None and self.closing is None:
            channel.end(Code.TIMEOUT)  # no sign in time; its own CLOSE has the usual time
            return
        super()._expired()

    def _part(self, channel: Carried) -> None:
        self._entrance.chores.add(channel.part)  # many may end at once, each with many that wait

    def finish_channel(
        self,
        code: int,
        text: str,
        *,
        clean: bool,
        ours: bool = False,
        failed: Failed | None = None,
    ) -> bool:
        if not super().finish_channel(code, text, clean=clean, ours=ours, failed=failed):
            return False
        assert self.session is not None  # looked at only now: a worker may have set it meanwhile
        self._entrance.suspensions.over(self.session, self.token)
        if self.provisional:
            self._not_entered()
        else:
            self.told = self._entrance.host.ended(self.session)
        self._entrance.holdings.left(self.session, self.places)
        return True

    def _gone(self) -> None:
        self._entrance.forget(self)
