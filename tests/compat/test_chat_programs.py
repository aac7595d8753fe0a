"""The two chat programs and their document: run in terminals of their own, and beside each its old defect."""

from __future__ import annotations

import io
import re
import socket as real_socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import WAIT
from programs import Program
from sources import port_in, program, user_folder

from securelink import Client as CoreClient
from securelink import Identity
from securelink.compat.chat import client as chat_client
from securelink.compat.chat import server2
from securelink.compat.chat import socket as chat_socket
from securelink.compat.lines import say

#: The listing of the client: lines 91 and 92, 97 to 105 (there without indentation), 114 to 136, 146 and 147.
CLIENT = """
from securelink.compat.chat import socket
import threading

SERVER_IP = '192.168.1.3'  # Replace with actual server IP
SERVER_PORT = 8080

def receive_messages(client_socket):
    while True:
        try:
            message = client_socket.recv(1024).decode('utf-8')
            print("Message received:", message)  # Debug: Print received messages
        except:
            print("Disconnected from the server.")
            client_socket.close()
            break

def start_client():
    print("Starting client...")  # Debug: Starting message
    client_socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)

    try:
        client_socket.connect((SERVER_IP, SERVER_PORT))
        print("Connected to the server.")  # Debug: Connection success
    except Exception as e:
        print(f"Could not connect to server: {e}")  # Debug: Connection error
        return

    print("Type your messages below:")  # Debug: Ready to send messages

    # Start a thread to listen for messages
    threading.Thread(target=receive_messages, args=(client_socket,)).start()

    while True:
        message = input("You: ")
        if message.lower() == 'exit':
            print("Closing connection...")
            client_socket.close()
            break
        client_socket.send(message.encode('utf-8'))

if __name__ == "__main__":
    start_client()
"""

#: A server of one's own, by the document's description of its four functions, as people wrote it with sockets.
OWN_SERVER = """
from securelink.compat.chat import socket
import threading

HOST = '0.0.0.0'
PORT = 8000
clients = []

def broadcast(message, sender_socket=None):
    for client in clients[:]:
        if client != sender_socket:
            try:
                client.send(message)
            except:
                client.close()
                clients.remove(client)

def handle_client(client_socket, address):
    print(f"New connection from {address}")
    while True:
        try:
            message = client_socket.recv(1024)
            if not message:
                print(f"Connection closed by {address}")
                break
            print(f"{address}: {message.decode('utf-8')}")
            broadcast(message, client_socket)
        except:
            print(f"Connection error with {address}")
            break
    client_socket.close()
    if client_socket in clients:
        clients.remove(client_socket)

def server_send():
    while True:
        message = input("Server: ")
        if message.lower() == 'exit':
            print("Server shutting down...")
            for client in clients:
                client.close()
            break
        broadcast(f"Server: {message}".encode('utf-8'))

def start_server():
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((HOST, PORT))
    server.listen(5)
    print(f"Server listening on {HOST}:{PORT}")
    threading.Thread(target=server_send).start()
    while True:
        client_socket, address = server.accept()
        clients.append(client_socket)
        threading.Thread(target=handle_client, args=(client_socket, address)).start()

if __name__ == "__main__":
    start_server()
"""

BANNER = r"\AStarting client\.\.\.\nConnected to the server\.\nType your messages below:\nYou: \Z"
ADDRESS = r"\('127\.0\.0\.1', \d+\)"


@pytest.fixture
def folder(tmp_path: Path, identity: Identity) -> Path:
    """Where the programs run."""
    return user_folder(tmp_path, identity)


@pytest.fixture
def port(folder: Path, identity: Identity) -> str:
    """Where the server listens."""
    return str(port_in(folder, identity, "127.0.0.1"))


def chat_server(folder: Path, port: str) -> Program:
    """The server in its terminal."""
    return Program("-m", "securelink.compat.chat.server2", "127.0.0.1", port, folder=folder)


@pytest.fixture
def server(folder: Path, port: str) -> Iterator[Program]:
    """A running server."""
    with chat_server(folder, port) as server:
        server.prints(rf"\AServer listening on 127\.0\.0\.1:{port}\nServer: \Z")
        yield server


def module_client(folder: Path, port: str) -> Program:
    """The adapter's client in its terminal."""
    return Program("-m", "securelink.compat.chat.client", "127.0.0.1", port, folder=folder)


def listed_client(folder: Path, port: str) -> Program:
    """The document's client in its terminal."""
    return program(CLIENT, folder, {"192.168.1.3": "127.0.0.1", "8080": port})


