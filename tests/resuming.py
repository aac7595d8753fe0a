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
from typing import Any

import pytest
from inside import grants_of
from resuming_server import Arrival, Held, Server, names_in, unconfirmed

from securelink import crypto
from securelink.codes import is_final, spares_session
from securelink.errors import SecureLinkError
from securelink.keys import Identity
from securelink.protocol import (
    Alerted,
    ClientConnection,
    Closed,
    Confirmed,
    Ended,
    Event,
    Failed,
    Grant,
    Opened,
    PlaintextChosen,
    Resumption,
    Returning,
    ServerVerified,
    SessionCore,
    State,
)
from securelink.protocol.bounds import Bounds
from securelink.wire.fields import Mode
from securelink.wire.packets import Packet, encode_packet, encode_value

OFF, OPTIONAL, REQUIRED = Mode.OFF, Mode.OPTIONAL, Mode.REQUIRED
both_modes = pytest.mark.parametrize("mode", [REQUIRED, OFF])


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
