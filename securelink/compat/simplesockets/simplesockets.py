"""The classes; the module was named so up to version 0.0.8."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from ... import limits
from ...app.collect import let_go
from ...app.received import Received
from ...errors import SecureLinkError
from ...interrupts import Sign
from ...logs.tracebacks import outline, text_of
from ...session import Session
from ..mailbox import Mailroom
from ..settings import make_client, make_server, own_words

log = logging.getLogger("securelink")

MESSAGE = "bytes"  # the action of the packets that carry the messages
_MAX_EXCEPTIONS = 100

Bytes = bytes | bytearray | memoryview
Callback = Callable[..., Any] | None
Address = tuple[str, int]


class SetupError(Exception):
    """`setup()` was not called."""


def _message(packet: Received) -> bytes:
    """What a packet carries; b"" when that is no message."""
    return packet.data if packet.action == MESSAGE and isinstance(packet.data, bytes) else b""


def _full(kept: list[Any], message: tuple[Any, ...]) -> bool:
    """Whether received messages are too many, or too long, for one more."""
    size = sum(len(entry[-1] if isinstance(entry, tuple) else entry) for entry in kept)
    return len(kept) >= limits.MAX_COLLECTED or size + len(message[-1]) > limits.MAX_COLLECTED_BYTES


def _make_room(kept: list[Any], message: tuple[Any, ...]) -> None:
    while kept and _full(kept, message):
        del kept[0]


def _surplus(sizes: list[int]) -> int:
    """How many of the oldest exceptions are too many, or too large; never the newest."""
    surplus = 0
    while len(sizes) - surplus > 1 and (
        len(sizes) - surplus > _MAX_EXCEPTIONS or sum(sizes[surplus:]) > limits.MAX_CAUGHT_TEXT
    ):
        surplus += 1
    return surplus


class _Endpoint:
    """What server and client share: received data, exceptions, and flags for these (`event`)."""

    on_connect: Callback = None
    on_disconnect: Callback = None
    on_receive: Callback = None

    def __init__(self) -> None:
        self._changing = threading.RLock()
        self._room = Sign()  # for what is received
        self.socket: Any = None
        self.recved_data: list[Any] = []
        self.event = SimpleNamespace(new_data=False)
        self.event.exception = SimpleNamespace(occurred=False, list=[])
        self._sizes: list[int] = []  # bytes of the last exceptions in that list

    @property
    def _ready(self) -> Any:
        if self.socket is None:
            raise SetupError("Server isn't setup")
        return self.socket

    @property
    def new_data_recved(self) -> bool:
        """The older name of `event.new_data`."""
        return bool(self.event.new_data)

    def _use(self, **callbacks: Callback) -> None:
        given = {name: callback for name, callback in callbacks.items() if callback}
        vars(self).update(given)  # one that was set as an attribute stays

    def _store(self, *message: Any) -> None:
        self._keep(*message)
        self._try(self.on_receive, *message)

    def _keep(self, *message: Any) -> None:
        self._room.clear()
        while not self._stored(message):
            self._room.wait(0.5)
            self._room.clear()

    def _stored(self, message: tuple[Any, ...]) -> bool:
        with self._changing:
            kept = self.recved_data
            if self.on_receive:
                _make_room(kept, message)  # it has seen them
            elif kept and self.socket and _full(kept, message):
                return False
            kept.append(message if len(message) > 1 else message[0])
            self.event.new_data = True
            return True

    def _record(self, error: Exception) -> None:
        caught = self.event.exception
        entry = (text_of(tuple(outline(error))), error)
        size = len(entry[0]) + let_go(error)
        with self._changing:
            kept = [*caught.list, entry]
            sizes = [*self._sizes[-len(kept) + 1 :], size] if len(kept) > 1 else [size]
            surplus = _surplus(sizes)
            caught.list, self._sizes = kept[surplus:], sizes[surplus:]
            caught.occurred = True

    def _try(self, function: Callback, *arguments: Any) -> bool:
        try:
            if function is not None:
                with own_words():
                    function(*arguments)
        except Exception as error:
            if not isinstance(error, SecureLinkError):
                log.exception("a callback raised an error; the connection goes on")
            self._record(error)
            return False
        return True

    def send_to(self, target: Any, data: Bytes) -> bool:
        """Send one message to securelink's client or session; False, and a caught exception, when that fails."""
        message = bytes(memoryview(data))  # a text is a TypeError
        return not message or self._try(target.send, MESSAGE, message)  # nothing would be the end

    def return_recved_data(self) -> list[Any]:
        """All that was received and not yet taken."""
        with self._changing:
            taken, self.recved_data = self.recved_data, []
            self.event.new_data = False
        self._room.set()
        return taken

    def return_exceptions(
        self, delete: bool = True, reset_exception: bool = True, reset_exceptions: bool = True
    ) -> list[tuple[str, Exception]]:
        """The caught exceptions, each after its traceback as text."""
        caught = self.event.exception
        with self._changing:
            taken = list(caught.list)
            caught.list = [] if delete else taken
            caught.occurred &= not (reset_exception and reset_exceptions)
        return taken

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.socket}>"


