"""`TCPServer`: sessions of a `securelink.Server`, a thread for each."""

from __future__ import annotations

import logging
import queue
import threading
from typing import Any

from ...limits import MAX_FRAME_BODY, MAX_WORKERS, SEND_SECONDS
from ...server import Session
from ..settings import make_server
from .endpoint import MESSAGE, Bytes, Callback, Endpoint, SetupError

log = logging.getLogger("securelink.server")

_MAX_WAITING = 16  # messages of one client that wait for its thread


class ClientSocket:
    """A client, as a server's callbacks see it: like a socket, by whole messages."""

    def __init__(self, server: TCPServer, session: Session) -> None:
        self._server = server
        self._waiting: queue.Queue[bytes] = queue.Queue(_MAX_WAITING)
        self._over = False
        self.session = session
        self.address = session.address

    def send(self, data: Bytes) -> bool:
        """Send one message; False when that fails."""
        return self._server._send(self.session, data)

    def recv(self, _size: int = 0) -> bytes:
        """The next message; b"" when the connection has ended."""
        return b"" if self._over and self._waiting.empty() else self._waiting.get()

    def close(self) -> None:
        """End the connection; what was sent before still arrives."""
        self.session.kick()

    def _put(self, data: Any) -> None:
        try:
            if isinstance(data, bytes) and data:
                self._waiting.put(data, timeout=SEND_SECONDS)
        except queue.Full:
            self.close()

    def _end(self) -> None:
        self._over = True
        try:
            self._waiting.put_nowait(b"")
        except queue.Full:
            pass  # so nobody waits in recv()


class Killed(int):
    """For `if server.killed`, and for `if server.killed()`."""

    def __call__(self) -> bool:
        return bool(self)


class TCPServer(Endpoint):
    """A server of raw bytes, with a thread for each client. `clients` is {address: [thread, ClientSocket]}."""

    def __init__(self, max_connections: int | None = None) -> None:
        super().__init__()
        self.max_connections = max_connections
        self.clients: dict[tuple[str, int], list[Any]] = {}
        self._run = self._killed = False
        self.event.accepting_thread = self  # for its `run`

    def setup(
        self, ip: str = "", port: int = 25567, listen: int = 5, recv_buffer: int = 2048, handle_client: Callback = None,
        on_connect: Callback = None, on_disconnect: Callback = None, on_receive: Callback = None,
    ) -> None:  # fmt: skip
        """Listen; `start()` accepts. Raises `ConnectFailed`, an `OSError`, when the port is in use."""
        self.close()
        self._set_callbacks(on_connect, on_disconnect, on_receive)
        self._handle_client = handle_client or self._receive
        options: dict[str, Any] = {"backlog": listen, "max_packet": MAX_FRAME_BODY}
        if self.max_connections is not None:
            options["max_connections"] = self.max_connections
        # Many workers: one that waits for a client's full queue must keep nobody else from being read.
        server = make_server(ip, port, workers=MAX_WORKERS, **options)
        self._run = self._killed = False
        server.pause()
        server.on_connect(self._arrived)
        server.on(MESSAGE, lambda session, packet: session.data["socket"]._put(packet.data))
        server.on_disconnect(lambda session: session.data["socket"]._end())
        self.socket = server.start()

    def _arrived(self, session: Session) -> None:
        client = session.data["socket"] = ClientSocket(self, session)
        thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
        with self._changed:
            self.clients = {**self.clients, client.address: [thread, client]}
        thread.start()

    def _serve(self, client: ClientSocket) -> None:
        self._call(self.on_connect, client.address)
        self._call(self._handle_client, client, client.address)
        while client.recv():
            pass  # a handle_client that has returned wants no more
        with self._changed:
            self.clients = {key: it for key, it in self.clients.items() if it[1] is not client}
        self._call(self.on_disconnect, client.address)

    def _receive(self, client: ClientSocket, address: tuple[str, int]) -> None:
        while data := client.recv():
            self._store((client, address, data))
            self._call(self.on_receive, client, address, data)

    @property
    def run(self) -> bool:
        """As `event.accepting_thread.run`: whether clients are accepted, unless that was killed. May be set."""
        return self._run

    @run.setter
    def run(self, run: bool) -> None:
        server, self._run = self._ready, run
        if run and not self._killed:
            server.resume()
        else:
            server.pause()
        log.info("New Connections: %s", "Deny" if server.paused else "Allow")

    def start(self) -> None:
        """Accept clients."""
        self.run = True

    def stop(self) -> None:
        """Accept no clients until `start`."""
        self.run = False

    def exit_accept(self) -> None:
        """Accept no clients until `restart` and `start`."""
        self.run = False
        self._killed = True

    def restart(self) -> None:
        """Undo `exit_accept`; clients are accepted if `event.accepting_thread.run` is, or becomes, True."""
        if not self._killed:
            raise SetupError("Can't restart stopped or running thread")
        self._killed, self.run = False, self._run

    @property
    def killed(self) -> Killed:
        """Whether `exit_accept` was called."""
        return Killed(self._killed)

    def send_data(self, data: Bytes, client_socket: ClientSocket) -> bool:
        """Send one message; False, and a caught exception, when that fails."""
        return client_socket.send(data)

    def recv_data(self, client_socket: ClientSocket) -> bytes:
        """The next message of one client."""
        return client_socket.recv()

    def disconnect(self, address: tuple[str, int] | ClientSocket) -> None:
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

    def __repr__(self) -> str:
        return f"<TCPServer {self.socket}, {len(self.clients)} clients>"
