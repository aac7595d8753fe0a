"""Clients of asyncio that connect and leave: what coroutines.py and callbacks.py have in common."""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, Protocol, TypeVar

from ..measure import Figures, Window, clock, latency_figures, resident_kib
from ..target import Target
from .blocking import SETTLE


class Closing(Protocol):
    """What an adapter's `connect` returns, as far as it is alike."""

    async def close(self) -> None:
        """Leave."""


AnyClient = TypeVar("AnyClient", bound=Closing)


class Connections(Generic[AnyClient]):
    """
    The workloads that only connect.

    Args:
        connect: Opens one authenticated client.
        target: The running server.
    """

    def __init__(self, connect: Callable[[Target], Awaitable[AnyClient]], target: Target) -> None:
        self._connect = connect
        self._target = target
        self._server = int(target.server["pid"])

    @asynccontextmanager
    async def _clients(self, count: int) -> AsyncIterator[list[AnyClient]]:
        clients = [await self._connect(self._target) for _ in range(count)]
        try:
            yield clients
        finally:
            for client in clients:
                await client.close()

    async def handshake(self, count: int, workers: int, seconds: float) -> Figures:
        """Connect, authenticate, close; by `workers` tasks."""
        await (await self._connect(self._target)).close()
        latencies: list[int] = []
        end = time.perf_counter() + seconds
        numbers = itertools.count()

        async def work() -> None:
            while next(numbers) < count and time.perf_counter() < end:
                began = clock()
                await (await self._connect(self._target)).close()
                latencies.append(clock() - began)

        with Window(self._server) as window:
            await asyncio.gather(*(work() for _ in range(workers)))
        return window.figures(len(latencies)) | latency_figures(latencies)

    async def idle(self, count: int) -> Figures:
        """Memory of the server for each idle session."""
        async with self._clients(2):
            await asyncio.sleep(SETTLE)
            before = resident_kib(self._server)
            began = time.perf_counter()
            async with self._clients(count):
                opened = time.perf_counter() - began
                await asyncio.sleep(SETTLE)
                after = resident_kib(self._server)
        return {"rate": (after - before) / count, "seconds": opened}

    async def hold(self, count: int) -> Figures:
        """As the `hold` of blocking.py."""
        left = iter(range(count))
        clients: list[AnyClient] = []

        async def work() -> None:
            for _ in left:
                clients.append(await self._connect(self._target))

        await asyncio.gather(*(work() for _ in range(8)))
        print("holding", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        return {"rate": float(len(clients))}
