"""simplesockets: the calls and variables of its document, one after the other."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers import SOON, WAIT, until
from running import SETTINGS, keys_for

from securelink import ConnectFailed, Identity
from securelink.compat.simplesockets import ClientSocket, SetupError, TCPClient, TCPServer

pytestmark = pytest.mark.usefixtures("tidy", "keys")


@pytest.fixture
def keys(tidy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identity: Identity) -> None:
    """The server's key is there: making one takes long."""
    for setting in SETTINGS:
        monkeypatch.delenv(setting, raising=False)
    keys_for(tmp_path, identity)


@contextmanager
def serving(limit: int | None = None, **options: Any) -> Iterator[TCPServer]:
    """A server on a port of its own, accepting."""
    with closing(TCPServer(limit)) as server:
        server.setup("127.0.0.1", 0, **options)
        server.start()
        yield server


@contextmanager
def new_client() -> Iterator[TCPClient]:
    """A client, shut down at the end if it was set up."""
    client = TCPClient()
    try:
        yield client
    finally:
        if client.socket is not None:
            client.shutdown()


@contextmanager
def connected(server: TCPServer, auto: bool = True, **options: Any) -> Iterator[TCPClient]:
    """A client of the server."""
    with new_client() as client:
        client.setup("127.0.0.1", server.socket.address[1], **options)
        if auto:
            assert client.autorecv()
        assert client.connect()
        yield client


def taken(endpoint: TCPServer | TCPClient, count: int = 1) -> list[Any]:
    """What `return_recved_data` gives until so many messages have come."""
    found: list[Any] = []

    def enough() -> bool:
        found.extend(endpoint.return_recved_data())
        return len(found) >= count

    until(enough)
    return found


@pytest.mark.parametrize("name", ["simplesockets", "simple_sockets"])
def test_both_module_names_and_the_package(name: str) -> None:
    """The module was called by two names; the package itself has the classes too."""
    package = importlib.import_module("securelink.compat.simplesockets")
    module = importlib.import_module(f"securelink.compat.simplesockets.{name}")
    assert module.TCPServer is package.TCPServer
    assert module.TCPClient is package.TCPClient
    assert module.SetupError is package.SetupError


def test_received_data_is_stored_until_it_is_taken() -> None:
    """`return_recved_data` gives (client socket, address, data) of everything, and switches `new_data` off."""
    with serving() as server, connected(server) as client:
        assert not server.event.new_data
        assert server.return_recved_data() == []
        assert client.send_data(b"one")
        assert client.send_data(bytearray(b"two"))
        until(lambda: len(server.recved_data) == 2)
        assert server.event.new_data
        assert server.new_data_recved
        (first, address, one), (_, _, two) = server.return_recved_data()
        assert (one, two) == (b"one", b"two")
        assert isinstance(first, ClientSocket)
        assert address == first.address
        assert list(server.clients) == [address]
        assert not server.event.new_data
        assert not server.new_data_recved
        assert server.recved_data == []
        assert server.send_data(b"back", first)
        assert taken(client) == [b"back"]
        assert not client.event.new_data


def test_callbacks_get_what_the_document_says() -> None:
    """Connect and disconnect with the address on the server, without on the client; receive with data."""
    seen: list[Any] = []

    def note(name: str) -> Callable[..., None]:
        return lambda *arguments: seen.append((name, *arguments))

    names = ("connect", "disconnect", "receive")
    options: dict[str, Any] = {f"on_{name}": note(f"server {name}") for name in names}
    with serving(**options) as server:
        options = {f"on_{name}": note(f"client {name}") for name in names}
        with connected(server, **options) as client:
            client.send_data(b"ping")
            until(lambda: ("server receive") in [entry[0] for entry in seen])
            socket, address, data = next(e for e in seen if e[0] == "server receive")[1:]
            assert data == b"ping"
            server.send_data(b"pong", socket)
            until(lambda: ("client receive", b"pong") in seen)
        until(lambda: ("server disconnect", address) in seen)
        until(lambda: ("client disconnect",) in seen)
        happened = [entry[0] for entry in seen]
        assert sorted(happened) == sorted(set(happened))  # each once
        assert ("server connect", address) in seen
        assert ("client connect",) in seen
        assert seen.index(("client connect",)) < seen.index(("client receive", b"pong"))


def test_callbacks_may_be_set_as_attributes() -> None:
    """`Server.on_receive` and the others are variables, too, and may be set before `setup()`."""
    got: list[bytes] = []
    with closing(TCPServer()) as server:
        server.on_receive = lambda socket, address, data: got.append(data)
        server.setup("127.0.0.1", 0)
        server.start()
        with connected(server) as client:
            client.on_receive = got.append
            client.send_data(b"up")
            until(lambda: got == [b"up"])
            server.send_data(b"down", next(iter(server.clients.values()))[1])
            until(lambda: got == [b"up", b"down"])


