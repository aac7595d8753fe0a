"""
What tests look at inside the library.

Tests use what is public. Where one has to see or change what no program may (a secret, a moment between two steps, a
bound that nobody reaches in a minute), the private name stands here, once, and the reason with it.
"""

from __future__ import annotations

import gc
import threading
import types
from collections.abc import Callable, Collection, Container, Mapping
from typing import Any

import pytest

from securelink import Client, JoinTokens, Passwords, Server, aio
from securelink.auth.book import Book
from securelink.interrupts import Right
from securelink.protocol import (
    ClientConnection,
    Connection,
    ServerConnection,
    TicketTable,
    key_update,
    records,
)
from securelink.protocol.bounds import Bounds
from securelink.protocol.handshake_client import ClientHandshake
from securelink.protocol.handshake_server import ServerHandshake
from securelink.protocol.records import RecordSender
from securelink.protocol.resumption import Grant
from securelink.protocol.states import Take
from securelink.streams import sockets
from securelink.threads import ends
from securelink.threads.caretaker import caretaker
from securelink.threads.client_link import ClientLink
from securelink.threads.jobs import JobQueue
from securelink.threads.link import Link
from securelink.threads.listener import Listener
from securelink.threads.loop import Loop

# --- whoever has stolen keys, or looks through memory ------------------------------------------------------


def sealer_of(engine: Connection) -> RecordSender | None:
    """What seals an engine's records: tests forge what a peer with the right keys would never send."""
    return engine._send


def controls_of(engine: Connection) -> int:
    """How many PING and PONG wait to be sealed."""
    return len(engine._controls)


def handshake_of(engine: ClientConnection | ServerConnection) -> ClientHandshake | ServerHandshake:
    """The handshake under way, with its secrets: tests compute with them, and look where they are shown."""
    return engine._handshake


def tokens_of(server: Server) -> JoinTokens:
    """Of a server with authenticate="tokens": tests take some back."""
    tokens = server._invitations.tokens
    assert tokens is not None
    return tokens


def grants_of(table: TicketTable) -> Mapping[bytes, Grant]:
    """What the tickets of a server give, by the digest of each: a test that has stolen them gets nowhere."""
    return table._grants


def takes_of(engine: Connection) -> Container[Take]:
    """What an engine has a method for: compared with its table."""
    return engine._takes


def bytes_below(root: object) -> bytes:
    """All text and all bytes that an object holds, or what it holds does: where no secret may be."""
    found = list[bytes]()
    seen, left = set[int](), [root]
    while left:
        thing = left.pop()
        if id(thing) in seen or isinstance(thing, type | types.ModuleType | types.FunctionType):
            continue
        seen.add(id(thing))
        if isinstance(thing, str):
            found.append(thing.encode("utf-8", "surrogatepass"))
        elif isinstance(thing, bytes | bytearray):
            found.append(bytes(thing))
        elif isinstance(thing, dict):
            left += thing  # the collector visits no keys that are texts
        left += gc.get_referents(thing)
    return b"\0".join(found)


# --- servers, and the loop of all clients --------------------------------------------------------------------


def loop_of(server: Server) -> Loop:
    """The loop of a running server: tests look at its threads, and wait until it is idle."""
    loop = server._lifecycle.loop
    assert loop is not None
    return loop


def listener_of(server: Server | aio.Server) -> Listener:
    """What accepts a running server's connections: tests count them, and give them less time."""
    listener = server._lifecycle.listener
    assert listener is not None
    return listener


def small(server: Server, **bounds: Any) -> None:
    """Sessions from now on have bounds that a test reaches."""
    for name, value in vars(Bounds(**bounds)).items():
        object.__setattr__(
            server._bounds, name, value
        )  # it is frozen, and those who make sessions have it


def awaited_by(client: Client) -> Collection[object]:
    """The threads of a client that wait for packets of one name."""
    return client._hooks.awaited


