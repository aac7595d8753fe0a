"""
Connections are cut at random bytes, in both directions, while sessions talk: is anything lost, doubled or out of order?

    .venv/bin/python -m benchmarks.survive                    # 10,000 cuts under 20 sessions: some minutes
    .venv/bin/python -m benchmarks.survive --cuts 200 --sessions 4 --seed 7
    .venv/bin/python -m benchmarks.survive --kills 200        # kill -9 and restart of a server instead, see mortal.py
    .venv/bin/python -m benchmarks.survive --faults           # stopped processes, pulled cables: four minutes
    .venv/bin/python -m benchmarks.survive --soak 60          # minutes, under 500 sessions that come and go

Over real sockets of this machine, each session through a relay of its own. Half of the places lie in the handshake, so
that attempts to resume are cut as well. The exit code is 1 when something is not as it was sent.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

from securelink import Client, Identity, Server, Session
from securelink.limits import HEARTBEAT_SECONDS
from securelink.testing import Relay

from . import soak_asyncio
from .faults import BETWEEN_NETWORKS, IN_FULL, suffer, suffer_apart, way_to_networks
from .mortal import outlive
from .soak import soak
from .ways import Way

HANDSHAKE_BYTES = 4_000  # about what a resumed handshake takes in a direction
TALK_BYTES = 40_000
PAUSE = 0.002  # seconds between two packets of a side
MOST_GUESTS = 5  # of a server that is killed: each hears all others
END_SECONDS = 120.0  # for what is under way when the last connection was cut


class Talk:
    """One session, its relay, and what both sides say."""

    def __init__(self, server: Server, identity: Identity, seed: int) -> None:
        self.dice = random.Random(seed)
        self.relay = Relay("127.0.0.1", server.address[1]).start()
        self.client = Client("127.0.0.1", self.relay.port, pin=identity.fingerprint)
        self.up, self.down = Way(), Way()
        self.cuts = 0
        self.ends = 0
        self._server = server

        @self.client.on("told")
        def told(packet: Any) -> None:
            self.down.take(packet.data)

        @self.client.on_disconnect
        def ended() -> None:
            self.ends += 1

        self.client.connect(30)

    @property
    def session(self) -> Session:
        """The server's end."""
        return self._server.sessions[self.client.token]

    def speak(self, over: threading.Event) -> None:
        """Send packets from both sides, one after the other."""
        session = self.session
        while not over.wait(PAUSE):
            self.client.send("say", self.up.next_data(self.dice), timeout=None)
            session.send("told", self.down.next_data(self.dice), timeout=None)

    def disturb(self, over: threading.Event, most: int) -> None:
        """Cut connection after connection, each at a place of its own."""
        dice, relay = random.Random(self.dice.random()), self.relay
        while self.cuts < most and not over.is_set():
            connection = relay.connections
            flow = dice.choice((relay.to_server, relay.to_client))
            room = HANDSHAKE_BYTES if dice.random() < 0.5 else TALK_BYTES
            flow.cut_after = dice.randrange(room)
            while relay.connections == connection and not over.wait(0.001):
                pass
            flow.cut_after = None
            relay.forget()
            self.cuts += 1

    @property
    def complete(self) -> bool:
        """Whether all that was sent has arrived."""
        return self.up.seen >= self.up.sent and self.down.seen >= self.down.sent


@dataclass(frozen=True)
class Outcome:
    """
    What came of it.

    Attributes:
        cuts: Connections that were cut.
        packets: That were sent, in both directions.
        wrong: What did not arrive as it was sent, in words.
        seconds: How long it took.
    """

    cuts: int
    packets: int
    wrong: list[str]
    seconds: float


