"""
Storms: many clients connect at one instant, lose their connections at one instant, and all come back.

    .venv/bin/python -m benchmarks.storm                        # 2,000 clients of four processes
    .venv/bin/python -m benchmarks.storm --clients 5000 --restart   # and the server is killed
    .venv/bin/python -m benchmarks.storm --asyncio              # each process has its clients in one event loop

Real clients over real sockets of this machine, with RSA-3072 on both sides. First all connect at once, each by
`connect(retry=True)`; then all their connections break at once, and they come back by themselves. With `--restart` the
server keeps its sessions in a file, is then killed by `kill -9`, and started again at once: all come back once more.
It says how long that took, with how many attempts, and how many handshakes a second that makes. The exit code is 1
when somebody did not get in, or did not come back with the same session.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

from securelink import Client, Identity, SecureLinkError, Server, aio, createEncryptKeys
from securelink.limits import MAX_RESUME_SECONDS

from .carriers import Counting
from .process import Child

BITS = 3072
STACK = 256 * 1024  # bytes of a thread that only connects
SECONDS = 120.0  # for everything
SETTLE_SECONDS = 1.0


@dataclass
class Wave:
    """
    What came of one storm.

    Attributes:
        seconds: From the first attempt until the last client was in.
        attempts: Connections that were tried.
        failed: Clients that are not in, in words.
        cpu: Seconds of processor of the server, and of all clients.
        away: Seconds in which no server listened.
    """

    seconds: float = 0.0
    attempts: int = 0
    failed: list[str] = field(default_factory=list)
    cpu: tuple[float, float] = (0.0, 0.0)
    away: float = 0.0


class Crowd:
    """Clients of one process."""

    kind: type[Any] = Client

    def __init__(self, port: int, pin: str, count: int, *, keys: bool, bits: int) -> None:
        identity = Identity.generate(bits) if keys else None
        self.carriers = [Counting() for _ in range(count)]
        self.clients: list[Any] = [
            self.kind("127.0.0.1", port, pin=pin, keys=identity) for _ in range(count)
        ]
        for client, carrier in zip(self.clients, self.carriers, strict=True):
            client.carrier = carrier
        self.failed: list[str] = []
        self._listens = False
        self._back = set[int]()  # numbers of clients that came back
        self._left = threading.Semaphore(
            0
        )  # released by each client that came back, or whose session is over

    def connect(self) -> dict[str, Any]:
        """All at once, each in a thread of its own."""
        threading.stack_size(STACK)
        threads = [threading.Thread(target=self._connect, args=(c,)) for c in self.clients]

        def start() -> None:
            for thread in threads:
                thread.start()

        return self._wave(start, threads)

    def _connect(self, client: Client) -> None:
        try:
            client.connect(SECONDS, retry=True)
        except SecureLinkError as error:
            self.failed.append(f"{type(error).__name__}: {error}")

    def come_back(self, lose: Callable[[], None]) -> dict[str, Any]:
        """
        Wait until all are back.

        Args:
            lose: Called when all is ready for that: lets them lose their connections.
        """
        tokens = [client.token for client in self.clients]
        self._back, self._left = set(), threading.Semaphore(0)
        if not self._listens:
            self._listens = True
            for number, client in enumerate(self.clients):
                client.on_resume(partial(self._heard, number))
                client.on_disconnect(partial(self._heard, number, None))

        def everybody() -> None:
            lose()
            deadline = time.monotonic() + SECONDS
            for _ in self.clients:
                self._left.acquire(timeout=max(0.0, deadline - time.monotonic()))

        wave = self._wave(everybody, [])
        for number, (client, token) in enumerate(zip(self.clients, tokens, strict=True)):
            if number not in self._back or client.token != token:
                wave["failed"].append(f"a session did not go on: {client.reason}")
        return wave

    def _heard(self, number: int, replayed: int | None) -> None:
        if replayed is not None:
            self._back.add(number)
        self._left.release()

    def cut(self) -> None:
        """Break all connections."""
        for carrier in self.carriers:
            carrier.cut()

    def close(self) -> None:
        """End all sessions."""
        for client in self.clients:
            client.close(0.0)

    def _wave(self, act: Callable[[], object], threads: list[threading.Thread]) -> dict[str, Any]:
        before = sum(carrier.attempts for carrier in self.carriers)
        self.failed = []
        cpu = time.process_time()
        act()
        for thread in threads:
            thread.join()
        attempts = sum(carrier.attempts for carrier in self.carriers) - before
        return {
            "ended": time.time(),
            "attempts": attempts,
            "failed": self.failed,
            "cpu": time.process_time() - cpu,
        }


class AsyncCrowd(Crowd):
    """The same in one event loop, which a thread of its own runs: so clients do not wait for each other's threads."""

    kind = aio.Client

    def __init__(self, port: int, pin: str, count: int, *, keys: bool, bits: int) -> None:
        super().__init__(port, pin, count, keys=keys, bits=bits)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="clients", daemon=True).start()

    def connect(self) -> dict[str, Any]:
        """All at once, each in a task."""
        return self._wave(lambda: self._all(self._connect_one), [])

    def close(self) -> None:
        """End all sessions."""
        self._all(lambda client: client.close(0.0))

    async def _connect_one(self, client: aio.Client) -> None:
        try:
            await client.connect(SECONDS, retry=True)
        except SecureLinkError as error:
            self.failed.append(f"{type(error).__name__}: {error}")

    def _all(self, act: Callable[[aio.Client], Coroutine[Any, Any, object]]) -> None:
        async def every() -> None:
            await asyncio.gather(*map(act, self.clients))

        asyncio.run_coroutine_threadsafe(every(), self._loop).result()


