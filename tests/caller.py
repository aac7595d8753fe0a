"""A client on the core alone, over a real socket: it loses connections as a test wants, and comes back."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from helpers import WAIT
from resuming import Program

from securelink.keys import Identity
from securelink.protocol import ClientConnection
from securelink.wire.fields import Mode


class Caller(Program):
    """
    A `Program` with a socket.

    Args:
        port: Of the server, on this machine.
        options: Of the `Program`: mode, identity, user (the name that it dials).
    """

    def __init__(
        self,
        port: int,
        mode: Mode = Mode.REQUIRED,
        identity: Identity | None = None,
        user: str = "ann",
        credentials: Any = None,
    ) -> None:
        super().__init__(mode, identity, user, credentials=credentials)
        self.port = port
        self.socks: list[socket.socket] = []

    @property
    def sock(self) -> socket.socket:
        """The last one."""
        return self.socks[-1]

    def dial(self) -> None:
        """A new connection, and nothing more; the old one stays as it is, and is not heard of any more."""
        self.connect()
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=WAIT)
        sock.settimeout(0.01)
        self.socks.append(sock)

    def pump(self, until: Callable[[], object]) -> None:
        """Read and write until a condition holds."""
        deadline = time.monotonic() + WAIT
        self._write()
        while not until():
            assert time.monotonic() < deadline, (self.failed, self.events)
            try:
                data = self.sock.recv(1 << 16)
            except TimeoutError:
                data = None
            except OSError:
                data = b""
            if data is not None:
                self.receive(data, time.monotonic())
            self._write()

    def _write(self) -> None:
        data = self.data_to_send()
        if data:
            try:
                self.sock.sendall(data)
            except OSError:
                pass  # it shows when it is read

    @property
    def tries(self) -> ClientConnection:
        """The engine of the last attempt."""
        assert self.engine is not None
        return self.engine

    def come(self) -> bool:
        """A new connection until it is open, or over; whether the session went on."""
        before = len(self.opened)
        self.dial()
        self.pump(lambda: len(self.opened) > before or self.core.connection is None)
        return len(self.opened) > before and self.opened[-1]

    def cut(self) -> None:
        """The connection breaks."""
        self.sock.close()
        self.core.detach()

    def leave(self) -> None:
        """Close all sockets."""
        for sock in self.socks:
            sock.close()
