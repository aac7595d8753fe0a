"""What was broken in pnetwork, and is not here."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from helpers import WAIT, until
from sources import stopped_client
from test_pnetwork import Note, at_client, at_server, connected, keys, port_of, serving

from securelink import Client as NativeClient
from securelink import CodecError, ConfigError, ConnectFailed, Identity, NotTrusted
from securelink.compat.pnetwork import coreclient, coreserver
from securelink.compat.pnetwork.core import Bind

__all__ = ["keys"]
pytestmark = pytest.mark.usefixtures("tidy", "keys")


def test_many_packets_at_once_arrive_one_by_one() -> None:
    """Two packets in one read could not be decoded, a second packet was never read: all arrive, of any size."""
    with serving() as server, connected(server) as client:
        note, back = Note("X"), Note("Y")
        server.bindAction("X", note)
        client.bindAction("Y", back)
        texts = ["a" * size for size in (1, 900, 1024, 2048, 100_000, 3_000_000)] + ["b"] * 300
        began = time.monotonic()
        for text in texts:
            client.SendPacketForAll(client.createPacket("X", text))
        until(lambda: len(note.seen) == len(texts))
        assert [entry[0] for entry in note.seen] == texts
        for _ in range(50):
            server.SendPacketForAll(server.createPacket("Y"))
        until(lambda: len(back.seen) == 50)
        assert time.monotonic() - began < len(texts)  # a client slept five seconds before each read


@pytest.mark.parametrize("token", ["other", "made up", None])
def test_a_token_cannot_be_claimed(token: str | None) -> None:
    """It was never checked: whatever a client says, its packets carry the token of the connection they came over."""
    with serving() as server, connected(server) as client, connected(server) as other:
        note = Note("X")
        server.bindAction("X", note)
        wrong = str(other.token) if token == "other" else token
        forged = {"action": "X", "token": wrong, "packet-created": 1.0}
        at_client(client).sendPacket(forged)
        at_client(client).session.send("X", headers={"token": wrong})
        until(lambda: len(note.seen) == 2)
        for _, packet, connection in note.seen:
            assert packet["token"] == client.token
            assert connection is at_server(server, client)
        assert note.seen[0][1]["packet-created"] == 1.0


def test_nothing_is_handled_before_the_handshake() -> None:
    """Who speaks before securelink's handshake has no token, so nothing that they send is handled."""
    with serving() as server:
        note = Note("X")
        server.bindAction("X", note)
        with socket.create_connection(("127.0.0.1", port_of(server))) as stranger:
            stranger.sendall(server.createPacket("X", "early"))
            stranger.settimeout(WAIT)
            with contextlib.suppress(ConnectionResetError):
                while stranger.recv(1024):
                    pass
        assert note.seen == []
        assert server.clients == {}


def test_tokens_reach_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    """A client's token is in no packet to another client, in no log line, and is not the session's public name."""
    caplog.set_level(logging.DEBUG)
    with serving() as server, connected(server) as first, connected(server) as second:
        heard: list[str] = []
        assert second.core is not None
        second.core.on_message(lambda packet: heard.append(repr((packet.data, packet.headers))))

        class PassOn(Bind):
            def run(self, data: Any, packet: Any, socket: Any) -> None:
                server.SendPacketForAll(packet)

        server.bindAction("X", PassOn("X"))
        first.SendPacketForAll(first.createPacket("X", "hello"))
        until(lambda: heard)
        assert first.token
        assert first.token not in "".join(heard)
        assert server.core is not None
        assert first.token not in server.core.sessions
        for token in (first.token, second.token, server.token):
            assert str(token) not in caplog.text


def test_raising_actions_and_strange_packets_stop_nothing() -> None:
    """A missing key, an unknown action or a raising action ended the thread: the next packet is handled."""

    class Fail(Bind):
        def run(self, data: Any, packet: Any, socket: Any) -> None:
            raise ZeroDivisionError

    with serving() as server, connected(server) as client:
        note = Note("X")
        server.bindAction("FAIL", Fail("FAIL"))
        server.bindAction("X", note)
        for action in ("FAIL", "unknown", "PING", "FAIL"):
            client.SendPacketForAll(client.createPacket(action))
        at_client(client).sendPacket({"action": "X"})
        until(lambda: note.seen)
        assert note.seen[0][0] is None
        assert len(server.clients) == 1


def test_retries_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """97,000 attempts a second: now two."""
    with serving() as server:
        port = port_of(server)
    attempts: list[float] = []
    connect = NativeClient.connect

    def counted(self: NativeClient) -> NativeClient:
        attempts.append(time.monotonic())
        return connect(self)

    monkeypatch.setattr(NativeClient, "connect", counted)
    client = coreclient.Client(port=port)
    began, cpu = time.monotonic(), time.process_time()
    waiting = threading.Thread(target=client.start)
    waiting.start()
    until(lambda: attempts)
    time.sleep(0.8)
    count, used = len(attempts), time.process_time() - cpu
    elapsed = time.monotonic() - began
    assert count <= 2 + elapsed / 0.5
    assert used < elapsed / 2
    client.stop()
    waiting.join(WAIT)
    assert not waiting.is_alive()


