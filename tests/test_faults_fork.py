"""fork(): both processes would seal with the same keys and nonces, so in the child every session is dead."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("tidy")

ROOT = Path(__file__).parents[1]

START = """
import os, sys, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # later Pythons warn that threads and fork() do not mix
from securelink import *

def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\\n")  # at once: two processes write
    sys.stdout.flush()

def attempt(call):
    began = time.monotonic()
    try:
        say(call())
    except Exception as error:
        say(type(error).__name__, "-", error)
    assert time.monotonic() - began < 4, "that waited for a timeout"

heard = []
identity = Identity.generate(2048)
server = Server("127.0.0.1", 0, keys=identity)
server.on("echo", lambda session, packet: packet.data)
server.on("say", lambda session, packet: heard.append(packet.data))
server.start()
port = server.address[1]
client = Client(server.invite()).connect()
assert client.request("echo", 1) == 1
(session,) = server.sessions.values()
"""

END = """
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
for number in range(5):
    assert client.request("echo", number) == number
assert client.connected and len(server.sessions) == 1
assert client.close() == []
assert server.stop()
say("the parent has heard", heard)
"""


def lines(program: str, folder: Path) -> list[str]:
    """What a program prints; it must end well."""
    done = subprocess.run(
        [sys.executable, "-c", START + program + END],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_every_call_of_the_child_says_why(tmp_path: Path) -> None:
    """In the child all sessions of both roles have ended, with the reason; the parent's never notice."""
    said = lines(
        """
child = os.fork()
if not child:
    attempt(lambda: client.send("say", "from the child"))
    attempt(lambda: client.receive(5))
    attempt(client.poll)
    attempt(lambda: client.request("echo", 1))
    attempt(client.ping)
    attempt(lambda: session.send("say", "from the child"))
    say(client.connected, session.connected, server.running, len(server.sessions))
    say(server.broadcast("say", "from the child"), client.close(), server.stop())
    os._exit(0)
""",
        tmp_path,
    )
    dead = (
        "ConnectionClosed - the session is over: this process is a fork of the one that opened it"
    )
    assert said == [
        *[f"{dead}; call connect() for a new session"] * 5,
        dead,
        "False False False 0",
        "0 [] True",
        "the parent has heard []",
    ]


def test_the_child_can_begin_anew(tmp_path: Path) -> None:
    """The child may open sessions of its own, as a client of the parent's server and as another server."""
    said = lines(
        """
child = os.fork()
if not child:
    client.connect()
    assert client.request("echo", "from the child") == "from the child"
    client.send("say", "from the child")
    client.close()
    with Server("127.0.0.1", 0, keys=identity) as own, Client(own.invite()) as guest:
        say("own server:", guest.connected, len(own.sessions))
    server.port = 0
    with server, Client(server.invite()) as guest:
        say("the same server, here:", guest.request("echo", 2))
    os._exit(0)
""",
        tmp_path,
    )
    assert said == [
        "own server: True 1",
        "the same server, here: 2",
        "the parent has heard ['from the child']",
    ]


def test_the_child_keeps_no_socket_of_the_parent(tmp_path: Path) -> None:
    """While a child lives on, the parent can end its sessions and start again on the same port."""
    said = lines(
        """
read, write = os.pipe()
child = os.fork()
if not child:
    os.close(write)
    os.read(read, 1)
    os._exit(0)
assert server.stop()
try:
    client.receive(5)
except ConnectionClosed as error:
    say(error)
server.port = port
server.start()
client = Client(server.invite()).connect()
os.close(write)
""",
        tmp_path,
    )
    assert said == [
        "the session is over: the server is shutting down; connect(retry=True) waits until it is back",
        "the parent has heard []",
    ]


def test_a_fork_inside_a_handler(tmp_path: Path) -> None:
    """A handler may fork; its child has no session either, and the handler of the parent goes on."""
    said = lines(
        """
child = 0
def fork(session, packet):
    global child
    child = os.fork()
    if not child:
        attempt(lambda: session.send("say", "from the child"))
        attempt(lambda: client.send("say", "from the child"))
        os._exit(0)
    return "forked"
server.on("fork", fork)
say(client.request("fork"))
""",
        tmp_path,
    )
    dead = (
        "ConnectionClosed - the session is over: this process is a fork of the one that opened it"
    )
    assert sorted(said) == [
        dead,
        f"{dead}; call connect() for a new session",
        "forked",
        "the parent has heard []",
    ]
