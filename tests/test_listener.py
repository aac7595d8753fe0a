"""Accepting, and the handshake's passage between the leader and the pool, at its awkward instants."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest
from helpers import WAIT, Hostile, end_of_stream, frame, until
from inside import jobs_of, listener_of
from together import REPEATS, Crew, joined, link_of, serving, take

from securelink import Client, ConnectionClosed, HandshakeError, Hello, Identity, Server, crypto
from securelink.codes import Code
from securelink.protocol import Closed, Ended
from securelink.streams.tcp import TcpCarrier, TcpListening, TcpStream
from securelink.threads import pool as pool_module
from securelink.threads.reading import Reader
from securelink.threads.server_link import ServerLink
from securelink.wire.fields import Kind
from securelink.wire.packets import encode_value

pytestmark = pytest.mark.usefixtures("tidy")
again = pytest.mark.parametrize("attempt", range(REPEATS))


@again
def test_a_session_is_public_before_its_client_knows(attempt: int, identity: Identity) -> None:
    """When connect() returns, the server has the session: it can be looked up, sent to and broadcast to."""
    with serving(identity) as server:

        def visit() -> None:
            for _ in range(5):
                with joined(server) as (client,):
                    server.sessions[client.token].send("hello")
                    assert take(client) == [None]

        with Crew() as crew:
            for _ in range(4):
                crew.start(visit)


def test_welcome_is_the_first_word(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that is ended at the instant in which it exists: its client gets WELCOME, then CLOSE."""
    opened = ServerLink._opened  # noqa: SLF001  # the moment before

    def end_first(link: ServerLink) -> None:
        assert link.channel is not None
        link.channel.end(Code.KICKED, "at once")
        opened(link)

    monkeypatch.setattr(ServerLink, "_opened", end_first)
    events: list[str] = []
    with serving(identity) as server:
        server.on_connect(lambda session: events.append("connect"))
        server.on_disconnect(lambda session: events.append("disconnect"))
        with Hostile(server.address[1]).open() as client:
            assert client.read_until(Closed) == Closed(Code.KICKED, "at once")
            assert isinstance(client.read_until(Ended), Ended)
        until(lambda: not listener_of(server).links)
        until(lambda: events == ["connect", "disconnect"])


def fail_to_connect(client: Client) -> None:
    """The server goes away during the handshake, or the moment after: it says so either way."""
    with pytest.raises((HandshakeError, ConnectionClosed)) as caught:
        client.connect().receive(WAIT)
    assert isinstance(caught.value, HandshakeError | ConnectionClosed)
    assert caught.value.code == Code.SHUTDOWN


@pytest.mark.usefixtures("not_kept")
@pytest.mark.parametrize("how", ["vanishes", "stops"])
def test_the_end_comes_while_a_worker_has_the_engine(how: str, identity: Identity) -> None:
    """The client vanishes, or the server stops, while `authenticate` thinks: no session, no trace, no thread."""
    inside, gate = threading.Event(), threading.Event()

    def think(hello: Hello) -> str:
        inside.set()
        gate.wait(WAIT)
        return "somebody"

    told: list[str] = []
    with serving(identity, authenticate=think) as server:
        server.on_connect(lambda session: told.append("connect"))
        server.on_disconnect(lambda session: told.append("disconnect"))
        client = Client(*server.address, pin=identity.fingerprint)
        listener = listener_of(server)
        with Crew() as crew:
            if how == "vanishes":
                stranger = Hostile(server.address[1])
                stranger.hello()
                stranger.authenticate()
                stranger.flush()
                assert inside.wait(WAIT)
                stranger.sock.close()
            else:
                crew.start(fail_to_connect, client)
                assert inside.wait(WAIT)
                crew.start(server.stop)
                until(lambda: listener.closed)
            gate.set()
        until(lambda: not listener.links)
        # A client that vanished meanwhile has had a session, for an instant; a stopped server admits nobody.
        until(lambda: told in (["connect", "disconnect"], []))


