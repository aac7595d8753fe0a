"""What was broken in simplesockets, and is not here."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from helpers import SOON, WAIT, until
from inside import listener_of
from running import Program
from test_simplesockets import connected, keys, new_client, serving, taken

from securelink import Client, ConnectionClosed, Identity
from securelink.compat.simplesockets import TCPServer
from securelink.limits import MAX_COLLECTED, MAX_FRAME_BODY

__all__ = ["keys"]
pytestmark = pytest.mark.usefixtures("tidy", "keys")


def test_messages_neither_merge_nor_split() -> None:
    """Two quick sends were one message, and long ones came in pieces: each arrives as it was sent."""
    messages = [b"one", b"two", b"", b"x" * 70_000, *(b"%d" % number for number in range(300))]
    with serving() as server, connected(server) as client:
        for message in messages:
            assert client.send_data(message)
        sent = [message for message in messages if message]  # nothing is no message
        assert [data for _, _, data in taken(server, len(sent))] == sent


@pytest.mark.parametrize("size", [2048, 4096, 2048 * 513, MAX_FRAME_BODY - 64])
def test_sizes_that_are_multiples_of_the_buffer(size: int) -> None:
    """Such messages were held back until the next one: they arrive, both ways."""
    with serving() as server, connected(server) as client:
        assert client.send_data(b"m" * size)
        ((other, _, data),) = taken(server)
        assert len(data) == size
        assert server.send_data(data, other)
        assert [len(back) for back in taken(client)] == [size]


def test_what_is_too_large_is_refused_whole() -> None:
    """A message above 16 MiB is a False and a caught exception; the connection goes on."""
    with serving() as server, connected(server) as client:
        assert client.send_data(bytes(MAX_FRAME_BODY)) is False
        assert "larger than" in client.return_exceptions()[0][0]
        assert client.send_data(b"small")
        assert taken(server)[0][2] == b"small"


def test_a_text_is_no_bytes() -> None:
    """A str is a TypeError, as with a socket."""
    with serving() as server, connected(server) as client, pytest.raises(TypeError):
        client.send_data("text")  # type: ignore[arg-type]


def test_a_clean_close_is_noticed_once_and_costs_nothing() -> None:
    """It was never noticed, and both sides span: now `on_disconnect` comes once, and nobody is busy."""
    gone: list[Any] = []
    with serving(on_disconnect=gone.append) as server:
        with connected(server, on_disconnect=lambda: gone.append("client")):
            until(lambda: server.clients)
            (address,) = server.clients
        until(lambda: len(gone) == 2)
        began = time.process_time()
        time.sleep(0.3)
        assert time.process_time() - began < 0.1
        assert sorted(gone, key=str) == [address, "client"]
        assert server.clients == {}
        assert not server.event.exception.occurred


def test_disconnecting_with_autorecv_on_ends_it() -> None:
    """1,859 exceptions in 0.3 s came of it: none, one callback, and the thread is free."""
    gone: list[str] = []
    with serving() as server, connected(server, on_disconnect=lambda: gone.append("")) as client:
        assert client.disconnect()
        until(lambda: gone)
        time.sleep(0.2)
        assert gone == [""]
        assert client.event.exception.list == []
        assert client.send_data(b"to nobody") is False
        assert isinstance(client.return_exceptions()[0][1], ConnectionClosed)
        assert client.recv_data() == b""


def test_a_callback_may_disconnect() -> None:
    """Inside `on_receive`, on both sides."""
    gone: list[Any] = []
    with serving(on_disconnect=gone.append) as server:
        with connected(server) as client:
            client.on_receive = lambda data: client.disconnect()
            until(lambda: server.clients)
            server.send_data(b"go", next(iter(server.clients.values()))[1])
            until(lambda: gone)
        server.on_receive = lambda other, address, data: server.disconnect(address)
        with connected(server) as client:
            client.send_data(b"throw me out")
            until(lambda: client.event.disconnected)
            until(lambda: len(gone) == 2)


def test_the_limit_of_connections_holds() -> None:
    """Three were let in with `max_connections=1`: now one, and the next when that one has left."""
    with serving(1) as server:
        assert server.max_connections == 1
        with connected(server), new_client() as second:
            second.setup("127.0.0.1", server.socket.address[1])
            assert second.connect() is False
            assert second.event.exception.occurred
            assert len(server.clients) == 1
            first_address = next(iter(server.clients))
        until(lambda: not server.clients)
        until(lambda: not listener_of(server.socket).links)
        with connected(server):
            until(lambda: server.clients)
            assert first_address not in server.clients


def test_stop_lets_nobody_in() -> None:
    """One more got in, for the thread was in `accept()`: now nobody does until `start()`."""
    with serving() as server:
        server.stop()
        with socket.create_connection(server.socket.address) as probe:
            probe.settimeout(0.2)
            probe.sendall(b"anything but a hello")
            with pytest.raises(TimeoutError):
                probe.recv(1)
            server.start()
            probe.settimeout(WAIT)
            probe.recv(1)  # an answer, or the end: it is no client of ours


def test_raising_callbacks_stop_nothing() -> None:
    """They killed the accept thread, or dropped the client silently: they are caught, and everything goes on."""

    def fail(*_: Any) -> None:
        raise ZeroDivisionError("on purpose")

    callbacks: dict[str, Any] = {"on_connect": fail, "on_receive": fail, "on_disconnect": fail}
    with serving(**callbacks) as server:
        for _ in range(2):
            with connected(server, **callbacks) as client:
                assert client.send_data(b"x")
                ((other, _, data),) = taken(server)
                assert data == b"x"
                server.send_data(b"y", other)
                assert taken(client) == [b"y"]
            for endpoint in (server, client):
                until(lambda: len(endpoint.event.exception.list) == 3)  # noqa: B023
                for text, error in endpoint.return_exceptions():
                    assert isinstance(error, ZeroDivisionError)
                    assert "on purpose" in text


def test_exceptions_are_bounded() -> None:
    """The list grew without end: the latest hundred are kept."""
    with serving() as server:
        for number in range(250):
            server.disconnect(("nobody", number))
        texts = [text for text, _ in server.return_exceptions()]
        assert len(texts) == 100
        assert "249" in texts[-1]


def test_new_data_is_never_set_without_data() -> None:
    """The flag stood before the data: a poller that sees it gets data, every time, and loses none."""
    count = 2000
    got: list[bytes] = []
    with serving() as server, connected(server) as client:
        sender = threading.Thread(
            target=lambda: [client.send_data(b"%d" % number) for number in range(count)]
        )
        sender.start()
        deadline = time.monotonic() + 4 * WAIT
        while len(got) < count:
            assert time.monotonic() < deadline
            if server.event.new_data:
                data = server.return_recved_data()
                assert data
                got += [message for _, _, message in data]
        sender.join(WAIT)
    assert got == [b"%d" % number for number in range(count)]


def test_what_nobody_takes_is_bounded() -> None:
    """Without `on_receive` the sender waits for the poller; with one, the oldest that it has seen go."""
    count = MAX_COLLECTED + 200
    with serving() as server, connected(server) as client:
        for _ in range(count):
            assert client.send_data(b"x")
        until(lambda: len(server.recved_data) == MAX_COLLECTED)
        time.sleep(0.1)
        assert len(server.recved_data) == MAX_COLLECTED
        assert len(taken(server, count)) == count  # nothing is lost
        seen: list[bytes] = []
        server.on_receive = lambda other, address, data: seen.append(data)
        for _ in range(count):
            assert client.send_data(b"y")
        until(lambda: len(seen) == count)
        assert len(server.recved_data) == MAX_COLLECTED


def test_a_restart_on_the_same_port() -> None:
    """An immediate second run failed with "Address already in use"."""
    server = TCPServer()
    server.setup("127.0.0.1", 0)
    port = server.socket.address[1]
    for number in range(3):
        server.setup("127.0.0.1", port)
        server.start()
        with connected(server) as client:
            client.send_data(b"%d" % number)
            assert taken(server)[0][2] == b"%d" % number
    server.close()
    server.close()


def test_strangers_and_nonsense() -> None:
    """Bytes that are no session, and packets that are no bytes, change nothing for the clients."""
    with serving() as server, connected(server) as client:
        port = server.socket.address[1]
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n" + bytes(range(256)) * 20)
        with Client("127.0.0.1", port, trust="first-use") as odd:
            odd.send("bytes", {"no": "bytes"})
            odd.send("bytes", None)
            odd.send("something else", b"data")
            odd.send("bytes", b"good")
            assert taken(server)[0][2] == b"good"
        assert client.send_data(b"still here")
        assert taken(server)[0][2] == b"still here"
        assert not server.event.exception.occurred


def test_a_server_that_vanishes(tmp_path: Path, identity: Identity) -> None:
    """The client of a killed server learns it once, spins not, and reconnects when it is back."""
    source = (
        "from securelink.compat.simplesockets import TCPServer\n"
        "import time\n"
        "server = TCPServer()\n"
        "server.setup('127.0.0.1', {port})\n"
        "server.start()\n"
        "print(server.socket.address[1])\n"
        "time.sleep(60)\n"
    )
    gone: list[str] = []
    with new_client() as client:
        with Program(source.format(port=0), tmp_path) as first:
            port = int(first.expect(r"^\d+$"))
            client.setup("127.0.0.1", port, on_disconnect=lambda: gone.append("x"))
            client.autorecv()
            assert client.connect()
        until(lambda: gone)
        cpu = time.process_time()
        time.sleep(0.2)
        assert time.process_time() - cpu < 0.1
        assert gone == ["x"]
        assert client.event.disconnected
        began = time.monotonic()
        assert client.reconnect() is False
        assert time.monotonic() - began < SOON
        with Program(source.format(port=port), tmp_path) as second:
            second.expect(r"^\d+$")
            assert client.reconnect()
            assert client.event.is_connected