def survive(sessions: int, cuts: int, seed: int) -> Outcome:
    """
    Cut that many connections under that many sessions.

    Args:
        seed: Chooses places and packets; threads choose the rest.
    """
    identity = Identity.generate()
    server = Server("127.0.0.1", 0, keys=identity, resume=300)
    talks: dict[str, Talk] = {}
    server.on("say", lambda session, packet: talks[session.token].up.take(packet.data))
    silent, quiet = threading.Event(), threading.Event()
    began = time.monotonic()
    with server:
        for number in range(sessions):
            talk = Talk(server, identity, seed + number)
            talks[talk.client.token] = talk
            while talk.client.token not in server.sessions:
                time.sleep(0.001)
        each = -(-cuts // sessions)
        speakers = [threading.Thread(target=t.speak, args=(silent,)) for t in talks.values()]
        cutters = [threading.Thread(target=t.disturb, args=(quiet, each)) for t in talks.values()]
        for thread in (*speakers, *cutters):
            thread.start()
        for thread in cutters:
            thread.join()
        silent.set()
        for thread in speakers:
            thread.join(END_SECONDS)
        deadline = time.monotonic() + END_SECONDS
        while not all(t.complete for t in talks.values()) and time.monotonic() < deadline:
            time.sleep(0.01)
        wrong = [word for talk in talks.values() for word in _wrong(talk)]
        seconds = time.monotonic() - began
        for talk in talks.values():
            talk.client.close()
            talk.relay.stop()
    packets = sum(talk.up.sent + talk.down.sent for talk in talks.values())
    return Outcome(sum(talk.cuts for talk in talks.values()), packets, wrong, seconds)


def _wrong(talk: Talk) -> list[str]:
    found = [f"up: {word}" for word in talk.up.wrong] + [
        f"down: {word}" for word in talk.down.wrong
    ]
    for name, way in (("up", talk.up), ("down", talk.down)):
        if way.seen < way.sent:
            found.append(f"{name}: {way.sent - way.seen} of {way.sent} did not arrive")
    if talk.ends:
        found.append(f"the session ended: {talk.client.reason}")
    return found


def _outlived(guests: int, kills: int, seed: int, sync: str) -> int:
    began = time.monotonic()
    packets, wrong = outlive(guests, kills, seed, sync)
    seconds = time.monotonic() - began
    print(f"{kills} kills, {packets} packets of {guests} clients, {seconds:.0f} s: ", end="")
    print("all as it was sent" if not wrong else f"{len(wrong)} faults")
    for word in wrong[:20]:
        print(" ", word)
    return bool(wrong)


def _faults() -> int:
    failed = False
    before, no_networks = way_to_networks()
    for fault, seconds in IN_FULL.items():
        between = fault in BETWEEN_NETWORKS
        reason = no_networks if between else ""
        if between and before:
            wrong = suffer_apart(fault, seconds, HEARTBEAT_SECONDS, before)
        else:
            wrong = [] if reason else suffer(fault, seconds, HEARTBEAT_SECONDS)
        said = f"NOT DONE: {reason}" if reason else f"{len(wrong)} not as they were sent"
        print(f"{fault.__name__}, {seconds:g} s: {said}")
        for word in wrong[:20]:
            print(" ", word)
        failed = failed or bool(wrong or reason)
    return 1 if failed else 0


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=10_000)
    parser.add_argument("--sessions", type=int, help="20; of a soak 500")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--sync", default="turn", choices=("turn", "10ms", "os"))
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="talk for so long")
    parser.add_argument(
        "--asyncio",
        default="",
        choices=("server", "clients"),
        help="of a soak: which side has no threads",
    )
    parser.add_argument("--faults", action="store_true", help="processes and networks that fail")
    asked = parser.parse_args()
    logging.getLogger("securelink").setLevel(logging.ERROR)  # each cut is three lines otherwise
    if asked.faults:
        return _faults()
    if asked.soak:
        soaked = soak(
            asked.soak,
            asked.sessions or 500,
            asked.seed,
            module="benchmarks.soak_asyncio" if asked.asyncio == "server" else "benchmarks.soak",
            make=soak_asyncio.clients() if asked.asyncio == "clients" else Client,
        )
        print(soaked)
        for word in soaked.wrong[:20]:
            print(" ", word)
        return 1 if soaked.wrong else 0
    if asked.kills:
        return _outlived(
            min(asked.sessions or MOST_GUESTS, MOST_GUESTS), asked.kills, asked.seed, asked.sync
        )
    outcome = survive(asked.sessions or 20, asked.cuts, asked.seed)
    print(
        f"{outcome.cuts} connections cut, {outcome.packets} packets sent, {outcome.seconds:.0f} s: "
        f"{len(outcome.wrong)} not as they were sent"
    )
    for word in outcome.wrong[:20]:
        print(" ", word)
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
