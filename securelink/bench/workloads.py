"""What is measured: the same steps for every peer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from ..tools.load.histogram import Histogram
from .results import Figures

HOST = "127.0.0.1"
ACTION = "move"
DATA = {"x": 1.25, "y": -3.5, "hp": 97, "name": "player-17"}  # as games send them
CHUNK = 64 * 1024  # bytes of a packet of bulk data
MANY = 50  # clients
WINDOW = 128  # packets that go out together; two windows are under way
_ROUND = 128  # chunks of bulk data between two acknowledgements: 8 MiB
_FLYING = 4  # casts under way
clock = time.perf_counter


class Connection(Protocol):
    """One client that is connected."""

    def send(self, count: int = 1) -> None:
        """Send so many packets; they may go out together."""

    def receive(self, count: int = 1) -> None:
        """Wait for so many packets."""

    def bulk(self, chunks: int) -> None:
        """Send chunks of bulk data, and wait until the server has them."""

    def cast(self) -> None:
        """Have the server send one packet to the whole audience."""

    def close(self) -> None:
        """Leave."""


class Peer(Protocol):
    """What is compared."""

    name: str

    def open(self) -> Connection:
        """Connect: a full handshake."""

    def open_sink(self) -> Connection:
        """Connect for bulk data."""

    def open_audience(self, size: int) -> tuple[Connection, list[Connection]]:
        """Connect those who hear a cast, and one who can order it."""


Workload = Callable[[Peer, float], Figures]


@contextmanager
def _closing(*connections: Connection) -> Iterator[None]:
    try:
        yield
    finally:
        for connection in connections:
            connection.close()


def _repeated(step: Callable[[], None], seconds: float, operations: int = 1) -> Figures:
    """Take a step again and again, a little while before the clock runs and then for so many seconds."""
    warm = clock() + seconds / 10
    step()
    while clock() < warm:
        step()
    times = Histogram()
    began = now = clock()
    end = began + seconds
    while now < end:
        before = now
        step()
        now = clock()
        times.add(now - before)
    rate = times.count * operations / (now - began)
    return Figures(rate, times.percentile(50), times.percentile(99))


def round_trips(peer: Peer, seconds: float) -> Figures:
    """One client: send, wait for the echo."""
    client = peer.open()

    def step() -> None:
        client.send()
        client.receive()

    with _closing(client):
        return _repeated(step, seconds)


def pipelined(peer: Peer, seconds: float) -> Figures:
    """One client with always a window of packets or two under way."""
    client = peer.open()

    def step() -> None:
        client.send(WINDOW)
        client.receive(WINDOW)

    with _closing(client):
        client.send(WINDOW)
        figures = _repeated(step, seconds, WINDOW)
        client.receive(WINDOW)
    return Figures(figures.rate)


def many(peer: Peer, seconds: float) -> Figures:
    """Many clients, each with a packet under way; the total."""
    clients = [peer.open() for _ in range(MANY)]

    def step() -> None:
        for client in clients:
            client.receive()
            client.send()

    with _closing(*clients):
        for client in clients:
            client.send()
        figures = _repeated(step, seconds, MANY)
        for client in clients:
            client.receive()
    return Figures(figures.rate)


def handshakes(peer: Peer, seconds: float) -> Figures:
    """Connect, one round trip, leave; one after the other."""

    def step() -> None:
        client = peer.open()
        with _closing(client):
            client.send()
            client.receive()

    return Figures(_repeated(step, seconds).rate)


def bulk(peer: Peer, seconds: float) -> Figures:
    """One way; in bytes a second."""
    client = peer.open_sink()
    with _closing(client):
        return Figures(
            _repeated(lambda: client.bulk(_ROUND), seconds, operations=_ROUND * CHUNK).rate
        )


def broadcast(peer: Peer, seconds: float) -> Figures:
    """To many clients, a few under way; counted as each of them receives one."""
    caster, audience = peer.open_audience(MANY)

    def step() -> None:
        caster.cast()
        for client in audience:
            client.receive()

    with _closing(*{id(c): c for c in (caster, *audience)}.values()):
        for _ in range(_FLYING):
            caster.cast()
        figures = _repeated(step, seconds, MANY)
        for client in audience:
            client.receive(_FLYING)
    return Figures(figures.rate)


WORKLOADS: dict[str, Workload] = {
    "round trips, one client": round_trips,
    "pipelined echoes, one client": pipelined,
    f"round trips, {MANY} clients": many,
    "connections with full handshake": handshakes,
    "bulk, one way": bulk,
    f"broadcast to {MANY}, deliveries": broadcast,
}
