"""Bounds that hold for whole sessions and for all of them together."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
from helpers import WAIT, failure, until

from securelink import Client, ConfigError, ConnectionClosed, Identity, Server
from securelink.codes import Code
from securelink.transport import listener


def test_a_session_over_its_rate_is_slowed_not_ended(identity: Identity, tmp_path: Path) -> None:
    """Above `max_rate` packets a second a session is not read until the next second; nothing is lost."""
    server = Server("127.0.0.1", 0, keys=identity, max_rate=100)
    arrived: list[int] = []
    server.on("n", lambda session, packet: arrived.append(packet.data))
    with server, Client("127.0.0.1", server.address[1], known_servers=tmp_path / "known") as client:
        started = time.monotonic()
        for burst in range(3):
            for number in range(150):
                client.send("n", burst * 150 + number)
            until(lambda: len(arrived) >= (burst + 1) * 150)  # noqa: B023
        assert arrived == list(range(450))
        assert time.monotonic() - started > 1.0
        assert client.connected


def test_other_sessions_are_read_meanwhile(identity: Identity, tmp_path: Path) -> None:
    """The rate limit of one session is nobody else's business."""
    server = Server("127.0.0.1", 0, keys=identity, max_rate=50)
    server.on("echo", lambda session, packet: packet.data)
    with (
        server,
        Client("127.0.0.1", server.address[1], known_servers=tmp_path / "known") as loud,
        Client("127.0.0.1", server.address[1], known_servers=tmp_path / "known") as quiet,
    ):
        for number in range(500):
            loud.send("noise", number)
        assert quiet.request("echo", 1, timeout=WAIT) == 1


def test_an_impossible_rate_is_refused(identity: Identity) -> None:
    """A rate of nothing is a mistake, said at once."""
    failure(
        ConfigError,
        lambda: Server(keys=identity, max_rate=0),
        "max_rate=0 is not possible",
        "at least 1",
    )


def test_the_greediest_session_is_ended(
    identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When all sessions together hold too much, the one that holds most is ended; the others go on."""
    monkeypatch.setattr(listener, "MAX_TOTAL_UNSENT", 1024 * 1024)
    server = Server("127.0.0.1", 0, keys=identity)
    server.on("echo", lambda session, packet: packet.data)
    with server:
        slow = Client("127.0.0.1", server.address[1], known_servers=tmp_path / "known").connect()
        channel = slow._channel
        assert channel is not None
        with (
            Client("127.0.0.1", server.address[1], known_servers=tmp_path / "known") as other,
            channel._driving(),  # nobody reads for it
        ):
            session = server.sessions[slow.token]
            with contextlib.suppress(ConnectionClosed):
                for _ in range(16):
                    session.send("blob", bytes(512 * 1024), timeout=WAIT)
            until(lambda: session._dropping)
            assert other.request("echo", 2, timeout=WAIT) == 2
        error = failure(ConnectionClosed, lambda: [slow.receive(WAIT) for _ in range(99)], "slow")
        assert error.code == Code.TOO_SLOW
        slow.close()
