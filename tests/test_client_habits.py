"""Small things that a client does: waiting for one packet among others, ending without a word."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import WAIT, failure
from together import channel_of, joined, serving

from securelink import Client, ConfigError, Identity, LinkTimeout, Server
from securelink.app.context import ClientContext


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


def test_a_program_that_just_ends_says_goodbye(
    identity: Identity, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A client program without close() ends its session in order: the server does not think that the network failed."""
    caplog.set_level("INFO", logger="securelink")
    with Server("127.0.0.1", 0, keys=identity) as server:
        program = (
            f"from securelink import Client; Client('127.0.0.1', {server.address[1]}).connect()"
        )
        ended = threading.Event()
        server.on_disconnect.add_listener(lambda session: ended.set())
        subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=120)
        assert ended.wait(WAIT)
    assert "disconnected: the session is over: closed normally" in caplog.text


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: Client(5050), "host is a name or an address, not 5050"),  # type: ignore[arg-type]
        (lambda: Server(5050), "host is a name or an address, not 5050"),  # type: ignore[arg-type]
        (lambda: Client("127.0.0.1", "5050"), "'5050' is not a TCP port"),  # type: ignore[arg-type]
        (lambda: Server("127.0.0.1", "5050"), "'5050' is not a TCP port"),  # type: ignore[arg-type]
    ],
)
def test_mixed_up_arguments_are_named(wrong: Callable[[], object], says: str) -> None:
    """A port in the place of the host, or as a text, is one clear error when the object is made."""
    failure(ConfigError, wrong, says, "write ")


def test_two_threads_bind_handlers_at_once(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that has looked before another one bound a handler does not undo what that has told the session."""
    with serving(identity) as server, joined(server) as [client]:
        mailbox = channel_of(client).mailbox
        client.on("first", lambda packet: None)
        assert mailbox.wants_background
        seen = iter([False])  # by the look that came too early
        monkeypatch.setattr(ClientContext, "wants_background", property(lambda _: next(seen, True)))
        client.on("second", lambda packet: None)
        assert mailbox.wants_background
