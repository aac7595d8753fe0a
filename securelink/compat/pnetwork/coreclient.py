"""`Client`: connects until it succeeds, shakes hands, listens."""
# ruff: noqa: N803  # the names are pnetwork's

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from typing import Any

from ... import client
from ...errors import ConnectFailed, LinkTimeout, SecureLinkError
from ...limits import CONNECT_SECONDS
from ..settings import make_client
from .core import HANDSHAKE, Bind, ComCore, Connection
from .coretools import CLI

__all__ = ["CLI", "Bind", "Client", "Connection"]

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
            self._stopping = threading.Event()
            self._ready: Future[None] = Future()  # hands have been shaken, or it is over
            attempted = self._attempted = threading.Event()
            self._ready.add_done_callback(lambda _: attempted.set())
            self._client = make_client(self.host, self.port)
            self._client.on_message(self._received)
            listening = threading.Thread(target=self._listen, args=[self._client], name="listen")
            if useThreading:
                listening.start()
            else:
                listening.run()
        self._attempted.wait(CONNECT_SECONDS)
        if self._ready.done():
            self._ready.result()

    def connect(self) -> None:
        """As `start`, but returns only when the connection is there."""
        self.start()
        self._ready.result()

    def stop(self) -> None:
        """End the connection, or the attempts."""
        client = self._client
        if client is not None:
            self._stopping.set()
            client.close()

    def _listen(self, client: client.Client) -> None:
        ready = self._ready
        pause = 0.05  # seconds; doubles up to 2
        try:
            while not client.connected and not self._stopping.is_set():
                try:
                    client.connect()
                except (ConnectFailed, LinkTimeout) as error:
                    log.warning("Could not connect: %s", error)
                    self._attempted.set()
                    self._stopping.wait(pause)
                    pause = min(2 * pause, 2.0)
            if not self._stopping.is_set():
                log.info("Connected to server")
                client.send(HANDSHAKE, {"username": self.username})
                for _ in client:  # all packets go to _received
                    pass
        except SecureLinkError as error:
            log.warning("%s", error)
            if not ready.done() and not self._stopping.is_set():
                ready.set_exception(error)
        finally:
            client.close()
            self._peers.clear()
            self._client = None
            if not ready.done():
                ready.set_result(None)

    def _shake_hands(self, session: Any, data: Any) -> Connection:
        self.setToken(data["uuid"])
        address = (self.host, self.port)
        connection = self.storeConnection(data["remoteToken"], address, "server", session)
        self._ready.set_result(None)
        return connection
