"""Blocking plaintext sockets without framing: the floor of any round trip in Python. One connection."""

from __future__ import annotations

import json
import socket
from typing import Any

from ..target import DATA, HOST, PACKET, Target

_BYTES = json.dumps(PACKET).encode().ljust(78)[:78]


def serve(target: Target, ready: Any) -> None:
    """Echo what comes, for one client."""
    with socket.create_server((HOST, 0)) as listening:
        ready({"port": listening.getsockname()[1]})
        sock, _ = listening.accept()
        with sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while data := sock.recv(4096):
                sock.sendall(data)


class Connection:
    """A socket that sends and receives fixed bytes."""

    def __init__(self, target: Target) -> None:
        self._sock = socket.create_connection((HOST, target.port))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, packet: dict[str, Any]) -> None:
        """Send the same bytes whatever the packet is."""
        self._sock.sendall(_BYTES)

    def receive(self) -> Any:
        """Wait for bytes."""
        if not self._sock.recv(4096):
            raise EOFError
        return DATA

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()


connect = Connection
