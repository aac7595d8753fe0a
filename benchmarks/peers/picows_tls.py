"""picows on uvloop, over TLS: a WebSocket library in Cython, with callbacks."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect, ws_create_server

from ..credentials import client_context, server_context
from ..target import HOST, Target

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_TEXT, _BINARY, _CLOSE = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CLOSE


class _Room:
    """Everybody who is connected."""

    def __init__(self) -> None:
        self.members: set[WSTransport] = set()


class _Attendant(WSListener):
    """One client on the server."""

    def __init__(self, room: _Room) -> None:
        self._room = room
        self._wanted = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._room.members.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._room.members.discard(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind == _TEXT:
            packet = _decode(frame.get_payload_as_memoryview())
            action = packet["action"]
            if action == "cast":
                self._cast(packet["data"])
            elif action == "bulk":
                self._wanted = packet["data"]["bytes"]
            else:
                transport.send(_TEXT, _encode(packet))
        elif kind == _BINARY:
            self._wanted -= len(frame.get_payload_as_memoryview())
            if self._wanted <= 0:
                transport.send(_TEXT, _encode({"action": "bulk", "data": None}))
        elif kind == _CLOSE:
            transport.disconnect()

    def _cast(self, data: dict[str, Any]) -> None:
        for _ in range(data["times"]):
            message = _encode({"action": "move", "data": data["move"]})
            for member in self._room.members:
                member.send(_TEXT, message)


async def _serve(target: Target, ready: Any) -> None:
    room = _Room()
    expected = f"Bearer {target.token}"

    def enter(request: Any) -> WSListener | None:
        if hmac.compare_digest(request.headers.get("Authorization", ""), expected):
            return _Attendant(room)
        return None

    server = await ws_create_server(enter, HOST, 0, ssl=server_context(target), backlog=1024)
    ready({"port": server.sockets[0].getsockname()[1]})
    await server.serve_forever()


def run(main: Callable[[], Awaitable[Any]], target: Target) -> Any:
    """Run a coroutine on uvloop."""

    async def begin() -> Any:
        return await main()

    return uvloop.run(begin())


def serve(target: Target, ready: Any) -> None:
    """Run a server until the process ends."""
    run(lambda: _serve(target, ready), target)


class Connection(WSListener):
    """A client."""

    on_packet: Callable[[Any], None]

    def __init__(self) -> None:
        self._transport: WSTransport | None = None
        self._room = asyncio.Event()
        self._room.set()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == _TEXT:
            self.on_packet(_decode(frame.get_payload_as_memoryview())["data"])

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def send(self, packet: dict[str, Any]) -> None:
        """Send one packet."""
        assert self._transport is not None
        self._transport.send(_TEXT, _encode(packet))

    async def send_blob(self, blob: bytes) -> None:
        """Send one packet of the bulk workload."""
        assert self._transport is not None
        self._transport.send(_BINARY, blob)
        if not self._room.is_set():
            await self._room.wait()

    async def close(self) -> None:
        """Close the connection."""
        assert self._transport is not None
        self._transport.disconnect()
        await self._transport.wait_disconnected()


async def connect(target: Target) -> Connection:
    """An authenticated client."""
    _, connection = await ws_connect(
        Connection,
        f"wss://localhost:{target.port}",
        ssl_context=client_context(target),
        extra_headers={"Authorization": f"Bearer {target.token}"},
    )
    assert isinstance(connection, Connection)
    return connection
