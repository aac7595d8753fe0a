"""The fault link: slow lines, connections that are lost without a word, random cuts, and clocks that jump."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator

import pytest
from helpers import WAIT, until

from securelink import Identity, Server
from securelink.testing import Clock, Network, Relay

pytestmark = pytest.mark.usefixtures("tidy")


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A server socket that a relay passes connections on to."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(WAIT)
        yield sock


def pair(relay: Relay, listening: socket.socket) -> tuple[socket.socket, socket.socket]:
    """A client's and the server's end of a connection through the relay."""
    client = socket.create_connection(("127.0.0.1", relay.port), timeout=WAIT)
    server, _ = listening.accept()
    server.settimeout(WAIT)
    return client, server


def test_a_line_has_a_bandwidth(listening: socket.socket) -> None:
    """So many bytes a second pass, of all connections of a direction together; the other one is not slowed down."""
    with Relay(*listening.getsockname()) as relay:
        relay.to_server.bandwidth = 100_000
        ends = [pair(relay, listening) for _ in range(2)]
        began = time.monotonic()
        for client, _ in ends:
            client.sendall(bytes(20_000))
        for _, server in ends:
            assert len(server.recv(20_000, socket.MSG_WAITALL)) == 20_000
        assert time.monotonic() - began >= 0.4
        relay.to_server.bandwidth = None
        for end in ends:
            for sock in end:
                sock.close()


def test_a_connection_is_lost_without_a_word(listening: socket.socket) -> None:
    """What one side sends vanishes, and so does its end; the next connection is a good one."""
    with Relay(*listening.getsockname()) as relay:
        client, server = pair(relay, listening)
        client.sendall(b"before")
        assert server.recv(6) == b"before"
        relay.lose()
        client.sendall(b"after")
        client.close()
        until(lambda: relay.to_server.captured.endswith(b"after"))
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.recv(1)
        server.close()
        client, server = pair(relay, listening)
        client.sendall(b"again")
        assert server.recv(5) == b"again"
        client.close()
        server.close()


def cut_places(listening: socket.socket, seed: int) -> list[int]:
    """How many bytes reach the server on each of some connections; those that are cut the other way let all pass."""
    found = []
    with Relay(*listening.getsockname()) as relay:
        relay.cut_randomly(seed, within=1000)
        for _ in range(8):
            client, server = pair(relay, listening)
            with client, server:
                client.sendall(bytes(1000))
                client.shutdown(socket.SHUT_WR)
                found.append(len(b"".join(iter(lambda server=server: server.recv(4096), b""))))  # type: ignore[misc]
    return found


def test_random_cuts_are_those_of_their_seed(listening: socket.socket) -> None:
    """The same bytes in each run, whatever the threads do; others with another seed."""
    first = cut_places(listening, 7)
    assert first == cut_places(listening, 7)
    assert first != cut_places(listening, 8)
    assert 1000 in first  # cut in the other direction
    assert min(first) < 1000


def test_a_session_outlives_random_cuts(identity: Identity) -> None:
    """Nothing is lost or doubled, in memory as over TCP."""
    came: list[int] = []
    server = Server(keys=identity, resume=60)
    server.on("say", lambda session, packet: came.append(packet.data))
    with Network() as network:
        relay = network.relay(network.serve(server))
        client = network.client(relay)
        relay.cut_randomly(seed=random.randrange(1000), within=3000)
        relay.cut()
        for number in range(200):
            client.send("say", number)
            time.sleep(0.001)
        relay.cut_randomly(None)
        until(lambda: len(came) == 200)
        assert came == list(range(200))


def test_a_lost_connection_is_found_by_both_sides(identity: Identity) -> None:
    """A half-open one: neither side is told, and each finds out by itself, in bounded time."""
    server = Server(keys=identity, heartbeat=1, resume=60)
    with Network() as network:
        relay = network.relay(network.serve(server))
        client = network.client(relay)
        until(lambda: client.token in server.sessions)
        session = server.sessions[client.token]
        breaks: list[str] = []
        server.on_suspend(lambda session: breaks.append("server"))
        client.on_suspend(lambda: breaks.append("client"))
        # A client that is the first to notice, and comes back at once, would have told the server.
        target, relay.target = relay.target, ("nowhere", 1)
        relay.lose()
        until(lambda: {"client", "server"} <= set(breaks))
        relay.target = target
        until(lambda: session.connected)
        assert client.ping(WAIT) > 0
        assert server.sessions[client.token] is session


def test_a_computer_sleeps_for_an_hour(identity: Identity) -> None:
    """The clocks of both sides jump, and the session is as it was: its own sleep is nobody's silence."""
    with Clock() as clock, Network() as network:
        before = time.monotonic(), time.time()
        server = network.serve(Server(keys=identity, heartbeat=1))
        client = network.client(server)
        client.ping(WAIT)
        token = client.token
        clock.sleep(3600)
        clock.set(-86_400)
        assert time.monotonic() - before[0] >= 3600
        assert time.time() < before[1]
        time.sleep(1.5)  # both sides look at their clocks
        assert client.ping(WAIT) >= 0
        assert client.token == token
        assert client.connected
    with pytest.raises(ValueError, match="backwards"):
        clock.sleep(-1)
