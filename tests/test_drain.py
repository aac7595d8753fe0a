"""A server that restarts: who is told to come back, when, and for how long a client believes it."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from helpers import WAIT, failure, until
from linked import bench
from together import channel_of, joined, serving, take

from securelink import Client, Code, ConfigError, ConnectionClosed, Identity, Server
from securelink.codes import is_final
from securelink.errors import ProtocolError
from securelink.limits import MAX_AWAY_SECONDS, RETURNS_PER_SECOND
from securelink.threads.channel import Channel
from securelink.wire.messages import Close


def away(client: Client) -> float:
    """For how many seconds, from now on, this client is asked to stay away."""
    return channel_of(client).back_at - time.monotonic()


@pytest.mark.pure
def test_each_client_comes_back_at_a_time_of_its_own(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All hear RESTART, cleanly; their times begin where the server says, and are spread as the limit says."""
    asked = list[float]()
    stay_away = Channel.stay_away

    def recorded(channel: Channel, seconds: float) -> None:
        asked.append(seconds)
        stay_away(channel, seconds)

    monkeypatch.setattr(Channel, "stay_away", recorded)
    with serving(identity) as server, joined(server, 9) as clients:
        assert not server.drain(back_in=100)
        for client in clients:
            with pytest.raises(ConnectionClosed) as caught:
                client.receive(WAIT)
            assert (caught.value.code, caught.value.clean) == (Code.RESTART, True)
            assert "retry=True" in caught.value.hint
        assert sorted(asked) == [100 + place / RETURNS_PER_SECOND for place in range(9)]
        assert 100 - WAIT < min(map(away, clients)) <= 100
    assert not is_final(Code.RESTART)


def test_what_waits_is_sent_first(identity: Identity) -> None:
    """Everything that was sent before the drain arrives before the farewell."""
    with serving(identity) as server, joined(server) as (client,):
        until(lambda: len(server.sessions) == 1)
        for number in range(500):
            server.broadcast("n", number)
        server.drain()
        assert take(client, 500) == list(range(500))
        with pytest.raises(ConnectionClosed):
            client.receive(WAIT)
        assert client.code == Code.RESTART


def test_the_address_is_free_while_sessions_go_on(identity: Identity) -> None:
    """Another server takes the port over at once; the old one ends when its last session has left."""
    with serving(identity) as old, joined(old) as (client,):
        drained: list[bool] = []
        thread = threading.Thread(target=lambda: drained.append(old.drain(WAIT)))
        thread.start()
        until(lambda: old.paused)
        port = old.address[1]
        with Server("127.0.0.1", port, keys=identity) as new:
            with Client("127.0.0.1", port, pin=identity.fingerprint) as other:
                assert other.ping(WAIT) >= 0
                assert len(new.sessions) == 1
            client.send("echo", 1)
            assert take(client) == [1]
            client.close()
            thread.join(WAIT)
            assert drained == [True]


def test_a_client_comes_back_when_it_was_asked_to(identity: Identity) -> None:
    """`connect(retry=True)` waits as long as the server has asked, and not longer."""
    with serving(identity) as old, joined(old) as (client,):
        port = old.address[1]
        old.drain(back_in=1.0)
        with pytest.raises(ConnectionClosed):
            client.receive(WAIT)
        with Server("127.0.0.1", port, keys=identity):
            back_at = channel_of(client).back_at
            client.connect(WAIT, retry=True)
            assert time.monotonic() >= back_at
            client.close()


def test_nobody_is_sent_away_for_ever(identity: Identity) -> None:
    """A server that says seven weeks is believed for five minutes, and never more than half of the user's time."""
    with serving(identity) as old, joined(old) as (client,):
        port = old.address[1]
        session = next(iter(old.sessions.values()))
        old.drain(back_in=10_000_000)
        with pytest.raises(ConnectionClosed):
            client.receive(WAIT)
        assert session.code == Code.RESTART
        assert MAX_AWAY_SECONDS - WAIT < away(client) <= MAX_AWAY_SECONDS
        with Server("127.0.0.1", port, keys=identity):
            began = time.monotonic()
            client.connect(3.0, retry=True)
            assert time.monotonic() - began >= 1.4
            client.close()


@pytest.mark.parametrize("code", [Code.RESTART, Code.HANDOVER])
def test_no_delay_on_the_wire_is_longer(code: Code) -> None:
    """Whatever a CLOSE says, the bound is that of the client."""
    with bench() as stage:
        assert stage.peer.sender is not None
        stage.sock.sendall(stage.peer.sender.close(code, "", 2**32 - 1))
        stage.turn()
        assert stage.outcome.code == code
        assert stage.channel.back_at <= time.monotonic() + MAX_AWAY_SECONDS


def test_close_gives_up_the_waiting(identity: Identity) -> None:
    """A client that waits to come back can be closed by another thread at once."""
    with serving(identity) as server, joined(server) as (client,):
        server.drain(back_in=200)
        with pytest.raises(ConnectionClosed):
            client.receive(WAIT)
        threading.Timer(0.2, client.close).start()
        began = time.monotonic()
        with pytest.raises(ConnectionClosed):
            client.connect(400, retry=True)
        assert time.monotonic() - began < WAIT


def test_a_server_starts_again_after_a_drain(identity: Identity) -> None:
    """It is not paused then."""
    server = Server("127.0.0.1", 0, keys=identity)
    for _ in range(2):
        with server, joined(server) as (client,):
            assert client.ping(WAIT) >= 0
            client.close()
            assert server.drain(WAIT)
        assert not server.paused


def test_update_drains_as_well(identity: Identity) -> None:
    """A server that its own thread drives lets its clients leave, and says goodbye to those that stay."""
    server = Server("127.0.0.1", 0, keys=identity)
    server.update()
    done = threading.Event()
    heard: list[object] = []

    def play() -> None:
        with Client("127.0.0.1", server.address[1], pin=identity.fingerprint) as client:
            done.set()
            with pytest.raises(ConnectionClosed):
                client.receive(WAIT)
            heard.append(client.code)

    player = threading.Thread(target=play)
    player.start()
    while not done.is_set():
        server.update()
    assert not server.drain(0.3)
    player.join(WAIT)
    assert heard == [Code.RESTART]


def test_a_wrong_time_is_refused(identity: Identity) -> None:
    """`back_in=` is a number of seconds; a past one is now."""
    with serving(identity) as server, joined(server) as (client,):
        wrong: Any = "5"
        failure(ConfigError, lambda: server.drain(back_in=wrong), "back_in='5'")
        server.drain(back_in=-5)
        with pytest.raises(ConnectionClosed):
            client.receive(WAIT)
        assert away(client) <= 0


def test_the_delay_stands_before_the_text() -> None:
    """In CLOSE with RESTART, and with no other code; without its four bytes it is an error."""
    close = Close(Code.RESTART, 7, "soon", 2500)
    assert close.encode() == b"\x0a\x18" + (7).to_bytes(8) + (2500).to_bytes(4) + b"soon"
    assert Close.decode(close.encode()) == close
    assert Close.decode(Close(Code.RESTART, 7, "x" * 2000, 1).encode()).text == "x" * 1024
    for size in range(14):
        with pytest.raises(ProtocolError):
            Close.decode(close.encode()[:size])
    with pytest.raises(ProtocolError):
        Close.decode(close.encode() + b"x" * 1021)
    assert Close.decode(Close(Code.SHUTDOWN, 7, "soon", 2500).encode()) == Close(20, 7, "soon")
