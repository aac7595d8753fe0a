"""Peers that vanish: reset, cut off, killed, silent."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import WAIT, Hostile, Scene, echo, failure, scene, until
from programs import process, read_line
from together import channel_of, confirmed

from securelink import Client, ConnectFailed, ConnectionClosed, Identity, Server, Session
from securelink.codes import Code
from securelink.testing.relay import Relay
from securelink.wire.fields import Content, Mode
from securelink.wire.packets import Packet, encode_packet, join_packets

pytestmark = pytest.mark.usefixtures("tidy", "not_kept")

BROKEN = "the connection broke: the peer vanished or the network failed"
AGAIN = r"call connect\(\) for a new session"
ROOT = Path(__file__).parents[1]


class Farewells:
    """Sessions that come and go on a server, the neighbour's apart."""

    def __init__(self, stage: Scene) -> None:
        stage.check_neighbour()  # its own events are over
        self.came: list[Session] = []
        self.went: list[Session] = []
        stage.server.on_connect(self.came.append)
        stage.server.on_disconnect(self.went.append)


def reset(sock: socket.socket) -> None:
    """Close with a reset instead of an end of stream."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def end(sock: socket.socket) -> None:
    """An end of stream without CLOSE."""
    sock.shutdown(socket.SHUT_WR)


def half_a_frame(sock: socket.socket) -> None:
    """An end of stream in the middle of a record."""
    sock.sendall(b"\x03\x00\x01\x00" + bytes(100))
    sock.close()


@pytest.mark.parametrize("vanish", [reset, end, half_a_frame])
@pytest.mark.parametrize("encryption", ["required", "off"])
def test_a_client_that_vanishes(
    vanish: Callable[[socket.socket], None],
    encryption: str,
    identity: Identity,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """However a client goes, its session ends once, its packets first; the log does not call it a clean end."""
    heard: list[Any] = []
    with scene(identity, encryption=encryption) as stage:
        seen = Farewells(stage)
        stage.server.on("say", lambda session, packet: heard.append(packet.data))
        with Hostile(stage.port, Mode[encryption.upper()]).open() as peer:
            peer.send(Content.DATA, join_packets([encode_packet(Packet("say", "last words"))]))
            until(lambda: heard)
            vanish(peer.sock)
            until(lambda: seen.went)
        assert seen.went == seen.came
        assert heard == ["last words"]
        (session,) = seen.went
        assert not session.connected
        error = failure(ConnectionClosed, lambda: session.send("x"), BROKEN)
        assert not error.clean
        until(stage.alone)
    assert caplog.text.count(f"disconnected: the session is over: {BROKEN}") == 1


def test_a_client_that_goes_before_it_has_read(identity: Identity) -> None:
    """A client that resets the connection while much is on its way to it holds up nobody and no memory."""
    with scene(identity) as stage:
        seen = Farewells(stage)
        with Hostile(stage.port).open() as peer:
            until(lambda: seen.came)
            (session,) = seen.came
            while not channel_of(session).unsent:  # until the kernel takes no more
                session.send("bulk", bytes(100_000))
            stage.check_neighbour()
            reset(peer.sock)
        until(lambda: seen.went)
        until(stage.alone)


def test_a_blocked_send_ends_with_the_session(identity: Identity) -> None:
    """A thread that waits for room in send() is told when the peer is gone; it does not wait for its timeout."""
    with scene(identity) as stage:
        seen = Farewells(stage)
        with Hostile(stage.port).open() as peer:
            until(lambda: seen.came)
            (session,) = seen.came
            errors: list[ConnectionClosed] = []

            def fill() -> None:
                try:
                    while True:
                        session.send("bulk", bytes(1_000_000))
                except ConnectionClosed as error:
                    errors.append(error)

            thread = threading.Thread(target=fill)
            thread.start()
            until(lambda: channel_of(session).outbox.pressure.waiters)
            reset(peer.sock)
            thread.join(WAIT)
        assert [str(error) for error in errors] == [f"the session is over: {BROKEN}"]
        until(stage.alone)


# --- the server is gone --------------------------------------------------------------------------------------


@contextlib.contextmanager
def behind_a_relay(identity: Identity) -> Iterator[tuple[Scene, Relay, Client]]:
    """A scene, and a client whose connection can be broken."""
    with scene(identity) as stage, Relay("127.0.0.1", stage.port) as relay:
        client = Client("127.0.0.1", relay.port, pin=stage.server.fingerprint)
        # Deferred, and never answered.
        stage.server.on("sleep", lambda session, packet: packet.defer() and None)
        client.connect()
        assert echo(client, 1)
        yield stage, relay, client
        client.close()


@pytest.mark.parametrize("abrupt", [True, False])
@pytest.mark.parametrize(
    "wait",
    [
        lambda client: client.receive(WAIT),
        lambda client: client.receive(),
        lambda client: list(client),
        lambda client: client.request("sleep", timeout=WAIT),
        lambda client: client.wait_for("never", WAIT),
    ],
    ids=["receive", "receive forever", "iterate", "request", "wait for"],
)
def test_who_waits_is_told(
    wait: Callable[[Client], object], abrupt: bool, identity: Identity
) -> None:
    """Every call that waits for a server ends when the connection breaks, with an error that says so."""
    with behind_a_relay(identity) as (stage, relay, client):
        gone = threading.Event()
        client.on_disconnect(gone.set)
        cutter = threading.Timer(0.05, relay.cut, kwargs={"reset": abrupt})
        cutter.start()
        began = time.monotonic()
        error = failure(ConnectionClosed, lambda: wait(client), BROKEN, AGAIN)
        assert time.monotonic() - began < WAIT / 2
        assert not error.clean
        cutter.join()
        assert gone.wait(WAIT)
        assert not client.connected
        for call in (lambda: client.send("echo", 1), lambda: client.receive(0), client.poll):
            failure(ConnectionClosed, call, BROKEN, AGAIN)
        until(stage.alone)
        with client.connect():  # the same client, a fresh session
            assert echo(client, 2)


def test_packets_that_were_not_confirmed_are_given_back(identity: Identity) -> None:
    """What a server that vanished has not confirmed comes back from close(), in order."""
    with behind_a_relay(identity) as (_, relay, client):
        confirmed(client)
        relay.to_server.hook = lambda chunk: b""
        for number in range(3):
            client.send("echo", number)
        relay.cut()
        failure(ConnectionClosed, lambda: client.receive(WAIT), BROKEN, AGAIN)
        assert [packet.data for packet in client.close()] == [0, 1, 2]


# --- killed ------------------------------------------------------------------------------------------------------

CLIENT = """
import sys
from securelink import Client
client = Client(sys.argv[1]).connect()
client.send("echo", "alive")
print(client.receive(5).data, client.token, flush=True)
client.receive()
"""

SERVER = """
import sys
from securelink import Identity, Server
server = Server("127.0.0.1", 0, keys=Identity.generate(2048))
server.on("echo", lambda session, packet: session.send("echo", packet.data))
with server:
    print(server.invite(), flush=True)
    sys.stdin.read()
