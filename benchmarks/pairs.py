"""
Two trees in turns: python -m benchmarks.pairs BEFORE [ROW ...] [--rounds N]

The speed of a machine changes within seconds by more than a change of ours does. So a server and its clients of both
trees run at the same time, and work one after the other, a fifth of a second each, many times; what counts is the
median of the ratios of neighbours. It prints that for time, and for the processor time of both sides, with quartiles.

Rows are KIND-CLIENTS-PACKETS: "echo-1-1" one client, ping-pong; "echo-50-1" fifty, in turn; "echo-1-64" 64 packets
under way; "cast-100-1" broadcasts to 100, eight under way; "cast-100-10" ten packets for each of them. Clients are
anonymous, because trees may differ in what a key costs.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .process import ROOT, Child
from .target import DATA, HOST

ROWS = (
    "cast-100-1",
    "cast-500-1",
    "cast-100-10",
    "cast-500-10",
    "echo-1-1",
    "echo-50-1",
    "echo-1-64",
)
FLYING = 8  # broadcasts under way
WINDOW = 0.2  # seconds of work
PATIENCE = 60.0

Figures = dict[str, float]  # of one window: microseconds for each packet


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pairs")
    parser.add_argument("before", type=Path, help="another checkout")
    parser.add_argument("rows", nargs="*", metavar="ROW", default=ROWS)
    parser.add_argument("--now", type=Path, default=ROOT, help="instead of this checkout")
    parser.add_argument("--rounds", type=int, default=60, help="two or more")
    options = parser.parse_intermixed_args()
    for row in options.rows:
        if not re.fullmatch(r"(cast|echo)-[1-9]\d*-[1-9]\d*", row):
            parser.error(f"{row!r} is no row: write KIND-CLIENTS-PACKETS, such as {ROWS[0]}")
    if not (options.before / "securelink").is_dir():
        parser.error(f"{options.before} is no checkout of securelink")
    print("is / was: median (quartiles)")
    for row in options.rows:
        print(table(row, list(pairs(options.before, options.now, row, options.rounds))), flush=True)


def pairs(before: Path, now: Path, row: str, rounds: int) -> Iterator[tuple[Figures, Figures]]:
    """The figures of both trees in each round; who is first changes."""
    with ExitStack() as stack:
        loads: list[Child] = []
        for tree in (before, now):
            server = stack.enter_context(Child("benchmarks.pairs", "serve", str(tree.resolve())))
            told = server.line(PATIENCE)
            load = Child(
                "benchmarks.pairs", "load", str(tree.resolve()), row, told, str(server.pid)
            )
            loads.append(stack.enter_context(load))
            load.line(PATIENCE)

        def window(load: Child) -> Figures:
            load.say("go")
            figures: Figures = json.loads(load.line(PATIENCE))
            return figures

        for number in range(rounds):
            if number % 2:
                second = window(loads[1])
                yield window(loads[0]), second
            else:
                yield window(loads[0]), window(loads[1])


def table(row: str, found: list[tuple[Figures, Figures]]) -> str:
    """One line: the ratios of a row."""
    words = [f"{row:12}"]
    for name in found[0][0]:
        ratios = [is_[name] / was[name] for was, is_ in found if was[name]]
        low, median, high = statistics.quantiles(ratios, n=4)
        words.append(f"{name} {median:.3f} ({low:.2f}-{high:.2f})")
    return "   ".join(words)


# --- the processes of one tree -----------------------------------------------------------------------------------


def processor_time(pid: str) -> float:
    """Microseconds that the threads of a process have run. Finer than the kernel's steps of 10 ms."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((thread / "schedstat").read_text().split()[0])
        except OSError:
            continue  # it has ended
    return total / 1000


def serve() -> None:
    """Run a server until standard input ends."""
    from securelink import Identity, Server

    server = Server(HOST, 0, keys=Identity.generate(2048), max_connections=20_000, heartbeat=300)
    server.on("echo", lambda session, packet: session.send("echo", packet.data))

    def cast(_session: Any, packet: Any) -> None:
        for _ in range(packet.data):
            server.broadcast("move", DATA)

    server.on("cast", cast)
    server.start()
    print(json.dumps([server.address[1], server.fingerprint]), flush=True)
    sys.stdin.read()
    server.stop()


def load(row: str, told: str, server_pid: str) -> None:
    """Work for a window with each line that comes."""
    from securelink import Client

    kind, clients_, packets_ = row.split("-")
    packets = int(packets_)
    port, pin = json.loads(told)
    with tempfile.TemporaryDirectory(prefix="pairs-") as folder:
        known = Path(folder, "known_servers")
        clients = [
            Client(HOST, port, pin=pin, known_servers=known).connect(PATIENCE)
            for _ in range(int(clients_))
        ]

        def receive() -> None:
            for client in clients:
                for _ in range(packets):
                    if client.receive(PATIENCE) is None:
                        raise TimeoutError(f"a packet did not come within {PATIENCE:g} s")

        def cast() -> None:
            receive()
            clients[0].send("cast", packets)

        def echo() -> None:
            for client in clients:
                for _ in range(packets):
                    client.send("echo", DATA)
            receive()

        flying = FLYING if kind == "cast" else 0
        act: Callable[[], None] = cast if kind == "cast" else echo
        print("ready", flush=True)
        for _ in sys.stdin:
            for _ in range(flying):
                clients[0].send("cast", packets)
            work(act, WINDOW / 2)  # warm again: the other tree had the caches
            before = time.perf_counter(), processor_time("self"), processor_time(server_pid)
            done = work(act, WINDOW) * len(clients) * packets
            after = time.perf_counter(), processor_time("self"), processor_time(server_pid)
            for _ in range(flying):
                receive()
            seconds, own, servers = (b - a for a, b in zip(before, after, strict=True))
            figures = {"time": 1e6 * seconds, "load": own, "server": servers}
            print(json.dumps({name: value / done for name, value in figures.items()}), flush=True)
        for client in clients:
            client.close()


def work(act: Callable[[], None], seconds: float) -> int:
    """Do it for so long; returns how often."""
    end, times = time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        act()
        times += 1
    return times


def _child(role: str, tree: str, *rest: str) -> None:
    sys.path.insert(0, tree)
    import securelink

    found = Path(securelink.__file__).resolve().parent.parent
    if found != Path(tree):
        raise SystemExit(f"securelink is from {found}, not from {tree}")
    logging.disable(logging.CRITICAL)
    if role == "serve":
        serve()
    else:
        load(*rest)


if __name__ == "__main__":
    if sys.argv[1:2] in (["serve"], ["load"]):
        _child(*sys.argv[1:])
    else:
        main()
