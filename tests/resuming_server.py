"""
The server of `resuming.py`: a shell of one core for each session, as docs/DESIGN.md ("Resume") says how to write one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from inside import grants_of

from securelink import crypto
from securelink.codes import Code
from securelink.errors import SecureLinkError
from securelink.keys import Identity
from securelink.limits import MAX_PACKET
from securelink.protocol import (
    AuthReceived,
    Closed,
    Ended,
    Event,
    Failed,
    HelloReceived,
    Item,
    Resuming,
    ServerConnection,
    SessionCore,
    TicketTable,
    VerifiedClient,
)
from securelink.protocol.bounds import Bounds
from securelink.wire.fields import Mode
from securelink.wire.messages import Wanted
from securelink.wire.packets import Packet, encode_packet


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
