"""
A connection that a client opened.

The expensive steps of its handshake (`server_handshake.py`) run in the pool. While a worker has the connection, the
leader does not read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from functools import partial
from typing import cast

from ..codes import Code, code_text
from ..errors import HandshakeError, ProtocolError, SecureLinkError
from ..protocol import (
    Alerted,
    AuthReceived,
    Confirmed,
    Event,
    HelloReceived,
    Overdue,
    ServerConnection,
    SessionCore,
)
from ..protocol.handshake_server import VerifiedClient
from ..streams.addresses import networks
from ..streams.base import Address, Stream
from ..wire.fields import Mode
from ..wire.messages import Wanted
from .book import Book
from .carried import Carried
from .channel import Channel
from .ends import CLOSED
from .jobs import Task
from .link import Link
from .outcome import Outcome
from .server_handshake import Entrance, ServerHandshake
from .succeeding import succeed
from .suspensions import places_of
from .taking_over import take_over

log = logging.getLogger("securelink.server")


class ServerLink(Link):
    """A connection that a client opened."""

    __slots__ = (
        "_entrance", "_replayed", "before", "counted", "half_open", "handshake", "network", "provisional", "token",
        "told",
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
        self.handshake = ServerHandshake(entrance, connection, self.writer, self.address[0])
        self.network = networks(self.address[0])[-1]
        self.half_open = True
        self.counted = False  # as one of its address
        self.told = False  # the application hears of the end, and may ask what is unconfirmed
        self.provisional = False  # something is given back unless the client shows that it is in
        self.token = b""
        self._replayed = 0  # records that go again because of it
        # The session that is over for its client, and whose place its own takes.
        self.before: Channel | None = None

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
                if not self.handshake.was_kept_waiting:
                    self.handshake.count_failure()
                self.lost()

    def _work(self, job: Callable[[], None], *, quick: bool = False) -> None:
        """Give the connection to a worker; nothing is read until it comes back."""
        self.reader.open = False
        handshake = self.handshake
        handshake.errand.queue(job)
        # The selector reports it as before, until something comes: a client says nothing until it has its answer.
        self.connection.reading(False)
        task = Task(handshake.errand.do, self._displaced, handshake.standing, quick)
        if not self.loop.pool.submit(self.network, task):
            self._displaced()

    def _give_up_job(self) -> bool:
        """By the leader: nobody comes to its job, or not in time, and the client hears that. False: a worker has it."""
        if self.handshake.errand.take() is None:
            return False
        log.warning("too many handshakes at once; %s is turned away", self.address[0])
        self._entrance.host.note("limit_handshakes")
        self.handshake.errand.excuse()
        self.finish_raw(self.connection.give_up(Code.BUSY))
        return True

    def _displaced(self) -> None:
        self._give_up_job()

    # In the pool.

    def _answer(self) -> None:
        if self.writer.end is CLOSED:
            return
        try:
            self.handshake.answer()
        except SecureLinkError as error:
            self._turn_away(error)
            return
        if self.connection.pending:
            self.loop.call(self._read_on)
            return
        # The leader has nothing to do: it need not wake up.
        self.handshake.errand.done()
        self.connection.reading(True)
        if self.reader.reopen():
            self.ask_interest()

    def _authorize(self) -> None:
        if self.writer.end is CLOSED and not self.handshake.is_asked:
            return  # it waited for too long: nobody would learn of a use of a join token
        try:
            found = self.handshake.authorize(self)
        except SecureLinkError as error:
            self._turn_away(error)
            return
        if found is None:
            self.loop.call(self._ask)
            return
        client, channel = found
        if client.grant is not None and client.grant.session is channel:
            self.loop.call(partial(self._resume, client, channel))
            return
        settings, connection = self._entrance.settings, self.handshake.connection
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
        self.loop.call(partial(self._handshake_failed, error, self.connection.data_to_send()))

    # By the leader.

    def _ask(self) -> None:
        """The application answers when it does; no worker waits for it. The time of the handshake goes on."""
        self.handshake.ask(self._answered)
        if self.writer.end is CLOSED:
            self.handshake.call_off()

    def _answered(self) -> None:
        if not self.loop.submit_own(self._authorize):
            self._authorize()  # the loop ends

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
            self.session.finished(Outcome(Code.BROKEN))
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
        suspensions = self._entrance.suspensions
        suspensions.begun(session, self, known=known)
        if self.before is not None:
            succeed(session, self.before, suspensions)
            self.before = None
        self._entrance.host.opened(session)

    def _resume(self, client: VerifiedClient, session: Channel) -> None:
        """Let a session go on over this link, whatever carries it now."""
        connection, errand = self.handshake.connection, self.handshake.errand
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
            errand.excuse()
            self.finish_raw(connection.data_to_send())
            return
        if not resumed:  # it has ended in between; its client asks for a new one
            connection.refuse(Code.BUSY)
            errand.excuse()
            self.finish_raw(connection.data_to_send())
            return
        self._entrance.gate.no_longer_half_open(self)
        self._entrance.suspensions.begun(session, self, known=True)
        connection.hurry(self.loop.now + self._entrance.settings.handshake_seconds)
        self._entrance.host.resumed(self, self._replayed, restarted=client.forgot)
        session.let_out(self)
        self._read_on()

    def _resume_core(self, client: VerifiedClient, core: SessionCore) -> bool:
        connection, grant = self.handshake.connection, client.grant
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
            if not (self._entrance.closed or self.handshake.was_kept_waiting):
                self.handshake.count_failure()  # giving logins up costs as much as failing
            self._entrance.host.not_entered(self, at_once=self._entrance.closed)

    def _read_on(self) -> None:
        self.handshake.errand.done()
        if self.writer.end is not CLOSED:
            self.reader.reopen()
            self.update_interest()
            self.reader.take_items(self.connection.reconsider(self.loop.now), self)

    def _handshake_failed(self, error: SecureLinkError, answer: bytes) -> None:
        self.handshake.count_failure()
        self.handshake.log_failure(error)
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
            if self.handshake.is_asked:
                self.handshake.errand.excuse()
                if self.handshake.call_off():
                    return  # the client hears of it; the next look ends what is still there
            if not self._give_up_job():
                # A worker has the connection; it may have had it all the time, in the hook of the application.
                self.handshake.errand.excuse()
                self.lost()
            return
        # A client that has said nothing has cost a place, of which its address has a bounded share. It may be a probe.
        if self.handshake.was_heard and not self.handshake.was_kept_waiting:
            self.handshake.count_failure()
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

    def finish_channel(self, outcome: Outcome) -> bool:
        if not super().finish_channel(outcome):
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
        self.handshake.call_off()
