"""A server is killed while handlers run: its sessions go on, and what begins behind one of them waits for that."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import WAIT, until
from ports import free_port
from programs import Program

from securelink import Client, Identity
from securelink.testing import Relay

SERVER = """
import pathlib, sys, time
from securelink import Server

port, encryption = int(sys.argv[1]), sys.argv[2]
server = Server("127.0.0.1", port, state="sessions.db", resume=60, encryption=encryption)

def tell(text):
    with open("told", "a") as told:
        print(text, file=told)

@server.on("n")
def number(session, packet):
    while not pathlib.Path("go").exists():
        time.sleep(0.01)
    tell(packet.data)

server.on_connect(lambda session: tell("connect"))
server.on_resume(lambda session, replayed: tell("resume"))
server.on_disconnect(lambda session: tell(session.code.name))
server.serve_forever()
"""


class Scene:
    """A server that is killed and started again, and a client of it behind a relay."""

    def __init__(self, folder: Path, identity: Identity, encryption: str) -> None:
        identity.save(folder / "keys", "server")
        (folder / "server.py").write_text(SERVER)
        self.folder = folder
        port = free_port()
        self._command = ("server.py", str(port), encryption)
        self.relay = Relay("127.0.0.1", port).start()
        pin = identity.fingerprint if encryption == "required" else None
        self.client = Client("127.0.0.1", self.relay.port, pin=pin, encryption=encryption)
        self.back: list[int] = []
        self.client.on_resume(self.back.append)

    def start(self) -> Program:
        """The server."""
        program = Program(*self._command, folder=self.folder)
        program.prints("Status: Ready")
        return program

    def resume(self) -> None:
        """Let the connection break, and the session go on."""
        before = len(self.back)
        self.relay.cut()
        until(lambda: len(self.back) > before)

    @property
    def told(self) -> list[str]:
        """By the handlers, in order."""
        path = self.folder / "told"
        words = path.read_text().split() if path.exists() else []
        return [word for word in words if word != "resume"]


@pytest.fixture(params=["required", "off"])
def scene(request: pytest.FixtureRequest, tmp_path: Path, identity: Identity) -> Iterator[Scene]:
    """One, in both modes."""
    scene = Scene(tmp_path, identity, request.param)
    yield scene
    scene.client.close()
    scene.relay.stop()


def kill(program: Program) -> None:
    """At once."""
    program.signals(signal.SIGKILL)
    program.ends()


def test_behind_a_session_of_the_process_before(scene: Scene) -> None:
    """All of the old session's packets are handled, and its end is told, before the new one begins."""
    client, relay = scene.client, scene.relay
    with scene.start() as first:
        client.connect(WAIT)
        for number in range(3):
            client.send("n", number)
        client.ping(WAIT)
        scene.resume()  # the server has said what it has: it is in the file
        until(lambda: scene.told == ["connect"])  # a ping is answered before handlers begin
        target, relay.target = relay.target, ("127.0.0.1", 1)
        relay.cut()
        until(lambda: not client.connected)
        client.close()
        kill(first)
    assert scene.told == ["connect"]
    relay.target = target
    with scene.start():
        client.connect(WAIT)
        client.send("n", 3)
        client.ping(WAIT)
        assert scene.told == ["connect"]
        (scene.folder / "go").touch()
        until(lambda: len(scene.told) >= 7)
        assert scene.told == ["connect", "0", "1", "2", "NORMAL", "connect", "3"]


def test_a_session_that_was_resumed_while_its_handler_ran(scene: Scene) -> None:
    """The ticket that its client got then is in the file, though what the handler does is not yet."""
    client = scene.client
    with scene.start() as first:
        client.connect(WAIT)
        token = client.token
        client.send("n", 0)
        client.ping(WAIT)
        scene.resume()
        scene.resume()  # each has a ticket of its own
        until(lambda: scene.told == ["connect"])  # a ping is answered before handlers begin
        kill(first)
    (scene.folder / "go").touch()
    with scene.start():
        client.send("n", 1)
        until(lambda: len(scene.told) >= 3)
        assert scene.told == ["connect", "0", "1"]
        assert client.token == token
