"""
Two programs whose session outlives its connections: a client and a server on cores alone, and the network between them.

    world = World(identity)
    world.connect()                 # a session begins, or goes on
    world.client.say("x")
    world.settle()                  # everything arrives
    world.cut()                     # both ends see the end of the stream

Each side is a shell of about a hundred lines, as docs/DESIGN.md ("Resume") says how to write one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import pytest
from inside import grants_of

from securelink import crypto
from securelink.codes import Code, is_final, spares_session
from securelink.errors import SecureLinkError
from securelink.keys import Identity
from securelink.limits import MAX_PACKET
from securelink.protocol import (
    Alerted,
    AuthReceived,
    ClientConnection,
    Closed,
    Confirmed,
    Ended,
    Event,
    Failed,
    Grant,
    HelloReceived,
    Item,
    Opened,
    PlaintextChosen,
    Resuming,
    Resumption,
    Returning,
    ServerConnection,
    ServerVerified,
    SessionCore,
    State,
    TicketTable,
    VerifiedClient,
)
from securelink.protocol.bounds import Bounds
from securelink.wire.fields import Mode
from securelink.wire.messages import Wanted
from securelink.wire.packets import Packet, encode_packet, encode_value

OFF, OPTIONAL, REQUIRED = Mode.OFF, Mode.OPTIONAL, Mode.REQUIRED
both_modes = pytest.mark.parametrize("mode", [REQUIRED, OFF])


@dataclass
class Held:
    """What a server knows of a session."""

    core: SessionCore
    token: bytes
    user: str
    handled: list[str] = field(default_factory=list)


def names_in(core: SessionCore) -> list[str]:
    """Handle what has arrived: the names of the packets."""
    names: list[str] = []
    while core.receiving.items:
        names += [packet.action for packet in core.receiving.take()]
    return names


def first_names_in(core: SessionCore) -> list[str]:
    """Handle the oldest record: the names of its packets."""
    return [packet.action for packet in core.receiving.take()] if core.receiving.items else []


def unconfirmed(core: SessionCore) -> list[str]:
    """The names of what the peer may not have."""
    return [packet.action for packet in core.unconfirmed()]


class Server:
    """
    A server: sessions, tickets, and a hook that takes the dialled name for the user.

    Args:
        identity: Its key.
        mode: Of encryption.
        wanted: What it says about client keys.
        table: Its tickets; None: sessions are not resumed.
        random: Source of tokens and tickets.
    """

    def __init__(
        self,
        identity: Identity | None,
        mode: Mode = Mode.REQUIRED,
        wanted: int = Wanted.WELCOME,
        table: TicketTable | None = None,
        random: crypto.Random = os.urandom,
    ) -> None:
        self.identity = identity
        self.mode = mode
        self.wanted = wanted
        self.table = TicketTable() if table is None else table
        self.random = random
        self.sessions: dict[bytes, Held] = {}
        self.closes_down = False  # it has said CLOSE HANDOVER, and accepts nobody
        self.banned: set[str] = set()
        self.lazy = False  # what has come is handled by somebody else
        self.ended: list[Held] = []
        self.asked: list[tuple[str, bool]] = []  # user and whether he resumes, as the hook saw it

    def accept(self) -> Arrival:
        """A connection has come."""
        return Arrival(self)

    def say(self, held: Held, *names: str) -> None:
        """Send packets in a session."""
        for name in names:
            held.core.sending.put(encode_packet(Packet(name)))

    def end(self, held: Held) -> None:
        """The session is over: kicked, expired or closed."""
        self.sessions.pop(held.token, None)
        self.table.forget(held.token)
        held.core.detach()
        self.ended.append(held)

    def hand_over(self, now: float) -> None:
        """It closes down, and its sessions go on in the process that follows: their clients are told."""
        self.closes_down = True
        for held in self.sessions.values():
            if held.core.connection is not None:
                held.core.connection.close(Code.HANDOVER, now=now)

    def succeed(self) -> None:
        """The process that follows has what a store has kept: sessions and tickets, and nothing of connections."""
        before, self.table = self.table, TicketTable(self.table.lifetime)
        for held in self.sessions.values():
            held.core.detach()
            self.table.restore(before.granted(held.token), self.table.lifetime, missed=True)
        self.closes_down = False

    def tickets(self, token: bytes) -> int:
        """How many are good for a session."""
        return sum(grant.token == token for grant in grants_of(self.table).values())

    def pass_time(self, now: float) -> None:
        """End the sessions whose time is over."""
        for held in self.table.expire(now):
            self.end(held)


class Arrival:
    """The server's end of one connection."""

    def __init__(self, server: Server) -> None:
        self.server = server
        key = server.identity.public if server.identity else None
        self.engine = ServerConnection(
            server.mode, server.wanted, random=server.random, resuming=Resuming(server.table, key)
        )
        self.held: Held | None = None
        self.verified: VerifiedClient | None = None
        self.failed: SecureLinkError | None = None
        self.events: list[Event] = []
        self.last_word = b""

    def receive(self, data: bytes, now: float) -> None:
        """Bytes have come; b"" is the end of the stream."""
        self._handle(self.engine.receive_data(data, now), now)

    def _handle(self, items: list[Item], now: float) -> None:
        for item in items:
            if isinstance(item, bytes | memoryview):
                if self.held is not None and self.held.core.connection is self.engine:
                    self.held.core.receiving.deliver(item)
                continue
            self.events.append(item)
            try:
                if isinstance(item, HelloReceived):
                    self.engine.begin_answer()
                    self.engine.finish_answer(self.server.identity)
                elif isinstance(item, AuthReceived):
                    self.decide(self.engine.verify_client())
                else:
                    self._noted(item, now)
                    continue
            except SecureLinkError as error:
                self.failed = error
                return
            self._handle(self.engine.reconsider(now), now)
        if self.held is not None and not self.server.lazy:
            self.held.handled += names_in(self.held.core)

    def _noted(self, item: Event, now: float) -> None:
        held = self.held
        if isinstance(item, Failed):
            self.failed = item.error
            self.last_word = item.answer
        if held is None:
            return
        if isinstance(item, Closed):
            if held.core.connection is self.engine:
                self.server.end(held)
        elif isinstance(item, Ended | Failed) and held.core.detach(self.engine):
            for gone in self.server.table.suspend(held.token, now):
                self.server.end(gone)

    def decide(self, verified: VerifiedClient) -> None:
        """The hook: let the client in, to its session or to a new one."""
        server, self.verified = self.server, verified
        user, grant = verified.dialled, verified.grant
        held: Held | None = grant.session if grant is not None else None
        server.asked.append((user, held is not None))
        if user in server.banned:
            self.engine.refuse(16, "no")
            return
        lives = held is not None and held.user == user and held.token in server.sessions
        if held is not None and lives and verified.begins_another:
            held.handled += names_in(held.core)  # what it has left comes first
            server.end(held)
        elif held is not None and lives and held.core.resume(self.engine, verified, 20.0):
            self.held = held
            return
        token = server.random(16)
        held = self.held = Held(SessionCore(Bounds()), token, user)
        held.core.attach(self.engine)
        self.engine.welcome(verified, token, MAX_PACKET, 20.0, session=held)
        server.sessions[token] = held

    def data_to_send(self) -> bytes:
        """What this end has to say."""
        word, self.last_word = self.last_word, b""
        if self.held is not None and self.held.core.connection is self.engine:
            return self.held.core.data_to_send()
        return self.engine.data_to_send() + word


