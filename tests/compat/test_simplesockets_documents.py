"""The programs in the document of simplesockets: as printed, only their import lines changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Program, fixed_port, keys_for

from securelink import Identity

# The document's complete server. The comments and the blank behind `setup(...)` are the document's.
ECHO_SERVER = """\
from simplesockets.simplesockets import TCPServer

Server = TCPServer()
Server.setup(ip='127.0.0.1',port=9999) 
Server.start() 

while True:
    if Server.new_data_recved: #checks if any data recved
        recved_data = Server.return_recved_data() #returns the recved data as a list
        for data_element in recved_data:
            client_socket, address, data = data_element 
            Server.send_data(data, client_socket)
            Server.disconnect(client_socket)
"""  # noqa: W291

# Its complete client.
ECHO_CLIENT = """\
from simplesockets.simplesockets import TCPClient

Client = TCPClient() 
Client.setup(target_ip='localhost', target_port=9999) # more options: listen=5, recv_buffer=2048, handle_client=None
Client.start()

Client.connect()
Client.autorecv()

Client.send_data(b'Test')
while True:
  if Client.event.new_data: 
    recved_data = Client.return_recved_data()
    for data_element in recved_data:
      print(data_element)
"""  # noqa: W291

# "Setting up and starting the Server", alone.
SETUP = """\
from simplesockets.simplesockets import TCPServer

Server = TCPServer() # you could specify the max amount of conections
Server.setup(ip="127.0.0.1", port=9999) # more options: listen=5, recv_buffer=2048, handle_client=None
Server.start()
"""

# The server that the document builds step by step: the step above and these, joined.
STEPWISE_SERVER = (
    SETUP
    + """\
while True:
    if Server.event.new_data:
        recved_data = Server.return_recved_data()
        for data_element in recved_data:
            clientsocket, address, data = data_element
            Server.send_data(data, clientsocket)
            Server.disconnect(clientsocket)
"""
)

# The client, step by step. Two lines cannot be parsed as printed: a quote is missing after `b'Test`, and
# `recved_data = ...` stands to the left of its block.
STEPWISE_CLIENT = """\
from simplesockets.simplesockets import TCPClient

Client = TCPClient() 
Client.setup(target_ip='localhost', target_port=9999) # more options: listen=5, recv_buffer=2048, handle_client=None
Client.connect()
Client.autorecv()
Client.send_data(b'Test')
while True:
  if Client.event.new_data: 
    recved_data = Client.return_recved_data()
    for data_element in recved_data:
      print(data_element)
"""  # noqa: W291


def moved(source: str, module: str = "simplesockets") -> str:
    """A program with its import lines changed, and nothing else."""
    old = "from simplesockets.simplesockets import "
    return source.replace(old, f"from securelink.compat.simplesockets.{module} import ")


@pytest.fixture
def folder(tmp_path: Path, identity: Identity) -> Iterator[Path]:
    """A folder with a server's key; port 9999 is ours meanwhile."""
    keys_for(tmp_path, identity)
    with fixed_port(9999):
        yield tmp_path


@pytest.mark.parametrize(
    ("server", "client", "module"),
    [
        pytest.param(ECHO_SERVER, ECHO_CLIENT, "simplesockets", id="complete"),
        pytest.param(STEPWISE_SERVER, STEPWISE_CLIENT, "simple_sockets", id="step by step"),
    ],
)
def test_the_echo_server_and_its_client(
    folder: Path, server: str, client: str, module: str
) -> None:
    """The client prints what it sent, once; the server sends it back and disconnects that client."""
    with Program(moved(server, module), folder) as serving:
        serving.expect("New Connections: Allow")
        for number in range(2):  # the server goes on after the first
            with Program(moved(client, module), folder) as sending:
                sending.expect("^b'Test'$")
                serving.expect("disconnected: .*kicked")
                assert sending.process.poll() is None  # the document's loop has no end
            assert sending.output == ["b'Test'"], number
            assert not [line for line in sending.errors if "Traceback" in line]
        assert serving.output == []
        assert not [line for line in serving.errors if "Traceback" in line]


def test_the_setup_example_alone(folder: Path) -> None:
    """A script without the loop that the document recommends starts a server, prints nothing, and ends."""
    with Program(moved(SETUP), folder) as serving:
        serving.expect("Server PORT: 9999")
        assert serving.finish() == 0
        assert serving.output == []


def test_the_examples_run_in_plaintext(folder: Path) -> None:
    """With SECURELINK_ENCRYPTION=off the same programs run, and both sides say loudly what that means."""
    off = {"SECURELINK_ENCRYPTION": "off"}
    with Program(moved(ECHO_SERVER), folder, **off) as serving:
        serving.expect("WARNING.*encryption is off: anyone on the path can read and change")
        serving.expect("New Connections: Allow")
        with Program(moved(ECHO_CLIENT), folder, **off) as sending:
            sending.expect("WARNING.*PLAINTEXT session")
            sending.expect("^b'Test'$")


def test_a_wrong_setting_is_said(folder: Path) -> None:
    """A misspelt SECURELINK_ENCRYPTION never means plaintext."""
    with Program(moved(SETUP), folder, SECURELINK_ENCRYPTION="none") as serving:
        serving.expect("SECURELINK_ENCRYPTION is 'none'; use 'required', 'optional' or 'off'")
        assert serving.finish() == 1
