"""asyncio streams over TLS, with the loop of the standard library or uvloop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from .. import frames
from ..credentials import client_context, server_context
from ..target import HOST, Target


async def _read(reader: asyncio.StreamReader) -> bytes:
    header = await reader.readexactly(4)
    return await reader.readexactly(int.from_bytes(header, "big"))


async def _write(writer: asyncio.StreamWriter, frame: bytes) -> None:
    writer.write(frame)
    await writer.drain()


class _Server:
    def __init__(self, target: Target) -> None:
        self._target = target
        self._members: set[asyncio.StreamWriter] = set()

    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not frames.accepts(self._target, frames.decode(await _read(reader))):
                return
            await _write(writer, frames.WELCOME)
            self._members.add(writer)
            while True:
                await self._take(frames.decode(await _read(reader)), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._members.discard(writer)
            writer.close()

    async def _take(
        self, packet: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        data = packet["data"]
        if packet["action"] == "cast":
            for _ in range(data["times"]):
                frame = frames.encode({"action": "move", "data": data["move"]})
                for member in self._members:
                    member.write(frame)
            return
        if packet["action"] == "bulk":
            wanted = data["bytes"]
            while wanted > 0:
                wanted -= len(await _read(reader))
        await _write(writer, frames.encode(packet))


async def _serve(target: Target, ready: Any) -> None:
    server = await asyncio.start_server(
        _Server(target).attend, HOST, 0, ssl=server_context(target), backlog=1024
    )
    ready({"port": server.sockets[0].getsockname()[1]})
    await server.serve_forever()


def run(main: Callable[[], Awaitable[Any]], target: Target) -> Any:
    """Run a coroutine on the loop that this variation is about."""

    async def begin() -> Any:
        return await main()

    if target.options.get("uvloop"):
        import uvloop

        return uvloop.run(begin())
    return asyncio.run(begin())


def serve(target: Target, ready: Any) -> None:
    """Run a server until the process ends."""
    run(lambda: _serve(target, ready), target)


class Connection:
    """A client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, packet: dict[str, Any]) -> None:
        """Send one packet."""
        self._writer.write(frames.encode(packet))
        await self._writer.drain()

    async def receive(self) -> Any:
        """Data of the next packet."""
        return frames.decode(await _read(self._reader))["data"]

    async def send_blob(self, blob: bytes) -> None:
        """Send one packet of the bulk workload."""
        await _write(self._writer, frames.frame(blob))

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            pass


async def connect(target: Target) -> Connection:
    """An authenticated client."""
    reader, writer = await asyncio.open_connection(
        HOST, target.port, ssl=client_context(target), server_hostname="localhost"
    )
    await _write(writer, frames.login(target))
    await _read(reader)
    return Connection(reader, writer)