class Program:
    """
    A client.

    Attributes:
        core: Its session.
        resumption: What resumes it.
        handled: Names of the packets that came, session by session.
        lost: What was not confirmed of each session that ended.
    """

    def __init__(
        self,
        mode: Mode = Mode.REQUIRED,
        identity: Identity | None = None,
        user: str = "ann",
        random: crypto.Random = os.urandom,
        credentials: Any = None,
    ) -> None:
        self.mode = mode
        self.identity = identity
        self.user = user
        self.credentials = encode_value(credentials)
        self.application, self.version = "game", "1"
        self.random = random
        self.core = SessionCore(Bounds())
        self.resumption: Resumption | None = None
        self.engine: ClientConnection | None = None
        self.handled: list[list[str]] = [[]]
        self.lost: list[list[str]] = []
        self.opened: list[
            bool
        ] = []  # whether each attempt that came through went on with the session
        self.events: list[Event] = []
        self.failed: SecureLinkError | None = None
        self.lazy = False  # what has come is handled by somebody else
        self.returning = Returning.TO_GO_ON
        self.file: Resumption | None = None

    def keep(self, resumption: Resumption | None) -> None:
        """Write the file of the session, before anything is sent in it."""
        self.file = resumption

    def die(self) -> None:
        """Its process dies, and another one begins with the file of its session, which has the resumption alone."""
        self.core = SessionCore(Bounds())
        self.engine = None
        self.resumption = self.file
        known = self.file is None
        self.returning = Returning.TO_GO_ON if known else Returning.WITHOUT_MEMORY

    def part(self) -> None:
        """The program has enough of its session, and wants another one."""
        self.core.detach()
        self.engine = None
        self._over(SessionCore(Bounds()))
        if self.resumption is not None:
            self.returning = Returning.FOR_ANOTHER

    def say(self, *names: str) -> None:
        """Send packets, whether connected or not."""
        for name in names:
            self.core.sending.put(encode_packet(Packet(name)))

    def connect(self) -> None:
        """Give the connection up that there is, and begin with the next."""
        self.core.detach()
        self.engine = ClientConnection(
            self.mode, max_packet=2**24 - 1, random=self.random, resumption=self.resumption, returning=self.returning
        )  # fmt: skip
        self.core.attach(self.engine)
        self.failed = None

    def receive(self, data: bytes, now: float) -> None:
        """Bytes have come; b"" is the end of the stream."""
        if self.engine is None or self.core.connection is not self.engine:
            return
        self._handle(self.core.receive_data(data, now), now)

    def _handle(self, events: list[Event], now: float) -> None:
        engine = self.engine
        assert engine is not None
        for event in events:
            self.events.append(event)
            if isinstance(event, ServerVerified | PlaintextChosen):
                engine.authenticate(
                    event.server, identity=self.identity, dialled=self.user, credentials=self.credentials,
                    application=self.application, version=self.version,
                )  # fmt: skip
                self._handle(self.core.reconsider(now), now)
            elif isinstance(event, Opened):
                self._opened(event, engine, now)
            elif isinstance(event, Failed):
                self.failed = event.error
                self.core.detach()
            elif isinstance(event, Ended | Alerted):
                self.core.detach(engine)
            elif isinstance(event, Closed):
                attempt = engine.sender is None and not is_final(event.code)
                if attempt or spares_session(event.code):
                    self.core.detach(engine)  # that is over, and no more
                else:
                    self._over(SessionCore(Bounds()))
                    self.resumption, self.returning = None, Returning.TO_GO_ON
        if not self.lazy:
            self.handled[-1] += names_in(self.core)

    def _opened(self, event: Opened, engine: ClientConnection, now: float) -> None:
        other = engine.numbering is not self.core.numbering
        behind = self.returning is Returning.FOR_ANOTHER
        self.returning = Returning.TO_GO_ON
        self.keep(event.resumption)
        self.resumption = event.resumption
        self.opened.append(event.resumed)
        if other:
            core = SessionCore(Bounds(), numbering=engine.numbering)
            if event.resumed or behind:
                for encoded in self.core.sending.waiting:  # said before it was connected
                    core.sending.put(encoded)
                self.core = core
            else:
                self._over(core)
            self.core.attach(engine)
            self._handle(self.core.reconsider(now), now)

    def _over(self, next_core: SessionCore) -> None:
        """The session is over; another one may begin."""
        self.handled[-1] += names_in(self.core)
        self.lost.append(unconfirmed(self.core))
        self.core = next_core
        self.handled.append([])

    def data_to_send(self) -> bytes:
        """What this end has to say."""
        return self.core.data_to_send()


