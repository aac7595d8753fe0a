"""gRPC: one stream in both directions for each client, over TLS, on grpc.aio, without generated code."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

from ..credentials import server_certificate
from ..target import HOST, Target
from .asyncio_tls import run

__all__ = ["Connection", "connect", "run", "serve"]

_METHOD = "/benchmarks.Game/Play"
_BLOB = b"\0"  # the first byte of a packet that is no JSON


class _Server(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    def __init__(self, target: Target) -> None:
        self._expected = f"Bearer {target.token}"
        self._members: set[asyncio.Queue[bytes]] = set()

    def service(self, details: Any) -> Any:
        return grpc.stream_stream_rpc_method_handler(self.attend)

    async def attend(self, packets: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        given = dict(context.invocation_metadata()).get("authorization", "")
        if not hmac.compare_digest(given, self._expected):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "wrong token")
        # Others send to this client as well, and a stream has one writer.
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._members.add(queue)
        reader = asyncio.create_task(self._read(packets, queue))
        try:
            while answer := await queue.get():
                yield answer
        finally:
            self._members.discard(queue)
            reader.cancel()

    async def _read(self, packets: AsyncIterator[bytes], queue: asyncio.Queue[bytes]) -> None:
        wanted = 0
        try:
            async for encoded in packets:
                if encoded[:1] == _BLOB:
                    wanted -= len(encoded) - 1
                    if wanted <= 0:
                        queue.put_nowait(json.dumps({"action": "bulk", "data": None}).encode())
                    continue
                packet = json.loads(encoded)
                data = packet["data"]
                if packet["action"] == "bulk":
                    wanted = data["bytes"]
                elif packet["action"] == "cast":
                    for _ in range(data["times"]):
                        move = json.dumps({"action": "move", "data": data["move"]}).encode()
                        for member in self._members:
                            member.put_nowait(move)
                else:
                    queue.put_nowait(encoded)
        finally:
            queue.put_nowait(b"")


async def _serve(target: Target, ready: Any) -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Server(target),))
    name = server_certificate(target)
    pair = [Path(target.path(f"{name}.{kind}")).read_bytes() for kind in ("key", "crt")]
    port = server.add_secure_port(f"{HOST}:0", grpc.ssl_server_credentials([tuple(pair)]))
    await server.start()
    ready({"port": port})
    await server.wait_for_termination()


def serve(target: Target, ready: Any) -> None:
    """Run a server until the process ends."""
    run(lambda: _serve(target, ready), target)


class Connection:
    """A client, with a channel of its own."""

    def __init__(self, channel: Any, stream: Any) -> None:
        self._channel = channel
        self._stream = stream

    async def send(self, packet: dict[str, Any]) -> None:
        """Send one packet."""
        await self._stream.write(json.dumps(packet).encode())

    async def receive(self) -> Any:
        """Data of the next packet."""
        return json.loads(await self._stream.read())["data"]

    async def send_blob(self, blob: bytes) -> None:
        """Send one packet of the bulk workload."""
        await self._stream.write(_BLOB + blob)

    async def close(self) -> None:
        """End the stream, and close the channel."""
        await self._stream.done_writing()
        await self._channel.close()


async def connect(target: Target) -> Connection:
    """An authenticated client."""
    root = Path(target.path(f"{server_certificate(target)}.crt")).read_bytes()
    channel = grpc.aio.secure_channel(
        f"{HOST}:{target.port}",
        grpc.ssl_channel_credentials(root),
        options=[
            ("grpc.ssl_target_name_override", "localhost"),
            ("grpc.use_local_subchannel_pool", 1),
        ],
    )
    stream = channel.stream_stream(_METHOD)(metadata=(("authorization", f"Bearer {target.token}"),))
    await stream.wait_for_connection()
    return Connection(channel, stream)
