"""SimpleServer's document: each listing in processes of its own, with what the document says about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import Program
from sources import port_in, program, user_folder

from securelink import Identity

#: Lines 9 to 26: three ways to construct and start, alternatives to each other.
BASIC = """
from securelink.compat.simpleserver import Server

# most basic implementation.
server = Server("localhost", 1234)
server.start()
"""

OPTIONS = """
from securelink.compat.simpleserver import Server

# optional parameters if needed
server = Server("localhost",
                1234,
                verbose_logging=True, # Will print debug messages. By default it will only display errors and warnings.
                tick_rate = 60,       # Number of desired ticks per second. Defaults to 120.
                manual_update=False)  # When enabled, start will not start server loop. This will then have do be done manually via calling server.update()
"""  # noqa: E501

BLOCKING = """
# This is a blocking call to start the server loop.                
server.start()
"""  # noqa: W291

ASYNC = """
# This is a non blocking call to start server loop. Will run server loop on separate thread.
server.start_async()
print("reached")
"""

LISTENERS = """
from securelink.compat.simpleserver import Server
server = Server("localhost", 1234)

def connection_fn(client):
    print(f"Client connected: {client.address}")

def message_fn(client, message):
    print(f"Message received from {client.address}: {message.body}")

def disconnect_fn(client):
    print(f"Client disconnected: {client.address}")
    
def update_fn():
    pass
    
# on_connection event will be called when a new client connects to the server.
server.on_connection.add_listener(connection_fn)   

# on_message event will be called when a client sends a message to the server.
# the message received will be a NetworkMessage object.
server.on_message.add_listener(message_fn)
 
# on_disconnect event will be called when a client loses connection to the server.
server.on_disconnect.add_listener(disconnect_fn)

# on_update is called each time the server goes through an update cycle. this is useful if you want to perform some operation each cycle.
server.on_update.add_listener(update_fn)

server.start()
"""  # noqa: E501, W291, W293

CLIENT = """
from securelink.compat.simpleserver import SimpleClient
from securelink.compat.simpleserver.networking import NetworkMessage
message = NetworkMessage()
message.set_body("Hi!")

# create the instance of the client. this does not connect to anything, as you might want to connect later.
client = SimpleClient()

# attempt to connect to a server by ip and port. this method will return a bool indicating if the connection
# was succesfull or not, as well as a message for handling cases where connection could not be established.
success, text = client.connect("localhost", 1234)
print(success, text)

# this will send a NetworkMessage to the server. it should be noted that you can also send raw bytes directly, but the server will decode
# the bytes into a headerless NetworkMessage upon reception.
print(client.send(message))
print(client.send(b"raw bytes"))

# calling read() will attempt to receive any data from the server. this will either return
# a NetworkMessage instance or None. You will have to check for this.
data = client.read()
print(data)
client.close()
"""  # noqa: E501

#: Five clients say who they are; then the server speaks to one, three, all, and all but one.
SENDING = """
from securelink.compat.simpleserver import Server
from securelink.compat.simpleserver.networking import NetworkMessage
server = Server("localhost", 1234)
clients = {}

def say(text):
    message = NetworkMessage()
    message.set_body(text)
    return message

def on_message(client, message):
    clients[message.body] = client
    if len(clients) < 5:
        return
    client1, client2, client3, client4, client5 = (clients[str(number)] for number in range(1, 6))

    message = say("to one")
    # sending a message directly to a ConnectionClient instance
    client.send(message)

    message = say("to some")
    # sending a message to select clients.
    # list of all clients can be retrieved via server.get_clients() if needed.
    targets = [client1, client2, client5]
    server.message_clients(targets, message)

    message = say("to all")
    # broadcasting a message to all clients. optional list of excluded clients can be passed.
    server.broadcast(message)
    message = say("to all but 4")
    server.broadcast(message, exclusions=[client4])

server.on_message.add_listener(on_message)
server.start()
"""

RECEIVING = """
import time
from securelink.compat.simpleserver import SimpleClient
clients = [SimpleClient() for _ in range(5)]
for number, client in enumerate(clients, 1):
    while not client.connect("localhost", 1234)[0]: time.sleep(0.02)
    client.send(str(number))
    time.sleep(0.2)
