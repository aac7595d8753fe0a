"""securelink itself, through its public API."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from securelink import Client, Identity, Received, Server, Session

from ..carriers import Counting
from ..target import CHUNK, HOST, Target

MANY = 20_000  # connections; the default of 10,000 is what the scale workload fills with idle ones
PATIENCE = 60.0  # seconds without an answer: something is broken


def start(target: Target) -> tuple[Server, dict[str, Any]]:
    """A running server, and what clients must know."""
    encrypted = target.options.get("encryption", "required") != "off"
    keys = Identity.load(target.path("server_private.pem"))
    server = Server(
        HOST,
        0,
        keys=keys,
        authenticate="tokens",
        encryption="required" if encrypted else "off",
        client_keys="required" if encrypted and target.identity == "mutual" else "welcome",
        max_connections=MANY,
        heartbeat=300,
    )
    _bind(server)
    server.start()
    info = {
        "port": server.address[1],
        "pin": server.fingerprint if encrypted else None,
        "join": server.create_token("player", uses=None),
    }
    return server, info


def _bind(server: Server) -> None:
    def cast(session: Session, packet: Received) -> None:
        for _ in range(packet.data["times"]):
            server.broadcast("move", packet.data["move"])

    for handler in (_move, cast, _bulk, _blob, _compute, _sleep):
        server.on(handler.__name__.removeprefix("_"), handler)


def _move(session: Session, packet: Received) -> None:
    session.send("move", packet.data)


def _bulk(session: Session, packet: Received) -> None:
    session.data["wanted"] = packet.data["bytes"]


def _blob(session: Session, packet: Received) -> None:
    session.data["wanted"] -= len(packet.data)
    if session.data["wanted"] <= 0:
        session.send("bulk")


def _compute(session: Session, packet: Received) -> None:
    end = time.perf_counter() + packet.data["seconds"]
    while time.perf_counter() < end:
        sum(range(1000))
    session.send("compute")


def _sleep(session: Session, packet: Received) -> None:
    time.sleep(packet.data["seconds"])
    session.send("sleep")


def serve(target: Target, ready: Any) -> None:
    """Run a server until the process ends."""
    _, info = start(target)
    ready(info)
    threading.Event().wait()


class Connection:
    """A client."""

    def __init__(self, target: Target) -> None:
        info = target.server
        mutual = target.identity == "mutual" and info["pin"] is not None
        self._client = Client(
            HOST,
            info["port"],
            keys=client_identity(target) if mutual else None,
            encryption="required" if info["pin"] is not None else "off",
            pin=info["pin"],
            token=info["join"],
            known_servers=target.path("known_servers"),
        )
        self._anew = bool(target.options.get("anew"))
        self._carrier = self._client.carrier = Counting()
        self._back: Callable[[], None] | None = None
        self._client.connect(PATIENCE)

    def send(self, packet: dict[str, Any]) -> None:
        """Send one packet."""
        self._client.send(packet["action"], packet["data"])

    def batch(self) -> AbstractContextManager[None]:
        """Send several together."""
        return self._client.batch()

    def receive(self) -> Any:
        """Data of the next packet."""
        received = self._client.receive(PATIENCE)
        if received is None:
            raise TimeoutError(f"no packet for {PATIENCE} s")
        return received.data

    def send_blob(self, blob: bytes) -> None:
        """Send one packet of the bulk workload."""
        assert len(blob) <= CHUNK
        self._client.send("blob", blob)

    @property
    def goes_on(self) -> bool:
        """Whether it has a session that goes on over another connection."""
        return not self._anew

    def lose(self, back: Callable[[], None]) -> None:
        """
        Lose the connection.

        Args:
            back: Called when the session goes on over another one.
        """
        if self._back is None:
            self._client.on_resume(self._resumed)
        self._back = back
        self._carrier.cut()

    def _resumed(self, replayed: int) -> None:
        if self._back is not None:
            self._back()

    def close(self) -> None:
        """End the session."""
        self._client.close()


_identities: dict[str, Identity] = {}


def client_identity(target: Target) -> Identity:
    """Of the clients. Loaded once, as a program would."""
    identity = _identities.get(target.folder)
    if identity is None:
        identity = _identities[target.folder] = Identity.load(target.path("client_private.pem"))
    return identity


connect = Connection
#: One thread that sends all and then reads is what a program with a client does; send() reads when it must wait.
DRIVER_OPTIONS = {"sends_all": True}
