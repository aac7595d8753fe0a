"""The chat's client: type and receive at the same time; `exit` leaves."""

from __future__ import annotations

import sys
import threading

from ...errors import SecureLinkError
from ...logs.default import show_status
from ..lines import say, typed
from . import sockets as socket

SERVER_IP = "192.168.1.3"  # Replace with actual server IP
SERVER_PORT = 8000


def receive_messages(client_socket: socket.socket) -> None:
    """Print the messages of others until the connection ends; runs in a separate thread."""
    while True:
        try:
            message = client_socket.recv(1024).decode()
        except OSError:
            say("Disconnected from the server.")
            client_socket.close()
            return
        say(f"Message received: {message}")


def _send_what_is_typed(client_socket: socket.socket) -> None:
    while (message := typed("You: ")) is not None and message.lower() != "exit":
        client_socket.send(message.encode())


def start_client() -> None:
    """Connect, and send typed lines until `exit`."""
    show_status(info=False)  # this program writes its own lines
    say("Starting client...")
    client_socket = socket.socket()
    try:
        client_socket.connect((SERVER_IP, SERVER_PORT))
    except SecureLinkError as error:
        say(f"Could not connect to server: {error}")
        return
    say("Connected to the server.")
    say("Type your messages below:")
    threading.Thread(target=receive_messages, args=(client_socket,)).start()
    try:
        _send_what_is_typed(client_socket)
    except KeyboardInterrupt:
        pass  # nobody types any more
    except ConnectionError:
        return  # the other thread has said so
    say("Closing connection...")
    client_socket.close()


if __name__ == "__main__":
    SERVER_IP = sys.argv[1] if len(sys.argv) > 1 else SERVER_IP
    SERVER_PORT = int(sys.argv[2]) if len(sys.argv) > 2 else SERVER_PORT
    start_client()
