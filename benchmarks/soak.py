"""
A soak: sessions that talk, come and go, and lose their connections at random bytes, for as long as one likes.

    .venv/bin/python -m benchmarks.survive --soak 60 --sessions 500
    .venv/bin/python -m benchmarks.survive --soak 60 --asyncio server    # or clients: the other side has threads

The server is a process of its own. Every packet is checked by number and content, on both sides; memory, threads and
descriptors of the server are looked at every few seconds.
"""

from __future__ import annotations

import json
import logging
import os
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from securelink import Client, Identity, SecureLinkError, Server
from securelink.limits import HEARTBEAT_SECONDS
from securelink.streams.base import BREAK, Address, Listening, Stream
from securelink.streams.tcp import TCP

from .process import Child
from .ways import Way

PAUSE = 2.0  # seconds between two packets of a session, on average
HANDSHAKE_BYTES = 4_000  # about what a resumed handshake takes in a direction
TALK_BYTES = 100_000  # most that a connection lives
ENDLESS = 2**62
CHURN = 1.0  # sessions a second that end, and begin
LOOK_SECONDS = 5.0
WAIT = 120.0  # for what has to arrive
LAST_SECONDS = 300.0  # for the rest, when the time is over


class FrailStream:
    """
    A stream that breaks after so many bytes, in the middle of whatever they belong to.

    Attributes:
        life: How many are left.
    """

    def __init__(self, stream: Stream, life: int) -> None:
        self._stream = stream
        self.life = life
        self.peer: Address = stream.peer
        self.local: Address = stream.local
        self.at_once = stream.at_once
        self.shutdown, self.fileno = stream.shutdown, stream.fileno
        self.close, self.wait, self.patience = stream.close, stream.wait, stream.patience

    def recv(self, size: int, flags: int, /) -> bytes:
        """As `Stream.recv`."""
        data = self._stream.recv(min(size, max(1, self.life)), flags)
        self._lived(len(data))
        return data

    def send(self, data: bytes | memoryview, flags: int, /) -> int:
        """As `Stream.send`."""
        sent = self._stream.send(data[: max(1, self.life)], flags)
        self._lived(sent)
        return sent

    def _lived(self, size: int) -> None:
        self.life -= size
        if self.life <= 0 and size:
            self._stream.shutdown(BREAK)


class FrailCarrier:
    """
    TCP whose connections break.

    Attributes:
        frail: Whether new ones break.
        stream: The newest one.
        connections: How many there were.
    """

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self.frail = False
        self.stream: FrailStream | None = None
        self.connections = 0

    def listen(self, host: str, port: int, backlog: int) -> list[Listening]:
        """As `Carrier.listen`."""
        return list(TCP.listen(host, port, backlog))

    def local_address(self) -> str:
        """As `Carrier.local_address`."""
        return TCP.local_address()

    def connect(self, host: str, port: int, timeout: float) -> Stream:
        """As `Carrier.connect`."""
        stream = TCP.connect(host, port, timeout)
        self.connections += 1
        most = HANDSHAKE_BYTES if self._dice.random() < 0.2 else TALK_BYTES
        self.stream = FrailStream(stream, self._dice.randrange(1, most) if self.frail else ENDLESS)
        return self.stream


class Talker:
    """One session as its client has it."""

    def __init__(
        self,
        port: int,
        pin: str,
        seed: int,
        *,
        host: str = "127.0.0.1",
        frail: bool = True,
        make: Callable[..., Any] = Client,
    ) -> None:
        self.dice = random.Random(seed)
        self.carrier = FrailCarrier(seed)
        self.client = make(host, port, pin=pin)
        self.client.carrier = self.carrier
        self.up, self.down = Way(), Way()
        self.ended = False
        self.client.on("told", self._told)
        self.client.on_disconnect(self._over)
        self.client.connect(WAIT, retry=True)
        self.carrier.frail = frail
        if frail and self.carrier.stream is not None:
            self.carrier.stream.life = self.dice.randrange(1, TALK_BYTES)

    def _told(self, packet: Any) -> None:
        self.down.take(packet.data)

    def _over(self) -> None:
        self.ended = True

    def say(self) -> None:
        """One packet; the server answers with one."""
        self.client.send("say", self.up.next_data(self.dice), timeout=None)

    def part(self) -> list[str]:
        """Say goodbye; what is not as it was sent, in words."""
        found = [f"down: {word}" for word in self.down.wrong]
        # The last connection lasts: a packet that is larger than what the others let pass must arrive as well.
        self.carrier.frail = False
        if self.carrier.stream is not None:
            self.carrier.stream.life = ENDLESS
        try:
            count = self.client.request("count", timeout=WAIT)
        except SecureLinkError as error:
            return [*found, f"the session ended: {error}"]
        deadline = time.monotonic() + WAIT
        while self.down.seen < count["sent"] and time.monotonic() < deadline:
            time.sleep(0.01)
        found += [f"up: {word}" for word in count["wrong"]]
        if self.ended:
            found.append("the session ended by itself")
        if (count["seen"], self.down.seen) != (self.up.sent, count["sent"]):
            found.append(
                f"{self.up.sent} sent and {count['seen']} arrived, {count['sent']} answered and "
                f"{self.down.seen} arrived"
            )
        unconfirmed = self.client.close(WAIT)
        if unconfirmed:
            found.append(f"{len(unconfirmed)} packets are unconfirmed")
        return found


