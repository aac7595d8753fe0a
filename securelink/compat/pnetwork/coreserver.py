"""`Server`: registers clients by their handshake, and lets in only packets with the right token."""
# ruff: noqa: N803  # the names are pnetwork's

from __future__ import annotations

import threading
import uuid
from typing import Any

from ... import server
from ...limits import MAX_WORKERS
from ..settings import make_server
from .core import Bind, ComCore, Connection
from .coretools import CLI

__all__ = ["CLI", "Bind", "Connection", "Server"]


class Server(ComCore):
    """A server; `start()` keeps the program running until `stop()`."""

    _server: server.Server | None = None

    def __init__(self, host: str = "127.0.0.1", port: int = 25565, bufferSize: int = 1024) -> None:
        super().__init__(host, port, bufferSize)
        self.setToken(uuid.uuid4())

    @property
    def connected(self) -> bool:
        """Whether it runs."""
        return self._server is not None and self._server.running

    def start(self, useThreading: bool = True) -> None:
        """Serve, in a thread or here. Raises `ConnectFailed`, an `OSError`, when the port is in use."""
        if self.connected:
            return
        core = self._server = make_server(self.host, self.port, workers=MAX_WORKERS)
        core.on_message(self._received)
        core.on_disconnect(lambda session: self._peers.pop(session, None))
        core.start()
        if useThreading:
            # No daemon: it keeps alive a program that ends with start(), as most do.
            threading.Thread(target=core.serve_forever, name="RegisterNewConnections").start()
        else:
            core.serve_forever()

    def stop(self) -> None:
        """Disconnect everybody and stop."""
        if self._server is not None:
            self._server.stop()

    def _shake_hands(self, session: server.Session, data: Any) -> Connection:
        username = data.get("username") if isinstance(data, dict) else None
        # Not session.token, which is no secret and stands in the log.
        connection = self.storeConnection(str(uuid.uuid4()), session.address, username, session)
        connection.handShake(self.token)
        return connection