time.sleep(1.5)
for number, client in enumerate(clients, 1):
    texts = []
    while data := client.read():
        texts.append(data.body)
    print(number, texts)
"""

#: Lines 97 to 117; in line 101 a comma was missing.
MESSAGES = """
from securelink.compat.simpleserver.networking import NetworkMessage

# a network message can contain multiple headers if needed.
message = NetworkMessage()
message.add_header("no_value_header")
message.add_header("value_header", value="this is a value")

# headers can also be looked up and retrieved from any networkmessage
print(message.has_header("no_value_header")) # True

print(message.get_header("value_header")) # Returns Header instance
print(message.get_header("another_name")) # Returns None

message = NetworkMessage()
message.set_body("any string can be in the body. will be converted into bytes when sent")

# the body of a message can be accessed via the body property. if a message has no body, this will be an empty string.
print(message.body)
print(repr(NetworkMessage().body))
"""

#: Lines 121 to 145 and 148 to 178: the complete example.
SERVER_PROGRAM = """
from securelink.compat.simpleserver import SimpleServer
from securelink.compat.simpleserver.networking import NetworkMessage

def on_message(client, message):
    if message.has_header("handshake"):
        # create a response to handshake
        response = NetworkMessage()
        response.add_header("handshake", value="example")
        response.set_body("Hello from the server!")

        # send the response to the same client that sent the message.
        client.send(response)

    print(f"Message received from {client.address}: {message.body}")
  
# Create a new server instance.
server = SimpleServer("localhost", 8080, tick_rate=120)

# add a callback to the on_message event.
server.on_message.add_listener(on_message)

# start the server instance.
server.start()
"""  # noqa: W293

CLIENT_PROGRAM = """
from securelink.compat.simpleserver import SimpleClient
from securelink.compat.simpleserver.networking import NetworkMessage

# Create a new client instance.
client = SimpleClient()

# attempt to connect to a server.
success, message = client.connect("localhost", 8080)

if success:
    # If the connection was successful, we can send a message to the server.
    message = NetworkMessage()
    message.add_header("handshake")
    message.set_body("Hello server!")

    # send the message.
    client.send(message)

    # start a loop to receive messages from the server.
    while True:
        # here we attempt to read a message from the server. If there is
        # no message, the read() method will return None.
        message = client.read()
        if message:
            if message.has_header("handshake"):
                print("Server handshake received")

else:
    print(f"Connection failed: {message}")
"""

ADDRESS = r"\('127\.0\.0\.1', \d+\)"


@pytest.fixture
def folder(tmp_path: Path, identity: Identity) -> Path:
    """Where the programs run."""
    return user_folder(tmp_path, identity)


@pytest.fixture
def port(folder: Path, identity: Identity) -> str:
    """Where the server listens."""
    return str(port_in(folder, identity, "localhost"))


def patient(source: str, text: str) -> str:
    """A client that connects again until the server is up: the document's servers say nothing when they are."""
    connect = f"success, {text} = client.connect("
    assert connect in source
    return source.replace(connect, f"success = False\nwhile not success: {connect}")


def connected(folder: Path, port: str) -> Program:
    """The client of the document."""
    return program(patient(CLIENT, "text"), folder, {"1234": port})


def test_the_most_basic_server_and_the_client(folder: Path, port: str) -> None:
    """start() blocks and says nothing; a client connects, sends a message and bytes, and reads None."""
    with program(BASIC, folder, {"1234": port}) as server, connected(folder, port) as client:
        assert client.ends() == 0
        assert client.output.splitlines() == [
            "True Connection successful",
            "(True, 'Message sent')",
            "(True, 'Message sent')",
            "None",
        ]
        server.interrupt()
        assert server.ends() == 0
        assert server.output == ""


