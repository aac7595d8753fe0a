"""The relay: what it passes on, what it sees, and what its hooks can do to a stream."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import SOON, WAIT, until

from securelink import Client, HandshakeError, Identity, Server
from securelink.streams.tcp import TcpCarrier, TcpStream
from securelink.testing.relay import Relay, by_frame, split_frames
from securelink.wire.frames import frame_header


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A server socket that the relay passes connections on to."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(WAIT)
        yield sock


@pytest.fixture
def relay(listening: socket.socket) -> Iterator[Relay]:
    """A relay in front of `listening`."""
    with Relay(*listening.getsockname()) as relay:
        yield relay
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("relay")]


def connected(relay: Relay, listening: socket.socket) -> tuple[socket.socket, socket.socket]:
    """A client's and the server's end of a connection through the relay."""
    client = socket.create_connection(("127.0.0.1", relay.port), timeout=WAIT)
    server, _ = listening.accept()
    server.settimeout(WAIT)
    return client, server


def read(sock: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes, fewer at the end of the stream."""
    data = b""
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        if not chunk:
            break
        data += chunk
    return data


def test_bytes_pass_both_ways_and_are_captured(relay: Relay, listening: socket.socket) -> None:
    """Without hooks the relay changes nothing and remembers each direction."""
    client, server = connected(relay, listening)
    with client, server:
        client.sendall(b"a question")
        assert read(server, 10) == b"a question"
        server.sendall(b"an answer")
        assert read(client, 9) == b"an answer"
    assert relay.to_server.captured == b"a question"
    assert relay.to_client.captured == b"an answer"
    assert relay.connections == 1
    relay.to_client.forget()
    assert relay.to_client.captured == b""


def test_a_large_stream_arrives_whole(relay: Relay, listening: socket.socket) -> None:
    """More than any buffer holds passes through unchanged."""
    client, server = connected(relay, listening)
    data = bytes(range(256)) * 8192
    with client, server:
        sender = threading.Thread(target=client.sendall, args=(data,))
        sender.start()
        assert read(server, len(data)) == data
        sender.join(WAIT)


def test_the_end_of_one_direction_leaves_the_other_open(
    relay: Relay, listening: socket.socket
) -> None:
    """A half-closed connection stays half open."""
    client, server = connected(relay, listening)
    with client, server:
        client.shutdown(socket.SHUT_WR)
        assert read(server, 1) == b""
        server.sendall(b"still here")
        assert read(client, 10) == b"still here"


def test_a_hook_changes_and_drops(relay: Relay, listening: socket.socket) -> None:
    """What a hook returns goes on, and what came is captured as it was."""
    client, server = connected(relay, listening)
    with client, server:
        relay.to_server.hook = lambda chunk: chunk.replace(b"north", b"south")
        client.sendall(b"go north")
        assert read(server, 8) == b"go south"
        relay.to_server.hook = lambda chunk: b""
        client.sendall(b"dropped")
        until(lambda: relay.to_server.captured.endswith(b"dropped"))
        relay.to_server.hook = None
        client.sendall(b"passed")
        assert read(server, 6) == b"passed"
    assert relay.to_server.captured == b"go northdroppedpassed"


def test_injected_bytes_reach_the_newest_connection(relay: Relay, listening: socket.socket) -> None:
    """The attacker's own bytes arrive at the end of what was passed on."""
    first, first_server = connected(relay, listening)
    client, server = connected(relay, listening)
    with first, first_server, client, server:
        client.sendall(b"theirs ")
        assert read(server, 7) == b"theirs "
        relay.to_server.inject(b"ours")
        assert read(server, 4) == b"ours"
        assert relay.to_server.captured == b"theirs "


def test_the_newest_connection_is_the_one_that_came_last(listening: socket.socket) -> None:
    """Also when the relay's thread of an older one is late."""
    late, rest = threading.Event(), iter([lambda: late.wait(WAIT)])

    class Late(TcpCarrier):
        def connect(self, host: str, port: int, timeout: float) -> TcpStream:
            stream = super().connect(host, port, timeout)
            next(rest, bool)()  # the first only
            return stream

    with Relay(*listening.getsockname(), carrier=Late()) as relay:
        old, old_server = connected(relay, listening)
        new, new_server = connected(relay, listening)
        with old, old_server, new, new_server:
            for number, (client, server) in enumerate([(new, new_server), (old, old_server)]):
                client.sendall(b"passed on")
                assert read(server, 9) == b"passed on", number
                late.set()
            relay.to_server.inject(b"ours")
            assert read(new_server, 4) == b"ours"


