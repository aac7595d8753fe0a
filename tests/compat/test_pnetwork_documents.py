"""The programs in the document of pnetwork: as printed, only their import lines changed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import until
from running import Program, fixed_port, keys_for

from securelink import Identity

# "Start a server" and "Start a client".
SERVER = """\
from pnetwork import coreserver
s = coreserver.Server()
s.start()
"""

CLIENT = """\
from pnetwork import coreclient
c = coreclient.Client()
c.start()
"""

# "Example of creating a custom packet on the server side"; and a line that shows what came of it.
CREATE = """\
from network import coreserver

s = coreserver.Server()
s.start()

packet = \\
s.createPacket("PACKETNAME",{
    'example':"this is a message",
    'data' : "this is also data"
})
print(packet.decode())
"""

# "Example of registering a new action". The document's program uses Bind without importing it.
BIND = """\
from network import coreserver
from network.core import Bind

s = coreserver.Server()
s.start()

class  testAction(Bind):
    def  __init__(self,name,*args):
	    super().__init__(name,*args)
	    self.test =  "test"
	    
	    
    def  run(self,data="yeet"):
	    print(self.test)
	    

s.bindAction("[PACKET NAME]",testAction("trigger test"))
print("bound")
"""  # noqa: E101, W293

# A client that sends what the server above waits for; its first three lines are the document's.
SENDER = (
    CLIENT
    + """\
c.SendPacketForAll(c.createPacket("[PACKET NAME]"))
c.stop()
"""
)

# "Coretools", with the instance and the display name that the document leaves open.
CONSOLE = """\
from pnetwork import coreserver
s = coreserver.Server()
s.start()
from pnetwork import coretools
ct = coretools.CLI(s,"[OPTIONAL DISPLAYNAME]")
ct.processCommand()
print("after the console")
"""


def moved(source: str) -> str:
    """A program with its import lines changed, and nothing else."""
    return re.sub(r"(?m)^from p?network", "from securelink.compat.pnetwork", source)


@pytest.fixture
def folder(tmp_path: Path, identity: Identity) -> Iterator[Path]:
    """A folder with a server's key; port 25565 is ours meanwhile."""
    keys_for(tmp_path, identity)
    with fixed_port(25565):
        yield tmp_path


def test_the_server_and_the_client(folder: Path) -> None:
    """Three lines each: both go on running, and the server serves one client after the other."""
    with Program(moved(SERVER), folder) as server:
        server.expect("Server PORT: 25565")
        for count in (1, 2):
            with Program(moved(CLIENT), folder) as client:
                client.expect("Connected to server")
                client.expect("New connection stored")
                server.expect("New connection stored.*Connections: 1$")
                assert client.process.poll() is None
                assert client.output == [], count
            server.expect("disconnected")
        assert server.process.poll() is None
        assert not [line for line in server.errors if "Traceback" in line]


def test_a_client_waits_for_its_server(folder: Path) -> None:
    """The client may be started first."""
    with Program(moved(CLIENT), folder) as client:
        client.expect("Could not connect")
        with Program(moved(SERVER), folder):
            client.expect("Connected to server")


def test_creating_a_packet(folder: Path) -> None:
    """The full packet has the four fields of the document, in its order."""
    with Program(moved(CREATE), folder) as program:
        packet = json.loads(program.expect("PACKETNAME"))
    assert list(packet) == ["action", "data", "packet-created", "token"]
    assert packet["action"] == "PACKETNAME"
    assert packet["data"] == {"example": "this is a message", "data": "this is also data"}
    assert packet["packet-created"] > 1_600_000_000
    assert re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", packet["token"])


def test_registering_an_action(folder: Path) -> None:
    """Each packet with the bound name prints `test`, whichever client sends it; none is lost."""
    with Program(moved(BIND), folder) as server:
        server.expect("^bound$")
        for count in (1, 2):
            with Program(moved(SENDER), folder) as sender:
                assert sender.finish() == 0
            server.expect("^test$")
            assert server.output == ["bound"] + ["test"] * count


def test_the_console(folder: Path) -> None:
    """It shows its name, runs commands while clients come, and `stop` really stops: the program goes on and ends."""
    with Program(moved(CONSOLE), folder) as program:
        program.expect(r"^###### CoreTools CLI \| \[OPTIONAL DISPLAYNAME\] ######$")
        for command, answer in {
            "help": "^disconnect UUID$",
            "nonsense": "unknown command$",
            "threads": "RegisterNewConnections$",
            "trigger nothing": "Error occured in command check your typing",
        }.items():
            program.type(command)
            program.expect(answer)
        with Program(moved(CLIENT), folder) as client:
            client.expect("New connection stored")
            program.type("list")
            program.expect(r"<Session .*127\.0\.0\.1")
            program.type("stop")
            program.expect("after the console$")
            assert program.finish() == 0
            assert client.finish() == 0
        until(lambda: not [line for line in program.errors if "Traceback" in line])
