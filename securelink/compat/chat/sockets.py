"""As much of the module `socket` as the two programs use, over securelink; nothing here is a real socket."""

from __future__ import annotations

import queue
from typing import Any, Self

from ...app.received import Received
from ...client import Client
from ...errors import Refused, SecureLinkError
from ...limits import MAX_UNACCEPTED, MAX_WORKERS
from ...server import Server
from ...session import Session
from ...text import escaped, shortened
from ..mailbox import Mailroom
from ..settings import make_client, make_server, own_words

AF_INET = "AF_INET"
SOCK_STREAM = "SOCK_STREAM"
SOL_SOCKET = "SOL_SOCKET"
SO_REUSEADDR = "SO_REUSEADDR"
SHUT_RD, SHUT_WR, SHUT_RDWR = 0, 1, 2
error = OSError
SAID = "chat said"  # the packets' name
_MAX_SHOWN = 64 * 1024  # characters of a message that are shown

Address = tuple[str, int]


def shown(data: object) -> str:
    """What somebody typed, safe for a terminal."""
    if not isinstance(data, bytes):
        return ""
    return escaped(shortened(data[: 4 * _MAX_SHOWN].decode(errors="replace"), _MAX_SHOWN))


class _Base:
    """What all have that a program calls and that means nothing here."""

    def setsockopt(self, level: object, option: object, value: object) -> None:
        """Does nothing: a port can be used again at once anyway."""

    def shutdown(self, how: object = SHUT_RDWR) -> None:
        """End the connection, as `close`."""
        self.close()

    def close(self) -> None:
        """End it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Accepted(_Base):
    """A client, as `accept` gives it to a server's program."""

    def __init__(self, server: Server, session: Session, room: Mailroom) -> None:
        self._server, self._session = server, session
        self._box = room.box(self.close)

    def recv(self, bufsize: int = 0) -> bytes:
        """Wait for one message; it is given whole, with control characters escaped. b"" is the end."""
        return self._box.get()

    def send(self, data: bytes) -> int:
        """Send one message, without waiting for a client that does not read. Raises `ConnectionError`."""
        message = bytes(memoryview(data))
        try:
            with own_words():
                sent = not message or self._server.broadcast(SAID, message, to=[self._session])
        except SecureLinkError as failure:
            raise ConnectionError(str(failure)) from failure
        if not sent:
            raise ConnectionError("this client has gone")
        return len(message)

    sendall = send

    def getpeername(self) -> Address:
        """Its (ip, port)."""
        return self._session.address

    def close(self) -> None:
        """End the connection; what was sent before still arrives. Who waits in `recv` gets b""."""
        self._session.kick()

    def put(self, packet: Received) -> None:
        """A message has come. A program that reads none for long loses this client, and nobody else."""
        if text := shown(packet.data):
            self._box.put(text.encode())

    def end(self) -> None:
        """The connection has ended."""
        self._box.end()


class socket(_Base):  # noqa: N801  # its old name
    """A connection to the chat, or with `bind`, `listen` and `accept` the place where clients come in."""

    def __init__(self, family: str = AF_INET, type: str = SOCK_STREAM) -> None:  # noqa: A002  # its old name
        self._core: Client | None = None
        self._server: Server | None = None
        self._where: Address | None = None
        self._arrived: queue.SimpleQueue[Accepted | None] = queue.SimpleQueue()
        self._room = Mailroom()

    # A client.

    def connect(self, address: Address) -> None:
        """Connect. Raises what `Client.connect` raises, in words for the user."""
        with own_words():
            self._core = make_client(*address).connect()

    def send(self, data: bytes) -> int:
        """Send one message; nothing when it is empty. Raises `ConnectionError`."""
        message = bytes(memoryview(data))
        try:
            if message:
                with own_words():
                    self._connected().send(SAID, message)
        except SecureLinkError as failure:
            raise ConnectionError(str(failure)) from failure
        return len(message)

    sendall = send

    def recv(self, bufsize: int = 0) -> bytes:
        """
        Wait for one message; it is given whole, with control characters escaped.

        Raises:
            ConnectionError: There is no connection any more. (A socket would give b"" again and again.)
        """
        try:
            return self._next_message()
        except SecureLinkError as failure:
            raise ConnectionError(str(failure)) from failure

    def _next_message(self) -> bytes:
        while True:
            packet = self._connected().receive()
            if text := shown(packet.data):
                return text.encode()

    def _connected(self) -> Client:
        if self._core is None:
            raise ConnectionError("not connected")
        return self._core

    # A server.

    def bind(self, address: Address) -> None:
        """Say where to listen."""
        self._where = address

    def listen(self, backlog: int = 5) -> None:
        """
        Let clients come.

        Raises:
            ConnectFailed: It is an `OSError`: the port is in use, or the address is not of this machine.
        """
        if self._where is None:
            raise OSError("call bind() before listen()")
        # Many workers: a client whose program does not read must keep nobody else from being heard.
        server = make_server(*self._where, workers=MAX_WORKERS)
        server.on_connect(lambda session: self._enter(server, session))
        server.on(SAID, self._heard)
        server.on_disconnect(self._leave)
        with own_words():
            self._server = server.start()

    def _enter(self, server: Server, session: Session) -> None:
        if self._arrived.qsize() >= MAX_UNACCEPTED:  # also of those that have gone meanwhile
            raise Refused("the server takes nobody just now")
        accepted = session.data["socket"] = Accepted(server, session, self._room)
        self._arrived.put(accepted)

    def _heard(self, session: Session, packet: Received) -> None:
        if (accepted := session.data.get("socket")) is not None:
            accepted.put(packet)

    def _leave(self, session: Session) -> None:
        if (accepted := session.data.get("socket")) is not None:
            accepted.end()

    def accept(self) -> tuple[Accepted, Address]:
        """Wait for a client; it, and its (ip, port). Raises `OSError` when this was closed."""
        if self._server is None:
            raise OSError("call listen() before accept()")
        accepted = self._arrived.get()
        if accepted is None:
            self._arrived.put(None)  # for the next one who asks
            raise OSError("this was closed")
        return accepted, accepted.getpeername()

    def getsockname(self) -> Any:
        """(ip, port) that a server listens on, with the real port when 0 was asked for."""
        return self._server.address if self._server is not None else self._where

    def close(self) -> None:
        """Disconnect, what was sent goes out first; or end the server, and `accept` with it."""
        if self._core is not None:
            self._core.close()
        if self._server is not None:
            self._server.stop()
            self._arrived.put(None)
