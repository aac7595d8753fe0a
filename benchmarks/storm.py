"""
Storms: many clients connect at one instant, lose their connections at one instant, and all come back.

    .venv/bin/python -m benchmarks.storm                        # 2,000 clients of four processes
    .venv/bin/python -m benchmarks.storm --clients 5000

Real clients over real sockets of this machine, with RSA-3072 on both sides. First all connect at once, each by
`connect(retry=True)`; then all their connections break at once, and they come back by themselves. It says how long
that took, with how many attempts, and how many handshakes a second that makes. The exit code is 1 when somebody did
not get in, or did not come back with the same session.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from securelink import Client, Identity, SecureLinkError, Server
from securelink.limits import MAX_RESUME_SECONDS
from securelink.streams.base import BREAK, Listening, Stream
from securelink.streams.tcp import TCP

from .process import Child

BITS = 3072
STACK = 256 * 1024  # bytes of a thread that only connects
SECONDS = 120.0  # for everything
SETTLE_SECONDS = 1.0


class Counting:
    """TCP that counts attempts, and keeps the stream of the last one."""

    def __init__(self) -> None:
        self.attempts = 0
        self.stream: Stream | None = None

    def listen(self, host: str, port: int, backlog: int) -> list[Listening]:
        """As `Carrier.listen`."""
        return list(TCP.listen(host, port, backlog))

    def local_address(self) -> str:
        """As `Carrier.local_address`."""
        return TCP.local_address()

    def connect(self, host: str, port: int, timeout: float) -> Stream:
        """As `Carrier.connect`."""
        self.attempts += 1
        self.stream = TCP.connect(host, port, timeout)
        return self.stream


@dataclass
class Wave:
    """
    What came of one storm.

    Attributes:
        seconds: From the first attempt until the last client was in.
        attempts: Connections that were tried.
        failed: Clients that are not in, in words.
        cpu: Seconds of processor of the server, and of all clients.
    """

    seconds: float = 0.0
    attempts: int = 0
    failed: list[str] = field(default_factory=list)
    cpu: tuple[float, float] = (0.0, 0.0)


class Crowd:
    """Clients of one process."""

    def __init__(self, port: int, pin: str, count: int, *, keys: bool) -> None:
        identity = Identity.generate(BITS) if keys else None
        self.carriers = [Counting() for _ in range(count)]
        self.clients = [Client("127.0.0.1", port, pin=pin, keys=identity) for _ in range(count)]
        for client, carrier in zip(self.clients, self.carriers, strict=True):
            client.carrier = carrier
        self.failed: list[str] = []

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

    def cut(self) -> dict[str, Any]:
        """Break all connections, and wait until they are back."""
        tokens = [client.token for client in self.clients]
        back, left = set[int](), threading.Semaphore(0)

        def heard(number: int, *, resumed: bool) -> None:
            if resumed:
                back.add(number)
            left.release()

        def resumed_of(number: int) -> Callable[[int], None]:
            return lambda replayed: heard(number, resumed=True)

        for number, client in enumerate(self.clients):
            client.on_resume(resumed_of(number))
            client.on_disconnect(partial(heard, number, resumed=False))

        def everybody() -> None:
            for carrier in self.carriers:
                if carrier.stream is not None:
                    carrier.stream.shutdown(BREAK)
            deadline = time.monotonic() + SECONDS
            for _ in self.clients:
                left.acquire(timeout=max(0.0, deadline - time.monotonic()))

        wave = self._wave(everybody, [])
        for number, (client, token) in enumerate(zip(self.clients, tokens, strict=True)):
            if number not in back or client.token != token:
                wave["failed"].append(f"a session did not go on: {client.reason}")
        return wave

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


def crowd(port: int, pin: str, count: int, *, keys: bool) -> None:
    """A process of clients: does what its standard input says, and answers in lines of JSON."""
    clients = Crowd(port, pin, count, keys=keys)
    print("ready", flush=True)
    for line in sys.stdin:
        match line.strip():
            case "connect":
                print(json.dumps(clients.connect()), flush=True)
            case "cut":
                print(json.dumps(clients.cut()), flush=True)
            case "close":
                break
    for client in clients.clients:
        client.close(0.0)


def serve(*, keys: bool) -> None:
    """The process of the server."""
    server = Server(
        "127.0.0.1",
        0,
        keys=Identity.generate(BITS),
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


def storm(clients: int, processes: int, *, keys: bool = True) -> list[Wave]:
    """
    The storm of new clients, and that of their return.

    Args:
        clients: How many.
        processes: That they are divided among.
        keys: Whether clients have keys, too.
    """
    less = [] if keys else ["--no-client-keys"]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Child("benchmarks.storm", "--serve", *less))
        port, pin = server.line(SECONDS).split()
        shares = [clients // processes + (n < clients % processes) for n in range(processes)]
        crowds = [
            stack.enter_context(Child("benchmarks.storm", "--crowd", port, pin, str(share), *less))
            for share in shares
        ]
        for process in crowds:
            process.line(SECONDS)
        return [_wave(server, crowds, word) for word in ("connect", "cut")]


def _wave(server: Child, crowds: list[Child], word: str) -> Wave:
    server.say()
    cpu = json.loads(server.line(SECONDS))["cpu"]
    began = time.time()
    for process in crowds:
        process.say(word)
    found = [json.loads(process.line(SECONDS)) for process in crowds]
    server.say()
    wave = Wave(
        max(part["ended"] for part in found) - began,
        sum(part["attempts"] for part in found),
        [word for part in found for word in part["failed"]],
        (json.loads(server.line(SECONDS))["cpu"] - cpu, sum(part["cpu"] for part in found)),
    )
    time.sleep(SETTLE_SECONDS)
    return wave


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument(
        "--no-client-keys", action="store_true", help="RSA only on the server's side"
    )
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--crowd", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    logging.getLogger("securelink").setLevel(logging.ERROR)
    if asked.serve:
        serve(keys=not asked.no_client_keys)
        return 0
    if asked.crowd:
        port, pin, count = asked.crowd
        crowd(int(port), pin, int(count), keys=not asked.no_client_keys)
        return 0
    waves = storm(asked.clients, asked.processes, keys=not asked.no_client_keys)
    for name, wave in zip(("new", "back"), waves, strict=True):
        print(
            f"{name}: {asked.clients} clients in {wave.seconds:.2f} s, {wave.attempts} attempts, "
            f"{asked.clients / wave.seconds:.0f} a second, ms of processor each: "
            f"server {1000 * wave.cpu[0] / asked.clients:.2f}, client {1000 * wave.cpu[1] / asked.clients:.2f}; "
            f"{len(wave.failed)} not in"
        )
        for word in wave.failed[:5]:
            print(" ", word)
    return 1 if any(wave.failed for wave in waves) else 0


if __name__ == "__main__":
    sys.exit(main())
