"""
Workloads for clients that call back: `client.on_packet(data)` for each packet. What a client does next happens inside
that callback, as programs for these libraries do it; futures only say that a stretch is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from ..measure import Figures, Window, clock, latency_figures
from ..target import CHUNK, DATA, PACKET, command
from .connections import Connections

_PATIENCE = 120.0  # seconds: something is broken


class Client(Protocol):
    """What an adapter's `connect` returns."""

    on_packet: Callable[[Any], None]

    def send(self, packet: dict[str, Any]) -> None:
        """Send one packet."""

    async def send_blob(self, blob: bytes) -> None:
        """Send one packet of the bulk workload; returns when there is room for another."""

    async def close(self) -> None:
        """Leave."""


def _nothing(data: Any) -> None:
    """Packets that nobody counts."""


async def _next(client: Client) -> Any:
    """Data of the next packet."""
    arrived: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    client.on_packet = arrived.set_result
    try:
        return await asyncio.wait_for(arrived, _PATIENCE)
    finally:
        client.on_packet = _nothing


class _PingPong:
    """Clients that answer each packet with the next, until time or count are over."""

    def __init__(self, clients: list[Client], count: int, seconds: float) -> None:
        self.latencies: list[int] = []
        self._clients = clients
        self._count = count
        self._end = clock() + int(seconds * 1e9)
        self._under_way = len(clients)
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def _start(self, client: Client) -> None:
        sent = clock()

        def answered(data: Any) -> None:
            nonlocal sent
            now = clock()
            self.latencies.append(now - sent)
            if len(self.latencies) < self._count and now < self._end:
                sent = now
                client.send(PACKET)
                return
            self._under_way -= 1
            if not self._under_way:
                self._done.set_result(None)

        client.on_packet = answered
        client.send(PACKET)

    async def run(self, window: Window | None = None) -> None:
        """Start all, wait until the last has its answer."""
        if window is not None:
            window.start()
        for client in self._clients:
            self._start(client)
        await asyncio.wait_for(self._done, _PATIENCE)
        if window is not None:
            window.stop()
        for client in self._clients:
            client.on_packet = _nothing


class _Casts:
    """Casts, each asked for when an earlier one has reached everybody, until number or time are over."""

    def __init__(
        self, clients: list[Client], casts: int, flying: int, burst: int, seconds: float
    ) -> None:
        self.latencies: list[int] = []
        self.deliveries = 0
        self._clients = clients
        self._casts = casts
        self._flying = flying
        self._burst = burst
        self._asked = 0
        self._end = clock() + int(seconds * 1e9)
        self._began = 0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def _ask(self) -> None:
        self._asked += 1
        self._began = clock()
        self._clients[0].send(command("cast", times=self._burst, move=DATA))

    def _listen(self, client: Client) -> None:
        received = 0

        def delivered(data: Any) -> None:
            nonlocal received
            received += 1
            self.deliveries += 1
            if self._flying == 1 and received % self._burst == 0:
                self.latencies.append(clock() - self._began)
            if self.deliveries % (self._burst * len(self._clients)) == 0:
                self._reached_everybody()

        client.on_packet = delivered

    def _reached_everybody(self) -> None:
        if self._asked < self._casts and clock() < self._end:
            self._ask()
        elif self.deliveries == self._asked * self._burst * len(self._clients):
            self._done.set_result(None)

    async def run(self, window: Window) -> None:
        """Until all casts have reached everybody."""
        for client in self._clients:
            self._listen(client)
        window.start()
        for _ in range(self._flying):
            self._ask()
        await asyncio.wait_for(self._done, _PATIENCE)
        window.stop()


class Driver(Connections[Client]):
    """The workloads."""

    @asynccontextmanager
    async def _clients(self, count: int) -> AsyncIterator[list[Client]]:
        async with super()._clients(count) as clients:
            for client in clients:
                client.on_packet = _nothing
            yield clients

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[Client]:
        async with self._clients(1) as (client,):
            client.send(PACKET)
            if await _next(client) != DATA:
                raise AssertionError("the echo differs from what was sent")
            yield client

    async def _ping_pong(self, clients: list[Client], count: int, seconds: float) -> Figures:
        ping_pong = _PingPong(clients, count, seconds)
        window = Window(self._server)
        await ping_pong.run(window)
        return window.figures(len(ping_pong.latencies)) | latency_figures(ping_pong.latencies)

    async def rtt(self, count: int, seconds: float) -> Figures:
        """Ping-pong of one client."""
        async with self._client() as client:
            await _PingPong([client], min(count, 300), seconds).run()
            return await self._ping_pong([client], count, seconds)

    async def many(self, clients: int, rounds_: int, seconds: float) -> Figures:
        """Ping-pong of many clients at once; the total counts."""
        async with self._clients(clients) as all_clients:
            return await self._ping_pong(all_clients, clients * rounds_, seconds)

    async def pipeline(self, count: int) -> Figures:
        """All packets on their way before the first answer is looked at."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        left = count

        def answered(data: Any) -> None:
            nonlocal left
            left -= 1
            if not left:
                done.set_result(data)

        async with self._client() as client:
            client.on_packet = answered
            with Window(self._server) as window:
                for _ in range(count):
                    client.send(PACKET)
                last = await asyncio.wait_for(done, _PATIENCE)
            if last != DATA:
                raise AssertionError("the echo differs from what was sent")
        return window.figures(count)

    async def bulk(self, size: int) -> Figures:
        """One way, in packets of CHUNK bytes, until the server says that it has all."""
        blob = bytes(range(256)) * (CHUNK // 256)
        async with self._client() as client:
            with Window(self._server) as window:
                client.send(command("bulk", bytes=size))
                for _ in range(size // CHUNK):
                    await client.send_blob(blob)
                await _next(client)
        return window.figures(size / 1e6)

    async def broadcast(
        self, receivers: int, casts: int, flying: int, burst: int, seconds: float
    ) -> Figures:
        """One at a time for the latency, then `flying` under way for the rate; `burst` packets for each cast."""
        async with self._clients(receivers) as clients:
            for client in clients:  # who had an answer is in the room
                client.send(PACKET)
                await _next(client)
            singly = _Casts(clients, max(3, casts // 4), 1, burst, seconds / 2)
            await singly.run(Window(self._server))
            many = _Casts(clients, casts + flying, flying, burst, seconds)
            window = Window(self._server)
            await many.run(window)
        return window.figures(many.deliveries) | latency_figures(singly.latencies)