class TCPClient(_Endpoint):
    """A client of raw bytes, over a `securelink.Client`."""

    def __init__(self) -> None:
        super().__init__()
        self._auto = False
        self.event.connected = self.event.is_connected = self.event.disconnected = False

    def setup(
        self, target_ip: str, target_port: int = 25567, recv_buffer: int = 2048,
        on_connect: Callback = None, on_disconnect: Callback = None, on_receive: Callback = None,
        listen: int = 5, handle_client: Callback = None,
    ) -> None:  # fmt: skip
        """Say where to connect."""
        if self.socket is not None:
            self.shutdown()
        self._use(on_connect=on_connect, on_disconnect=on_disconnect, on_receive=on_receive)
        self.Address = (target_ip, target_port)
        self.socket = make_client(target_ip, target_port)
        self.socket.on_disconnect(lambda: self._turn(False))

    def _turn(self, connected: bool) -> None:
        event = self.event
        with self._changing:
            if not connected and (not event.is_connected or self.socket.connected):
                return  # disconnect() has told it already, or it comes from a connection before this one
            event.connected = event.is_connected = connected
            event.disconnected = not connected
        self._try(self.on_connect if connected else self.on_disconnect)

    def start(self) -> None:
        """Does nothing: `connect` starts."""

    def connect(self) -> bool:
        """Connect; False, and a caught exception, when that fails."""
        if not self._try(self._ready.connect):
            return False
        self._turn(True)
        self._turn(False)  # if it has ended already
        return True

    def reconnect(self) -> bool:
        """Connect again."""
        self.disconnect()
        return self.connect()

    def disconnect(self) -> bool:
        """End the connection; False when there was none."""
        client = self._ready
        was_connected = bool(client.connected)
        client.close()
        self._turn(False)
        return was_connected

    def shutdown(self) -> None:
        """End automatic receiving and the connection."""
        if self._auto:
            self.autorecv()
        self.disconnect()

    def autorecv(self) -> bool:
        """Switch automatic receiving on or off; gives what it is now."""
        client, self._auto = self._ready, not self._auto
        if self._auto:
            with suppress(SecureLinkError):  # not connected
                for packet in client.poll():  # what came before
                    self._received(packet)
            client.on(MESSAGE, self._received)
        else:
            client.off(MESSAGE)
        return self._auto

    def _received(self, packet: Received) -> None:
        if data := _message(packet):
            self._store(data)

    def recv_data(self) -> bytes:
        """Wait for the next message; b"" when the connection has ended."""
        client, data = self._ready, b""
        try:
            while True:
                data = _message(client.receive())
                if data:
                    break
        except SecureLinkError as error:
            if not getattr(error, "clean", False):
                self._record(error)
        return data

    def send_data(self, data: Bytes) -> bool:
        """Send one message; False, and a caught exception, when that fails."""
        return self.send_to(self._ready, data)


class ClientSocket:
    """A client, as a server's callbacks see it: like a socket, by whole messages."""

    def __init__(self, server: TCPServer, session: Session) -> None:
        self._server, self.session, self.address = server, session, session.address
        self.box = server.mail.box(self.close)

    def send(self, data: Bytes) -> bool:
        """Send one message; False when that fails."""
        return self._server.send_to(self.session, data)

    def recv(self, _size: int = 0) -> bytes:
        """The next message; b"" when the connection has ended."""
        return self.box.get()

    def close(self) -> None:
        """End the connection; what was sent before still arrives."""
        self.session.kick()

    def put(self, packet: Received) -> None:
        """A message has come."""
        if data := _message(packet):
            self.box.put(data)

    def end(self) -> None:
        """The connection is over."""
        self.box.end()


