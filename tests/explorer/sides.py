"""
The two sides that the explorer drives: shells of `resuming.py`, made repeatable, and what is known of them.

What is random is drawn from the number of the connection, so equal histories make equal bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

from engines import split_frames
from resuming import Program
from resuming_server import Arrival, Server, first_names_in, unconfirmed

from securelink import crypto
from securelink.keys import Identity
from securelink.protocol import Returning, State
from securelink.wire.fields import Mode

from .promises import Facts, Half

END = b""  # of a stream, among its frames
_OVER = (State.CLOSED, State.FAILED)
_LATER = 10.0**9  # a time at which every session without a connection has expired


class Nothing(list[Any]):
    """Forgets what it is told: what a shell notes for tests is no part of its state."""

    def append(self, item: Any) -> None:
        """Forget it."""


def drawn(*seed: object) -> crypto.Random:
    """A source of bytes that always gives the same."""
    return _Source(repr(seed).encode())


class _Source:
    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._count = 0

    def __call__(self, size: int) -> bytes:
        self._count += 1
        return hashlib.shake_256(self._seed + self._count.to_bytes(4)).digest(size)


@contextmanager
def repeatable() -> Iterator[None]:
    """What the crypto library draws by itself is the same each time: per key, and per key and message."""
    with ExitStack() as stack:
        for name in ("mlkem_encapsulate", "pss_sign"):
            stack.enter_context(
                mock.patch.object(crypto, name, _remembering(getattr(crypto, name)))
            )
        # Every acknowledgement goes at once: when they go is not what is explored.
        stack.enter_context(mock.patch("securelink.protocol.ack_timing.ACK_RECORDS", 1))
        yield


def _remembering(call: Any) -> Any:
    known: dict[Any, Any] = {}

    def remembered(*arguments: Any) -> Any:
        key = tuple(
            bytes(one) if isinstance(one, (bytes, bytearray, memoryview)) else id(one)
            for one in arguments
        )
        if key not in known:
            known[key] = (
                arguments,
                call(*arguments),
            )  # the arguments live, so no number is another's
        return known[key][1]

    return remembered


class ClientSide:
    """
    The client.

    Attributes:
        link: The number of its last connection.
        said: In each session, the names of its packets.
        deaths: In each session: how many it had said, and handled, when its process died and another one went on.
        parted: Tokens of the sessions that it has ended itself.
    """

    def __init__(self, mode: Mode, *, lazy: bool) -> None:
        self.program = Program(mode)
        self.program.lazy = lazy
        self.program.events = Nothing()
        self.program.opened = Nothing()
        self.link = 0
        self.said: list[list[str]] = [[]]
        self.deaths: list[list[tuple[int, int]]] = [[]]
        self.tokens: list[bytes] = [b""]
        self.parted: list[bytes] = []

    def act(self, what: str, *arguments: Any) -> list[tuple[int, bytes]]:
        """Take an input; what it sends, by connection."""
        before = self.link
        getattr(self, what)(*arguments)
        self._note()
        out = [(self.link, frame) for frame in split_frames(self.program.data_to_send())]
        if before != self.link and before:
            out.insert(0, (before, END))  # it closes the stream that it has given up
        elif what in ("receive", "die", "part") and self.is_over and self.link:
            out.append((self.link, END))
        if self.is_over:
            self.program.engine = None
        return out

    def _note(self) -> None:
        while len(self.said) <= len(self.program.lost):
            self.said.append([])
            self.deaths.append([])
            self.tokens.append(b"")
        resumption = self.program.resumption
        if resumption is not None and self.program.returning is not Returning.FOR_ANOTHER:
            self.tokens[-1] = resumption.token

    @property
    def is_over(self) -> bool:
        """Whether no connection carries the session."""
        return self.program.core.connection is None

    def say(self, name: str) -> None:
        """Send a packet, connected or not."""
        self.said[-1].append(name)
        self.program.say(name)

    def dial(self, link: int) -> None:
        """Give up the connection that there is, and begin with the next."""
        self.link = link
        self.program.random = drawn("client", link)
        self.program.connect()

    def receive(self, frame: bytes) -> None:
        """Something comes on the last connection."""
        self.program.receive(frame, 0.0)

    def die(self) -> None:
        """Its process dies, and another one has the file of the session, if there is one."""
        self.program.die()
        if self.program.resumption is None:
            self.said[-1] = []  # nobody has heard of it
        else:
            self.deaths[-1].append((len(self.said[-1]), len(self.program.handled[-1])))

    def part(self) -> None:
        """End the session; the next one begins behind it."""
        self.parted.append(self.tokens[-1])
        self.program.part()

    def handle(self) -> None:
        """The turn of the oldest record comes."""
        self.program.handled[-1] += first_names_in(self.program.core)


class ServerSide:
    """
    The server.

    Attributes:
        arrivals: Its connections, by number.
        closed, heard: Those that it has closed; those whose end has come.
        said: Names of its packets, by session.
        ended: Sessions that are over: token, and what it listed as unconfirmed.
        life: How often it has lost its memory.
    """

    def __init__(self, identity: Identity | None, mode: Mode, *, lazy: bool) -> None:
        self._identity = identity
        self._mode = mode
        self._lazy = lazy
        self.arrivals: dict[int, Arrival] = {}
        self.said: dict[bytes, list[str]] = {}
        self.ended: dict[bytes, tuple[list[str], list[str]]] = {}
        self.life = 0
        self.closed: set[int] = set()
        self.heard: set[int] = set()
        self._begin()

    def _begin(self) -> None:
        self.server = Server(self._identity, self._mode)
        self.server.lazy = self._lazy
        self.server.asked = Nothing()

    def act(self, what: str, *arguments: Any) -> list[tuple[int, bytes]]:
        """Take an input; what it sends, by connection."""
        getattr(self, what)(*arguments)
        for held in self.server.ended:
            self.ended[held.token] = (list(held.handled), unconfirmed(held.core))
        self.server.ended.clear()
        out: list[tuple[int, bytes]] = []
        for link, arrival in list(self.arrivals.items()):
            out += [(link, frame) for frame in split_frames(arrival.data_to_send())]
            if arrival.engine.state in _OVER:
                if link not in self.closed:
                    out.append((link, END))
                # One that was taken over is still there until its end has come, as late as that may be.
                self.closed.add(link)
                if arrival.held is None or link in self.heard:
                    del self.arrivals[link]
        return out

    def receive(self, link: int, frame: bytes) -> None:
        """Something comes on a connection, perhaps a new one."""
        arrival = self.arrivals.get(link)
        if arrival is None:
            if self.server.closes_down:
                self.closed.add(link)
            if not frame or link in self.closed:
                return
            self.server.random = drawn("server", self.life, link)
            arrival = self.arrivals[link] = self.server.accept()
            arrival.events = Nothing()
        if not frame:
            self.heard.add(link)
        arrival.receive(frame, 0.0)

    def say(self, name: str) -> None:
        """Send a packet in the session that there is."""
        for token, held in self.server.sessions.items():
            self.said.setdefault(token, []).append(name)
            self.server.say(held, name)

    def handle(self) -> None:
        """The turn of the oldest record comes."""
        for held in self.server.sessions.values():
            held.handled += first_names_in(held.core)

    def restart(self) -> None:
        """It dies, and begins anew."""
        for token, held in self.server.sessions.items():
            self.ended[token] = (list(held.handled), list(self.said.get(token, [])))
        self.closed.update(self.arrivals)
        self.arrivals.clear()
        self.life += 1
        self._begin()

    def hand_over(self) -> None:
        """It closes down, and says so; what has not come so far is not heard."""
        self.server.hand_over(0.0)
        for arrival in self.arrivals.values():
            if arrival.held is None:
                arrival.engine.abort()

    def succeed(self) -> None:
        """The process that follows has its sessions; all connections have ended with it."""
        self.closed.update(self.arrivals)
        self.arrivals.clear()
        self.life += 1
        self.server.succeed()

    def expire(self) -> None:
        """So much time passes that no session without a connection is kept."""
        self.server.pass_time(_LATER)


def _half(core: Any, said: list[str], handled: list[str]) -> Half:
    incoming, outgoing = core.numbering.incoming, core.numbering.outgoing
    return Half(
        tuple(said),
        tuple(handled),
        tuple(unconfirmed(core)),
        (incoming.accepted, incoming.handled(), outgoing.acknowledged),
        bool(core.receiving.items),
    )


def client_facts(side: ClientSide) -> Facts:
    """What is known of a client."""
    program = side.program
    halves = {
        token: Half(
            tuple(said),
            tuple(handled),
            tuple(lost),
            over=True,
            deaths=tuple(deaths),
            parted=token in side.parted,
        )
        for token, said, handled, lost, deaths in zip(
            side.tokens, side.said, program.handled, program.lost, side.deaths, strict=False
        )
    }
    token = side.tokens[-1]
    half = _half(program.core, side.said[-1], program.handled[-1])
    halves[token] = replace(half, deaths=tuple(side.deaths[-1]))
    return Facts(halves, token, wants=side.is_over)


def server_facts(side: ServerSide) -> Facts:
    """What is known of a server."""
    halves = {
        token: Half(tuple(side.said.get(token, ())), tuple(handled), tuple(left), over=True)
        for token, (handled, left) in side.ended.items()
    }
    for token, held in side.server.sessions.items():
        half = _half(held.core, side.said.get(token, []), held.handled)
        for number, arrival in side.arrivals.items():
            if held.core.connection is arrival.engine:
                confirmed = arrival.engine.state is State.OPEN
                half = replace(half, link=number, confirmed=confirmed)
        halves[token] = replace(half, tickets=side.server.tickets(token))
    return Facts(halves, closes_down=side.server.closes_down)
