"""Plaintext over asyncio's own protocols, without framing: the floor of any round trip in an event loop of asyncio."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from ..target import DATA, HOST, PACKET, Target
from .asyncio_tls import run

_BYTES = json.dumps(PACKET).encode().ljust(78)[:78]


class _Echo(asyncio.Protocol):
    _transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


def serve(target: Target, ready: Any) -> None:
    """Echo what comes."""

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(_Echo, HOST, 0, backlog=1024)
        ready({"port": server.sockets[0].getsockname()[1]})
        await server.serve_forever()

    run(main, target)


class Connection(asyncio.Protocol):
    """Sends and receives fixed bytes."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._came = 0
        self._waiting: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As `Protocol`."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """As `Protocol`."""
        self._came += len(data)
        if self._waiting is not None and self._came >= len(_BYTES):
            self._waiting.set_result(None)
            self._waiting = None

    async def send(self, packet: dict[str, Any]) -> None:
        """Send the same bytes whatever the packet is."""
        self._transport.write(_BYTES)

    async def receive(self) -> Any:
        """Wait for as many."""
        if self._came < len(_BYTES):
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        self._came -= len(_BYTES)
        return DATA

    async def close(self) -> None:
        """Close the connection."""
        self._transport.close()


async def connect(target: Target) -> Connection:
    """A client."""
    events = asyncio.get_running_loop()
    _, client = await events.create_connection(Connection, HOST, target.port)
    return client