def test_connecting_in_vain_has_a_message(folder: Path, port: str) -> None:
    """No exception: False and a text."""
    source = CLIENT.partition("\n# this will send")[0]
    with program(source, folder, {"1234": port}) as client:
        assert client.ends() == 0
        assert client.output.startswith(
            f"False cannot connect to localhost:{port}: connection refused"
        )


def test_the_options_and_the_blocking_start(folder: Path, port: str) -> None:
    """verbose_logging prints what happens; start() does not return."""
    with program(OPTIONS + BLOCKING, folder, {"1234": port}) as server:
        server.prints(rf"\[DEBUG\] \d\d:\d\d:\d\d localhost:{port} is listening\.\.\.\n")
        with connected(folder, port) as client:
            assert client.ends() == 0
        server.prints(rf"\[DEBUG\] \d\d:\d\d:\d\d New connection from {ADDRESS}\n")
        server.prints(rf"Message from {ADDRESS}: Hi!\n.* Message from {ADDRESS}: raw bytes\n")
        server.prints(rf"\[DEBUG\] \d\d:\d\d:\d\d Client {ADDRESS} disconnected\n")
        server.interrupt()
        assert server.ends() == 0
        assert "Traceback" not in server.output


def test_the_non_blocking_start(folder: Path, port: str) -> None:
    """start_async() returns, and the server serves."""
    with program(OPTIONS + ASYNC, folder, {"1234": port}) as server:
        server.prints("is listening(?s:.*)reached\n")
        with connected(folder, port) as client:
            assert client.ends() == 0
        server.prints("disconnected")


def test_listeners(folder: Path, port: str) -> None:
    """The four events call the document's four functions."""
    with program(LISTENERS, folder, {"1234": port}) as server:
        with connected(folder, port) as client:
            assert client.ends() == 0
        server.prints(
            rf"\AClient connected: {ADDRESS}\nMessage received from {ADDRESS}: Hi!\n"
            rf"Message received from {ADDRESS}: raw bytes\nClient disconnected: {ADDRESS}\n\Z"
        )


def test_sending_to_one_some_all_and_all_but_one(folder: Path, port: str) -> None:
    """Everybody gets what is meant for him, in order."""
    with (
        program(SENDING, folder, {"1234": port}) as server,
        program(RECEIVING, folder, {"1234": port}) as clients,
    ):
        assert clients.ends() == 0
        assert clients.output.splitlines() == [
            "1 ['to some', 'to all', 'to all but 4']",
            "2 ['to some', 'to all', 'to all but 4']",
            "3 ['to all', 'to all but 4']",
            "4 ['to all']",
            "5 ['to one', 'to some', 'to all', 'to all but 4']",
        ]
        assert server.output == ""


def test_messages(folder: Path) -> None:
    """Headers and body, as the comments say."""
    with program(MESSAGES, folder) as messages:
        assert messages.ends() == 0
        assert messages.output.splitlines() == [
            "True",
            "value_header:this is a value",
            "None",
            "any string can be in the body. will be converted into bytes when sent",
            "''",
        ]


def test_the_complete_example(folder: Path, port: str) -> None:
    """It could not work on any platform; now the server answers the handshake, and the client sees that."""
    with (
        program(SERVER_PROGRAM, folder, {"8080": port}) as server,
        program(patient(CLIENT_PROGRAM, "message"), folder, {"8080": port}) as client,
    ):
        client.prints(r"\AServer handshake received\n\Z")
        server.prints(rf"\AMessage received from {ADDRESS}: Hello server!\n\Z")


def test_the_complete_example_in_plaintext(
    folder: Path, port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SECURELINK_ENCRYPTION=off changes nothing but the bytes and the warning on both sides."""
    monkeypatch.setenv("SECURELINK_ENCRYPTION", "off")
    with (
        program(SERVER_PROGRAM, folder, {"8080": port}) as server,
        program(patient(CLIENT_PROGRAM, "message"), folder, {"8080": port}) as client,
    ):
        client.prints("Server handshake received\n")
        server.prints(rf"Message received from {ADDRESS}: Hello server!\n")
        for side in (server, client):
            side.prints(r"WARNING\] .*anyone on the path can read and change everything")
