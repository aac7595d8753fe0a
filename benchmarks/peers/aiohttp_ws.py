"""The WebSocket server and client of aiohttp, over TLS."""

from __future__ import annotations

import asyncio
import hmac
import json
from typing import Any

import aiohttp
from aiohttp import web

from ..credentials import client_context, server_context
from ..target import HOST, Target
from .asyncio_tls import run

__all__ = ["Connection", "connect", "run", "serve"]


class _Server:
    def __init__(self, target: Target) -> None:
        self._expected = f"Bearer {target.token}"
        self._members: set[web.WebSocketResponse] = set()

    async def attend(self, request: web.Request) -> web.WebSocketResponse:
        if not hmac.compare_digest(request.headers.get("Authorization", ""), self._expected):
            raise web.HTTPUnauthorized
        connection = web.WebSocketResponse(compress=False)
        await connection.prepare(request)
        self._members.add(connection)
        try:
            async for message in connection:
                await self._take(json.loads(message.data), connection)
        finally:
            self._members.discard(connection)
        return connection

    async def _take(self, packet: dict[str, Any], connection: web.WebSocketResponse) -> None:
        data = packet["data"]
        if packet["action"] == "cast":
            # As its documentation has it; there is no broadcast.
            for _ in range(data["times"]):
                text = json.dumps({"action": "move", "data": data["move"]})
                for member in tuple(self._members):
                    await member.send_str(text)
            return
        if packet["action"] == "bulk":
            wanted = data["bytes"]
            while wanted > 0:
                wanted -= len(await connection.receive_bytes())
        await connection.send_str(json.dumps(packet))


async def _serve(target: Target, ready: Any) -> None:
    application = web.Application()
    application.router.add_get("/", _Server(target).attend)
    await serve_application(application, target, ready)


async def serve_application(application: web.Application, target: Target, ready: Any) -> None:
    """Run this over TLS until the process ends."""
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0, ssl_context=server_context(target), backlog=1024)
    await site.start()
    ready({"port": runner.addresses[0][1]})
    await asyncio.get_running_loop().create_future()


def serve(target: Target, ready: Any) -> None:
    """Run a server until the process ends."""
    run(lambda: _serve(target, ready), target)


class Connection:
    """A client."""

    def __init__(self, connection: Any, http: aiohttp.ClientSession) -> None:
        self._connection = connection
        self._http = http

    async def send(self, packet: dict[str, Any]) -> None:
        """Send one packet."""
        await self._connection.send_str(json.dumps(packet))

    async def receive(self) -> Any:
        """Data of the next packet."""
        return json.loads(await self._connection.receive_str())["data"]

    async def send_blob(self, blob: bytes) -> None:
        """Send one packet of the bulk workload."""
        await self._connection.send_bytes(blob)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()
        await self._http.close()


async def connect(target: Target) -> Connection:
    """An authenticated client."""
    http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=client_context(target)))
    try:
        connection = await http.ws_connect(
            f"https://localhost:{target.port}/",
            compress=0,
            headers={"Authorization": f"Bearer {target.token}"},
        )
    except BaseException:
        await http.close()
        raise
    return Connection(connection, http)
