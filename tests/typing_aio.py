"""
The asyncio API as its users write it: checked by mypy with all other files, and never run. See typing_api.py.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_type

from securelink import Hello, Packet, Received, Refused, SecureLinkError, Typed, aio


@dataclass
class Move:
    """Data of a packet."""

    x: float
    y: float


async def who(hello: Hello) -> str:
    """A coroutine that lets in."""
    if hello.credentials != "secret":
        raise Refused("who are you?")
    await asyncio.sleep(0)
    return "ann"


def plainly(hello: Hello) -> str | None:
    """A function that does."""
    return "ann" if hello.encrypted else None


async def serving() -> None:
    """A server, its events and its handlers."""
    server = aio.Server("127.0.0.1", 0, keys=Path("keys"), authenticate=who, tick_rate=20)
    aio.Server(authenticate=plainly, state="sessions.db", state_sync="10ms")
    assert_type(await server.start(), aio.Server)
    async with server as running:
        assert_type(running, aio.Server)

    @server.on("move", Move)
    async def move(session: aio.Session, packet: Typed[Move]) -> float:
        await session.send("moved", {"x": packet.data.x}, latest="move")
        assert_type(session.send_nowait("moved"), bool)
        return packet.data.y

    @server.on("say")
    def say(session: aio.Session, packet: Received) -> None:
        server.broadcast("said", packet.data, exclude=[session])

    @server.on_connect
    async def came(session: aio.Session) -> None:
        assert_type(session.join("lobby"), aio.Room)
        assert_type(await session.request("name"), Any)

    @server.on_disconnect
    def left(session: aio.Session) -> None:
        assert_type(session.unconfirmed, list[Packet])

    @server.on_resume
    async def back(session: aio.Session, replayed: int) -> None:
        assert_type(await session.ping(), float)

    server.on_tick.add_listener(tick)
    assert_type(server.room("lobby"), aio.Room)
    for member in server.room("lobby"):
        assert_type(member, aio.Session)
    assert_type(server.find(user="ann"), list[aio.Session])
    assert_type(await server.drain(1.0, back_in=2.0), bool)
    assert_type(await server.stop(), bool)
    await server.serve_forever(drain=5.0)


async def tick() -> None:
    """A listener."""


async def visiting() -> None:
    """A client."""
    client = aio.Client("127.0.0.1", 5050, credentials="secret", reconnect=True)
    assert_type(await client.connect(5.0, retry=True), aio.Client)
    async with client:
        assert_type(await client.send("move", {"x": 1.0}), bool)
        assert_type(await client.receive(), Received)
        assert_type(await client.receive(timeout=1.0), Received | None)
        assert_type(await client.wait_for("moved", 1.0), Received)
        async for packet in client:
            assert_type(packet, Received)
        with client.batch():
            await client.send("a")

    @client.on("said")
    async def said(packet: Received) -> str:
        return str(packet.data)

    @client.on_suspend
    async def away() -> None:
        assert_type(client.code is None, bool)

    try:
        assert_type(await client.request("score"), Any)
    except SecureLinkError as error:
        assert_type(error.hint, str)
    assert_type(await client.close(), list[Packet])
    assert_type(await client.on_resume.wait(1.0), tuple[Any, ...])