def test_injecting_needs_a_connection(relay: Relay) -> None:
    """Without a connection there is nothing to inject into."""
    with pytest.raises(ConnectionError, match="no connection"):
        relay.to_client.inject(b"x")


def test_a_cut_ends_connections_and_new_ones_pass(relay: Relay, listening: socket.socket) -> None:
    """Both sides of a cut connection see the end of the stream; the relay goes on."""
    client, server = connected(relay, listening)
    with client, server:
        relay.cut()
        assert read(client, 1) == b""
        assert read(server, 1) == b""
    client, server = connected(relay, listening)
    with client, server:
        client.sendall(b"x")
        assert read(server, 1) == b"x"


def test_a_cut_can_be_a_reset(relay: Relay, listening: socket.socket) -> None:
    """With reset=True both sides get a TCP reset."""
    client, server = connected(relay, listening)
    with client, server:
        client.sendall(b"x")
        assert read(server, 1) == b"x"
        relay.cut(reset=True)
        for sock in (client, server):
            with pytest.raises(ConnectionResetError):
                read(sock, 1)


def test_a_target_that_does_not_answer_ends_the_connection(
    relay: Relay, listening: socket.socket
) -> None:
    """A client whose server is gone is hung up on."""
    listening.close()
    with socket.create_connection(("127.0.0.1", relay.port), timeout=WAIT) as client:
        assert read(client, 1) == b""


def test_the_target_can_change(relay: Relay, listening: socket.socket) -> None:
    """Connections from then on lead to the new target."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(WAIT)
        relay.target = other.getsockname()
        client, server = connected(relay, other)
        client.close()
        server.close()


def test_stop_closes_what_is_open(listening: socket.socket) -> None:
    """Stopping ends connections and frees the port, again and again."""
    relay = Relay(*listening.getsockname()).start()
    port = relay.port
    client, server = connected(relay, listening)
    with client, server:
        relay.stop()
        relay.stop()
        assert read(client, 1) == b""
    with pytest.raises(RuntimeError, match="not started"):
        _ = relay.port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=WAIT)
    with relay.start() as again, pytest.raises(RuntimeError, match="started already"):
        again.start()


def test_a_client_that_retries_waits_for_the_server_behind_a_relay(
    identity: Identity, tmp_path: Path
) -> None:
    """Being hung up on in the handshake is no end for connect(retry=True): the server may be about to start."""
    with Relay("127.0.0.1", 9) as relay:
        client = Client("127.0.0.1", relay.port, known_servers=tmp_path / "known_servers")
        with pytest.raises(HandshakeError, match="closed the connection"):
            client.connect(WAIT)
        with Server("127.0.0.1", 0, keys=identity) as server:
            start = threading.Timer(0.2, lambda: setattr(relay, "target", server.address))
            start.start()
            with client.connect(WAIT, retry=True):
                assert client.server_fingerprint == identity.fingerprint
            start.join(WAIT)


def test_a_closed_session_closes_its_sockets(identity: Identity, tmp_path: Path) -> None:
    """After close() both ends of the TCP connection go away at once; nothing lingers until a deadline."""
    with Server("127.0.0.1", 0, keys=identity) as server, Relay(*server.address) as relay:
        with Client("127.0.0.1", relay.port, known_servers=tmp_path / "known_servers"):
            assert relay.open == 1
        until(lambda: not relay.open, SOON)


@pytest.mark.parametrize("size", [1, 3, 5, 1000])
def test_by_frame_sees_whole_frames_however_cut(size: int) -> None:
    """A frame hook is called once a frame, and pieces of a frame wait for the rest."""
    frames = [frame_header(3, len(body)) + body for body in (b"", b"one", b"x" * 300)]
    seen: list[bytes] = []

    def twice(frame: bytes) -> bytes:
        seen.append(frame)
        return frame * 2

    hook = by_frame(twice)
    stream = b"".join(frames)
    out = b"".join(hook(stream[i : i + size]) for i in range(0, len(stream), size))
    assert seen == frames
    assert out == b"".join(frame * 2 for frame in frames)
    assert split_frames(stream + b"\x03\x00") == frames
