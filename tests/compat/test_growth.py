"""What a peer can make the adapters keep or print: each table and each kind of line has a bound."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers import WAIT, until
from sources import port_in, user_folder

from securelink import Client, ConnectionClosed, Identity
from securelink.compat import lakeserver, simpleserver, simplesockets
from securelink.compat.chat import sockets
from securelink.limits import MAX_CAUGHT_TEXT

pytestmark = pytest.mark.usefixtures("tidy")


@pytest.fixture
def port(tmp_path: Path, identity: Identity, tidy: None, monkeypatch: pytest.MonkeyPatch) -> int:
    """A free port, and keys for its server."""
    monkeypatch.delenv("SECURELINK_KEYS", raising=False)
    return port_in(user_folder(tmp_path, identity), identity, "127.0.0.1")


@contextlib.contextmanager
def stranger(port: int) -> Iterator[Client]:
    """A client that speaks securelink, and not as the adapters do."""
    with Client("127.0.0.1", port, trust="first-use", known_servers="keys/strangers") as client:
        yield client


@contextlib.contextmanager
def lake(port: int) -> Iterator[lakeserver.Server]:
    """A Lakeserver."""
    server = lakeserver.Server(port)
    server.start()
    try:
        yield server
    finally:
        server.shutdown()
        until(lambda: not server.active)


def test_values_of_lakeserver_clients_are_bounded_together(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who keeps most in `client_data` goes when all keep too much; the others stay, with their values."""
    monkeypatch.setattr("securelink.limits.MAX_MAILROOM", 1_000_000)
    with lake(port) as server, contextlib.ExitStack() as stack:
        small = lakeserver.Client("127.0.0.1", port)
        small.connect()
        stack.callback(lambda: until(lambda: not small.active))
        stack.callback(small.disconnect)
        small.set_data("small")
        greedy = [stack.enter_context(stranger(port)) for _ in range(3)]
        for number, client in enumerate(greedy):
            client.request(lakeserver.sides.CONNECT)
            until(lambda: len(server.get_client_data()) > 1)
            client.set_state({"commands": [], "data": "x" * (400_000 + number)})
            until(partial(holds_more, server, 400_000 * min(2, number + 1)))
        until(lambda: not greedy[2].connected)
        until(lambda: server.get_number_of_active_clients() == 3)
        assert "small" in server.get_client_data().values()
        assert held(server) < 1_000_000
        for client in greedy[:2]:  # what is replaced counts no more
            for _ in range(3):
                client.set_state({"commands": [], "data": "y" * 300_000})
        until(lambda: held(server) < 700_000)
        assert server.get_number_of_active_clients() == 3


def held(server: lakeserver.Server) -> int:
    """Characters of all clients' values."""
    return sum(map(len, server.get_client_data().values()))


def holds_more(server: lakeserver.Server, least: int) -> bool:
    """Whether the values of all clients together are longer than that."""
    return held(server) > least


def test_lakeserver_keeps_texts_only(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    """`set_data` sends a text: lists of lists, which are seventy times larger as objects, are not kept."""
    with lake(port) as server, stranger(port) as client:
        client.request(lakeserver.sides.CONNECT)
        until(server.get_client_data)
        client.set_state({"commands": [], "data": [[]] * 1000})
        client.set_state({"commands": [], "data": "text"})
        until(lambda: [*server.get_client_data().values()] == ["text"])
    assert "Unable to eval message recieved" in capsys.readouterr().out


def test_lines_of_lakeserver_are_bounded(
    port: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One client causes a bounded number of lines of a kind, and hides no other kind."""
    monkeypatch.setattr("securelink.logs.floods.LOG_BURST", 10)
    with lake(port) as server, stranger(port) as client:
        client.request(lakeserver.sides.CONNECT)
        for number in range(60):
            client.set_state([number])
            client.request(lakeserver.sides.CONNECT)  # each state has come before the next one
        until(server.get_client_data)
    printed = capsys.readouterr().out
    assert 10 <= printed.count("Unable to eval") < 30
    assert "Status: Shutdown" in printed


def test_warnings_of_simpleserver_are_bounded(
    port: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So with packets that are no message: the first ones are told, then one a second, with the number of the rest."""
    monkeypatch.setattr("securelink.logs.floods.LOG_BURST", 10)
    seen: list[Any] = []
    server = simpleserver.SimpleServer("127.0.0.1", port)
    server.on_message.add_listener(lambda _, message: seen.append(message.body))
    thread = server.start_async()
    try:
        with stranger(port) as client:
            for number in range(200):
                client.send("nonsense", number)
            client.send("simpleserver bytes", b"over")
            until(lambda: seen == ["over"])
    finally:
        server.stop()
        thread.join(WAIT)
    printed = capsys.readouterr().out
    assert 10 <= printed.count("what is no message was sent by") < 50


def test_exceptions_of_simplesockets_are_bounded_by_what_they_keep() -> None:
    """A hundred exceptions with a megabyte each kept a hundred; they keep no frames, and their words are escaped."""

    class Failing:
        """A session, to which nothing can be sent."""

        def send(self, action: str, data: bytes) -> None:
            document = bytearray(2_000_000)  # in the frame
            raise ValueError(f"\x1b[2J{len(document)}", data)

    client = simplesockets.TCPClient()
    for _ in range(20):
        assert not client.send_to(Failing(), bytes(MAX_CAUGHT_TEXT // 4))
    caught = client.return_exceptions(delete=False)
    assert 1 <= len(caught) <= 4
    for text, error in caught:
        assert error.__traceback__ is None
        assert "send" in text
        assert "\x1b" not in text
    client.send_to(Failing(), bytes(3 * MAX_CAUGHT_TEXT))
    assert len(client.return_exceptions()) == 1  # the newest, however much it is
    assert client.return_exceptions() == []
    for number in range(250):
        client.send_to(Failing(), b"%d" % number)
    assert [error.args[1] for _, error in client.return_exceptions()] == [
        b"%d" % number for number in range(150, 250)
    ]


def test_threads_of_simplesockets_are_bounded(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each client has a thread, so that there are not ten thousand of them unless the program says so."""
    monkeypatch.setattr("securelink.limits.MAX_THREADED", 2)
    server = simplesockets.TCPServer()
    server.setup("127.0.0.1", port)
    server.start()
    try:
        with stranger(port), stranger(port):
            until(lambda: len(server.clients) == 2)
            with socket.create_connection(("127.0.0.1", port), WAIT) as third:
                third.settimeout(WAIT)
                third.recv(100)
                assert third.recv(100) == b""
            assert len(server.clients) == 2
    finally:
        server.close()


def test_clients_that_nobody_accepts_are_bounded(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients that come and go while a program does not call `accept()` are kept up to a number."""
    monkeypatch.setattr("securelink.compat.chat.sockets.MAX_UNACCEPTED", 3)
    place = sockets.socket()
    place.bind(("127.0.0.1", port))
    place.listen()
    try:
        for _ in range(3):
            with stranger(port) as client:
                client.send(sockets.SAID, b"hello")
        with stranger(port) as client:
            with contextlib.suppress(ConnectionClosed):  # it may have ended already
                client.send(sockets.SAID, b"hello")
            with pytest.raises(ConnectionClosed, match="takes nobody"):
                client.receive(WAIT)
        for _ in range(3):
            accepted, _ = place.accept()
            assert accepted.recv() == b"hello"
            assert accepted.recv() == b""
        with stranger(port) as client:
            client.send(sockets.SAID, b"again")
            accepted, _ = place.accept()
            assert accepted.recv() == b"again"
    finally:
        place.close()
