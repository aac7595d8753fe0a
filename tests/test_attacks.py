"""Attacks that worked once. Each test is the attack."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import Hostile, failure, scene, until

from securelink import (
    Client,
    ConnectionClosed,
    Identity,
    PeerIncompatible,
    Received,
    Server,
    Session,
)
from securelink.handshake.wire import Code

pytestmark = pytest.mark.usefixtures("tidy")

NASTY = "bye\n[Server INFO] the operator connected\033[2J"
SAFE = r"bye\n[Server INFO] the operator connected\x1b[2J"


# --- words of a peer ---------------------------------------------------------------------------------------


def test_a_farewell_writes_no_lines_into_the_log(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """The text of a client's CLOSE was logged as it came, and so a client could make up lines of a server's log."""
    with scene(identity) as stage, Hostile(stage.port).open() as client:
        until(lambda: len(stage.server.sessions) == 2)
        session = list(stage.server.sessions.values())[-1]
        assert client.engine.sender is not None
        client.sock.sendall(client.engine.sender.close(Code.KICKED, NASTY))
        until(lambda: not session.connected)
        error = failure(ConnectionClosed, lambda: session.send("x"), r"the operator connected")
        assert error.text == SAFE
        until(lambda: SAFE in caplog.text)
    for record in caplog.records:
        assert record.getMessage().isprintable(), record.getMessage()


def test_a_kick_is_escaped_wherever_it_is_seen(identity: Identity) -> None:
    """Only `receive` escaped the server's words; `send`, `request` and `ping` gave them as they came."""
    with scene(identity) as stage, stage.client() as client:
        stage.session(client).kick(NASTY)
        until(lambda: not client.connected)
        for call in (lambda: client.send("x"), lambda: client.request("x"), client.ping):
            assert failure(ConnectionClosed, call, "the operator").text == SAFE


# --- trust -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"trust": "known"}, {"credentials": "secret"}])
def test_a_plaintext_answer_is_no_way_around_trust(
    options: dict[str, Any], identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With "optional" whoever answered in plaintext got what a server with an unknown key would not have got."""
    monkeypatch.setattr("securelink.client.client.is_loopback", lambda _: False)
    seen: list[Any] = []

    def authenticate(hello: Any) -> str:
        seen.append(hello.credentials)
        return "ada"

    with Server("127.0.0.1", 0, encryption="off", authenticate=authenticate) as server:
        client = Client("127.0.0.1", server.address[1], encryption="optional", **options)
        failure(PeerIncompatible, client.connect, "switched off", "anyone on the path")
        assert not seen
        Client("127.0.0.1", server.address[1], encryption="optional").connect().close()


# --- memory ------------------------------------------------------------------------------------------------------


def test_what_handlers_failed_at_is_not_kept(identity: Identity) -> None:
    """The errors kept for `caught` held their frames, and these the packets: 4 MB for each 60 KB that came."""

    def fail(session: Session, packet: Received) -> None:
        try:
            raise ValueError("first")
        except ValueError as error:
            raise KeyError("second") from error

    with scene(identity) as stage, stage.client() as client:
        stage.server.on("fail", fail)
        client.send("fail")
        until(lambda: len(stage.server.caught) == 1)
        (caught,) = stage.server.caught.take()
        assert caught.error.__traceback__ is None
        assert caught.error.__cause__ is not None
        assert caught.error.__cause__.__traceback__ is None
        assert "first" in caught.traceback
        assert "in fail" in caught.traceback