class _Killed(int):
    """For `if server.killed`, and for `if server.killed()`."""

    def __call__(self) -> bool:
        return bool(self)


class TCPServer(_Endpoint):
    """A server of raw bytes, with a thread for each client. `clients` is {address: [thread, ClientSocket]}."""

    def __init__(self, max_connections: int | None = None) -> None:
        super().__init__()
        self.max_connections = max_connections
        self.mail = Mailroom()
        self.clients: dict[Address, list[Any]] = {}
        self._run, self.killed = False, _Killed(False)
        self.event.accepting_thread = self  # for its `run`

    def setup(
        self, ip: str = "", port: int = 25567, listen: int = 5, recv_buffer: int = 2048,
        handle_client: Callback = None, on_connect: Callback = None,
        on_disconnect: Callback = None, on_receive: Callback = None,
    ) -> None:  # fmt: skip
        """Listen; `start()` accepts. Raises `ConnectFailed`, an `OSError`, when the port is in use."""
        self.close()
        self._use(on_connect=on_connect, on_disconnect=on_disconnect, on_receive=on_receive)
        self._handle_client = handle_client or self._receive
        # Many workers: one that waits for a client's full queue must keep nobody else from being read.
        most = limits.MAX_THREADED if self.max_connections is None else self.max_connections
        server = make_server(
            ip, port, backlog=listen, workers=limits.MAX_WORKERS, max_connections=most
        )
        server.pause()
        server.on_connect(self._arrived)
        server.on(MESSAGE, lambda session, packet: session.data["socket"].put(packet))
        server.on_disconnect(lambda session: session.data["socket"].end())
        self._run, self.killed = False, _Killed(False)
        with own_words():
            self.socket = server.start()

    def _arrived(self, session: Session) -> None:
        client = session.data["socket"] = ClientSocket(self, session)
        thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
        with self._changing:
            self.clients = {**self.clients, client.address: [thread, client]}
        thread.start()

    def _serve(self, client: ClientSocket) -> None:
        self._try(self.on_connect, client.address)
        self._try(self._handle_client, client, client.address)
        while client.recv():
            pass  # a handle_client that has returned wants no more
        with self._changing:
            self.clients = dict(it for it in self.clients.items() if it[1][1] is not client)
        self._try(self.on_disconnect, client.address)

    def _receive(self, client: ClientSocket, address: Address) -> None:
        while data := client.box.first():  # it stays there, and counts, until it is stored
            self._keep(client, address, data)
            client.recv()
            self._try(self.on_receive, client, address, data)

    @property
    def run(self) -> bool:
        """As `event.accepting_thread.run`: whether clients are accepted, unless that was killed. May be set."""
        return self._run

    @run.setter
    def run(self, run: bool) -> None:
        server, self._run = self._ready, run
        (server.resume if run and not self.killed else server.pause)()
        log.getChild("server").info("New Connections: %s", "Deny" if server.paused else "Allow")

    def start(self) -> None:
        """Accept clients."""
        self.run = True

    def stop(self) -> None:
        """Accept no clients until `start`."""
        self.run = False

    def exit_accept(self) -> None:
        """Accept no clients until `restart` and `start`."""
        self.run, self.killed = False, _Killed(True)

    def restart(self) -> None:
        """Undo `exit_accept`; clients are accepted if `event.accepting_thread.run` is, or becomes, True."""
        if not self.killed:
            raise SetupError("Can't restart stopped or running thread")
        self.killed, self.run = _Killed(False), self._run

    def send_data(self, data: Bytes, client_socket: ClientSocket) -> bool:
        """Send one message; False, and a caught exception, when that fails."""
        return client_socket.send(data)

    recv_data = staticmethod(ClientSocket.recv)

    def disconnect(self, address: Address | ClientSocket) -> None:
        """Disconnect a client, by its address or as callbacks get it."""
        if isinstance(address, ClientSocket):
            address.close()
        elif address in self.clients:
            self.clients[address][1].close()
        else:
            self._record(KeyError(f"no client is connected from {address}"))

    def close(self) -> None:
        """Disconnect everybody and stop listening."""
        server, self.socket = self.socket, None
        if server is not None:
            server.stop()
