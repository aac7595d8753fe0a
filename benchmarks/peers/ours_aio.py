"""securelink with asyncio, through its public API. Its handlers are plain functions, as those of `ours`."""

from __future__ import annotations

import asyncio
from typing import Any

from securelink import Identity, Received, aio

from ..target import HOST, Target
from .asyncio_tls import run
from .ours import MANY, PATIENCE, client_identity


def serve(target: Target, ready: Any) -> None:
    """Run a server until the process ends."""
    run(lambda: _serve(target, ready), target)


async def _serve(target: Target, ready: Any) -> None:
    server = aio.Server(
        HOST,
        0,
        keys=Identity.load(target.path("server_private.pem")),
        authenticate="tokens",
        client_keys="required",
        max_connections=MANY,
        heartbeat=300,
    )

    @server.on("move")
    def move(session: aio.Session, packet: Received) -> None:
        session.send_nowait("move", packet.data)

    @server.on("cast")
    def cast(session: aio.Session, packet: Received) -> None:
        for _ in range(packet.data["times"]):
            server.broadcast("move", packet.data["move"])

    @server.on("bulk")
    def bulk(session: aio.Session, packet: Received) -> None:
        session.data["wanted"] = packet.data["bytes"]

    @server.on("blob")
    def blob(session: aio.Session, packet: Received) -> None:
        session.data["wanted"] -= len(packet.data)
        if session.data["wanted"] <= 0:
            session.send_nowait("bulk")

    await server.start()
    token = server.create_token("player", uses=None)
    ready({"port": server.address[1], "pin": server.fingerprint, "join": token})
    await asyncio.get_running_loop().create_future()


class Connection:
    """A client."""

    def __init__(self, client: aio.Client) -> None:
        self._client = client

    async def send(self, packet: dict[str, Any]) -> None:
        """Send one packet."""
        await self._client.send(packet["action"], packet["data"])

    async def receive(self) -> Any:
        """Data of the next packet."""
        return (await self._client.receive()).data

    async def send_blob(self, blob: bytes) -> None:
        """Send one packet of the bulk workload."""
        await self._client.send("blob", blob)

    async def close(self) -> None:
        """End the session."""
        await self._client.close()


async def connect(target: Target) -> Connection:
    """An authenticated client."""
    info = target.server
    client = aio.Client(
        HOST,
        info["port"],
        keys=client_identity(target),
        pin=info["pin"],
        token=info["join"],
        known_servers=target.path("known_servers"),
    )
    return Connection(await client.connect(PATIENCE))
