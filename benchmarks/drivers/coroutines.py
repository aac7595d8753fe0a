"""
Workloads for clients made of coroutines. As in blocking.py: many clients are read in turn, here by one task, and the
latency of a packet counts until that task has it decoded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from ..measure import Figures, Window, clock, latency_figures, rounds
from ..target import CHUNK, DATA, PACKET, command
from .connections import Connections


class Client(Protocol):
    """What an adapter's `connect` returns."""

    async def send(self, packet: dict[str, Any]) -> None:
        """Send one packet."""

    async def receive(self) -> Any:
        """Data of the next packet."""

    async def send_blob(self, blob: bytes) -> None:
        """Send one packet of the bulk workload."""

    async def close(self) -> None:
        """Leave."""


class Driver(Connections[Client]):
    """The workloads."""

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[Client]:
        async with self._clients(1) as (client,):
            for _ in range(3):
                await client.send(PACKET)
                if await client.receive() != DATA:
                    raise AssertionError("the echo differs from what was sent")
            yield client

    # --- one client -----------------------------------------------------------------------------------------

    async def rtt(self, count: int, seconds: float) -> Figures:
        """Ping-pong of one client."""
        latencies: list[int] = []
        async with self._client() as client:
            for _ in range(min(count, 300)):
                await client.send(PACKET)
                await client.receive()
            with Window(self._server) as window:
                for _ in rounds(count, seconds):
                    sent = clock()
                    await client.send(PACKET)
                    await client.receive()
                    latencies.append(clock() - sent)
        return window.figures(len(latencies)) | latency_figures(latencies)

    async def pipeline(self, count: int) -> Figures:
        """All packets on their way before the first answer is waited for: one task sends, one receives."""

        async def send_all(client: Client) -> None:
            for _ in range(count):
                await client.send(PACKET)

        async with self._client() as client:
            with Window(self._server) as window:
                sender = asyncio.create_task(send_all(client))
                for _ in range(count):
                    last = await client.receive()
            await sender
            if last != DATA:
                raise AssertionError("the echo differs from what was sent")
        return window.figures(count)

    async def bulk(self, size: int) -> Figures:
        """One way, in packets of CHUNK bytes, until the server says that it has all."""
        blob = bytes(range(256)) * (CHUNK // 256)
        async with self._client() as client:
            with Window(self._server) as window:
                await client.send(command("bulk", bytes=size))
                for _ in range(size // CHUNK):
                    await client.send_blob(blob)
                await client.receive()
        return window.figures(size / 1e6)

    # --- many clients ---------------------------------------------------------------------------------------

    async def many(self, clients: int, rounds_: int, seconds: float) -> Figures:
        """Ping-pong of many clients at once; the total counts."""
        latencies: list[int] = []
        async with self._clients(clients) as all_clients:
            sent = [0] * clients
            for index, client in enumerate(all_clients):
                sent[index] = clock()
                await client.send(PACKET)
            with Window(self._server) as window:
                for _ in rounds(rounds_, seconds):
                    for index, client in enumerate(all_clients):
                        await client.receive()
                        now = clock()
                        latencies.append(now - sent[index])
                        sent[index] = now
                        await client.send(PACKET)
            for client in all_clients:
                await client.receive()
        return window.figures(len(latencies)) | latency_figures(latencies)

    async def broadcast(
        self, receivers: int, casts: int, flying: int, burst: int, seconds: float
    ) -> Figures:
        """One at a time for the latency, then `flying` under way for the rate; `burst` packets for each cast."""
        async with self._clients(receivers) as clients:
            for client in clients:  # who had an answer is in the room
                await client.send(PACKET)
                await client.receive()
            latencies = await self._cast_singly(clients, max(3, casts // 4), burst, seconds / 2)
            done = 0
            with Window(self._server) as window:
                for _ in range(flying):
                    await clients[0].send(command("cast", times=burst, move=DATA))
                for _ in rounds(casts, seconds):
                    for client in clients:
                        for _ in range(burst):
                            await client.receive()
                    done += 1
                    await clients[0].send(command("cast", times=burst, move=DATA))
            for client in clients:
                for _ in range(burst * flying):
                    await client.receive()
        return window.figures(done * burst * receivers) | latency_figures(latencies)

    @staticmethod
    async def _cast_singly(
        clients: list[Client], casts: int, burst: int, seconds: float
    ) -> list[int]:
        latencies: list[int] = []
        for _ in rounds(casts, seconds):
            began = clock()
            await clients[0].send(command("cast", times=burst, move=DATA))
            for client in clients:
                for _ in range(burst):
                    await client.receive()
                latencies.append(clock() - began)
        return latencies