class World:
    """
    A client, a server, and the one connection that they have now.

    Attributes:
        up, down: Bytes on their way to the server, to the client.
        arrival: The server's end.
        arrivals: All of them, oldest first.
        now: The time.
    """

    def __init__(
        self, identity: Identity | None, mode: Mode = Mode.REQUIRED, **options: Any
    ) -> None:
        self.server = Server(identity, mode, **options)
        self.client = Program(mode)
        self.now = 0.0
        self.up, self.down = b"", b""
        self.arrivals: list[Arrival] = []

    @property
    def arrival(self) -> Arrival:
        """The server's end of the last connection."""
        return self.arrivals[-1]

    @property
    def held(self) -> Held:
        """The server's only session."""
        (held,) = self.server.sessions.values()
        return held

    def dial(self) -> None:
        """A new connection; nothing has arrived yet. The old one is not heard of any more, at either end."""
        self.client.connect()
        self.arrivals.append(self.server.accept())
        self.up, self.down = b"", b""

    def connect(self) -> None:
        """A new connection, and everything that follows."""
        self.dial()
        self.settle()

    def collect(self) -> None:
        """Put on their way what both have to say."""
        self.up += self.client.data_to_send()
        self.down += self.arrival.data_to_send()

    def settle(self, budget: int = 10**9) -> int:
        """
        Let everything arrive, until nobody has anything to say, or so many bytes have arrived.

        Returns:
            What is left of the budget.
        """
        self.collect()
        while (self.up or self.down) and budget:
            up, self.up = self.up[:budget], self.up[budget:]
            budget -= len(up)
            if up:
                self.arrival.receive(up, self.now)
            self.collect()
            down, self.down = self.down[:budget], self.down[budget:]
            budget -= len(down)
            if down:
                self.client.receive(down, self.now)
            self.collect()
        return budget

    def cut(self, *, server_sees: bool = True) -> None:
        """The connection breaks: what is under way is lost."""
        self.up = self.down = b""
        self.client.receive(b"", self.now)
        if server_sees:
            self.arrival.receive(b"", self.now)

    def pass_time(self, seconds: float) -> None:
        """Time passes, with what is due by then."""
        until = self.now + seconds
        ends = [self.client.engine, self.arrival.engine]
        while self.now < until:
            engines = [engine for engine in ends if engine is not None]
            self.now = min(until, *(max(one.next_deadline(), self.now + 0.01) for one in engines))
            for engine in engines:
                engine.on_deadline(self.now)
            self.settle()
        self.server.pass_time(self.now)

    @property
    def is_open(self) -> bool:
        """Whether both are in a session."""
        states = (self.client.engine and self.client.engine.state, self.arrival.engine.state)
        return states == (State.OPEN, State.OPEN)


__all__ = ["Arrival", "Confirmed", "Grant", "Held", "Program", "Server", "World", "unconfirmed"]


def suspended(identity: Identity, mode: Mode = REQUIRED, **options: object) -> World:
    """A world whose session has lost its connection; a packet of either side is missing on the other."""
    world = World(identity, mode, **options)
    world.connect()
    world.client.say("a")
    world.server.say(world.held, "A")
    world.settle()
    world.cut()
    world.client.say("b")
    world.server.say(world.held, "B")
    return world


def goes_on(world: World) -> None:
    """The owner gets his session after all, with everything in it."""
    world.connect()
    assert world.client.opened[-1] is True
    assert world.held.handled == ["a", "b"]
    assert world.client.handled == [["A", "B"]]


def resumption_of(world: World) -> Resumption:
    """What the client resumes with."""
    assert world.client.resumption is not None
    return world.client.resumption


def hello_of(world: World) -> bytes:
    """The hello of an attempt to resume; nothing has arrived yet."""
    world.dial()
    world.collect()
    return world.up


def grants(server: Server) -> int:
    """How many tickets are valid."""
    return len(grants_of(server.table))
