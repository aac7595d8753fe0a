"""A server, a client, and a relay between them that cuts their connections."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from helpers import until
from together import serving, session_of

from securelink import Client, Identity, Server, Session
from securelink.testing import Relay


class Line:
    """
    A server that keeps sessions, a relay before it, and a client.

    Attributes:
        heard: What the server was told by `say`, in order.
        seen: Events of the server.
    """

    def __init__(self, server: Server, relay: Relay, client: Client) -> None:
        self.server = server
        self.relay = relay
        self.client = client
        self.heard: list[Any] = []
        self.seen: list[str] = []
        server.on("say", lambda session, packet: self.heard.append(packet.data))
        server.on_connect(lambda session: self.seen.append("connect"))
        server.on_suspend(lambda session: self.seen.append("suspend"))
        server.on_resume(lambda session, replayed: self.seen.append("resume"))
        server.on_disconnect(lambda session: self.seen.append("disconnect"))

    @property
    def session(self) -> Session:
        """The client's, at the server."""
        return session_of(self.server, self.client)

    def refuse(self) -> None:
        """From now on no connection comes through."""
        self.relay.to_server.hook = self.relay.to_client.hook = lambda chunk: b""
        self.relay.cut()

    def admit(self) -> None:
        """Connections come through again."""
        self.relay.to_server.hook = self.relay.to_client.hook = None
        self.relay.cut()


@contextlib.contextmanager
def line(identity: Identity, encryption: str = "required", **options: Any) -> Iterator[Line]:
    """Everything in place; the client is connected."""
    ours = {"resume": 60, "encryption": encryption} | options.pop("server", {})
    with serving(identity, **ours) as server, Relay("127.0.0.1", server.address[1]) as relay:
        if encryption == "off":
            options["encryption"] = "off"
        else:
            options.setdefault("pin", server.fingerprint)
        client = Client("127.0.0.1", relay.port, **options)
        stage = Line(server, relay, client)
        with client:
            until(lambda: client.token in server.sessions)
            yield stage
