"""A server whose state file cannot grow: one clear error, nothing told that is not kept, and all goes on with room."""

from __future__ import annotations

import sys
from subprocess import PIPE, Popen
from typing import Any

import pytest
from helpers import WAIT, until
from kept import Place
from programs import read_line
from together import channel_of

PACKETS = 400
FILLING = 2_000  # bytes of a packet
ROOM = 300_000  # bytes that each file of the first process may have

SERVE = """
import resource, sys
from securelink import Server, StateError

keys, state, port, room = sys.argv[1:]
server = Server("127.0.0.1", int(port), keys=keys, state=state, resume=60)

@server.on_connect
def greet(session):
    session.data["due"] = 0

@server.on("number")
def number(session, packet):
    session.send("took", [packet.data[0], session.data["due"], packet.data[1]])
    session.data["due"] = packet.data[0] + 1

@server.on_start
def ready():
    if int(room):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(room), int(room)))
    print(server.address[1], flush=True)

@server.on_disconnect
def ended(session):
    print("ended", flush=True)

try:
    server.serve_forever()
except StateError as error:
    print(error, flush=True)
    sys.exit(3)
"""


def started(place: Place, room: int = 0) -> Popen[str]:
    """A server in a process of its own, whose files have no more room than this; it listens."""
    arguments = [str(place.keys), str(place.path), str(place.port), str(room)]
    process = Popen([sys.executable, "-c", SERVE, *arguments], stdout=PIPE, stderr=PIPE, text=True)
    place.port = int(read_line(process) or 0)
    return process


@pytest.mark.cost  # nor can what was measured be written
def test_a_disk_that_is_full(place: Place) -> None:
    """The process ends with the error, and nobody is told of what is not kept; with room nothing is lost or doubled."""
    answers: list[list[Any]] = []
    with started(place, ROOM) as process:
        client = place.client()
        client.on("took", lambda packet: answers.append(packet.data))
        client.connect(WAIT)
        for number in range(PACKETS):
            client.send("number", [number, bytes([number % 251]) * FILLING])
        out, log = process.communicate(timeout=WAIT)
    assert process.returncode == 3
    assert out.startswith(f"cannot write {place.path}: ")
    assert "free some space on that disk" in out
    assert "ended" not in out
    assert log.count("CRITICAL") == 1
    assert "Traceback" not in log
    until(lambda: not client.connected)
    assert 0 < len(answers) < PACKETS
    waiting = {packet.data[0] for packet in channel_of(client).core.unconfirmed()}
    assert waiting >= set(range(len(answers), PACKETS))
    with started(place) as process:
        until(lambda: len(answers) == PACKETS)
        client.close()
        process.terminate()
        process.communicate(timeout=WAIT)
    assert [answer[:2] for answer in answers] == [[number, number] for number in range(PACKETS)]
    assert all(filling == bytes([number % 251]) * FILLING for number, _, filling in answers)
