"""The chat's server: relays what each client says to all others; its operator types to all, and `exit` ends it."""

from __future__ import annotations

import sys

from ...app.received import Received
from ...errors import SecureLinkError
from ...logs.default import show_status
from ...server import Server
from ...session import Session
from ..lines import say, typed
from ..settings import make_server, own_words
from .sockets import SAID, shown

HOST = "0.0.0.0"  # noqa: S104  # as documented: all interfaces
PORT = 8000

clients: list[Session] = []
_running: list[Server] = []


def broadcast(
    message: bytes | str,
    sender_socket: Session | None = None,
    *,
    ender_socket: Session | None = None,
) -> None:
    """Send a message to all clients but its sender; who cannot be reached is no client any more."""
    data = message.encode() if isinstance(message, str) else bytes(memoryview(message))
    sender = sender_socket or ender_socket
    for server in _running:
        server.broadcast(SAID, data, to=tuple(clients), exclude=[sender] if sender else ())
    clients[:] = [client for client in clients if client.connected]


def handle_client(client_socket: Session, address: tuple[str, int]) -> None:
    """A client has come: from now on it hears what others say, and they hear it."""
    say(f"New connection from {address}")
    clients.append(client_socket)


def _relay(client: Session, packet: Received) -> None:
    if text := shown(packet.data):
        say(f"{client.address}: {text}")
        broadcast(packet.data, client)


def _gone(client: Session) -> None:
    clients[:] = [other for other in clients if other is not client]
    how = "Connection closed by" if client.clean else "Connection error with"
    say(f"{how} {client.address}")


def server_send() -> None:
    """Send what the operator types to all clients, until `exit`, which ends the server."""
    while (message := typed("Server: ")) is not None:  # without an operator the server goes on
        if message.lower() == "exit":
            say("Server shutting down...")
            for server in _running:
                server.stop()
            return
        if message:
            broadcast(f"Server: {message}")


def start_server() -> None:
    """Listen and serve until the operator's `exit` or Ctrl-C."""
    show_status(info=False)  # this program writes its own lines
    server = make_server(HOST, PORT)
    server.on(SAID, _relay)
    server.on_connect.add_listener(lambda session: handle_client(session, session.address))
    server.on_disconnect.add_listener(_gone)
    try:
        with own_words():
            server.start()
    except SecureLinkError as error:
        say(f"Could not start server: {error}")
        return
    _running.append(server)
    say(f"Server listening on {HOST}:{PORT}")
    try:
        server_send()
        if server.running:
            server.serve_forever()
    except KeyboardInterrupt:
        say("Server shutting down...")
    finally:
        server.stop()
        _running.remove(server)
        clients.clear()


if __name__ == "__main__":
    HOST = sys.argv[1] if len(sys.argv) > 1 else HOST
    PORT = int(sys.argv[2]) if len(sys.argv) > 2 else PORT
    start_server()
