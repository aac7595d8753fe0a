"""
The rows of the budget, run below callgrind: python -m benchmarks.budget_rows TREE

Server and clients are in one process over loopback, and the server runs by `update()` in the same thread, so that one
run takes the same way as the next. Prints `name operations` for each row, and makes callgrind write what it counted.
"""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from .target import CHUNK, DATA, HOST

PATIENCE = 60.0  # seconds without an answer: something is broken
PIPELINED = 8  # packets under way; more than ten segments wait until the kernel of the peer has confirmed some
AUDIENCE = 20  # clients that get a broadcast
BURST = 10  # packets that the server sends at once

# Time decides nothing here, because callgrind is fifty times slower: no tick, no sweep, no handler that runs too long.
_NEVER = 100_000.0  # seconds
_TIMES = (
    "TICK_SECONDS", "TURN_SECONDS", "RUN_SECONDS", "SWEEP_SECONDS", "ACK_SECONDS", "ACK_FEW_SECONDS",
)  # fmt: skip

Row = tuple[Callable[[], None], int, int]  # one round, operations in it, rounds


class World:
    """A server without threads, and its clients."""

    def __init__(self, folder: Path) -> None:
        from securelink import Identity, Server

        self.server = Server(HOST, 0, keys=Identity.generate(2048), heartbeat=300)
        self.server.on("move", self._move)
        self.server.on("cast", self._cast)
        self.server.on("blob", self._blob)
        self._handled = self._expected = 0  # packets
        self._folder = folder
        self.server.update()

    def _move(self, session: Any, packet: Any) -> None:
        self._handled += 1
        session.send("move", packet.data)

    def _cast(self, _session: Any, packet: Any) -> None:
        self._handled += 1
        for _ in range(packet.data):
            self.server.broadcast("move", DATA)

    def _blob(self, session: Any, _packet: Any) -> None:
        self._handled += 1
        session.send("done")

    def serve(self, packets: int) -> None:
        """Let the server handle so many. One turn, unless the clients' thread has just taken some to write them."""
        self._expected += packets
        self.server.update()
        if self._handled < self._expected:
            deadline = time.monotonic() + PATIENCE
            while self._handled < self._expected:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{self._expected - self._handled} packets did not come")
                self.server.update()

    @contextmanager
    def clients(self, count: int, **options: Any) -> Iterator[list[Any]]:
        """Connected clients."""
        from securelink import Client

        begun, over = threading.Event(), threading.Event()

        def turn() -> None:
            while not over.wait(0.001):
                self.server.update()
                begun.set()  # from now on it is this thread that drives

        def connect() -> Any:
            client = Client(
                HOST,
                self.server.address[1],
                pin=self.server.fingerprint,
                known_servers=self._folder / "known_servers",
                **options,
            )
            return client.connect(PATIENCE)

        def in_turns(act: Callable[[], list[Any]]) -> list[Any]:
            begun.clear()
            over.clear()
            thread = threading.Thread(target=turn)
            thread.start()
            begun.wait(PATIENCE)
            try:
                return act()
            finally:
                over.set()
                thread.join()

        clients = in_turns(lambda: [connect() for _ in range(count)])
        try:
            yield clients
        finally:
            in_turns(lambda: [client.close() for client in clients])

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Each row, while its clients are connected."""
        serve = self.serve

        with self.clients(1) as (client,):

            def ping_pong() -> None:
                client.send("move", DATA)
                serve(1)
                if client.receive(PATIENCE) is None:
                    raise _late()

            def pipelined() -> None:
                for _ in range(PIPELINED):
                    client.send("move", DATA)
                serve(PIPELINED)
                for _ in range(PIPELINED):
                    if client.receive(PATIENCE) is None:
                        raise _late()

            def batched() -> None:
                with client.batch():
                    for _ in range(PIPELINED):
                        client.send("move", DATA)
                serve(PIPELINED)
                for _ in range(PIPELINED):
                    if client.receive(PATIENCE) is None:
                        raise _late()

            def large() -> None:
                client.send("blob", blob)
                serve(1)
                if client.receive(PATIENCE) is None:
                    raise _late()

            blob = bytes(CHUNK - 256)
            yield "ping-pong", (ping_pong, 1, 200)
            with _in_a_row():
                yield "pipelined by send()", (pipelined, PIPELINED, 40)
            yield "pipelined by batch()", (batched, PIPELINED, 40)
            yield "64 KiB and an answer", (large, 1, 40)
        with self.clients(1, handlers="update") as (client,):
            client.on("move", lambda packet: packet.data)

            def handled() -> None:
                client.send("move", DATA)
                serve(1)
                client.update()

            yield "ping-pong, handlers in update()", (handled, 1, 200)
        with self.clients(AUDIENCE) as audience:

            def cast(times: int) -> None:
                audience[0].send("cast", times)
                serve(1)
                for client in audience:
                    for _ in range(times):
                        if client.receive(PATIENCE) is None:
                            raise _late()

            yield "broadcast, a delivery", (lambda: cast(1), AUDIENCE, 15)
            yield "burst, a delivery", (lambda: cast(BURST), AUDIENCE * BURST, 5)


def _late() -> TimeoutError:
    return TimeoutError(f"a packet did not come within {PATIENCE:g} s")


def _without_time() -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("securelink."):
            for constant in _TIMES:
                if hasattr(module, constant):
                    setattr(module, constant, _NEVER)


@contextmanager
def _in_a_row() -> Iterator[None]:
    """What is sent in a row is taken for one, though callgrind is so slow. An older tree knows no rows."""
    outbox: Any = sys.modules.get("securelink.threads.outbox")
    if outbox is None:
        yield
        return
    usual = getattr(outbox, "ROW_SECONDS", 0.0)
    outbox.ROW_SECONDS = _NEVER
    try:
        yield
    finally:
        outbox.ROW_SECONDS = usual


def control(*words: str) -> None:
    subprocess.run(["callgrind_control", *words, str(os.getpid())], check=True, stdout=2)


def main(tree: str) -> None:
    """Run all rows of the package in that tree."""
    sys.path.insert(0, tree)
    import securelink

    found = Path(securelink.__file__).resolve().parent.parent
    if found != Path(tree).resolve():
        raise SystemExit(f"securelink is from {found}, not from {tree}")
    logging.disable(logging.CRITICAL)
    _without_time()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="budget-")))
        world = World(folder)
        stack.callback(world.server.stop)
        for name, (act, operations, rounds) in world.rows():
            for _ in range(5):
                act()
            gc.collect()
            control("-i", "on")
            for _ in range(rounds):
                act()
            control("-i", "off")
            control("-d")
            print(f"{operations * rounds} {name}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
