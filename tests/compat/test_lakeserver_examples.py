"""Lakeserver's document, line by line: its two programs, and the life cycle that it prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from programs import Program
from sources import port_in, program, user_folder

from securelink import Identity
from securelink.streams.sockets import local_address

SERVER = """
from securelink.compat.lakeserver import *

server = Server(5050) # Create new server on port 5050
server.start() # Start server
"""

CLIENT = """
from securelink.compat.lakeserver import *

client = Client("192.168.1.40", 5050) # Create a new client. Change the IP to the server's IP, and use the same port.
client.connect() # Connect client to server
"""

LIFE_CYCLE = r"""

  #####                                        #######
 #     # ###### #####  #    # ###### #####        #    ######  ####  #####
 #       #      #    # #    # #      #    #       #    #      #        #
  #####  #####  #    # #    # #####  #    #       #    #####   ####    #
       # #      #####  #    # #      #####        #    #           #   #
 #     # #      #   #   #  #  #      #   #        #    #      #    #   #
  #####  ###### #    #   ##   ###### #    #       #    ######  ####    #

This is some example code for a server I created using socket. Made by Tequin Lake.


---Starting Server---
[Server INFO] Server IP: 192.168.1.40
[Server INFO] Server PORT: 5050
[Server INFO] Status: Ready
[Server INFO] New Connections: Allow

---Create Clients---
[Client INFO] Status: Ready
[Client INFO] Status: Ready
[Client INFO] Status: Ready

---Connect Client1---
[Client INFO] Status: Connected
[Server INFO] Client Event: Connected

---Sending/receiving client data---
Server data: {('192.168.1.40', 50570): ''}
Server data: {('192.168.1.40', 50570): '1'}
Server data: {('192.168.1.40', 50570): '1'}
Server data: {('192.168.1.40', 50570): '2'}
Server data: {('192.168.1.40', 50570): '6'}
Server data: {('192.168.1.40', 50570): '24'}
Server data: {('192.168.1.40', 50570): '120'}
Server data: {('192.168.1.40', 50570): '720'}
Server data: {('192.168.1.40', 50570): '5040'}
Server data: {('192.168.1.40', 50570): '40320'}
Server data: {('192.168.1.40', 50570): '362880'}
Server data: {('192.168.1.40', 50570): '3628800'}

---Disconnecting clients and shutting down server---
[Server INFO] Status: Starting Shutdown
[Client INFO] Status: Disconnecting
[Server INFO] Client Event: Disconnected
[Client INFO] Status: Disconnected
[Server INFO] Status: Shutdown
[Server INFO] New Connections: Deny

---Restarting server---
[Server INFO] Server IP: 192.168.1.40
[Server INFO] Server PORT: 5050
[Server INFO] Status: Ready
[Server INFO] New Connections: Allow

---Connecting 3 clients---
[Client INFO] Status: Connected
[Server INFO] Client Event: Connected
[Client INFO] Status: Connected
[Server INFO] Client Event: Connected
[Client INFO] Status: Connected
[Server INFO] Client Event: Connected

---Display server data---
Server data: {('192.168.1.40', 50573): '', ('192.168.1.40', 50574): '', ('192.168.1.40', 50575): ''}

---Client1 disconnects---
[Client INFO] Status: Disconnecting
[Client INFO] Status: Disconnected
[Server INFO] Client Event: Disconnected

---Display updated server data---
Server data: {('192.168.1.40', 50574): '', ('192.168.1.40', 50575): ''}

---Example error: Attempted to start running server---
[Server WARNING] Error: Server is currently active, shutdown the server before starting

---Disable [INFO] and [WARNING] messages---
Example error output for starting server:

---Enable [INFO] and [WARNING] messages---

---Disconnecting all clients and shutting down server---
[Server INFO] Status: Starting Shutdown
[Client INFO] Status: Disconnecting
[Client INFO] Status: Disconnecting
[Server INFO] Client Event: Disconnected
[Client INFO] Status: Disconnected
[Server INFO] Client Event: Disconnected
[Client INFO] Status: Disconnected
[Server INFO] Status: Shutdown
[Server INFO] New Connections: Deny

Press Enter to close...
"""


def lines(text: str) -> list[str]:
    """Lines without what differs from run to run: addresses."""
    text = re.sub(r"\d+\.\d+\.\d+\.\d+", "ADDRESS", text)
    text = re.sub(r"Server PORT: \d+", "Server PORT: PORT", text)
    clients: dict[str, str] = {}
    text = re.sub(
        r"(?<=', )\d+(?=\))", lambda m: clients.setdefault(m[0], f"PORT{len(clients)}"), text
    )
    return text.splitlines()


def with_the_end_sorted(lines: list[str]) -> list[str]:
    """At the end two clients leave at once, six lines of three threads: each client's are in order, theirs are not."""
    start = len(lines) - lines[::-1].index("[Server INFO] Status: Starting Shutdown")
    return [*lines[:start], *sorted(lines[start : start + 6]), *lines[start + 6 :]]


@pytest.fixture
def folder(tmp_path: Path, identity: Identity) -> Path:
    """Where the programs run."""
    return user_folder(tmp_path, identity)


@pytest.fixture
def port(folder: Path, identity: Identity) -> int:
    """Where the server listens."""
    return port_in(folder, identity, local_address())


def test_three_lines_make_a_server_and_four_a_client(folder: Path, port: int) -> None:
    """The first two listings: a server that goes on serving, and a client that it sees come and go."""
    with program(SERVER, folder, {"5050": str(port)}) as server:
        server.prints(r"New Connections: Allow\n")
        assert lines(server.output) == lines(LIFE_CYCLE)[14:18]
        with program(
            CLIENT, folder, {"192.168.1.40": local_address(), "5050": str(port)}
        ) as client:
            assert client.ends() == 0
            assert client.output == "[Client INFO] Status: Ready\n[Client INFO] Status: Connected\n"
        server.prints(r"Client Event: Connected\n\[Server INFO\] Client Event: Disconnected\n\Z")


def test_the_end_of_a_program_is_no_fault_of_the_server(folder: Path, port: int) -> None:
    """A program that takes its time to end has said goodbye before: it does not complain of a lost server then."""
    slow = "import atexit, time\natexit.register(time.sleep, 1)  # the last to be called\n"
    with program(SERVER, folder, {"5050": str(port)}) as server:
        server.prints(r"New Connections: Allow\n")
        with program(
            slow + CLIENT, folder, {"192.168.1.40": local_address(), "5050": str(port)}
        ) as client:
            server.prints(r"Client Event: Disconnected\n\Z")
            assert client.ends() == 0
            assert client.output == "[Client INFO] Status: Ready\n[Client INFO] Status: Connected\n"


def test_the_life_cycle_is_as_printed(folder: Path, port: int) -> None:
    """Start, data, shutdown, restart, three clients, disconnect, switches, shutdown: the document's lines in order."""
    file = Path(__file__).parent / "programs" / "lakeserver_life_cycle.py"
    with Program(file, str(port), folder=folder) as demo:
        demo.prints("Press Enter to close")
        demo.types("\n")
        assert demo.ends() == 0
    printed = lines(demo.output)
    assert with_the_end_sorted(printed) == with_the_end_sorted(lines(LIFE_CYCLE)[1:])
    last = [line.removeprefix("[Client INFO] Status: ") for line in printed[-10:-4]]
    assert (last[0], last[-1]) == ("Disconnecting", "Disconnected")
