"""websockets with threads, over TLS."""

from __future__ import annotations

import hmac
import json
import threading
from http import HTTPStatus
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as ws_connect
from websockets.sync.server import serve as ws_serve

from ..credentials import client_context, server_context
from ..target import HOST, Target


def serve(target: Target, ready: Any) -> None:
    """Run a server until the process ends."""
    context = server_context(target)
    context.num_tickets = 0  # with tickets, some concurrent connects of its own client fail
    expected = f"Bearer {target.token}"
    members: set[Any] = set()
    members_lock = threading.Lock()

    def check(connection: Any, request: Any) -> Any:
        if hmac.compare_digest(request.headers.get("Authorization", ""), expected):
            return None
        return connection.respond(HTTPStatus.UNAUTHORIZED, "wrong token\n")

    def broadcast(text: str) -> None:
        with members_lock:
            present = tuple(members)
        for member in present:
            try:
                member.send(text)
            except ConnectionClosed:
                pass  # its own thread takes it out

    def attend(connection: Any) -> None:
        with members_lock:
            members.add(connection)
        try:
            for message in connection:
                packet = json.loads(message)
                action, data = packet["action"], packet["data"]
                if action == "cast":
                    for _ in range(data["times"]):
                        broadcast(json.dumps({"action": "move", "data": data["move"]}))
                    continue
                if action == "bulk":
                    wanted = data["bytes"]
                    while wanted > 0:
                        wanted -= len(connection.recv())
                connection.send(json.dumps(packet))
        except ConnectionClosed:
            pass
        finally:
            with members_lock:
                members.discard(connection)

    with ws_serve(attend, HOST, 0, ssl=context, compression=None, process_request=check) as server:
        server.socket.listen(1024)
        ready({"port": server.socket.getsockname()[1]})
        server.serve_forever()


class Connection:
    """A blocking client."""

    def __init__(self, target: Target) -> None:
        self._connection = ws_connect(
            f"wss://localhost:{target.port}",
            ssl=client_context(target),
            compression=None,
            additional_headers={"Authorization": f"Bearer {target.token}"},
        )

    def send(self, packet: dict[str, Any]) -> None:
        """Send one packet."""
        self._connection.send(json.dumps(packet))

    def receive(self) -> Any:
        """Data of the next packet."""
        return json.loads(self._connection.recv())["data"]

    def send_blob(self, blob: bytes) -> None:
        """Send one packet of the bulk workload."""
        self._connection.send(blob)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


connect = Connection
