"""
A client that is killed and comes back, again and again, with one file for its session.

    python mortal_client.py PORT FOLDER

A line on standard input begins a life: a fork of this process, which has imported everything and does nothing else. It
prints the number of the process, and its exit code when it has ended. A life writes down each packet that it handles,
and sends numbered ones, until it is killed or a packet tells it to end.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from pathlib import Path
from typing import Any

from securelink import Client

WAIT = 60.0


def live(life: int, port: int, folder: Path) -> None:
    """From `connect()` until the packet `end` comes."""
    log = os.open(folder / "handled", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    over = threading.Event()

    begun: list[str] = []

    def take(packet: Any) -> None:
        os.write(log, f"{life} {begun[0]} {packet.data[0]}\n".encode())

    by_turns = bool(life % 2)
    client = Client(
        "127.0.0.1", port, session=folder / "session", known_servers=folder / "known",
        handlers="update" if by_turns else "background",
    )  # fmt: skip
    client.on("push", take)
    client.on("end", lambda packet: over.set())
    client.on_connect(lambda: begun.append("new"))
    client.on_resume(lambda replayed: begun.append("resumed"))
    client.connect(WAIT)
    number = 0
    while not over.is_set():
        client.send("say", [life, number, bytes(random.randrange(1500))])
        number += 1
        if by_turns:
            client.update()
        over.wait(random.random() * 0.002)
    left = client.close(WAIT)
    os._exit(0 if not left else 1)


def main(port: int, folder: Path) -> None:
    """A life for each line."""
    for life, _ in enumerate(sys.stdin):
        process = os.fork()
        if not process:
            try:
                live(life, port, folder)
            finally:
                os._exit(2)
        print(process, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
