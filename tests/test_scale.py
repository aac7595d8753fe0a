"""Much at once: a thousand sessions, hundreds of megabytes both ways, peers that do not read."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from helpers import SOON, WAIT, Hostile, until
from inside import small
from together import Crew, channel_of, joined, serving, take, unread

from securelink import (
    Client,
    ConnectionClosed,
    Identity,
    LinkTimeout,
    RequestFailed,
    Server,
    Session,
)
from securelink.codes import Code
from securelink.limits import MAX_INBOX_RECORDS, PUT_AWAY_BYTES, WORKERS
from securelink.protocol.bounds import Bounds

pytestmark = pytest.mark.usefixtures("tidy")

SESSIONS = 1000
PACKETS = 100
MIB = 1024 * 1024

SERVER = """
import logging, sys, threading
from pathlib import Path
from securelink import Identity, Server
logging.getLogger("securelink").addHandler(logging.NullHandler())
server = Server("127.0.0.1", 0, keys=Identity.from_pem(sys.stdin.buffer.read(int(sys.argv[1]))))
server.on("count", lambda session, packet: session.send("count", packet.data))
server.start()
print(server.address[1], flush=True)
for _ in sys.stdin:
    print(threading.active_count(), len(server.sessions), flush=True)
sys.exit(not server.stop())
"""


class Remote:
    """A server in a process of its own."""

    def __init__(self, identity: Identity) -> None:
        pem = identity.to_pkcs1_pem()
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(len(pem))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._stdin, self._stdout = self.process.stdin, self.process.stdout
        self._stdin.write(pem)
        self._stdin.flush()
        self.port = int(self._stdout.readline())

    def look(self) -> tuple[int, int]:
        """Its threads and its sessions."""
        self._stdin.write(b"\n")
        self._stdin.flush()
        threads, sessions = map(int, self._stdout.readline().split())
        return threads, sessions

    def close(self) -> None:
        """It stops by itself, cleanly."""
        self._stdin.close()
        try:
            assert self.process.wait(WAIT) == 0
        finally:
            self.process.kill()
            self.process.wait(WAIT)
            self._stdout.close()


@contextlib.contextmanager
def remote(identity: Identity) -> Iterator[Remote]:
    """A server in a process of its own, for as long as the block."""
    server = Remote(identity)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """As many open sockets as this needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = SESSIONS + 200
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of log lines would measure `logging`."""
    caplog.set_level("WARNING", logger="securelink")


def test_a_thousand_sessions(identity: Identity, many_descriptors: None, quiet: None) -> None:
    """A thousand encrypted sessions from one process exchange 100 packets each: all, in order, once; same threads."""
    with remote(identity) as server, ThreadPoolExecutor(4) as pool:

        def connect(_: int) -> Client:
            return Client("127.0.0.1", server.port, pin=identity.fingerprint).connect(timeout=WAIT)

        clients = list(pool.map(connect, range(10)))
        exchange(clients, 0)
        few = threading.active_count()
        clients += pool.map(connect, range(SESSIONS - 10))
        assert len({client.token for client in clients}) == SESSIONS
        assert server.look()[1] == SESSIONS
        for batch in range(PACKETS // 10):
            exchange(clients, batch)
        assert threading.active_count() <= few
        assert (
            server.look()[0] <= 1 + 1 + WORKERS
        )  # the main thread, the watchdog, and a pool filled by need
        for client in clients:
            assert client.receive(0.0) is None
            assert client.close() == []
        until(lambda: server.look()[1] == 0)


def exchange(clients: list[Client], batch: int) -> None:
    """Ten packets there and back on each, all under way at the same time."""
    numbers = range(batch * 10, batch * 10 + 10)
    for client in clients:
        for number in numbers:
            client.send("count", [client.token, number])
    for client in clients:
        assert take(client, 10) == [[client.token, number] for number in numbers]


def test_megabytes_both_ways(identity: Identity, quiet: None) -> None:
    """200 MiB each way at once on one session, each side sending and receiving in threads: all comes, in order."""
    count = 200
    payload = bytes(MIB)
    with serving(identity) as server, joined(server) as (client,):
        session = server.sessions[client.token]
        arrived: list[int] = []
        server.on("up", lambda session, packet: arrived.append(packet.data[0]))

        def down() -> None:
            for number in range(count):
                session.send("down", [number, payload], timeout=WAIT)

        def up() -> None:
            for number in range(count):
                client.send("up", [number, payload], timeout=WAIT)

        def receive() -> None:
            for number in range(count):
                (data,) = take(client)
                assert data[0] == number
                assert len(data[1]) == MIB

        with Crew() as crew:
            crew.start(down)
            crew.start(up)
            crew.start(receive)
        until(lambda: len(arrived) == count)
        assert arrived == list(range(count))


def test_megabytes_both_ways_in_one_thread(identity: Identity, quiet: None) -> None:
    """Both sides only send at first, each in one thread, more than all buffers hold: a blocked send reads."""
    count = 40
    with serving(identity) as server, joined(server) as (client,):
        session = server.sessions[client.token]
        arrived: list[int] = []
        server.on("up", lambda session, packet: arrived.append(packet.data[0]))

        def down() -> None:
            for number in range(count):
                session.send("down", [number, bytes(MIB)], timeout=WAIT)

        with Crew() as crew:
            crew.start(down)
            for number in range(count):
                client.send("up", [number, bytes(MIB)], timeout=WAIT)
            assert [data[0] for data in take(client, count)] == list(range(count))
        until(lambda: len(arrived) == count)


def test_a_slow_reader_gets_everything(identity: Identity, quiet: None) -> None:
    """A client that takes its time slows the sender down, and loses nothing; others are served meanwhile."""
    with serving(identity) as server, joined(server, 2) as (slow, other):
        session = server.sessions[slow.token]
        channel_of(session).bounds = Bounds(unsent=MIB, unacked=20 * MIB)
        channel_of(slow).bounds = Bounds(inbox_bytes=MIB // 4)
        most = [0]

        def send() -> None:
            for number in range(200):
                session.send("data", [number, bytes(100_000)], timeout=WAIT)
                most[0] = max(most[0], channel_of(session).unsent)

        with Crew() as crew:
            crew.start(send)
            until(lambda: channel_of(session).unsent > MIB // 2)
            for number in range(200):
                (data,) = take(slow)
                assert data[0] == number
                if number % 10 == 0:
                    time.sleep(0.01)
                    other.send("echo", number)
                    assert take(other) == [number]
        assert most[0] < 1.2 * MIB


def test_a_reader_that_never_reads(identity: Identity, quiet: None) -> None:
    """The sender is told what is the matter and what to do; what is kept is bounded; others are served."""
    with serving(identity) as server, joined(server) as (other,):
        small(server, unsent=MIB, unacked=2 * MIB)
        with Hostile(server.address[1]).open() as deaf:
            until(lambda: len(server.sessions) == 2)
            (session,) = (s for token, s in server.sessions.items() if token != other.token)
            with pytest.raises(LinkTimeout) as caught:
                send_until_blocked(session)
            assert "wait to be sent" in caught.value.message
            assert "is the peer reading" in caught.value.hint
            held = channel_of(session).unsent + channel_of(session).core.numbering.outgoing.unacked
            assert held < 4 * MIB
            for number in range(20):
                other.send("echo", number)
            assert take(other, 20) == list(range(20))
            # A broadcast waits for nobody either.
            began = time.monotonic()
            assert server.broadcast("news", "to all") == 2
            assert time.monotonic() - began < SOON
            assert take(other) == ["to all"]
            session.kick("you do not listen")
            with pytest.raises(ConnectionClosed):
                session.send("data")
            deaf.sock.close()
        until(lambda: len(server.sessions) == 1)


def send_until_blocked(session: Session) -> None:
    """Send until there is no more room."""
    for _ in range(1000):
        session.send("data", bytes(100_000), timeout=0.1)


def test_handlers_that_send_to_the_deaf(
    identity: Identity, quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler never waits: a peer that asks for much and reads nothing is not read, and ended at the hard limit."""
    monkeypatch.setattr("securelink.protocol.connection.CLOSE_SECONDS", 0.3)
    with serving(identity) as server, joined(server) as (other,):
        small(server, unsent=MIB, hard_unsent=8 * MIB)
        reasons: list[int | None] = []
        server.on_disconnect(lambda session: reasons.append(session.code))

        @server.on("much")
        def much(session: Session, packet: Any) -> None:
            for _ in range(100):
                session.send("data", bytes(200_000))

        stranger = Client("127.0.0.1", server.address[1], pin=server.fingerprint)
        stranger.connect()
        channel = channel_of(stranger)
        with unread(channel):
            stranger.send("much")
            until(lambda: len(server.sessions) == 1)
        other.send("echo", 1)
        assert take(other) == [1]
        assert (
            len(stranger.close(1.0)) <= 1
        )  # whether it hears of the acknowledgement is a matter of luck
        until(lambda: reasons)
        assert reasons == [Code.TOO_SLOW]


