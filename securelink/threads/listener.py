"""
Accepting connections, and the server's side of the handshake.

Before any expensive work stand: the frame cap (in the connection), one deadline, a cap on half-open connections (at the
cap the oldest of the address that has the most is dropped), and a budget of unfinished and failed handshakes for each
address, which knows no successes and not the loopback: a school or a LAN party is one address. Nor does it know what is
our own lateness: it counts who owed the next message, and was not kept waiting before.

RSA, key exchange and `authenticate` run in the pool. While a worker has the connection, the leader does not read.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Protocol, cast

from ..app.admission import cannot_say
from ..app.budget import FailureBudget
from ..codes import Code, code_text
from ..errors import HandshakeError, ProtocolError, Refused, SecureLinkError
from ..limits import MAX_TURNED_AWAY, PATIENT_SECONDS
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
from ..streams.addresses import is_loopback_host, networks
from ..streams.base import READ, Address, Listening, Stream
from ..streams.proxy import Preamble, is_trusted
from ..text import escaped
from ..wire.fields import Mode
from ..wire.messages import Wanted
from .channel import Channel
from .chores import Chores
from .ends import CLOSED
from .holdings import Holdings
from .jobs import Task
from .link import Carried, Link
from .loop import Loop
from .settings import HandshakeSettings
from .suspensions import Suspensions
from .sweeper import Sweeper
from .taking_over import take_over

log = logging.getLogger("securelink.server")

ACCEPTS_PER_TURN = 64  # a flood of connections must not keep the leader from those it has


class Host(Protocol):
    """What a listener asks of the server above it: who gives sessions to the clients that come in."""

    def authorize(self, link: ServerLink, client: VerifiedClient) -> Channel:
        """
        In the pool: decide, and give the channel of its session: the one that it resumes, or a new one, not yet public.
        Raises `HandshakeError`.
        """

    def opened(self, channel: Channel) -> None:
        """By the leader: make the session public; then its WELCOME is sent."""

    def confirmed(self, link: ServerLink) -> bool:
        """By the leader: whether the client of a provisional link may have its session, now that it has WELCOME."""

    def not_entered(self, link: ServerLink, *, at_once: bool) -> None:
        """By the leader: the client of a provisional link did not get in; the pool may not come to it any more."""

    def suspended(self, channel: Channel) -> None:
        """By the leader: the session has lost its connection, and waits for its client."""

    def resumed(self, link: ServerLink, replayed: int) -> None:
        """By the leader: the session goes on over this link, and so many records are sent again."""

    def ended(self, channel: Channel) -> None:
        """By the leader: the session is over."""

    def stopped(self) -> None:
        """By the last leader: nobody gets in any more."""

    def note(self, event: str) -> None:
        """Any thread: something happened that is counted."""


class ServerLink(Link):
    """A connection that a client opened."""

    __slots__ = (
        "_charged", "_kept", "_listener", "_queued", "_replayed", "_waits_since", "counted", "failed", "half_open",
        "network", "provisional", "token",
    )  # fmt: skip

    def __init__(self, listener: Listener, stream: Stream, address: Address) -> None:
        # The address is what a trusted proxy says, if there is one: the stream's is then that of the proxy.
        settings = listener.settings
        connection = ServerConnection(
            settings.policy,
            settings.wanted if settings.policy != Mode.OFF else Wanted.NO,
            succession=settings.succession,
            deadline=listener.loop.now + settings.handshake_seconds,
            resuming=listener.resuming,
        )
        super().__init__(listener.loop, stream, connection, address)
        self._listener = listener
        self.network = networks(self.address[0])[-1]
        self.half_open = True
        self.counted = False  # as one of its address
        self.failed = False  # its handshake has failed, and is counted
        self._charged = False  # to its address, for what has failed or may fail
        self._queued: list[Callable[[], None]] = []  # the job that no worker has begun yet
        self._waits_since = math.inf  # when its job was queued, until it is done
        self._kept = 0.0  # seconds that its client has waited for jobs that are done
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
        self._waits_since = time.monotonic()
        self._queued.append(job)
        self.update_interest()
        standing = partial(self._listener.budget.standing, self.address[0])
        if not self.loop.pool.submit(
            self.network, Task(self._do, self._displaced, standing, quick)
        ):
            self._displaced()

    def _give_up_job(self) -> bool:
        """By the leader: nobody comes to its job, or not in time, and the client hears that. False: a worker has it."""
        if self._take_job() is None:
            return False
        log.warning("too many handshakes at once; %s is turned away", self.address[0])
        self._listener.host.note("limit_handshakes")
        self._no_fault()
        assert isinstance(self.connection, ServerConnection)
        self.finish_raw(self.connection.give_up(Code.BUSY))
        return True

    def _displaced(self) -> None:
        self._give_up_job()

    def _take_job(self) -> Callable[[], None] | None:
        """The job that was queued, for who comes first: a worker who does it, or the leader who gives it up."""
        try:
            return self._queued.pop()
        except IndexError:
            return None

    @property
    def was_heard(self) -> bool:
        """Whether its client has said anything."""
        return isinstance(self.connection, ServerConnection) and self.connection.heard

    @property
    def was_kept_waiting(self) -> bool:
        """Whether its client has waited so long for us that it may well have given up."""
        waits = max(0.0, time.monotonic() - self._waits_since)
        return self._kept + waits >= PATIENT_SECONDS

    def _no_fault(self) -> None:
        self._kept = math.inf

    # In the pool.

    def _do(self) -> None:
        job = self._take_job()
        if job is not None:
            job()

    def _answer(self) -> None:
        if self.writer.end is CLOSED:
            return
        connection = self.connection
        assert isinstance(connection, ServerConnection)
        try:
            connection.begin_answer()
            self.write_raw(connection.data_to_send())  # the client computes while this side signs
            connection.finish_answer(self._listener.settings.identity)
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
        budget, host = self._listener.budget, self.address[0]
        # Before anybody looks: guesses that wait here together would all be made before the first has failed.
        left = budget.charge(host, under_way=True)
        if left:
            connection.refuse(Code.BLOCKED, f"this address is blocked for {math.ceil(left)} s")
            self._turn_away(HandshakeError("its address is blocked", code=Code.BLOCKED))
            return
        self._charged = True
        try:
            client = connection.verify_client()
            channel = self._listener.host.authorize(self, client)
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
        settings = self._listener.settings
        channel.core.attach(connection)
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
    def session(self) -> Channel | None:
        """Its channel, as what it is."""
        return cast(Channel | None, self.channel)

    def _opened(self) -> None:
        assert self.session is not None
        self._listener.no_longer_half_open(self)
        if self.writer.end is CLOSED:
            self.session.finished(Code.BROKEN, "", clean=False)
            self._not_entered()
            return
        if self.provisional:
            # Until it gives a sign there is no session to be seen, and none that could be ended: that is not for long.
            self.connection.hurry(self.loop.now + self._listener.settings.handshake_seconds)
        else:
            self._public(self.session, known=False)
        self.writer.flush()  # WELCOME: its client finds a session that is public already
        self._read_on()

    def _public(self, session: Channel, *, known: bool) -> None:
        self._listener.suspensions.begun(session, self, known=known)
        self._listener.host.opened(session)

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
            self._no_fault()
            self.finish_raw(connection.data_to_send())
            return
        if not resumed:  # it has ended in between; its client asks for a new one
            connection.refuse(Code.BUSY)
            self._no_fault()
            self.finish_raw(connection.data_to_send())
            return
        self._listener.no_longer_half_open(self)
        self._listener.suspensions.begun(session, self, known=True)
        connection.hurry(self.loop.now + self._listener.settings.handshake_seconds)
        self._listener.host.resumed(self, self._replayed)
        self.writer.flush()
        self._read_on()

    def _resume_core(self, client: VerifiedClient, core: SessionCore) -> bool:
        connection, grant = self.connection, client.grant
        assert isinstance(connection, ServerConnection)
        assert grant is not None
        if not core.resume(connection, client, self._listener.settings.heartbeat):
            return False
        self._replayed = len(core.numbering.outgoing.again)
        self.token = grant.token
        # WELCOME, before anybody can send through this link.
        self.writer.queue_raw(connection.data_to_send())
        return True

    def _confirmed(self) -> None:
        """WELCOME has arrived: what was taken for it, such as a use of a join token, is not given back."""
        if not self.provisional:
            return  # a session that goes on has taken nothing
        assert self.session is not None
        host = self._listener.host
        if host.confirmed(self):
            self.provisional = False
            self._public(self.session, known=True)
        else:
            self.session.end(Code.REFUSED)

    def _not_entered(self) -> None:
        if self.provisional:
            self.provisional = False
            if not (self._listener.closed or self.was_kept_waiting):
                self.count_failure()  # who lets logins go costs as much as who fails
            self._listener.host.not_entered(self, at_once=self._listener.closed)

    def _read_on(self) -> None:
        self._kept += max(0.0, time.monotonic() - self._waits_since)
        self._waits_since = math.inf
        if self.writer.end is not CLOSED:
            self.reader.open = True
            self.update_interest()
            self.reader.take_items(self.connection.reconsider(self.loop.now), self)

    def count_failure(self) -> None:
        """Its handshake has failed: counted now, not when its socket is closed, which may take as long as it likes."""
        if not self.failed:
            self.failed = True
            self._listener.failed_at(self.address[0], charge=not self._charged)

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
        host = self.address[0]
        return (self.session,) if is_loopback_host(host) else networks(host)

    @property
    def held(self) -> int:
        """Bytes that its session keeps, for and of its peer."""
        channel = self.session
        if channel is None:
            return 0
        return channel.held + self.connection.pending

    def end(self, code: int, text: str = "") -> None:
        """As `Link.end`; who is ended for what it does not take gets nothing more of it."""
        channel = self.channel
        if code == Code.TOO_SLOW and channel is not None:
            self.writer.when_not_sending(lambda _: channel.core.sending.drop())
        super().end(code, text)

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
                self._no_fault()
                self.lost()
            return
        # Who has said nothing has cost a place, of which its address has a bounded share. It may be a probe.
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
        self._listener.chores.add(channel.part)  # many may end at once, each with many that wait

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
        self._listener.suspensions.over(self.session)
        if self.provisional:
            self._not_entered()
        else:
            self._listener.host.ended(self.session)
        self._listener.holdings.left(self.session, self.places)
        return True

    def _gone(self) -> None:
        self._listener.forget(self)


class Listener:
    """
    The places where one server listens, and all connections that came in through them.

    Args:
        loop: Its leader accepts.
        listening: Where streams come in.
        settings: How to do handshakes.
        host: The server.

    Attributes:
        addresses: Where it listens.
        links: All connections.
        holdings: What their sessions keep together.
        suspensions: Sessions that have lost their connection.
        resuming: What connections resume them with; None: none is resumed.
        chores: What has no hurry.
        failed: Handshakes that failed so far.
    """

    def __init__(
        self, loop: Loop, listening: Sequence[Listening], settings: HandshakeSettings, host: Host
    ) -> None:
        self.loop = loop
        self.settings = settings
        self.host = host
        self.links: set[ServerLink] = set()
        self._listening = listening
        self.addresses: list[Address] = [place.address for place in listening]
        self._half_open: dict[str, dict[ServerLink, None]] = {}  # network -> links, oldest first
        self._half_open_count = 0
        self._turned_away: dict[ServerLink, None] = {}  # oldest first
        self._preambles: dict[Preamble, None] = {}  # proxies that have not said for whom they speak
        self._of_address: dict[str, int] = {}  # connections
        # Loopback has no budget: all users of the machine, and whatever tunnel ends here, are that one address.
        self.budget = FailureBudget(
            settings.max_failures, lambda: loop.now, lambda host: is_loopback_host(host)
        )
        self.chores = Chores(loop.call)
        self.suspensions = Suspensions(loop, settings.resume, host, self._session_gone)
        self.holdings = Holdings(loop, self.links, host.note, self.suspensions.waiting)
        tickets, identity = self.suspensions.tickets, settings.identity
        self.resuming: Resuming | None = None
        if tickets is not None:
            self.resuming = Resuming(tickets, identity.public if identity is not None else None)
        self.failed = 0
        self._paused = False
        self._closed = False

    @property
    def half_open(self) -> int:
        """How many connections have no session yet."""
        return self._half_open_count

    @property
    def closed(self) -> bool:
        """Whether it has stopped listening for good."""
        return self._closed

    # By the leader.

    def start(self) -> None:
        """Begin to accept and to sweep."""
        self._register()
        self.holdings.start()
        Sweeper(self.loop, self.links, self._visit, self._round_ended)

    def _register(self) -> None:
        for place in self._listening:
            self.loop.register(place, 0 if self._paused or self._closed else READ, self)

    def set_paused(self, paused: bool) -> None:
        """Stop or go on accepting; connections wait in the kernel's backlog meanwhile."""
        self._paused = paused
        if not self._closed:
            self._register()

    def close(self) -> None:
        """Stop listening for good. Connections stay."""
        if not self._closed:
            self._closed = True
            self._register()
            for place in self._listening:
                place.close()
            for preamble in tuple(self._preambles):
                self._drop_preamble(preamble)
            self.suspensions.close()

    def orphaned(self) -> None:
        """In a child of fork(): the sockets are the parent's, and it alone decides when the port is free again."""
        self._closed = True
        for place in self._listening:
            place.close()
        for preamble in self._preambles:
            preamble.stream.close()
        for link in self.links:
            link.orphaned()
        self.suspensions.orphaned()

    def on_io(self, mask: int) -> None:
        """Connections wait to be accepted."""
        for place in self._listening:
            for _ in range(ACCEPTS_PER_TURN):
                try:
                    stream = place.accept()
                except ConnectionError:
                    continue  # it was reset while it waited
                except OSError as error:
                    self._accept_failed(error)
                    break
                self._accepted(stream)

    def _accept_failed(self, error: OSError) -> None:
        if isinstance(error, BlockingIOError | InterruptedError):
            return
        # Out of descriptors, most likely. The connection stays in the backlog; trying at once would spin.
        log.error("cannot accept connections: %s; trying again in a second", error)
        for place in self._listening:
            self.loop.register(place, 0, self)
        self.loop.call_later(1.0, self._register)

    def _accepted(self, stream: Stream) -> None:
        if self.settings.proxies and is_trusted(stream.peer[0], self.settings.proxies):
            self._await_header(stream)
            return
        self._admit(stream, stream.peer)

    def _await_header(self, stream: Stream) -> None:
        preamble = Preamble(stream, self._header_done)
        self._preambles[preamble] = None
        if len(self._preambles) > self.settings.max_half_open:
            self._drop_preamble(next(iter(self._preambles)))
        self.loop.register(stream, READ, preamble)
        self.loop.call_later(self.settings.handshake_seconds, lambda: self._header_late(preamble))

    def _header_late(self, preamble: Preamble) -> None:
        if preamble in self._preambles:
            log.warning("%s is a trusted proxy and sent no PROXY header in time", preamble.peer[0])
            self._drop_preamble(preamble)

    def _header_done(self, preamble: Preamble, found: Address | ProtocolError | None) -> None:
        if isinstance(found, ProtocolError):
            log.warning("%s is turned away: %s", preamble.peer[0], found)
        if not isinstance(found, tuple):
            self._drop_preamble(preamble)
            return
        del self._preambles[preamble]
        self.loop.register(preamble.stream, 0, preamble)
        self._admit(preamble.stream, found)

    def _drop_preamble(self, preamble: Preamble) -> None:
        if self._preambles.pop(preamble, 0) is None:
            self.loop.register(preamble.stream, 0, preamble)
            preamble.stream.close()

    def _admit(self, stream: Stream, address: Address) -> None:
        link = ServerLink(self, stream, address)
        self.links.add(link)
        host = link.address[0]
        if len(self.links) - len(self._turned_away) > self.settings.max_connections:
            log.warning(
                "too many connections (max_connections): %s is turned away, there are %d",
                host,
                self.settings.max_connections,
            )
            self.host.note("limit_connections")
            self._refuse(link, link.connection.give_up(Code.BUSY))
            return
        left = self.budget.blocked_for(host)
        if left:
            self.host.note("limit_failures")
            log.info("%s is turned away: it is blocked for %d s", host, math.ceil(left))
            assert isinstance(link.connection, ServerConnection)
            self._refuse(link, link.connection.blocked(left))
            return
        if not is_loopback_host(host) and not self._count(link, host):
            log.warning("too many connections of one address (max_per_address): %s", host)
            self.host.note("limit_per_address")
            self._refuse(link, link.connection.give_up(Code.BUSY))
            return
        self._half_open.setdefault(link.network, {})[link] = None
        self._half_open_count += 1
        if self._half_open_count > self.settings.max_half_open:
            self._drop_oldest()
        link.update_interest()

    def _count(self, link: ServerLink, host: str) -> bool:
        """Whether its address, or /64, and the networks around it have room for one more connection."""
        mine = networks(host)
        limits = self.settings.per_network
        if any(
            self._of_address.get(net, 0) >= most for net, most in zip(mine, limits, strict=False)
        ):
            return False
        link.counted = True
        for net in mine:
            self._of_address[net] = self._of_address.get(net, 0) + 1
        return True

    def _uncount(self, link: ServerLink) -> None:
        if link.counted:
            link.counted = False
            for net in networks(link.address[0]):
                left = self._of_address[net] - 1
                if left:
                    self._of_address[net] = left
                else:
                    del self._of_address[net]

    def _refuse(self, link: ServerLink, word: bytes) -> None:
        link.half_open = False
        self._turned_away[link] = None
        if len(self._turned_away) > MAX_TURNED_AWAY:
            next(iter(self._turned_away)).lost()
        link.finish_raw(word)

    def _drop_oldest(self) -> None:
        busiest = max(self._half_open.values(), key=len)
        # One that has its session is through: the leader has only not counted it out yet.
        link = next((link for link in busiest if link.channel is None), None)
        if link is None:
            return
        log.info("too many half-open connections: the oldest of %s is dropped", link.address[0])
        self.host.note("limit_half_open")
        link.lost()

    def no_longer_half_open(self, link: ServerLink) -> None:
        """The handshake of this link succeeded."""
        if link.half_open:
            link.half_open = False
            self._half_open_count -= 1
            links = self._half_open[link.network]
            del links[link]
            if not links:
                del self._half_open[link.network]

    def forget(self, link: ServerLink) -> None:
        """The socket of this link is closed."""
        self.links.discard(link)
        self._turned_away.pop(link, None)
        self._uncount(link)
        if link.channel is not None:
            link.channel.core.sending.drop()  # the application may keep the session as long as it likes
        if link.half_open:
            self.no_longer_half_open(link)
            # One that closes without a byte was a probe: a balancer's, or somebody looked whether the port is open.
            if link.failed or (link.was_heard and not link.was_kept_waiting):
                link.count_failure()
                self.failed += 1
                self.host.note("handshakes_failed")

    def failed_at(self, host: str, *, charge: bool) -> None:
        """A handshake of this address has failed."""
        if charge:
            self.budget.charge(host)
        left = self.budget.blocked_for(host)
        if left and self.budget.failures(host) == self.settings.max_failures:
            log.warning(
                "%s failed %d handshakes; it is turned away for %d s",
                host,
                self.settings.max_failures,
                math.ceil(left),
            )

    def on_error(self) -> None:
        """An internal error while accepting: go on."""

    def _visit(self, link: ServerLink) -> None:
        link.sweep(self.loop.now)
        self.holdings.visit(link)

    def _round_ended(self) -> None:
        self.suspensions.sweep()
        self.holdings.round_ended()

    def _session_gone(self, session: Channel, places: tuple[Hashable, ...]) -> None:
        """A session ended that had no connection."""
        if session.parting:
            self.chores.add(session.part)
        self.holdings.left(session, places)
