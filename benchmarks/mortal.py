"""
A server is killed with `kill -9` again and again, while its clients talk: is anything lost, doubled or out of order?

    .venv/bin/python -m benchmarks.survive --kills 200

The server is a process of its own, with its sessions in a file. Each packet of a client is counted in `session.data`,
answered, and told to all in a room, in one handler; clients check answers and what was heard, by number and sender.
"""

from __future__ import annotations

import argparse
import logging
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from securelink import Client, Identity, Server, Session
from securelink.keys import load_or_create

START_SECONDS = 60.0
END_SECONDS = 120.0
PAUSE = 0.003  # seconds between two packets of a client
LONGEST_LIFE = 0.6  # seconds between the word that it is ready and the signal
MOST_FILLING = 2_000  # bytes


def serve(folder: Path, port: int, sync: str) -> None:
    """The server's process. Its handlers keep count where the store keeps it, too."""
    server = Server(
        "127.0.0.1", port, keys=folder / "keys", state=folder / "state.db", state_sync=sync, resume=300
    )  # fmt: skip

    @server.on_connect
    def greet(session: Session) -> None:
        session.data["next"] = 0
        session.join("everybody")

    @server.on("say")
    def say(session: Session, packet: Any) -> None:
        number, expected = packet.data["number"], session.data["next"]
        session.data["next"] = number + 1
        answer = {"number": number, "expected": expected, "filling": packet.data["filling"]}
        session.send("said", answer)
        heard = {"who": session.token, "number": number}
        server.room("everybody").broadcast("heard", heard, exclude=[session])

    server.on_start(lambda: print("ready", flush=True))
    server.serve_forever()


class Mortal:
    """The process."""

    def __init__(self, folder: Path, sync: str = "turn") -> None:
        self.folder = folder
        self.sync = sync
        with socket.create_server(("127.0.0.1", 0)) as place:
            self.port: int = place.getsockname()[1]
        self.kills = 0
        identity, _ = load_or_create(folder / "keys", "server")
        self.identity: Identity = identity
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        arguments = [str(self.folder), str(self.port), self.sync]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.mortal", *arguments], stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            raise RuntimeError("the server did not start")

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self.kills += 1


class Guest:
    """A client that talks, and checks what it hears."""

    def __init__(self, mortal: Mortal, seed: int) -> None:
        self.dice = random.Random(seed)
        self.client = Client("127.0.0.1", mortal.port, pin=mortal.identity.fingerprint)
        self.wrong: list[str] = []
        self.sent = self.answered = 0
        self.heard: dict[str, int] = defaultdict(int)
        self.ends = 0
        self.client.on("said", self._said)
        self.client.on("heard", self._heard)
        self.client.on_disconnect(self._ended)
        self.client.connect(START_SECONDS)
        self.token = self.client.token

    def _ended(self) -> None:
        self.ends += 1
        self.wrong.append(f"the session ended: {self.client.reason}")

    def _said(self, packet: Any) -> None:
        number = packet.data["number"]
        if number != self.answered:
            self.wrong.append(f"the answer to {number} came in the place of {self.answered}")
        if packet.data["expected"] != number:
            self.wrong.append(f"the server took {number} in the place of {packet.data['expected']}")
        if packet.data["filling"] != bytes([number % 251]) * len(packet.data["filling"]):
            self.wrong.append(f"the answer to {number} has other content")
        self.answered = number + 1

    def _heard(self, packet: Any) -> None:
        who, number = packet.data["who"], packet.data["number"]
        if number != self.heard[who]:
            self.wrong.append(f"{number} of {who} was heard in the place of {self.heard[who]}")
        self.heard[who] = number + 1

    def speak(self, over: threading.Event) -> None:
        """Send one packet after the other."""
        while not over.wait(PAUSE):
            filling = bytes([self.sent % 251]) * self.dice.randrange(MOST_FILLING)
            self.client.send("say", {"number": self.sent, "filling": filling}, timeout=None)
            self.sent += 1


def outlive(
    guests: int,
    kills: int,
    seed: int,
    sync: str = "turn",
    how: signal.Signals = signal.SIGKILL,
) -> tuple[int, list[str]]:
    """
    Kill the server so often.

    Args:
        how: By SIGKILL it dies; by SIGTERM or SIGINT it hands its sessions over.

    Returns:
        How many packets were sent by clients, and what was wrong, in words.
    """
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "kept"
        folder.mkdir(mode=0o700)
        mortal = Mortal(folder, sync)
        mortal.start()
        all_here = [Guest(mortal, seed + number) for number in range(guests)]
        over = threading.Event()
        speakers = [threading.Thread(target=guest.speak, args=(over,)) for guest in all_here]
        for thread in speakers:
            thread.start()
        for _ in range(kills):
            time.sleep(dice.random() * LONGEST_LIFE)
            mortal.kill(how)
            mortal.start()
        over.set()
        for thread in speakers:
            thread.join(END_SECONDS)
        deadline = time.monotonic() + END_SECONDS
        while not all(map(_complete, [all_here] * guests, all_here)):
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        wrong = [word for guest in all_here for word in _wrong(all_here, guest)]
        for guest in all_here:
            guest.client.close()
        mortal.kill(signal.SIGTERM)
    return sum(guest.sent for guest in all_here), wrong


def _complete(guests: list[Guest], one: Guest) -> bool:
    others = [guest for guest in guests if guest is not one]
    return one.answered >= one.sent and all(
        one.heard[guest.token] >= guest.sent for guest in others
    )


def _wrong(guests: list[Guest], one: Guest) -> list[str]:
    found = list(one.wrong)
    if one.answered < one.sent:
        found.append(f"{one.sent - one.answered} of {one.sent} were not answered")
    for guest in guests:
        if guest is not one and one.heard[guest.token] < guest.sent:
            missing = guest.sent - one.heard[guest.token]
            found.append(f"{missing} of {guest.sent} of another one were not heard")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("sync")
    asked = parser.parse_args()
    logging.getLogger("securelink").setLevel(logging.ERROR)
    serve(asked.folder, asked.port, asked.sync)
