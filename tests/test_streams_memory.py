"""Streams in memory: they behave like a connection of the system, without one."""

from __future__ import annotations

import threading

import pytest

from securelink import Client, ConnectFailed, Identity, Server
from securelink.streams.base import BREAK, END_SENDING, HANGUP, READ, WRITE
from securelink.streams.memory import MemoryNetwork, memory_pair

WAIT = 60.0


def test_bytes_arrive_in_order_and_in_pieces() -> None:
    """What one end sends the other one reads, as much at a time as it asks for."""
    one, two = memory_pair()
    assert one.send(b"hello ", 0) + one.send(memoryview(b"world"), 0) == 11
    assert (two.recv(4, 0), two.recv(100, 0)) == (b"hell", b"o world")
    with pytest.raises(BlockingIOError):
        two.recv(1, 0)
    assert two.send(b"back", 0) == 4
    assert one.recv(100, 0) == b"back"


def test_a_full_stream_takes_nothing() -> None:
    """A direction holds what it was made for; the rest is taken when there is room again."""
    one, two = memory_pair(capacity=4)
    assert one.send(b"123456", 0) == 4
    assert one.waiting == 4
    with pytest.raises(BlockingIOError):
        one.send(b"56", 0)
    assert not one.ready() & WRITE
    assert two.recv(3, 0) == b"123"
    assert one.ready() & WRITE
    assert one.send(b"56", 0) == 2


def test_an_end_of_stream_comes_after_what_was_sent() -> None:
    """One direction may end alone: its reader gets all of it first, and can still answer."""
    one, two = memory_pair()
    one.send(b"last", 0)
    one.shutdown(END_SENDING)
    assert two.ready() & (READ | HANGUP) == READ | HANGUP
    assert (two.recv(100, 0), two.recv(100, 0)) == (b"last", b"")
    with pytest.raises(BrokenPipeError):
        one.send(b"more", 0)
    two.send(b"answer", 0)
    assert one.recv(100, 0) == b"answer"


@pytest.mark.parametrize("act", ["close", "break"])
def test_a_broken_stream(act: str) -> None:
    """After a close or a break the peer reads the end, and can send nothing more."""
    one, two = memory_pair()
    one.close() if act == "close" else one.shutdown(BREAK)
    assert two.recv(100, 0) == b""
    with pytest.raises(BrokenPipeError):
        two.send(b"x", 0)
    one.close()
    with pytest.raises(OSError, match="closed"):
        one.recv(1, 0)
    with pytest.raises(OSError, match="closed"):
        one.shutdown(BREAK)


def test_waiting_ends_when_something_comes() -> None:
    """`wait` returns at once when it is ready, at its timeout when it is not, and as soon as another thread sends."""
    one, two = memory_pair(capacity=4)
    assert two.wait(read=False, write=True, timeout=0.0)
    assert not two.wait(read=True, write=False, timeout=0.0)
    thread = threading.Thread(target=lambda: one.send(b"x", 0))
    thread.start()
    assert two.wait(read=True, write=False, timeout=WAIT)
    thread.join(WAIT)
    one.shutdown(BREAK)
    assert one.wait(read=True, write=False, timeout=0.0)


def test_who_watches_is_told() -> None:
    """The other end's watcher is called for bytes, for room and for ends; a watcher that has gone is not."""
    one, two = memory_pair()
    told: list[str] = []
    one.on_change = lambda: told.append("one")
    two.on_change = lambda: told.append("two")
    one.send(b"x", 0)
    two.recv(1, 0)
    assert told == ["two", "one"]
    two.close()
    assert told == ["two", "one", "one", "two"]
    one.on_change = None
    two.close()
    assert told[4:] == ["two"]


def test_ports_of_a_network_are_its_own() -> None:
    """A port can be taken once, is free after its close, and exists in its own network only."""
    network = MemoryNetwork()
    [place] = network.listen("", 0, 1)
    port = place.address[1]
    with pytest.raises(ConnectFailed, match="in use"):
        network.listen("", port, 1)
    with pytest.raises(ConnectFailed, match="no server listens"):
        MemoryNetwork().connect("", port, 1.0)
    ours = network.connect("anywhere", port, 1.0)
    with pytest.raises(ConnectFailed, match="no server listens"):  # one waits already
        network.connect("", port, 1.0)
    theirs = place.accept()
    assert (theirs.peer, theirs.local) == (ours.local, ours.peer)
    with pytest.raises(BlockingIOError):
        place.accept()
    waiting = network.connect("", port, 1.0)
    place.close()
    assert waiting.recv(1, 0) == b""
    with pytest.raises(ConnectFailed, match="no server listens"):
        network.connect("", port, 1.0)
    network.listen("", port, 1)


@pytest.mark.parametrize("encryption", ["required", "off"])
@pytest.mark.parametrize("capacity", [64, 256 * 1024])
def test_a_whole_session(identity: Identity, encryption: str, capacity: int) -> None:
    """A server and a client talk over it as over TCP: both ways, more than it holds, until both have closed."""
    network = MemoryNetwork(capacity)
    server = Server("127.0.0.1", 0, keys=identity, encryption=encryption)
    server.carrier = network
    server.on("echo", lambda session, packet: session.send("echo", packet.data))
    with server:
        pin = None if encryption == "off" else identity.fingerprint
        client = Client(*server.address, pin=pin, encryption=encryption)
        client.carrier = network
        client.connect(WAIT)
        big = bytes(300_000 if capacity > 64 else 3_000)
        for data in ("hello", big):
            client.send("echo", data)
            packet = client.receive(WAIT)
            assert packet is not None
            assert packet.data == data
        assert client.close(WAIT) == []
        assert server.stop(WAIT)
