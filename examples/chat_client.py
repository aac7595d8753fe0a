"""
A chat for two or more terminals: a client.

    python examples/chat_client.py ada
    python examples/chat_client.py bob --host 192.168.1.40 --port 6000

Start chat_server.py first. Type to talk; lines of others appear above what you type. `exit` leaves.
"""

import argparse
import sys

from securelink import Client, Received, SecureLinkError
from securelink.text import escaped

try:
    import readline  # lets input() edit lines, and tells what is typed so far
except ImportError:  # Windows
    readline = None  # type: ignore[assignment]


def show(line: str) -> None:
    """Print a line above the one that is being typed."""
    if not sys.stdin.isatty():
        print(line, flush=True)
        return
    typed = readline.get_line_buffer() if readline else ""
    print(f"\r\033[K{line}\n> {typed}", end="", flush=True)


def listen(client: Client) -> None:
    """Handlers run in the background while the main thread waits for the keyboard."""

    @client.on("said")
    def said(packet: Received) -> None:
        # Escaped, because a terminal obeys what is in a text: a peer could clear the screen, or worse.
        show(f"{escaped(packet.data['name'])}: {escaped(packet.data['text'])}")

    @client.on("notice")
    def notice(packet: Received) -> None:
        show(f"* {escaped(packet.data)}")

    client.on_suspend.add_listener(lambda: show("* connection lost, trying again"))
    client.on_resume.add_listener(lambda replayed: show("* back"))


def gone() -> None:
    """The session ended while we wait for the keyboard."""
    show("* the conversation is over; press Enter")


def talk(client: Client) -> None:
    """Send what is typed, until `exit` or the end of the input."""
    while not client.ended:
        try:
            line = input("> " if sys.stdin.isatty() else "").strip()
        except EOFError:
            return
        if line == "exit":
            return
        if line:
            client.send("say", line)
    client.poll()  # raises the reason why the session is over


def main() -> None:
    parser = argparse.ArgumentParser(description="A chat: a client.")
    parser.add_argument("name")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5050)
    parser.add_argument("--plaintext", action="store_true", help="switch encryption off")
    options = parser.parse_args()
    encryption = "off" if options.plaintext else "required"
    client = Client(options.host, options.port, encryption=encryption, application="chat example")
    try:
        client.connect()
        listen(client)
        client.on_disconnect(gone)
        others = client.request("enter", options.name)
        print("* here are:", escaped(", ".join(others)) or "nobody else yet", flush=True)
        talk(client)
    except (SecureLinkError, KeyboardInterrupt) as error:
        print(f"error: {error}" if isinstance(error, SecureLinkError) else "")
    finally:
        client.on_disconnect.remove_listener(gone)
        client.close()


if __name__ == "__main__":
    main()
