"""
What tests look at inside the library.

Tests use what is public. Where one has to see or change what no program may (a secret, a moment between two steps, a
bound that nobody reaches in a minute), the private name stands here, once, and the reason with it.
"""

from __future__ import annotations

import gc
import types
from collections.abc import Container, Mapping
from typing import Any

from securelink import JoinTokens, Passwords, Server
from securelink.auth.book import Book
from securelink.protocol import ClientConnection, Connection, ServerConnection, TicketTable
from securelink.protocol.handshake_client import ClientHandshake
from securelink.protocol.handshake_server import ServerHandshake
from securelink.protocol.records import RecordSender
from securelink.protocol.resumption import Grant
from securelink.protocol.states import Take
from securelink.streams import sockets
from securelink.threads.jobs import JobQueue

# --- whoever has stolen keys, or looks through memory ------------------------------------------------------


def sealer_of(engine: Connection) -> RecordSender | None:
    """What seals an engine's records: tests forge what a peer with the right keys would never send."""
    return engine._send


def handshake_of(engine: ClientConnection | ServerConnection) -> ClientHandshake | ServerHandshake:
    """The handshake under way, with its secrets: tests compute with them, and look where they are shown."""
    return engine._handshake


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


# --- what is remembered of the system -----------------------------------------------------------------------


def forget_chosen_ports() -> None:
    """The range of ports that the system chooses from is read again: it is read once a process."""
    sockets._chosen_ports.cache_clear()


# --- what waits in a server --------------------------------------------------------------------------------


def jobs_of(server: Server) -> JobQueue:
    """The expensive work of a server that runs: tests wait until all places for it are taken."""
    loop = server._lifecycle.loop
    assert loop is not None
    return loop._jobs


# --- files of entries ----------------------------------------------------------------------------------------


def book_of(store: JoinTokens | Passwords) -> Book[Any]:
    """The entries of a store: tests hold it while others want it, and write what none of its calls would."""
    return store._book
