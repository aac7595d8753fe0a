"""Where the sessions of servers are kept in a file, for tests of servers that follow each other on one port."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from helpers import until

from securelink import Client, Identity, Server, Session
from securelink.state import SqliteStore, StateKeys


class Place:
    """
    Where servers keep their sessions, one server after the other on the same port.

    Attributes:
        seen: What they told of sessions, in order.
    """

    def __init__(self, folder: Path, keys: Path) -> None:
        self.folder = folder
        self.path = folder / "state.db"
        self.keys = folder / "keys"
        shutil.copytree(keys, self.keys)
        self.identity = Identity.load(self.keys / "server_private.pem")
        self.port = 0
        self.seen: list[str] = []

    def server(self, **options: Any) -> Server:
        """One that counts and echoes, not started."""
        given: dict[str, Any] = {"keys": self.keys, "state": self.path, "resume": 60, **options}
        server = Server("127.0.0.1", self.port, **given)
        server.on_connect(self._greet)
        server.on_restore(lambda session: self.seen.append("restore"))
        server.on_resume(lambda session, replayed: self.seen.append("resume"))
        server.on_disconnect(lambda session: self.seen.append(f"disconnect {session.code!r}"))
        server.on("count", _count)
        return server

    def _greet(self, session: Session) -> None:
        self.seen.append("connect")
        session.data["count"] = 0
        session.join("lobby")

    @contextlib.contextmanager
    def running(self, **options: Any) -> Iterator[Server]:
        """A server that runs, and hands its sessions over in the end."""
        server = self.server(**options)
        server.start()
        self.port = server.address[1]
        try:
            yield server
        finally:
            server.drain()
            assert not server.running

    def client(self, **options: Any) -> Client:
        """A client of it."""
        return Client("127.0.0.1", self.port, pin=self.identity.fingerprint, **options)

    def kept(self) -> int:
        """How many sessions the file has, while no server runs."""
        store = SqliteStore(self.path, StateKeys.load_or_make(self.keys))
        try:
            return len(store.take_over())
        finally:
            store.close()


def _count(session: Session, packet: Any) -> None:
    session.data["count"] += 1
    session.send("counted", [packet.data, session.data["count"]])


def only(server: Server) -> Session:
    """Its only session."""
    until(lambda: server.sessions)
    (session,) = server.sessions.values()
    return session