def test_the_documented_constants_and_functions() -> None:
    """The names of the document; the client's port is the server's, as in the code."""
    assert (server2.HOST, server2.PORT, server2.clients) == ("0.0.0.0", 8000, [])
    assert (chat_client.SERVER_IP, chat_client.SERVER_PORT) == ("192.168.1.3", server2.PORT)
    for function in (
        server2.broadcast, server2.handle_client, server2.server_send, server2.start_server,
        chat_client.receive_messages, chat_client.start_client,
    ):  # fmt: skip
        assert callable(function)


def test_a_chat_of_four(folder: Path, port: str, server: Program) -> None:
    """Everybody hears the others and the operator, nobody himself; `exit` ends a client at once, and the server too."""
    with (
        module_client(folder, port) as first,
        listed_client(folder, port) as second,
        module_client(folder, port) as third,
    ):
        for client in (first, second, third):
            client.prints(BANNER)
        server.prints(rf"New connection from {ADDRESS}\n(?s:.*New connection.*New connection)")
        first.types("hello\n")
        server.prints(rf"{ADDRESS}: hello\n")
        for client in (second, third):
            client.prints("Message received: hello\n")
        second.types("\nhi there\n")  # an empty line is nothing
        for client in (first, third):
            client.prints("Message received: hi there\n")
        server.types("hi all\n")
        for client in (first, second, third):
            client.prints("Message received: Server: hi all\n")

        # `exit` of both kinds of client: the program ends, and the server hears it at once.
        for number, client in enumerate((first, second), 1):
            client.types("EXIT\n")
            assert client.ends() == 0
            assert client.output.endswith("Closing connection...\nDisconnected from the server.\n")
            server.prints(rf"(?s:(Connection closed by {ADDRESS}\n.*){{{number}}})")
        server.types("still there?\n")
        third.prints("Message received: Server: still there\\?\n")

        # `exit` of the server: it ends, nobody can connect any more, and the last client is told once.
        server.types("exit\n")
        assert server.ends() == 0
        assert "Server shutting down...\n" in server.output
        third.prints(r"Disconnected from the server\.\n")
        with module_client(folder, port) as late:
            assert late.ends() == 0
            assert late.output.startswith(
                "Starting client...\nCould not connect to server: cannot connect to 127."
            )
        time.sleep(0.05)
        third.types("anybody?\n")
        assert third.ends() == 0
        assert third.output.count("Disconnected from the server.") == 1
        assert third.output.count("Message received: ") == 4
    assert "hello" not in first.output.replace("Message received: hi there", "")
    assert server.output.count("Connection closed by") == 3
    assert "Traceback" not in first.output + second.output + third.output + server.output


def test_long_quick_and_hostile_messages(folder: Path, port: str, server: Program) -> None:
    """Nothing is cut at 1,024 bytes, merged or split inside a letter; control characters are shown, not obeyed."""
    with (
        CoreClient("127.0.0.1", int(port), trust="first-use", keys=folder / "keys") as sender,
        module_client(folder, port) as first,
        listed_client(folder, port) as second,
    ):
        for client in (first, second):
            client.prints(BANNER)
        sender.send("chat said", b"\x1b[2Jgone\nMessage received: faked\xff")
        sender.send("chat said", {"no": "bytes"})
        sender.send("chat said", b"")
        for number in range(10):
            sender.send("chat said", ("é" * 1500 + str(number)).encode())
        first.types("here\n")
        expected = [r"\x1b[2Jgone\nMessage received: faked" + "\ufffd"]
        expected += ["é" * 1500 + str(number) for number in range(10)]
        server.prints("here\n")
        second.prints("Message received: here\n")
        first.prints(f"Message received: {expected[-1]}\n")
        heard = first.output.replace("You: ", "").splitlines()
        assert [line for line in heard if "received" in line] == [
            f"Message received: {text}" for text in expected
        ]
        for text in expected:  # written after it was passed on
            server.prints(re.escape(f": {text}\n"))


def test_quiet_and_broken_clients_freeze_nobody(folder: Path, port: str, server: Program) -> None:
    """A connection that says nothing, one that says nonsense, and a client that is killed: the others go on."""
    with (
        real_socket.create_connection(("127.0.0.1", int(port))),
        real_socket.create_connection(("127.0.0.1", int(port))) as noisy,
        module_client(folder, port) as first,
        module_client(folder, port) as second,
    ):
        noisy.sendall(b"hello\n" * 1000)
        first.prints(BANNER)
        second.prints(BANNER)
        with listed_client(folder, port) as killed:
            killed.prints(BANNER)
        server.prints(rf"Connection error with {ADDRESS}\n")
        first.types("go on\n")
        second.prints("Message received: go on\n")
    server.prints(rf"(?s:(Connection error with {ADDRESS}\n.*){{3}})")