def test_waiting_for_a_server_can_be_stopped() -> None:
    """A client that finds nobody ends when it is told to: `start()` returns."""
    with serving() as server:
        port = port_of(server)
    client = coreclient.Client(port=port)
    waiting = threading.Thread(target=client.start)
    waiting.start()
    time.sleep(0.1)
    assert waiting.is_alive()
    client.stop()
    waiting.join(WAIT)
    assert not waiting.is_alive()


def test_a_client_may_start_again() -> None:
    """After `stop()`, or when the server ended the connection."""
    with serving() as server:
        client = coreclient.Client(port=port_of(server))
        for end in (client.stop, lambda: server.clients[client.token].disconnect()):
            client.start()
            assert client.clients
            assert client.connected
            end()
            until(lambda: not client.clients)
            assert not client.connected


def test_a_server_with_another_key_is_an_error(tmp_path: Path, other_identity: Identity) -> None:
    """Who answers with another key than last time is not trusted: `start` raises, and does not try again."""
    with serving() as server, connected(server):
        port = port_of(server)
    for name in ("server_private.pem", "server_public.pem"):
        (tmp_path / "keys" / name).unlink()
    other_identity.save(tmp_path / "keys", "server")
    with serving(port):
        client = coreclient.Client(port=port)
        with pytest.raises(NotTrusted, match="HAS CHANGED"):
            client.start()
        client.stop()


def test_a_restart_on_the_same_port() -> None:
    """An immediate second start failed; a second server at once is an `OSError` that says so."""
    server = coreserver.Server(port=0)
    server.start()
    server.start()  # harmless
    port = port_of(server)
    for _ in range(2):
        with connected(server):
            with pytest.raises(ConnectFailed) as caught:
                coreserver.Server(port=port).start()
            assert isinstance(caught.value, OSError)
        server.stop()
        server.stop()
        server.port = port
        server.start()
    server.stop()


def test_threads_and_sockets_are_given_back() -> None:
    """Servers and clients could not be ended: nothing of them is left."""
    before = threading.active_count()
    with serving() as server, connected(server), connected(server):
        assert threading.active_count() > before
    until(lambda: threading.active_count() <= before)


def test_sending_to_all_does_not_wait_for_a_client_that_does_not_read() -> None:
    """One client stands still: `SendPacketForAll` and `disconnect` stopped for 30 s at a time."""
    with serving() as server, stopped_client(port_of(server)):
        until(lambda: len(server.clients) == 1)
        (slow,) = server.clients.values()
        with connected(server) as client:
            heard = Note("NEWS")
            client.bindAction("NEWS", heard)
            began = time.monotonic()
            for number in range(1, 101):
                server.SendPacketForAll(server.createPacket("NEWS", "x" * 1_000_000))
                until(lambda number=number: len(heard.seen) == number)  # type: ignore[misc]
            slow.disconnect()
            assert time.monotonic() - began < 30
            until(lambda: list(server.clients) == [client.token])


def test_a_suspended_client_gets_nothing_that_goes_to_all() -> None:
    """`SendPacketForAll` passes over who is suspended, and refuses what is no packet."""
    with serving() as server, connected(server) as client:
        heard = Note("NEWS")
        client.bindAction("NEWS", heard)
        at_server(server, client).suspended = True
        server.SendPacketForAll(server.createPacket("NEWS", 1))
        at_server(server, client).suspended = False
        server.SendPacketForAll(server.createPacket("NEWS", 2))
        until(lambda: heard.seen)
        assert [data for data, *_ in heard.seen] == [2]
        with pytest.raises(CodecError, match="createPacket"):
            server.SendPacketForAll({"no": "action"})


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("a", 2**70, CodecError),
        ("a", "\ud800", CodecError),
        ("", 1, CodecError),
        ("a" * 256, 1, CodecError),
        ("~a", 1, ConfigError),
    ],
)
def test_what_packets_cannot_carry_is_an_error(
    name: str, data: Any, error: type[Exception]
) -> None:
    """As the document says, to one and to all; the connection stays, and the longest name goes."""
    with serving() as server, connected(server) as client:
        heard = Note("a" * 255)
        client.bindAction(heard.name, heard)
        for send in (at_server(server, client).sendPacket, server.SendPacketForAll):
            with pytest.raises(error):
                send({"action": name, "data": data})
            send(server.createPacket(heard.name, "fits"))
        until(lambda: len(heard.seen) == 2)