@pytest.mark.pure  # it replaces a method of the reader
def test_what_comes_too_early_is_left_where_it_is(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While `authenticate` thinks nothing is read: the leader hears of what comes once, and goes on with the others."""
    inside, gate = threading.Event(), threading.Event()
    looks: list[Reader] = []
    read = Reader.read

    def counting(reader: Reader, link: Any) -> None:
        looks.append(reader)
        read(reader, link)

    def think(hello: Hello) -> str:
        if hello.credentials == "slow":
            inside.set()
            gate.wait(WAIT)
        return "somebody"

    with serving(identity, authenticate=think) as server, joined(server) as (client,):
        with Hostile(server.address[1], credentials=encode_value("slow")) as stranger:
            stranger.hello()
            stranger.authenticate()
            stranger.flush()
            assert inside.wait(WAIT)
            (link,) = [link for link in listener_of(server).links if link.session is None]
            monkeypatch.setattr(Reader, "read", counting)
            stranger.sock.sendall(frame(Kind.SEALED, bytes(100)))
            until(lambda: link.reader in looks)
            for number in range(20):
                client.send("echo", number)
                assert take(client) == [number]
            assert looks.count(link.reader) == 1
            assert link.connection.pending == 0
            gate.set()
        until(lambda: len(listener_of(server).links) == 1)


def test_half_open_connections_are_counted_right(identity: Identity) -> None:
    """Whatever becomes of them, each connection is counted once, and counted out once."""
    with serving(identity) as server:
        listener = listener_of(server)
        silent = [socket.create_connection(server.address) for _ in range(5)]
        until(lambda: listener.gate.half_open == 5)
        with joined(server, 3):
            assert listener.gate.half_open == 5
            silent[0].sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert silent[0].recv(100).startswith(b"HTTP/1.1 400")
            for sock in silent:
                sock.close()
            until(lambda: listener.gate.half_open == 0)
            assert not listener.gate._half_open  # noqa: SLF001  # nor by network
            assert len(listener.links) == 3
            assert listener.gate.failed == 1  # the others said nothing, as a probe does


def test_too_many_handshakes_at_once(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the queue of the pool is full the next clients are told to come later; those who wait get in."""
    monkeypatch.setattr(pool_module, "MAX_PENDING_SIGNATURES", 2)
    asked, gate = threading.Event(), threading.Event()

    def think(hello: Hello) -> str:
        asked.set()
        gate.wait(WAIT)
        return "somebody"

    with serving(identity, authenticate=think, workers=3) as server:
        jobs = jobs_of(server)
        results: list[str] = []

        def connect() -> None:
            client = Client(*server.address, pin=identity.fingerprint)
            try:
                client.connect(WAIT)
            except Exception as error:
                results.append(str(getattr(error, "code", error)))
            else:
                results.append("in")
                client.close()

        with Crew() as crew:
            crew.start(connect)
            assert asked.wait(WAIT)  # it has the only place, and needs no other one
            crew.start(connect)
            until(lambda: len(jobs) == 1)
            crew.start(connect)
            until(lambda: len(jobs) == 2)
            crew.start(connect)
            until(lambda: results)
            gate.set()
        assert sorted(results) == [str(int(Code.BUSY)), "in", "in", "in"]


def test_patience_for_a_server_that_is_busy(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """`connect(retry=True)` comes again when the server says that it is busy."""
    with serving(identity, max_connections=1) as server:
        with joined(server) as (first,):
            client = Client(*server.address, pin=identity.fingerprint)
            with Crew() as crew:
                crew.start(lambda: client.connect(WAIT, retry=True))
                until(lambda: "is turned away" in caplog.text)
                first.close()
        client.send("echo", 1)
        assert take(client) == [1]
        client.close()


@again
def test_pausing_while_clients_knock(attempt: int, identity: Identity) -> None:
    """A paused server lets nobody in and loses nobody: who knocked meanwhile gets in afterwards."""
    with serving(identity) as server, joined(server) as (old,):
        server.pause()
        old.ping(WAIT)  # the leader has heard
        entered = threading.Event()
        late: list[Client] = []

        def connect() -> None:
            late.append(Client(*server.address, pin=identity.fingerprint).connect(WAIT))
            entered.set()

        with Crew() as crew:
            crew.start(connect)
            assert not entered.wait(0.05)
            old.send("echo", "still served")
            assert take(old) == ["still served"]
            server.resume()
        assert entered.is_set()
        late[0].close()
        for _ in range(10):
            server.pause()
            server.resume()
        with joined(server):
            pass


class ShortOfDescriptors(TcpListening):
    """A listening socket of a process that, while `short`, has no descriptor for another one."""

    short = False
    tries = 0

    def accept(self) -> TcpStream:
        """Fail, or as `Listening.accept`."""
        if not self.short:
            return super().accept()
        self.tries += 1
        raise OSError(24, "Too many open files")


class ShortCarrier(TcpCarrier):
    """TCP with such sockets."""

    def listen(self, host: str, port: int, backlog: int) -> list[TcpListening]:
        """As `Carrier.listen`."""
        self.places = [
            ShortOfDescriptors(place.sock) for place in super().listen(host, port, backlog)
        ]
        return [*self.places]


def test_descriptors_run_out_and_come_back(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """Accepting fails for want of descriptors: sessions go on, the loop does not spin, and later clients get in."""
    server, carrier = Server("127.0.0.1", 0, keys=identity), ShortCarrier()
    server.carrier = carrier
    server.on("echo", lambda session, packet: session.send("echo", packet.data))
    with server, joined(server) as (client,):
        [exhausted] = carrier.places
        exhausted.short = True
        with Crew() as crew:
            late = Client(*server.address, pin=identity.fingerprint)
            crew.start(lambda: late.connect(WAIT))
            began = time.monotonic()
            until(lambda: exhausted.tries)
            for number in range(50):
                client.send("echo", number)
                assert take(client) == [number]
            assert exhausted.tries < 3 + (time.monotonic() - began)  # once a second
            exhausted.short = False
        late.close()
    assert "cannot accept connections" in caplog.text


@again
def test_connections_that_are_reset_while_they_wait(attempt: int, identity: Identity) -> None:
    """Connections that break before they are accepted, or in the middle of a hello, are nobody's loss."""
    with serving(identity) as server, joined(server) as (client,):
        for number in range(30):
            sock = socket.create_connection(server.address)
            if number % 3:
                sock.send(b"\x01\x00" * (number % 5))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
        client.send("echo", 1)
        assert take(client) == [1]
        until(lambda: len(listener_of(server).links) == 1)


def test_the_handshake_holds_up_nobody(identity: Identity) -> None:
    """Clients come in all the time; those who are there are served in between, and both go on."""
    with serving(identity) as server, joined(server) as (client,):
        over = threading.Event()
        visits: list[int] = []

        def visit() -> None:
            while not over.is_set():
                with joined(server):
                    visits.append(1)

        with Crew() as crew:
            for _ in range(3):
                crew.start(visit)
            for number in range(100):
                client.send("echo", number)
                assert take(client) == [number]
            seen = len(visits)
            until(lambda: len(visits) > seen)
            over.set()


@pytest.mark.usefixtures("not_kept")
@pytest.mark.pure  # it replaces a method of the connection
def test_one_connection_cannot_stop_the_sweep(
    identity: Identity, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug that one connection meets in the sweep ends that connection; all others are still looked after."""
    sweep = ServerLink.sweep

    def fail_once(link: ServerLink, now: float) -> None:
        swept.append(link)
        if link is broken:
            raise ValueError("on purpose")
        sweep(link, now)

    swept: list[ServerLink] = []
    monkeypatch.setattr("securelink.threads.sweeper.SWEEP_SECONDS", 0.02)
    with serving(identity) as server, joined(server, 3) as clients:
        broken = link_of(server.sessions[clients[0].token])
        monkeypatch.setattr(ServerLink, "sweep", fail_once)
        with pytest.raises(ConnectionClosed):
            clients[0].receive(WAIT)
        swept.clear()
        until(lambda: len(swept) > 6)
        assert len(set(swept)) == 2
        for client in clients[1:]:
            client.send("echo", 1)
            assert take(client) == [1]
    assert "internal error on a connection" in caplog.text


@pytest.mark.parametrize("early", ["with the hello", "later", "the end"])
def test_what_comes_while_a_hello_is_answered_is_read_afterwards(
    early: str, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that has its next word ready before it has the answer is heard, and costs no turns meanwhile."""
    begun, go_on = threading.Event(), threading.Event()
    encapsulate = crypto.mlkem_encapsulate

    def slowly(key: bytes) -> tuple[bytes, bytes]:
        begun.set()
        assert go_on.wait(WAIT)
        return encapsulate(key)

    monkeypatch.setattr(crypto, "mlkem_encapsulate", slowly)
    with serving(identity) as server, Hostile(server.address[1]) as client:
        gives_up = frame(Kind.ALERT, bytes((Code.NORMAL,)))
        hello = client.engine.data_to_send()
        client.sock.sendall(hello + gives_up if early == "with the hello" else hello)
        assert begun.wait(WAIT)
        (link,) = listener_of(server).links
        if early == "later":
            client.sock.sendall(gives_up)
        if early == "the end":
            client.sock.shutdown(socket.SHUT_WR)
        if early != "with the hello":
            until(lambda: link.reader.refused)
        assert link in listener_of(server).links
        go_on.set()
        end_of_stream(client.sock)
        until(lambda: not listener_of(server).links)
