"""From a packet to the code that wants it: what is ours stays out of sight of the application."""

from __future__ import annotations

import pytest
from helpers import WAIT, failure, until

from securelink import Client, ConfigError, Identity, Received, Server

pytestmark = pytest.mark.usefixtures("tidy")


def test_our_own_actions_cannot_be_bound(identity: Identity) -> None:
    """An application that could bind `~state` or another action of ours would read or replace what the library does."""
    server = Server("127.0.0.1", 0, keys=identity)
    client = Client("127.0.0.1", 5050)
    for name in ("~state", "~console", "~"):
        for end in (server, client):
            failure(ConfigError, lambda end=end, name=name: end.on(name, print), "", "~")  # type: ignore[misc]


def test_our_own_packets_are_not_shown(identity: Identity) -> None:
    """`on_message` shows every packet of the application and none of the library: here a state, both ways."""
    seen: list[str] = []

    def look(packet: Received) -> None:
        seen.append(packet.action)

    with Server("127.0.0.1", 0, keys=identity) as server:
        server.on_message(lambda session, packet: look(packet))
        with Client("127.0.0.1", server.address[1]) as client:
            client.on_message(look)
            client.set_state("from the client")
            client.send("to the server")
            until(lambda: "to the server" in seen)
            server.set_state("from the server")
            until(lambda: client.poll() == [] and client.server_state == "from the server", WAIT)
            server.broadcast("to the client")
            until(lambda: client.poll() == [] and "to the client" in seen)
    assert seen == ["to the server", "to the client"]