def crowd(clients: Crowd) -> None:
    """A process of clients: does what its standard input says, and answers in lines of JSON."""
    print("ready", flush=True)
    for line in sys.stdin:
        match line.strip():
            case "connect":
                print(json.dumps(clients.connect()), flush=True)
            case "cut":
                print(json.dumps(clients.come_back(clients.cut)), flush=True)
            case "wait":
                wave = clients.come_back(lambda: print("waiting", flush=True))
                print(json.dumps(wave), flush=True)
            case "close":
                break
    clients.close()


def serve(port: int, folder: Path | None, *, keys: bool, bits: int) -> None:
    """
    The process of the server.

    Args:
        folder: It keeps its keys and sessions there, for a process that follows.
    """
    server = Server(
        "127.0.0.1",
        port,
        keys=folder / "keys" if folder else Identity.generate(bits),
        state=folder / "state.db" if folder else None,
        client_keys="required" if keys else "welcome",
        resume=MAX_RESUME_SECONDS,
    )
    with server:
        print(server.address[1], server.fingerprint, flush=True)
        for _ in sys.stdin:
            print(
                json.dumps({"cpu": time.process_time(), "sessions": len(server.sessions)}),
                flush=True,
            )


class Storm:
    """
    A server and crowds of clients, each a process.

    Args:
        clients: How many.
        processes: That they are divided among.
        keys: Whether clients have keys, too.
        bits: Of the keys.
        folder: Where the server keeps its sessions. None: in memory.
        asyncio: Clients are those of `securelink.aio`.
    """

    def __init__(
        self,
        clients: int,
        processes: int,
        *,
        keys: bool = True,
        bits: int = BITS,
        folder: Path | None = None,
        asyncio: bool = False,
    ) -> None:
        self._clients, self._processes, self._folder = clients, processes, folder
        self._options = ["--bits", str(bits), *([] if keys else ["--no-client-keys"])]
        self._kind = ["--asyncio"] if asyncio else []
        self._stack = contextlib.ExitStack()
        if folder is not None:
            createEncryptKeys(str(folder / "keys"), "server", bits)

    def __enter__(self) -> Self:
        with self._stack:
            self._server = self._start("0")
            self._port, pin = self._server.line(SECONDS).split()
            more = self._clients % self._processes
            self._crowds = [
                self._child("--crowd", self._port, pin, str(self._clients // self._processes + (n < more)), *self._kind)
                for n in range(self._processes)
            ]  # fmt: skip
            for process in self._crowds:
                process.line(SECONDS)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _child(self, *arguments: str) -> Child:
        return self._stack.enter_context(Child("benchmarks.storm", *arguments, *self._options))

    def _start(self, port: str) -> Child:
        folder = [] if self._folder is None else ["--folder", str(self._folder)]
        return self._child("--serve", port, *folder)

    def connect(self) -> Wave:
        """All connect."""
        return self._wave("connect")

    def cut(self) -> Wave:
        """All lose their connections, and come back."""
        return self._wave("cut")

    def restart(self) -> Wave:
        """The server is killed, and another one is started in its place; all come back."""
        for process in self._crowds:
            process.say("wait")
            process.line(SECONDS)
        began = time.time()
        self._server.kill()
        self._server = self._start(self._port)
        self._server.line(SECONDS)
        return self._ended(began, 0.0, away=time.time() - began)

    def _wave(self, word: str) -> Wave:
        cpu = self._cpu()
        began = time.time()
        for process in self._crowds:
            process.say(word)
        return self._ended(began, cpu)

    def _cpu(self) -> float:
        self._server.say()
        return float(json.loads(self._server.line(SECONDS))["cpu"])

    def _ended(self, began: float, cpu: float, away: float = 0.0) -> Wave:
        found = [json.loads(process.line(SECONDS)) for process in self._crowds]
        wave = Wave(
            max(part["ended"] for part in found) - began,
            sum(part["attempts"] for part in found),
            [word for part in found for word in part["failed"]],
            (self._cpu() - cpu, sum(part["cpu"] for part in found)),
            away,
        )
        time.sleep(SETTLE_SECONDS)
        return wave


def storm(clients: int, processes: int, *, restart: bool = False, **options: Any) -> list[Wave]:
    """The storm of new clients, that of their return, and that after a restart."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "kept" if restart else None
        if folder is not None:
            folder.mkdir(mode=0o700)
        with Storm(clients, processes, folder=folder, **options) as one:
            waves = [one.connect(), one.cut()]
            return [*waves, one.restart()] if restart else waves


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument(
        "--no-client-keys", action="store_true", help="RSA only on the server's side"
    )
    parser.add_argument("--restart", action="store_true", help="and the server is killed")
    parser.add_argument(
        "--asyncio", action="store_true", help="clients in an event loop for each process"
    )
    parser.add_argument("--bits", type=int, default=BITS, help="of RSA keys (3072)")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--crowd", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    logging.getLogger("securelink").setLevel(logging.ERROR)
    keys, bits = not asked.no_client_keys, asked.bits
    if asked.serve is not None:
        serve(asked.serve, asked.folder, keys=keys, bits=bits)
        return 0
    if asked.crowd:
        port, pin, count = asked.crowd
        kind = AsyncCrowd if asked.asyncio else Crowd
        crowd(kind(int(port), pin, int(count), keys=keys, bits=bits))
        return 0
    waves = storm(
        asked.clients, asked.processes, restart=asked.restart, keys=keys, asyncio=asked.asyncio
    )
    for name, wave in zip(("new", "back", "restart"), waves, strict=False):
        print(
            f"{name}: {asked.clients} clients in {wave.seconds:.2f} s, {wave.attempts} attempts, "
            f"{asked.clients / wave.seconds:.0f} a second, ms of processor each: "
            f"server {1000 * wave.cpu[0] / asked.clients:.2f}, client {1000 * wave.cpu[1] / asked.clients:.2f}; "
            f"{len(wave.failed)} not in"
            + (f"; no server for {wave.away:.2f} s" if wave.away else "")
        )
        for word in wave.failed[:5]:
            print(" ", word)
    return 1 if any(wave.failed for wave in waves) else 0


if __name__ == "__main__":
    sys.exit(main())
