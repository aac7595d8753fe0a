"""
A chat for two or more terminals: the server.

    python examples/chat_server.py
    python examples/chat_server.py --port 6000 --plaintext

Then start chat_client.py in other terminals. Ctrl-C stops the server; the clients are told.
"""

import argparse

from securelink import Received, RequestFailed, Server, Session
from securelink.app.fanout import Fanout

MAX_NAME = 20
MAX_TEXT = 500


def build(port: int, encryption: str, fanout: Fanout[Session] | None = None) -> Server:
    """The server with its handlers; not yet started. With a fan-out it is one of several, see cluster.py."""
    # With overlap=False one handler runs at a time, so that two people cannot take one name at once.
    server = Server(
        port=port, encryption=encryption, application="chat example", overlap=False, fanout=fanout
    )

    @server.on("enter")
    def enter(session: Session, packet: Received) -> list[str]:
        """A request: what this returns is the client's answer; RequestFailed is its refusal."""
        name = packet.data
        if not isinstance(name, str) or not name.isprintable() or not 1 <= len(name) <= MAX_NAME:
            raise RequestFailed(f"a name has 1 to {MAX_NAME} printable characters")
        others = [member.data["name"] for member in server.room("chat")]
        if name in others:
            raise RequestFailed(f"{name!r} is here already; take another name")
        session.data["name"] = name
        session.join("chat")
        server.room("chat").broadcast("notice", f"{name} came in", exclude=[session])
        return others

    @server.on("say")
    def say(session: Session, packet: Received) -> None:
        # What clients send is untrusted: a packet of another shape is no reason to fail.
        if "name" in session.data and isinstance(packet.data, str):
            said = {"name": session.data["name"], "text": packet.data[:MAX_TEXT]}
            server.room("chat").broadcast("said", said, exclude=[session])

    @server.on_disconnect
    def left(session: Session) -> None:
        if "name" in session.data:
            server.room("chat").broadcast("notice", f"{session.data['name']} left")

    return server


def main() -> None:
    parser = argparse.ArgumentParser(description="A chat: the server.")
    parser.add_argument("--port", type=int, default=5050)
    parser.add_argument("--plaintext", action="store_true", help="switch encryption off")
    options = parser.parse_args()
    build(options.port, "off" if options.plaintext else "required").serve_forever()


if __name__ == "__main__":
    main()
