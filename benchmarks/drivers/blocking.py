"""
Workloads for clients that block. Many clients are read in turn by one thread, so that the load stays cheap; the
latency of a packet counts until that thread has it decoded.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, Protocol

from ..measure import Figures, Window, clock, latency_figures, resident_kib, rounds
from ..storm import storm
from ..target import CHUNK, DATA, PACKET, Target, command

BURST = 64  # packets that a program hands over together that uses batch()
SETTLE = 0.5  # seconds until memory is read: late acknowledgements, timers and frees are over


class Client(Protocol):
    """What an adapter's `connect` returns."""

    def send(self, packet: dict[str, Any]) -> None:
        """Send one packet."""

    def receive(self) -> Any:
        """Data of the next packet."""

    def send_blob(self, blob: bytes) -> None:
        """Send one packet of the bulk workload."""

    def close(self) -> None:
        """Leave."""


Connect = Callable[[Target], Client]


class Driver:
    """
    The workloads.

    Args:
        connect: Opens one authenticated client.
        target: The running server.
        receiver: Opens a client that only receives casts, where that is another thing.
        sends_all: The client is not for two threads: in `pipeline` it sends all, then reads.
    """

    def __init__(
        self,
        connect: Connect,
        target: Target,
        *,
        receiver: Connect | None = None,
        sends_all: bool = False,
    ) -> None:
        self._connect = connect
        self._receiver = receiver
        self._target = target
        self._sends_all = sends_all
        self._server = int(target.server["pid"])

    @contextmanager
    def _clients(self, count: int, connect: Connect | None = None) -> Iterator[list[Client]]:
        clients = [(connect or self._connect)(self._target) for _ in range(count)]
        try:
            yield clients
        finally:
            for client in clients:
                client.close()

    @contextmanager
    def _client(self) -> Iterator[Client]:
        with self._clients(1) as (client,):
            for _ in range(3):
                client.send(PACKET)
                if client.receive() != DATA:
                    raise AssertionError("the echo differs from what was sent")
            yield client

    # --- one client -----------------------------------------------------------------------------------------

    def rtt(self, count: int, seconds: float) -> Figures:
        """Ping-pong of one client."""
        latencies: list[int] = []
        with self._client() as client:
            for _ in range(min(count, 300)):
                client.send(PACKET)
                client.receive()
            with Window(self._server) as window:
                for _ in rounds(count, seconds):
                    sent = clock()
                    client.send(PACKET)
                    client.receive()
                    latencies.append(clock() - sent)
        return window.figures(len(latencies)) | latency_figures(latencies)

    def pipeline(self, count: int, *, together: bool = False, two_threads: bool = False) -> Figures:
        """
        All packets on their way before the first answer is waited for.

        Args:
            together: By `batch()`, where there is one.
            two_threads: One sends while the other receives, also where one thread can do both.
        """
        send = self._send_together if together else self._send_moves
        with self._client() as client:
            with Window(self._server) as window:
                if self._sends_all and not two_threads:
                    send(client, count)
                    sender = None
                else:
                    sender = threading.Thread(target=send, args=(client, count))
                    sender.start()
                for _ in range(count):
                    last = client.receive()
            if sender is not None:
                sender.join()
            if last != DATA:
                raise AssertionError("the echo differs from what was sent")
        return window.figures(count)

    @staticmethod
    def _send_moves(client: Client, count: int) -> None:
        for _ in range(count):
            client.send(PACKET)

    @staticmethod
    def _send_together(client: Client, count: int) -> None:
        together = getattr(client, "batch", nullcontext)
        for start in range(0, count, BURST):
            with together():
                for _ in range(min(BURST, count - start)):
                    client.send(PACKET)

    def bulk(self, size: int) -> Figures:
        """One way, in packets of CHUNK bytes, until the server says that it has all."""
        blob = bytes(range(256)) * (CHUNK // 256)
        with self._client() as client, Window(self._server) as window:
            client.send(command("bulk", bytes=size))
            for _ in range(size // CHUNK):
                client.send_blob(blob)
            client.receive()
        return window.figures(size / 1e6)

    # --- many clients ---------------------------------------------------------------------------------------

    def many(self, clients: int, rounds_: int, seconds: float) -> Figures:
        """Ping-pong of many clients at once; the total counts."""
        latencies: list[int] = []
        with self._clients(clients) as all_clients:
            sent = [0] * clients
            for index, client in enumerate(all_clients):
                sent[index] = clock()
                client.send(PACKET)
            with Window(self._server) as window:
                for _ in rounds(rounds_, seconds):
                    for index, client in enumerate(all_clients):
                        client.receive()
                        now = clock()
                        latencies.append(now - sent[index])
                        sent[index] = now
                        client.send(PACKET)
            for client in all_clients:
                client.receive()
        return window.figures(len(latencies)) | latency_figures(latencies)

    @contextmanager
    def _audience(self, size: int) -> Iterator[tuple[Client, list[Client]]]:
        """Who asks for casts, and all who receive them."""
        if self._receiver is None:
            with self._clients(size) as clients:
                for client in clients:  # who had an answer is in the room
                    client.send(PACKET)
                    client.receive()
                self._settle_audience(clients[0], clients)
                yield clients[0], clients
            return
        with self._clients(1) as (caster,), self._clients(size, self._receiver) as clients:
            caster.send(command("audience", size=size))  # answered when all have subscribed
            caster.receive()
            self._settle_audience(caster, clients)
            yield caster, clients

    @staticmethod
    def _settle_audience(caster: Client, clients: list[Client]) -> None:
        """A first few casts; whether everybody has entered the room is known before."""
        for _ in range(3):
            caster.send(command("cast", times=1, move=DATA))
            for client in clients:
                client.receive()

    def broadcast(
        self, receivers: int, casts: int, flying: int, burst: int, seconds: float
    ) -> Figures:
        """
        One at a time for the latency, then `flying` under way for the rate.

        Args:
            burst: Packets that the server sends for one cast.
        """
        with self._audience(receivers) as (caster, clients):
            latencies = self._cast_singly(caster, clients, max(3, casts // 4), burst, seconds / 2)
            figures = self._cast_flying(caster, clients, casts, flying, burst, seconds)
        return figures | latency_figures(latencies)

    @staticmethod
    def _cast_singly(
        caster: Client, clients: list[Client], casts: int, burst: int, seconds: float
    ) -> list[int]:
        latencies: list[int] = []
        for _ in rounds(casts, seconds):
            began = clock()
            caster.send(command("cast", times=burst, move=DATA))
            for client in clients:
                for _ in range(burst):
                    client.receive()
                latencies.append(clock() - began)
        return latencies

    def _cast_flying(
        self,
        caster: Client,
        clients: list[Client],
        casts: int,
        flying: int,
        burst: int,
        seconds: float,
    ) -> Figures:
        done = 0
        with Window(self._server) as window:
            for _ in range(flying):
                caster.send(command("cast", times=burst, move=DATA))
            for _ in rounds(casts, seconds):
                for client in clients:
                    for _ in range(burst):
                        client.receive()
                done += 1
                caster.send(command("cast", times=burst, move=DATA))
        for client in clients:
            for _ in range(burst * flying):
                client.receive()
        return window.figures(done * burst * len(clients))

    def fanout(self, sizes: list[int], deliveries: int, seconds: float) -> Figures:
        """Cost of one delivery as the audience grows."""
        figures: Figures = {}
        for size in sizes:
            with self._audience(size) as (caster, clients):
                casts = max(4, deliveries // size)
                at_size = self._cast_flying(caster, clients, casts, 2, 1, seconds)
            figures[f"us_{size}"] = 1e6 / at_size["rate"]
            figures[f"server_cpu_{size}"] = at_size["server_cpu"]
        figures["rate"] = figures[f"us_{sizes[-1]}"] / figures[f"us_{sizes[0]}"]
        return figures

    # --- connections ----------------------------------------------------------------------------------------

    def handshake(self, count: int, workers: int, seconds: float) -> Figures:
        """Connect, authenticate both ways, close; by `workers` threads."""
        self._connect(self._target).close()
        latencies: list[int] = []
        end = time.perf_counter() + seconds
        numbers = itertools.count()

        def work() -> None:
            while next(numbers) < count and time.perf_counter() < end:
                began = clock()
                self._connect(self._target).close()
                latencies.append(clock() - began)

        with Window(self._server) as window, ThreadPoolExecutor(workers) as pool:
            tasks = [pool.submit(work) for _ in range(workers)]
        for task in tasks:
            task.result()
        return window.figures(len(latencies)) | latency_figures(latencies)

    def resume(self, count: int, clients: int, workers: int, seconds: float) -> Figures:
        """
        A connection breaks, and its client comes back: with its session where there is such a thing, of many clients at
        the same time, because each pauses before it tries; otherwise over a new connection, by `workers` threads.
        """
        with self._clients(1) as (first,):
            if not getattr(first, "goes_on", False):
                return self.handshake(count, workers, seconds)
        left, times, end = threading.Semaphore(0), itertools.count(), [0.0]

        def again(client: Any) -> None:
            if next(times) < count and time.perf_counter() < end[0]:
                client.lose(partial(again, client))
            else:
                left.release()

        with self._clients(clients) as crowd:
            end[0] = time.perf_counter() + seconds
            with Window(self._server) as window:
                for client in crowd:
                    again(client)
                for _ in crowd:
                    left.acquire()
            return window.figures(next(times) - clients)

    def storm(self, clients: int, processes: int) -> Figures:
        """Clients of several processes connect, and come back, at one instant. Their server is one of its own."""
        new, back = storm(clients, processes)
        if new.failed or back.failed:
            raise AssertionError(f"not in: {[*new.failed, *back.failed][:5]}")
        return {
            "rate": new.seconds,
            "attempts": float(new.attempts),
            "server_cpu": new.cpu[0] / clients * 1e6,
            "load_cpu": new.cpu[1] / clients * 1e6,
            "back": back.seconds,
            "back_attempts": float(back.attempts),
        }

    def idle(self, count: int) -> Figures:
        """Memory of the server for each idle session."""
        with self._clients(2):
            time.sleep(SETTLE)
            before = resident_kib(self._server)
            began = time.perf_counter()
            with self._clients(count):
                opened = time.perf_counter() - began
                time.sleep(SETTLE)
                after = resident_kib(self._server)
        return {"rate": (after - before) / count, "seconds": opened}

    def hold(self, count: int) -> Figures:
        """Open idle sessions, say so, and keep them until standard input ends."""
        with ThreadPoolExecutor(8) as pool:
            clients = list(pool.map(lambda _: self._connect(self._target), range(count)))
        print("holding", flush=True)
        sys.stdin.read()
        return {"rate": float(len(clients))}

    # --- tails ----------------------------------------------------------------------------------------------

    def stall(self, action: str, handler_seconds: float, times: int) -> Figures:
        """Echoes of one client while the handler of another computes or sleeps."""
        worst: list[int] = []
        with self._client() as busy, self._client() as client:
            for _ in range(times):
                end = time.perf_counter() + handler_seconds
                busy.send(command(action, seconds=handler_seconds))
                latencies = []
                while time.perf_counter() < end:
                    sent = clock()
                    client.send(PACKET)
                    client.receive()
                    latencies.append(clock() - sent)
                    time.sleep(0.001)
                worst.append(max(latencies))
                busy.receive()
        worst.sort()
        return {
            "rate": worst[-1] / 1e6,
            "median_worst": worst[len(worst) // 2] / 1e6,
        }

    def greedy(self, clients: int, handler_seconds: float, seconds: float) -> Figures:
        """Echoes of some clients while one sends more than its slow handler can do."""
        latencies: list[int] = []
        with self._client() as greedy, self._clients(clients) as others:
            count = int(2 * seconds / handler_seconds)
            for _ in range(count):
                greedy.send(command("sleep", seconds=handler_seconds))
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                for client in others:
                    sent = clock()
                    client.send(PACKET)
                    client.receive()
                    latencies.append(clock() - sent)
                time.sleep(0.001)
        figures = latency_figures(latencies)
        return figures | {"rate": figures["worst"] / 1000}
