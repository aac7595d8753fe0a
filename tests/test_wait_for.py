"""Waiting for one packet among others."""

from __future__ import annotations

from pathlib import Path

from helpers import WAIT, failure

from securelink import Client, Identity, LinkTimeout, Server


def test_wait_for_takes_its_packet_and_leaves_the_others(
    identity: Identity, tmp_path: Path
) -> None:
    """Whether it comes or is stored already, `wait_for` gives the packet of that name; the others keep their order."""
    server = Server("127.0.0.1", 0, keys=identity)
    with server, Client("127.0.0.1", server.address[1], known_servers=tmp_path / "k") as client:
        for session in server.sessions.values():
            for action in ("a", "b", "a", "c"):
                session.send(action, action)
        assert client.wait_for("b", WAIT).data == "b"
        assert client.wait_for("c", WAIT).data == "c"
        first, second = client.receive(WAIT), client.receive(WAIT)
        assert first is not None
        assert second is not None
        assert [first.action, second.action] == ["a", "a"]
        for session in server.sessions.values():
            session.send("d")
            session.send("e")
        assert client.wait_for("e", WAIT).action == "e"
        assert client.wait_for("d", WAIT).action == "d"  # stored meanwhile
        failure(LinkTimeout, lambda: client.wait_for("never", 0.05), "no packet named 'never'")