def test_the_server_without_an_operator(folder: Path, port: str, server: Program) -> None:
    """Its input ends, it goes on; Ctrl-C ends it. A client whose input ends leaves."""
    server.ends_input()
    with module_client(folder, port) as client:
        client.prints(BANNER)
        client.ends_input()
        assert client.ends() == 0
    server.prints("Connection closed by")
    server.interrupt()
    assert server.ends() == 0
    assert "Traceback" not in server.output


def test_two_servers_on_one_port(folder: Path, port: str, server: Program) -> None:
    """The second says what is wrong; the old one showed a traceback."""
    with chat_server(folder, port) as second:
        assert second.ends() == 0
        assert second.output.startswith(
            f"Could not start server: cannot listen on 127.0.0.1:{port}"
        )


def test_a_socket_that_is_not_connected() -> None:
    """It raises what a socket would."""
    unconnected = chat_socket.socket()
    for call in (lambda: unconnected.send(b"x"), unconnected.recv):
        with pytest.raises(ConnectionError):
            call()
    unconnected.close()


def test_both_spellings_of_the_sender() -> None:
    """The document calls the parameter `ender_socket` once, and `sender_socket` once."""
    server2.broadcast(b"to nobody", sender_socket=None)
    server2.broadcast("to nobody", ender_socket=None)
    assert server2.clients == []


def test_a_server_of_ones_own(folder: Path, port: str) -> None:
    """A server2.py that somebody wrote with sockets runs after its import line was changed, as the document says."""
    replaced = {"HOST = '0.0.0.0'": "HOST = '127.0.0.1'", "PORT = 8000": f"PORT = {port}"}
    with program(OWN_SERVER, folder, replaced) as server:
        server.prints("Server listening on")
        with module_client(folder, port) as first, listed_client(folder, port) as second:
            for client in (first, second):
                client.prints(BANNER)
            server.prints(r"(?s:New connection.*New connection)")
            first.types("hello\n")
            server.prints(rf"{ADDRESS}: hello\n")
            second.prints("Message received: hello\n")
            server.types("hi all\n")
            for client in (first, second):
                client.prints("Message received: Server: hi all\n")
            first.types("exit\n")
            assert first.ends() == 0
            server.prints(rf"Connection closed by {ADDRESS}\n")
            server.types("still there?\n")
            second.prints("Message received: Server: still there\\?\n")
            server.types("exit\n")
            second.prints(r"Disconnected from the server\.\n")
        assert "hello" not in first.output.partition("Closing")[2]
        assert "Traceback" not in server.output


def test_the_listening_socket(folder: Path, port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked in the wrong order, its port is taken, and closing it wakes who waits in `accept`."""
    monkeypatch.chdir(folder)
    with chat_socket.socket() as listening:
        for call in (listening.listen, listening.accept):
            with pytest.raises(OSError, match="before"):
                call()
        listening.bind(("127.0.0.1", int(port)))
        listening.listen()
        assert listening.getsockname() == ("127.0.0.1", int(port))
        with chat_socket.socket() as second:
            second.bind(("127.0.0.1", int(port)))
            with pytest.raises(OSError, match="cannot listen"):
                second.listen()
        with chat_socket.socket() as client:
            client.connect(("127.0.0.1", int(port)))
            accepted, address = listening.accept()
            assert accepted.getpeername() == address
            assert client.sendall(b"one") == 3
            assert accepted.recv() == b"one"
            for sender in (client, accepted):
                for wrong in (5, [1, 2], "text"):
                    with pytest.raises(TypeError):
                        sender.send(wrong)  # type: ignore[arg-type]
            assert accepted.sendall(b"two") == 3
            assert client.recv() == b"two"
        assert accepted.recv() == accepted.recv() == b""
        with pytest.raises(ConnectionError):
            accepted.send(b"late")
        ended: list[BaseException] = []

        def accepts() -> None:
            try:
                listening.accept()
            except OSError as error:
                ended.append(error)

        waiting = threading.Thread(target=accepts)
        waiting.start()
        listening.close()
        waiting.join(WAIT)
        assert str(ended) == "[OSError('this was closed')]"


def test_a_line_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other threads print stands before a line or behind it, and never in it."""
    out = io.StringIO()
    written: list[str] = []
    monkeypatch.setattr(out, "write", written.append)
    monkeypatch.setattr("sys.stdout", out)
    say("Message received: hi")
    assert [text for text in written if text] == ["Message received: hi\n"]