def test_a_client_that_only_sends(identity: Identity, quiet: None) -> None:
    """A client that never receives, of a server that answers: its send says in the end that it should receive."""
    with serving(identity) as server, joined(server) as (client,):
        channel = channel_of(client)
        channel.bounds = Bounds(unsent=MIB, inbox_bytes=MIB // 8, unacked=2 * MIB)
        session = server.sessions[client.token]
        channel_of(session).bounds = Bounds(unsent=MIB)
        with pytest.raises(LinkTimeout) as caught:
            echo_without_end(client)
        assert "receive()" in caught.value.hint
        assert channel.core.receiving.in_bytes - channel.core.receiving.out_bytes < 3 * MIB
        # As soon as it receives, both go on.
        take(client, 3)
        client.send("echo", "one more", timeout=WAIT)
        while take(client) != ["one more"]:
            pass


def echo_without_end(client: Client) -> None:
    """Send, and never receive what comes back."""
    for _ in range(1000):
        try:
            client.send("echo", bytes(100_000), timeout=0.3)
        except LinkTimeout:
            if channel_of(client).core.receiving.full:
                raise
            # Only the machine is slow.


def test_an_endless_stream_of_unreceived_packets(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that only has handlers, and gets packets without one: it says so once, and its handlers go on."""
    with serving(identity) as server, joined(server) as (client,):
        handled: list[int] = []
        client.on("wanted", lambda packet: handled.append(packet.data))
        session = server.sessions[client.token]
        for number in range(4000):
            session.send("unwanted", number)
        session.send("wanted", 1)
        until(lambda: handled)
        kept = len(channel_of(client).mailbox.packets)
        assert MAX_INBOX_RECORDS <= kept < 1200
        assert client.dropped == 4000 - kept
        assert caplog.text.count("which no handler takes") == 1
        assert "sends 'unwanted', which" in caplog.text
        until(lambda: channel_of(session).core.numbering.outgoing.unacked < PUT_AWAY_BYTES)
        with pytest.raises(RequestFailed, match="no handler"):
            session.request("unwanted", timeout=WAIT)
        # From now on it receives: nothing is dropped any more, and the server waits for it instead.
        assert take(client, kept) == list(range(kept))
        for number in range(4000):
            session.send("unwanted", number)
        assert take(client, 4000) == list(range(4000))
        assert client.dropped == 4000 - kept


def test_a_client_that_has_received_gets_every_packet(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """Handlers and receive() side by side: at the bound the client says that handlers wait, and nothing is dropped."""
    with serving(identity) as server, joined(server) as (client,):
        handled: list[int] = []
        client.on("wanted", lambda packet: handled.append(packet.data))
        assert client.poll() == []
        session = server.sessions[client.token]
        for number in range(4000):
            session.send("unwanted", number)
        session.send("wanted", 1)
        until(lambda: "packets wait for receive()" in caplog.text)
        assert len(channel_of(client).mailbox.packets) < 1200
        assert take(client, 4000) == list(range(4000))
        until(lambda: client.poll() == [] and handled)
        assert handled == [1]
        assert client.dropped == 0


def test_handlers_of_update_do_not_starve(identity: Identity) -> None:
    """As with handlers in the background: a game that only calls update() is not deaf after a thousand packets."""
    with serving(identity) as server:
        host, port = server.address
        handled: list[int] = []
        client = Client(host, port, pin=server.fingerprint, handlers="update")
        client.on("wanted", lambda packet: handled.append(packet.data))
        with client.connect():
            session = server.sessions[client.token]
            for number in range(3000):
                session.send("unwanted", number)
            session.send("wanted", 1)
            until(lambda: client.update() and handled)
            assert client.dropped > 1000


def test_many_small_sends_of_a_server(identity: Identity, quiet: None) -> None:
    """A broadcast at a high rate to sessions that come and go: who stays gets every packet once, in order."""
    with serving(identity) as server, joined(server, 3) as clients:
        over = threading.Event()

        def visit() -> None:
            while not over.is_set():
                with joined(server):
                    pass

        def spread(server: Server) -> None:
            for number in range(1500):
                server.broadcast("tick", number)

        with Crew() as crew:
            crew.start(visit)
            crew.start(spread, server)
            for client in clients:
                assert take(client, 1500) == list(range(1500))
            over.set()
