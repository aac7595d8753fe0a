"""websockets on asyncio, over TLS."""

from __future__ import annotations

import asyncio
import hmac
import json
from http import HTTPStatus
from typing import Any

from websockets.asyncio.client import connect as ws_connect
from websockets.asyncio.server import broadcast
from websockets.asyncio.server import serve as ws_serve
from websockets.exceptions import ConnectionClosed

from ..credentials import client_context, server_context
from ..target import HOST, Target
from .asyncio_tls import run

__all__ = ["Connection", "connect", "run", "serve"]


class _Server:
    def __init__(self, target: Target) -> None:
        self._expected = f"Bearer {target.token}"
        self._members: set[Any] = set()

    def check(self, connection: Any, request: Any) -> Any:
        if hmac.compare_digest(request.headers.get("Authorization", ""), self._expected):
            return None
        return connection.respond(HTTPStatus.UNAUTHORIZED, "wrong token\n")

    async def attend(self, connection: Any) -> None:
        self._members.add(connection)
        try:
            async for message in connection:
                await self._take(json.loads(message), connection)
        except ConnectionClosed:
            pass
        finally:
            self._members.discard(connection)

    async def _take(self, packet: dict[str, Any], connection: Any) -> None:
        data = packet["data"]
        if packet["action"] == "cast":
            for _ in range(data["times"]):
                broadcast(self._members, json.dumps({"action": "move", "data": data["move"]}))
            return
        if packet["action"] == "bulk":
            wanted = data["bytes"]
            while wanted > 0:
                wanted -= len(await connection.recv())
        await connection.send(json.dumps(packet))


async def _serve(target: Target, ready: Any) -> None:
    server = _Server(target)
    async with ws_serve(
        server.attend, HOST, 0,
        ssl=server_context(target), compression=None, process_request=server.check, backlog=1024,
    ) as listening:  # fmt: skip
        ready({"port": next(iter(listening.sockets)).getsockname()[1]})
        await asyncio.get_running_loop().create_future()


def serve(target: Target, ready: Any) -> None:
    """Run a server until the process ends."""
    run(lambda: _serve(target, ready), target)


class Connection:
    """A client."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def send(self, packet: dict[str, Any]) -> None:
        """Send one packet."""
        await self._connection.send(json.dumps(packet))

    async def receive(self) -> Any:
        """Data of the next packet."""
        return json.loads(await self._connection.recv())["data"]

    async def send_blob(self, blob: bytes) -> None:
        """Send one packet of the bulk workload."""
        await self._connection.send(blob)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()


async def connect(target: Target) -> Connection:
    """An authenticated client."""
    connection = await ws_connect(
        f"wss://localhost:{target.port}",
        host=HOST,
        ssl=client_context(target),
        compression=None,
        additional_headers={"Authorization": f"Bearer {target.token}"},
    )
    return Connection(connection)