def test_clients_by_address() -> None:
    """`clients` has a living thread and the socket of each; they leave it when they disconnect."""
    with serving() as server:
        with connected(server):
            until(lambda: server.clients)
            ((thread, socket),) = server.clients.values()
            assert isinstance(thread, threading.Thread)
            until(thread.is_alive)
            assert socket.address in server.clients
        until(lambda: not server.clients)
        thread.join(WAIT)
        assert not thread.is_alive()


@pytest.mark.parametrize("by", ["address", "socket"])
def test_disconnect_by_address_and_by_socket(by: str) -> None:
    """The document uses both. One client goes, what was sent to it arrives, the others stay."""
    with serving() as server, connected(server) as other, connected(server) as client:
        client.send_data(b"hello")
        ((socket, address, _),) = taken(server)
        server.send_data(b"bye", socket)
        server.disconnect(address if by == "address" else socket)
        assert taken(client) == [b"bye"]
        until(lambda: client.event.disconnected)
        until(lambda: len(server.clients) == 1)
        assert other.send_data(b"still here")
        assert taken(server)[0][2] == b"still here"


def test_disconnecting_nobody_is_a_caught_exception() -> None:
    """An address from which nobody is connected is recorded, and nothing else happens."""
    gone: list[Any] = []
    with serving(on_disconnect=gone.append) as server:
        server.disconnect(("127.0.0.1", 1))
        ((text, error),) = server.return_exceptions()
        assert isinstance(error, KeyError)
        assert "127.0.0.1" in text
        assert gone == []


