"""Who runs a server: `serve_forever` and its signals, or the program itself, turn by turn."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from helpers import SOON, WAIT, until
from together import REPEATS, Crew, joined, recorded, take

from securelink import Client, ConfigError, ConnectionClosed, Identity, Server, Session
from securelink.codes import Code

pytestmark = pytest.mark.usefixtures("tidy")
again = pytest.mark.parametrize("attempt", range(REPEATS))


# --- serve_forever, and signals -------------------------------------------------------------------------------


def test_serving_until_somebody_stops(identity: Identity) -> None:
    """serve_forever() comes back when another thread stops the server, and leaves no thread of it."""
    server = Server("127.0.0.1", 0, keys=identity)
    with Crew() as crew:
        crew.start(server.serve_forever)
        until(lambda: server.running)
        with joined(server) as (client,):
            client.ping(WAIT)
            assert server.stop()
    assert not [thread for thread in threading.enumerate() if "server" in thread.name]


def test_ctrl_c_while_it_starts(identity: Identity) -> None:
    """Clients are served before start() has come back: Ctrl-C is as good there as later, and stops the server."""
    server = Server("127.0.0.1", 0, keys=identity)
    events = recorded(server)

    @server.on_start
    def started() -> None:
        with joined(server) as (client,):
            client.ping(WAIT)
        raise KeyboardInterrupt

    server.serve_forever()
    assert not server.running
    assert events == ["start", "connect", "disconnect", "stop"]


FOREVER = """
import sys, threading, os
from securelink import Identity, Server
server = Server("127.0.0.1", 0, keys=Identity.from_pem(sys.stdin.buffer.read(int(sys.argv[1]))))
server.on_connect(lambda session: print("in", flush=True))
server.on_disconnect(lambda session: print("out", flush=True))
before = len(os.listdir("/proc/self/fd"))
server.on_start(lambda: print(server.address[1], flush=True))
server.serve_forever()
names = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
print("left", names, len(os.listdir("/proc/self/fd")) - before, flush=True)
"""


@pytest.mark.parametrize("busy", [False, True])
def test_ctrl_c(busy: bool, identity: Identity) -> None:
    """Ctrl-C on serve_forever in a real process: clients are told, nothing is left, no traceback, exit code 0."""
    pem = identity.to_pkcs1_pem()
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", FOREVER, str(len(pem))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            process.stdin.write(pem)
            process.stdin.flush()
            port = int(process.stdout.readline())
            with Client("127.0.0.1", port, pin=identity.fingerprint) as client:
                assert process.stdout.readline() == b"in\n"
                with Crew() as crew:
                    if busy:
                        crew.start(talk_until_the_end, client)
                    process.send_signal(signal.SIGINT)
                    if not busy:
                        talk_until_the_end(client)
            assert process.wait(WAIT) == 0
            assert process.stdout.read() == b"out\nleft [] 0\n"
            assert b"Traceback" not in process.stderr.read()
        finally:
            process.kill()


def talk_until_the_end(client: Client) -> None:
    """Send until the server says that it goes."""

    def exchange() -> object:
        client.send("x")
        return client.receive(0.001)

    with pytest.raises(ConnectionClosed) as caught:
        list(iter(exchange, "never"))
    assert caught.value.code == Code.SHUTDOWN


# --- driving by hand ---------------------------------------------------------------------------------------------


def test_updating(identity: Identity) -> None:
    """update(): everything of the application runs in the caller's thread, inside the call, and nowhere else."""
    server = Server("127.0.0.1", 0, keys=identity)
    threads: set[int] = set()
    updating: list[int] = []
    outside: list[str] = []

    def note(what: str) -> None:
        threads.add(threading.get_ident())
        if not updating:
            outside.append(what)

    server.on_start(lambda: note("start"))
    server.on_connect(lambda session: note("connect"))
    server.on_disconnect(lambda session: note("disconnect"))
    server.on_tick(lambda: note("tick"))

    @server.on("echo")
    def echo(session: Session, packet: Any) -> None:
        note("echo")
        server.update()  # in a handler it does nothing
        session.send("echo", packet.data)

    def turn() -> bool:
        updating.append(1)
        began = time.monotonic()
        server.update()
        assert time.monotonic() - began < SOON
        updating.pop()
        return False

    turn()
    done = threading.Event()

    def visit() -> None:
        with joined(server, 2) as clients:
            for number in range(50):
                for client in clients:
                    client.send("echo", number)
            for client in clients:
                assert take(client, 50) == list(range(50))
            assert clients[0].ping(WAIT) < WAIT
        done.set()

    with Crew() as crew:
        crew.start(visit)
        until(lambda: turn() or done.is_set())
        until(lambda: turn() or not server.sessions)
    updating.append(1)
    assert server.stop()
    assert threads == {threading.get_ident()}
    assert outside == []


def test_one_way_of_driving(identity: Identity) -> None:
    """update() on a started server, start() or serve_forever() on an updated one: errors that say so."""
    server = Server("127.0.0.1", 0, keys=identity)
    with server, pytest.raises(ConfigError, match="update") as caught:
        server.update()
    assert caught.value.hint
    server.update()
    with pytest.raises(ConfigError, match="running"):
        server.start()
    with pytest.raises(ConfigError, match="serve_forever"):
        server.serve_forever()
    assert server.stop()


def test_stopping_inside_an_update(identity: Identity) -> None:
    """A handler asks; the following updates bring it to its end."""
    server = Server("127.0.0.1", 0, keys=identity)
    events = recorded(server)
    said: list[bool] = []
    server.on("stop", lambda session, packet: said.append(server.stop()))
    server.update()
    over = threading.Event()

    def visit() -> None:
        with joined(server) as (client,):
            client.send("stop")
            with pytest.raises(ConnectionClosed) as caught:
                client.receive(WAIT)
            assert caught.value.code == Code.SHUTDOWN
        over.set()

    with Crew() as crew:
        crew.start(visit)
        while server.running:
            server.update()
            time.sleep(0.001)
        assert over.wait(WAIT)
    assert said == [False]
    assert events == ["start", "connect", "disconnect", "stop"]


def test_sending_from_other_threads_while_updating(identity: Identity) -> None:
    """Threads send and broadcast while the game loop turns; in its own handlers nobody waits for the peer."""
    server = Server("127.0.0.1", 0, keys=identity)
    refused: list[str] = []

    @server.on("ask")
    def ask(session: Session, packet: Any) -> None:
        try:
            session.request("x")
        except ConfigError as error:
            refused.append(error.hint)

    server.update()
    over = threading.Event()

    def visit() -> None:
        with joined(server) as (client,):
            session = server.sessions[client.token]
            client.on("double", lambda packet: packet.data * 2)
            client.send("ask")

            def send(name: int) -> None:
                for number in range(50):
                    session.send("x", [name, number])

            with Crew() as senders:
                for name in range(4):
                    senders.start(send, name)
                found = take(client, 200)
            for name in range(4):
                assert [n for who, n in found if who == name] == list(range(50))
            # From another thread a request may wait: it turns the loop itself.
            assert session.request("double", 4, timeout=WAIT) == 8
        over.set()

    with Crew() as crew:
        crew.start(visit)
        while not over.is_set():
            server.update()
            time.sleep(0.001)
    assert server.stop()
    assert "start()" in refused[0]