def jobs_of(server: Server) -> JobQueue:
    """The expensive work of a server that runs: tests wait until all places for it are taken."""
    return loop_of(server).pool.jobs


def limit_jobs(server: Server, limit: int) -> None:
    """So many jobs may wait, instead of MAX_PENDING_SIGNATURES."""
    jobs_of(server)._limit = limit


class Tollgate:
    """
    The leader token of a loop, with a hook at the instant in which a leader comes back from its handlers.

    Attributes:
        on_return: The hook; it may change.
    """

    def __init__(self, loop: Loop) -> None:
        self.lock = loop.lead.token
        self.on_return: Callable[[], object] = lambda: None
        self._loop = loop
        loop.lead.token = self  # type: ignore[assignment]  # it has what is used

    @property
    def in_handler(self) -> bool:
        """Whether a handler is through: a token is asked for after a wait as well."""
        return self._loop.lead.in_handler

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """The leader itself asks only when it comes back."""
        if self._loop.lead.thread == threading.get_ident():
            self.on_return()
        return self.lock.acquire(blocking, timeout)

    def release(self) -> None:
        """As it is."""
        self.lock.release()

    def take_lead(self, leader: int) -> None:
        """Take the lead from this thread, as the watchdog does."""
        self._loop.lead.take_from(leader, self._loop.lead.batch)

    def remove(self) -> None:
        """Put the token back."""
        self._loop.lead.token = self.lock


def clients_loop() -> Loop | None:
    """The loop of all clients of this process; None while there are none."""
    return caretaker._loop


def cared_for() -> set[object]:
    """What that loop is there for: attempts to connect, and connections."""
    return {*caretaker._users, *caretaker._links}


def has_ticks(link: ClientLink) -> bool:
    """Whether that loop looks at this connection of a client again and again, for somebody may drive it."""
    return link in caretaker._driven


def is_choked(link: Link) -> bool:
    """Whether the peer is not read because it takes too little."""
    return link.writer.choked


def forks() -> int:
    """How many forks this process has behind it, as every link has noted."""
    return ends.forks[0]


def left_behind(client: Client) -> list[str]:
    """What nobody can have when no call of this client runs, and what waits for nothing: names, for an error."""
    channel = client._channel
    assert channel is not None
    carrier = channel.carrier
    rights = {
        "to connect": client._connector.right,
        "to drive": channel.drive_right,
        "to run": channel.inbox.right,
        "to send": Right() if carrier is None else carrier.writer._send_right,
    }
    loop = caretaker._loop
    locks = {
        "of the session": channel.lock.locked(),
        "of the caretaker": caretaker._lock.locked(),
        # An RLock does not tell; it is not to be had while another thread has it.
        "of the pool": loop is not None and not _can_be_had(loop.pool.lock),
    }
    waiting = {
        "drivers": channel.drivers,
        "running": channel.inbox.runner,
        "awaited": client._hooks.awaited,
        "expected": channel.core.requests.expected,
        "batches": loop is not None and loop.batches,
    }
    return [
        *(name for name, right in rights.items() if right.taken),
        *(name for name, taken in locks.items() if taken),
        *(name for name, kept in waiting.items() if kept),
    ]


def _can_be_had(lock: Any) -> bool:
    had = list[bool]()

    def ask() -> None:
        had.append(lock.acquire(timeout=60.0))
        lock.release()

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(120.0)
    return had == [True]


# --- what is remembered of the system -----------------------------------------------------------------------


def forget_chosen_ports() -> None:
    """The range of ports that the system chooses from is read again: it is read once a process."""
    sockets._chosen_ports.cache_clear()


# --- files of entries ----------------------------------------------------------------------------------------


def book_of(store: JoinTokens | Passwords) -> Book[Any]:
    """The entries of a store: tests hold it while others want it, and write what none of its calls would."""
    return store._book


def key_limit(monkeypatch: pytest.MonkeyPatch, name: str, value: int) -> None:
    """A key may do less than it does in truth, so that a test reaches the limit."""
    for module in (records, key_update):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, value)
