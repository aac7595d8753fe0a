"""The server."""

from __future__ import annotations

import time
from errno import EADDRINUSE
from typing import Any

from ...errors import ConfigError, ConnectFailed
from ...limits import MAX_FRAME_BODY
from ...server import Session
from ..settings import make_server
from .side import CONNECT, DIRECT, DISCONNECT, UNASKED, SockStreamConnection, getter

GOODBYE_SECONDS = 3.0

_TAKEN = "Server is currently active in other code on computer, shutdown the other server before starting"


class Server(SockStreamConnection):
    """The server: `start`, `set_data`, `get_client_data`, `shutdown`."""

    _daemon = False

    def __init__(self, port: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(port, *args, **kwargs)
        # One handler at a time: hooks for different clients never overlap.
        self._core = core = make_server("", port, overlap=False, max_packet=MAX_FRAME_BODY)
        core.on(CONNECT, lambda session, _: self._enter(session))
        core.on(DISCONNECT, lambda session, _: self._leave(session))
        core.on(DIRECT, lambda session, frame: self._take(session, frame.data, direct=True))
        core.on_state.add_listener(self._take)
        core.on_disconnect.add_listener(lambda session: self._leave(session, asked=session._clean))
        self.SERVER_IP = core.lan_address
        self.ADDR = (self.SERVER_IP, port)
        self.client_conn: dict[tuple[str, int], Session] = {}
        self.client_data: dict[tuple[str, int], Any] = {}
        self.accepting_clients = False

    def start(self, start: bool = True) -> None:
        """Listen; with `start=False` clients wait until `accept_clients`."""
        if not self._may_begin("Server is currently active, shutdown the server before starting"):
            return
        self._core.set_state(self._sent)
        self._core.pause()
        try:
            self._core.start()
        except ConnectFailed as error:
            taken = getattr(error.__cause__, "errno", None) == EADDRINUSE
            self.warn(f"Error: {_TAKEN if taken else error}")
            return
        self.active, self.accepting_clients = True, False
        for line in (f"Server IP: {self.SERVER_IP}", f"Server PORT: {self.PORT}", "Status: Ready"):
            self.info(line)
        if start:
            self.accept_clients()
        self._thread.start()

    def accept_clients(self, direct: bool | None = None) -> None:
        """Let clients in, after `start(start=False)`."""
        if self.do_shutdown or self.accepting_clients:
            why = "shutting down" if self.do_shutdown else "already accepting clients"
            self.warn(f"Error: Cannot accept clients because server is {why}")
            return
        self.DIRECT = self.DIRECT if direct is None else direct
        self.accepting_clients = True
        self.info("New Connections: Allow")
        self._core.resume()

    def server_addr_avalible(self) -> bool:
        """Whether the server could start at its address."""
        try:
            return bool(self._core.start().stop())
        except (ConfigError, ConnectFailed):
            return False

    def shutdown(self) -> None:
        """Tell the clients to disconnect, then stop. Returns at once."""
        if not self.active or self.do_shutdown:
            self.warn("Error: Could not shutdown server as it is not online")
            return
        self.info("Status: Starting Shutdown")
        self._core.pause()
        self._leaving = True

    def _finish(self) -> None:
        self._core.broadcast(DISCONNECT)
        deadline = time.monotonic() + GOODBYE_SECONDS
        while self._core.sessions and time.monotonic() < deadline:
            time.sleep(0.005)
        self._core.stop()
        self.info("Status: Shutdown")
        self.info("New Connections: Deny")

    def _enter(self, session: Session) -> None:
        self.client_data[session.address] = ""
        self.client_conn[session.address] = session
        self.info("Client Event: Connected")

    def _leave(self, session: Session, asked: bool = True) -> None:
        if self.client_conn.pop(session.address, None) is not None:
            if not asked:
                self.warn(f"Error: Client {UNASKED}")
            self.info("Client Event: Disconnected")
        self.client_data.pop(session.address, None)
        self._frames.pop(session, None)

    def _keep(self, session: Session, data: Any) -> None:
        if session.address in self.client_conn:
            self.client_data[session.address] = data

    def _part(self, session: Session) -> None:
        self._leave(session)
        session.kick()

    def direct_send(self, client_conn: Session, message: Any) -> None:
        """Send one value to one client, given by its entry in `client_conn`."""
        self._try(client_conn.send, DIRECT, {**self.data, "data": str(message)})

    def direct_send_all(self, message: Any) -> None:
        """Send one value to all clients."""
        self._try(self._core.broadcast, DIRECT, {**self.data, "data": str(message)})

    def get_client_data(self) -> dict[tuple[str, int], Any]:
        """The last value of each client, by (ip, port)."""
        return dict(self.client_data)

    do_shutdown = property(getter("_leaving"))
    active_clients = property(lambda self: len(self.client_conn))
    get_number_of_active_clients, get_ip, get_port = map(
        getter, ("active_clients", "SERVER_IP", "PORT")
    )
