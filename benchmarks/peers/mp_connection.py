"""`multiprocessing.connection`: plaintext, pickle, a shared key. What every Python has."""

from __future__ import annotations

import threading
from multiprocessing import AuthenticationError
from multiprocessing import connection as mp
from typing import Any

from ..target import HOST, Target


def serve(target: Target, ready: Any) -> None:
    """Run a server until the process ends."""
    listener = mp.Listener((HOST, 0), backlog=1024, authkey=target.token.encode())
    ready({"port": listener.address[1]})
    while True:
        try:
            client = listener.accept()
        except (AuthenticationError, EOFError, OSError):
            continue
        threading.Thread(target=_attend, args=(client,), daemon=True).start()


def _attend(client: Any) -> None:
    with client:
        try:
            while True:
                packet = client.recv()
                if packet["action"] == "bulk":
                    wanted = packet["data"]["bytes"]
                    while wanted > 0:
                        wanted -= len(client.recv_bytes())
                client.send(packet)
        except (EOFError, OSError):
            pass


class Connection:
    """A blocking client."""

    def __init__(self, target: Target) -> None:
        self._client = mp.Client((HOST, target.port), authkey=target.token.encode())

    def send(self, packet: dict[str, Any]) -> None:
        """Send one packet."""
        self._client.send(packet)

    def receive(self) -> Any:
        """Data of the next packet."""
        return self._client.recv()["data"]

    def send_blob(self, blob: bytes) -> None:
        """Send one packet of the bulk workload."""
        self._client.send_bytes(blob)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


connect = Connection
