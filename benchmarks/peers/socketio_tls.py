"""python-socketio on aiohttp, over TLS; WebSocket transport from the start."""

from __future__ import annotations

import hmac
from typing import Any

import aiohttp
import socketio
from aiohttp import web

from ..credentials import client_context
from ..target import Target
from .aiohttp_ws import serve_application
from .asyncio_tls import run

__all__ = ["Connection", "connect", "run", "serve"]


def _bind(server: Any, target: Target) -> None:
    wanted: dict[str, int] = {}

    @server.event  # type: ignore[untyped-decorator]
    async def connect(sid: str, environ: Any, auth: dict[str, str]) -> bool:
        if not hmac.compare_digest(auth.get("token", ""), target.token):
            return False
        await server.enter_room(sid, "everybody")
        return True

    @server.event  # type: ignore[untyped-decorator]
    async def move(sid: str, data: Any) -> None:
        await server.emit("move", data, to=sid)

    @server.event  # type: ignore[untyped-decorator]
    async def cast(sid: str, data: Any) -> None:
        for _ in range(data["times"]):
            await server.emit("move", data["move"], room="everybody")

    @server.event  # type: ignore[untyped-decorator]
    async def bulk(sid: str, data: Any) -> None:
        wanted[sid] = data["bytes"]

    @server.event  # type: ignore[untyped-decorator]
    async def blob(sid: str, data: bytes) -> None:
        wanted[sid] -= len(data)
        if wanted[sid] <= 0:
            await server.emit("bulk", to=sid)


async def _serve(target: Target, ready: Any) -> None:
    server = socketio.AsyncServer(async_mode="aiohttp", transports=["websocket"])
    _bind(server, target)
    application = web.Application()
    server.attach(application)
    await serve_application(application, target, ready)


def serve(target: Target, ready: Any) -> None:
    """Run a server until the process ends."""
    run(lambda: _serve(target, ready), target)


class Connection:
    """A client."""

    def __init__(self, client: Any, http: Any) -> None:
        self._client = client
        self._http = http

    async def send(self, packet: dict[str, Any]) -> None:
        """Send one packet."""
        await self._client.emit(packet["action"], packet["data"])

    async def receive(self) -> Any:
        """Data of the next packet."""
        return (await self._client.receive(timeout=60))[-1]

    async def send_blob(self, blob: bytes) -> None:
        """Send one packet of the bulk workload."""
        await self._client.emit("blob", blob)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.disconnect()
        await self._http.close()


async def connect(target: Target) -> Connection:
    """An authenticated client."""
    http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=client_context(target)))
    client = socketio.AsyncSimpleClient(http_session=http)
    await client.connect(
        f"https://localhost:{target.port}", auth={"token": target.token}, transports=["websocket"]
    )
    return Connection(client, http)
