"""`Client`: connects until it succeeds, shakes hands, listens."""
# ruff: noqa: N803  # the names are pnetwork's

from __future__ import annotations

import logging
import threading
from typing import Any

from ... import client
from ...errors import ConnectFailed, LinkTimeout, SecureLinkError
from ...limits import CONNECT_SECONDS
from ..settings import make_client
from .core import HANDSHAKE, Bind, ComCore, Connection
from .coretools import CLI

__all__ = ["CLI", "Bind", "Client", "Connection"]

RETRY_SECONDS = 0.5

log = logging.getLogger("securelink.client")


class Client(ComCore):
    """A client. The server's Connection is the one in `clients`; `username` is told to it in the handshake."""

    username: str | None = None
    _key_name = "client"
    _client: client.Client | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._client is not None and self._client.connected

    def start(self, useThreading: bool = True) -> None:
        """Connect and listen, in a thread (then this returns after the first attempt) or here."""
        if self._client is None:
            self._ready, self._stopping = threading.Event(), threading.Event()
            connection = make_client(self.host, self.port)
            connection.on_message(self._received)
            self._attempt(connection)
            self._client = connection
            listening = threading.Thread(target=self._listen, args=[connection], name="listen")
            if useThreading:
                listening.start()
            else:
                listening.run()
        if self.connected:
            self._ready.wait(CONNECT_SECONDS)

    def connect(self) -> None:
        """As `start`, but returns only when the connection is there, or `stop` was called."""
        self.start()
        self._ready.wait()

    def stop(self) -> None:
        """End the connection, or the attempts."""
        if (client := self._client) is not None:
            self._stopping.set()
            client.close()

    def _attempt(self, client: client.Client) -> None:
        try:
            client.connect()
        except (ConnectFailed, LinkTimeout) as error:
            log.warning("Could not connect: %s", error)
            return
        log.info("Connected to server")
        client.send(HANDSHAKE, {"username": self.username})

    def _listen(self, client: client.Client) -> None:
        try:
            while not client.connected and not self._stopping.wait(RETRY_SECONDS):
                self._attempt(client)
            if not self._stopping.is_set():
                for _ in client:  # all packets go to _received
                    pass
        except SecureLinkError as error:
            log.warning("%s", error)
        client.close()
        self._peers.clear()
        self._client = None
        self._ready.set()

    def _shake_hands(self, session: Any, data: Any) -> Connection:
        self.setToken(data["uuid"])
        address = (self.host, self.port)
        connection = self.storeConnection(data["remoteToken"], address, "server", session)
        self._ready.set()
        return connection