"""


def test_a_client_that_is_killed(identity: Identity) -> None:
    """A client process that is killed leaves the server like any other: its session ends, once."""
    with scene(identity) as stage:
        seen = Farewells(stage)
        with process(CLIENT, stage.server.invite()) as killed:
            said, token = read_line(killed).split()
            assert said == "alive"
            killed.send_signal(signal.SIGKILL)
            until(lambda: seen.went)
        assert [session.token for session in seen.went] == [token]
        until(stage.alone)


def test_a_server_that_is_killed(identity: Identity) -> None:
    """When the server process is killed its client is told; that nothing listens any more is another error."""
    with process(SERVER) as killed:
        client = Client(read_line(killed), reconnect=False).connect()
        assert echo(client, 1)
        killed.send_signal(signal.SIGKILL)
        failure(ConnectionClosed, lambda: client.receive(WAIT), BROKEN, AGAIN)
        killed.wait(WAIT)
        failure(ConnectFailed, client.connect, "connection refused", "is the server started")
        client.close()


# --- silent ----------------------------------------------------------------------------------------------------


def test_peers_that_fall_silent(
    identity: Identity, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who sends nothing for two and a half heartbeats is gone, on either side; who pings is not."""
    monkeypatch.setattr("securelink.threads.sweeper.SWEEP_SECONDS", 0.05)
    # Clients ping every two seconds: more than two others would have to be lost to a busy machine.
    with scene(identity, heartbeat=1.9) as stage, Relay("127.0.0.1", stage.port) as relay:
        seen = Farewells(stage)
        with Hostile(stage.port).open() as peer:
            until(lambda: seen.came)
            (session,) = seen.came
            client = Client("127.0.0.1", relay.port, pin=stage.server.fingerprint).connect()
            relay.to_client.hook = lambda chunk: b""  # for this client the server falls silent
            assert peer.ending() == (Code.SILENT, "")
            until(lambda: session in seen.went)
        error = failure(ConnectionClosed, lambda: session.send("x"), "nothing was received for too")
        assert error.code == Code.SILENT
        error = failure(
            ConnectionClosed, lambda: client.receive(WAIT), "nothing was received for too", AGAIN
        )
        assert (error.code, error.clean) == (Code.SILENT, False)
        client.close()
        relay.cut()
        until(stage.alone)
    assert re.search(rf"session {session.token}: nothing heard for \d+ s", caplog.text)


# --- the ends of an orderly session ------------------------------------------------------------------------------


def test_a_server_that_stops_says_so(identity: Identity) -> None:
    """Clients of a server that is stopped get the reason, what was sent before included, and may come back."""
    server = Server("127.0.0.1", 0, keys=identity).start()
    client = Client(server.invite()).connect()
    until(lambda: server.sessions)
    server.broadcast("say", "good night")
    assert server.stop()
    packet = client.receive(WAIT)
    assert packet is not None
    assert packet.data == "good night"
    error = failure(ConnectionClosed, lambda: client.receive(WAIT), "the server is shutting down")
    assert (error.code, error.clean) == (Code.SHUTDOWN, True)
    failure(ConnectFailed, client.connect, "connection refused", "is the server started")


def test_a_kick_says_why(identity: Identity) -> None:
    """A kicked client gets the reason, escaped; the server's log has it too."""
    with scene(identity) as stage:
        seen = Farewells(stage)
        client = stage.client().connect()
        stage.session(client).kick("no shouting\n")
        error = failure(ConnectionClosed, lambda: client.receive(WAIT), r"no shouting\\n")
        assert (error.code, error.text, error.clean) == (Code.KICKED, r"no shouting\n", True)
        until(lambda: seen.went)
        until(stage.alone)
        client.close()