@dataclass(frozen=True)
class Look:
    """What the server's process has: seconds since the beginning, bytes, threads, descriptors, sessions."""

    at: float
    memory: int
    threads: int
    descriptors: int
    sessions: int


@dataclass
class Soaked:
    """
    What came of it.

    Attributes:
        seconds: How long.
        sessions: That there were.
        connections: Of all of them: each but the first of a session is a resume that was tried.
        packets: That were sent, in both directions.
        wrong: What did not arrive as it was sent, in words.
        looks: At the server's process.
    """

    seconds: float = 0.0
    sessions: int = 0
    connections: int = 0
    packets: int = 0
    wrong: list[str] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)

    @property
    def slope(self) -> float:
        """Bytes an hour by which the server grew in the second half."""
        half = self.looks[len(self.looks) // 2 :]
        if len(half) < 2:
            return 0.0
        fit = statistics.linear_regression([x.at for x in half], [x.memory for x in half])
        return fit.slope * 3600

    def __str__(self) -> str:
        last = self.looks[-1] if self.looks else Look(0, 0, 0, 0, 0)
        middle = self.looks[len(self.looks) // 2] if self.looks else last
        return (
            f"{self.seconds / 60:.1f} minutes, {self.sessions} sessions, {self.connections} connections, "
            f"{self.packets} packets: {len(self.wrong)} not as they were sent\n"
            f"server: {middle.memory / 2**20:.1f} MiB in the middle, {last.memory / 2**20:.1f} at the end "
            f"({self.slope / 2**20:+.2f} an hour), threads {middle.threads} and {last.threads}, "
            f"descriptors {middle.descriptors} and {last.descriptors}, sessions {middle.sessions} and {last.sessions}"
        )


def serve(host: str, heartbeat: float) -> None:
    """The process of the server: prints its port and fingerprint, then what it has for each line that comes."""
    logging.getLogger("securelink").setLevel(logging.ERROR)
    server = Server(host, 0, keys=Identity.generate(), resume=300, heartbeat=heartbeat)

    def say(session: Any, packet: Any) -> None:
        up, down, dice = session.data.setdefault("talk", (Way(), Way(), random.Random(1)))
        up.take(packet.data)
        session.send("told", down.next_data(dice))

    def count(session: Any, packet: Any) -> dict[str, Any]:
        up, down, _ = session.data.setdefault("talk", (Way(), Way(), random.Random(1)))
        return {"seen": up.seen, "sent": down.sent, "wrong": up.wrong[:10]}

    def compute(session: Any, packet: Any) -> None:
        over = time.monotonic() + packet.data
        while time.monotonic() < over:
            sum(range(10_000_000))  # one call, which gives the interpreter to nobody

    server.on("say", say)
    server.on("compute", compute)
    server.on("count", count)
    with server:
        print(server.address[1], server.fingerprint, flush=True)
        for _ in sys.stdin:
            tell(len(server.sessions))


def tell(sessions: int) -> None:
    """Print what this process has, for `_look`."""
    status = Path("/proc/self/status").read_text()
    memory = int(status.split("VmRSS:")[1].split()[0]) * 1024
    numbers = (memory, threading.active_count(), len(os.listdir("/proc/self/fd")))
    print(json.dumps((*numbers, sessions)), flush=True)


def soak(
    minutes: float,
    sessions: int,
    seed: int,
    say: Callable[[str], None] = print,
    *,
    module: str = "benchmarks.soak",
    make: Callable[..., Any] = Client,
) -> Soaked:
    """
    Talk for a while.

    Args:
        minutes: How long.
        sessions: At the same time.
        seed: Chooses packets and bytes.
        say: Gets a line now and then.
        module: Of the server's process.
        make: Makes a client.
    """
    with Child(module) as server:
        port, pin = server.line(WAIT).split()

        def join(seed: int) -> Talker:
            return Talker(int(port), pin, seed, make=make)

        return _soak(minutes, sessions, seed, say, server, join)


def _soak(
    minutes: float,
    sessions: int,
    seed: int,
    say: Callable[[str], None],
    server: Child,
    joined: Callable[[int], Talker],
) -> Soaked:
    dice, outcome = random.Random(seed), Soaked()
    began = looked = churned = time.monotonic()
    talkers: list[Talker] = []

    def join() -> None:
        talkers.append(joined(dice.randrange(2**32)))
        outcome.sessions += 1

    def part(talker: Talker) -> None:
        outcome.wrong += talker.part()
        outcome.connections += talker.carrier.connections
        outcome.packets += talker.up.sent + talker.down.seen

    while time.monotonic() < began + minutes * 60:
        if len(talkers) < sessions:
            join()
        now = time.monotonic()
        if now - churned > 1 / CHURN and len(talkers) == sessions:
            churned = now
            part(talkers.pop(dice.randrange(len(talkers))))
        for talker in dice.choices(talkers, k=1 + len(talkers) // 50):
            talker.say()
        if now - looked > LOOK_SECONDS:
            looked = now
            outcome.looks.append(_look(server, now - began))
            say(f"{outcome.looks[-1]} {outcome.sessions} {outcome.wrong[:3]}")
        time.sleep(PAUSE / 50)
    for talker in talkers:
        part(talker)
    outcome.seconds = time.monotonic() - began
    return outcome


def _look(server: Child, at: float) -> Look:
    server.say()
    memory, threads, descriptors, sessions = json.loads(server.line(WAIT))
    return Look(at, memory, threads, descriptors, sessions)


if __name__ == "__main__":
    serve("127.0.0.1", HEARTBEAT_SECONDS)
