"""`Client`: connects until it succeeds, shakes hands, listens."""
# ruff: noqa: N803  # the names are pnetwork's

from __future__ import annotations

import logging
import threading
from typing import Any

from ... import client
from ...errors import ConnectFailed, ConnectionClosed, LinkTimeout, SecureLinkError
from ...limits import CONNECT_SECONDS
from ...received import Received
from ..settings import make_client
from .core import HANDSHAKE, Bind, ComCore, Connection, full_packet
from .coretools import CLI

__all__ = ["CLI", "Bind", "Client", "Connection"]

log = logging.getLogger("securelink.client")

_FIRST_PAUSE = 0.05  # seconds before the next attempt; doubles up to _LONGEST_PAUSE
_LONGEST_PAUSE = 2.0


class Client(ComCore):
    """
    A client. The server's Connection is the one in `clients`.

    Attributes:
        username: Told to the server in the handshake.
    """

    _key_name = "client"

    def __init__(self, host: str = "127.0.0.1", port: int = 25565, bufferSize: int = 1024) -> None:
        super().__init__(host, port, bufferSize)
        self.username: str | None = None
        self._client: client.Client | None = None
        self._attempted = threading.Event()
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._failure: SecureLinkError | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._client is not None and self._client.connected

    def start(self, useThreading: bool = True) -> None:
        """Connect and listen, in a thread (then this returns after the first attempt) or here."""
        if self._client is None:
            for event in (self._attempted, self._ready, self._stopping):
                event.clear()
            self._failure = None
            self._client = make_client(self.host, self.port)
            self._client.on_message(self._received)
            if not useThreading:
                self.listen()
                return
            threading.Thread(target=self.listen, name="listen").start()
        self._wait(self._attempted, CONNECT_SECONDS)

    def connect(self) -> None:
        """As `start`, but returns only when the connection is there."""
        self.start()
        self._wait(self._ready)

    def _wait(self, event: threading.Event, timeout: float | None = None) -> None:
        event.wait(timeout)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End the connection, or the attempts."""
        self._stopping.set()
        client = self._client
        if client is not None:
            client.close()

    def listen(self) -> None:
        """Connect, and handle packets until the connection ends."""
        client = self._client
        if client is None:
            self.start(useThreading=False)
            return
        try:
            if self._reach(client):
                log.info("Connected to server")
                client.send(HANDSHAKE, {"username": self.username})
                while True:
                    client.receive()
        except ConnectionClosed as error:
            log.info("Disconnected: %s", error)
        except SecureLinkError as error:
            log.error("%s", error)
            self._failure = error
        finally:
            client.close()
            self._client, self.clients = None, {}
            self._attempted.set()
            self._ready.set()

    def _reach(self, client: client.Client) -> bool:
        pause = _FIRST_PAUSE
        while not self._stopping.wait(0):
            try:
                client.connect()
            except (ConnectFailed, LinkTimeout) as error:
                log.warning("Could not connect: %s", error)
                self._attempted.set()
                self._stopping.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                return not self._stopping.is_set()
        return False

    def _received(self, received: Received) -> None:
        packet = full_packet(received)
        server = next(iter(self.clients.values()), None)
        if server is None and packet["action"] == HANDSHAKE:
            self.setToken(packet["data"]["uuid"])
            server = self.storeConnection(
                packet["data"]["remoteToken"], (self.host, self.port), "server", self._client
            )
            self._attempted.set()
            self._ready.set()
        elif server is None or packet["token"] != server.uuid:
            log.warning("a packet of the server did not carry its token; it is left out")
            return
        self.processPacket(packet, server, (self.host, self.port))

    def _token_for(self, packet: dict[str, Any]) -> Any:
        return packet.get("token") or self.token