def test_setup_comes_first() -> None:
    """Without `setup()` nothing can be done: `SetupError`. A client's `start()` is harmless at any time."""
    server, client = TCPServer(), TCPClient()
    client.start()
    calls: list[Callable[[], object]] = [
        server.start, server.stop, server.exit_accept, client.connect, client.reconnect, client.autorecv,
        client.disconnect, client.shutdown, client.recv_data, lambda: client.send_data(b"x"),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(SetupError, match="isn't setup"):
            call()


def test_nobody_is_accepted_before_start() -> None:
    """`setup()` listens and `start()` accepts: who came between the two waited."""
    with closing(TCPServer()) as server:
        server.setup("127.0.0.1", 0)
        assert not server.event.accepting_thread.run
        with new_client() as client:
            client.setup("127.0.0.1", server.socket.address[1])
            outcome: list[bool] = []
            thread = threading.Thread(target=lambda: outcome.append(client.connect()))
            thread.start()
            thread.join(0.2)
            assert thread.is_alive()
            server.start()
            assert server.event.accepting_thread.run
            thread.join(WAIT)
            assert outcome == [True]


def test_the_port_may_be_in_use() -> None:
    """`setup()` says so at once, by an `OSError` as ever."""
    with serving() as server, closing(TCPServer()) as second:
        with pytest.raises(ConnectFailed) as caught:
            second.setup("127.0.0.1", server.socket.address[1])
        assert isinstance(caught.value, OSError)


def test_stop_start_exit_accept_restart() -> None:
    """Pause, go on, kill, restart: clients that are connected stay through all of it."""
    with serving() as server, connected(server) as old, new_client() as new:
        accepting = server.event.accepting_thread
        with pytest.raises(SetupError, match="Can't restart"):
            server.restart()
        server.stop()
        assert not accepting.run
        assert not server.killed
        server.start()
        server.exit_accept()
        assert server.killed
        assert server.killed()
        server.start()  # killed: that is not enough
        new.setup("127.0.0.1", server.socket.address[1])
        outcome: list[bool] = []
        thread = threading.Thread(target=lambda: outcome.append(new.connect()))
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        server.restart()
        assert not server.killed
        assert not server.killed()
        thread.join(WAIT)
        assert outcome == [True]
        assert old.send_data(b"x")
        assert taken(server)[0][2] == b"x"


def test_run_may_be_set_after_a_restart() -> None:
    """`restart()` accepts only when `event.accepting_thread.run` is, or becomes, True."""
    with serving() as server:
        server.exit_accept()
        server.restart()
        assert server.socket.paused
        server.event.accepting_thread.run = True
        with connected(server):
            until(lambda: server.clients)


def test_handle_client_replaces_the_thread() -> None:
    """`handle_client(socket, address)` gets the client, receives by `recv_data`, and b"" is the end."""
    seen: list[Any] = []

    def handle(socket: ClientSocket, address: tuple[str, int]) -> None:
        while data := server.recv_data(socket):
            seen.append((address, data))
            socket.send(data.upper())
        seen.append("end")

    with serving(handle_client=handle) as server:
        with connected(server, auto=False) as client:
            client.send_data(b"one")
            assert client.recv_data() == b"ONE"
            client.send_data(b"two")
            assert client.recv_data() == b"TWO"
            address = next(iter(server.clients))
        until(lambda: "end" in seen)
        assert seen == [(address, b"one"), (address, b"two"), "end"]
        assert not server.event.new_data


def test_a_callback_may_receive_more() -> None:
    """`recv_data` in `on_receive` gives the next message of the same client."""
    got: list[bytes] = []

    def on_receive(socket: ClientSocket, _address: Any, data: bytes) -> None:
        got.append(data + server.recv_data(socket))

    with serving(on_receive=on_receive) as server, connected(server) as client:
        client.send_data(b"head ")
        client.send_data(b"body")
        until(lambda: got == [b"head body"])


def test_autorecv_is_a_toggle() -> None:
    """It starts stopped; while it is off, messages wait for `recv_data` or for the next `autorecv`."""
    with serving() as server, connected(server, auto=False) as client:
        until(lambda: server.clients)
        ((_, socket),) = server.clients.values()
        for data in (b"1", b"2", b"3"):
            server.send_data(data, socket)
        assert client.recv_data() == b"1"
        assert not client.event.new_data
        assert client.autorecv() is True
        assert taken(client, 2) == [b"2", b"3"]
        assert client.autorecv() is False
        server.send_data(b"4", socket)
        assert client.recv_data() == b"4"
        assert not client.event.new_data


def test_the_flags_of_a_client() -> None:
    """`connected` and `is_connected` are True with a connection, `disconnected` after one."""
    with serving() as server:
        client = TCPClient()
        event = client.event
        client.setup("127.0.0.1", server.socket.address[1])
        assert client.Address == ("127.0.0.1", server.socket.address[1])
        assert (event.connected, event.is_connected, event.disconnected) == (False, False, False)
        assert client.connect()
        assert event.connected
        assert event.is_connected
        assert not event.disconnected
        assert client.disconnect() is True
        assert event.disconnected
        assert not event.is_connected
        assert client.disconnect() is False
        assert client.reconnect()
        assert event.is_connected
        assert not event.disconnected
        client.shutdown()
        assert event.disconnected


def test_reconnecting_again_and_again() -> None:
    """Each time the flags are right and `on_disconnect` is called once, however late the old connection ends."""
    gone: list[str] = []
    with serving() as server, connected(server, on_disconnect=lambda: gone.append("")) as client:
        for number in range(1, 11):
            assert client.reconnect()
            assert len(gone) == number
            assert client.event.is_connected
            assert not client.event.disconnected
            client.send_data(b"%d" % number)
            assert taken(server)[0][2] == b"%d" % number
            assert client.event.is_connected


def test_a_failed_connect_is_false() -> None:
    """`connect()` to nobody gives False and a caught exception with its traceback."""
    with serving() as server:
        port = server.socket.address[1]
    with new_client() as client:
        client.setup("127.0.0.1", port)
        assert client.connect() is False
        assert client.event.exception.occurred
        ((text, error),) = client.event.exception.list
        assert isinstance(error, ConnectFailed)
        assert "Traceback" in text
        assert client.return_exceptions(delete=False, reset_exception=False) == [(text, error)]
        assert client.return_exceptions(delete=False) == [(text, error)]
        assert not client.event.exception.occurred
        assert client.return_exceptions(reset_exceptions=True) == [(text, error)]
        assert client.return_exceptions() == []


def test_string_forms() -> None:
    """Both have one, before and after `setup()`."""
    assert "TCPServer" in str(TCPServer())
    assert "TCPClient" in repr(TCPClient())
    with serving() as server, connected(server) as client:
        assert "TCPServer" in repr(server)
        assert f"{server.socket.address[1]}, connected" in repr(client)


def test_who_is_quiet_or_slow_freezes_nobody() -> None:
    """Clients that say nothing, and many whose callbacks take long while they send on, cost the others nothing."""
    release = threading.Event()

    def on_receive(_socket: ClientSocket, _address: Any, data: bytes) -> None:
        if data == b"slow":
            release.wait(2 * WAIT)

    with serving(on_receive=on_receive) as server, connected(server), ExitStack() as stack:
        for _ in range(10):
            slow = stack.enter_context(connected(server, auto=False))
            for _ in range(20):  # more than waits for its thread
                slow.send_data(b"slow")
        until(lambda: len(server.recved_data) == 10)
        with connected(server) as quick:
            began = time.monotonic()
            quick.send_data(b"quick")
            until(lambda: b"quick" in [data for _, _, data in server.recved_data])
            assert time.monotonic() - began < SOON
        release.set()
