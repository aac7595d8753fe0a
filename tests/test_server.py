"""A server's life: starting, stopping, pausing, driving by hand, and what is left of it."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from typing import Any

import pytest
from helpers import SOON, WAIT, open_descriptors, until
from together import REPEATS, Crew, joined, serving, take

from securelink import (
    Client,
    ConfigError,
    ConnectFailed,
    ConnectionClosed,
    HandshakeError,
    Identity,
    LinkTimeout,
    Server,
    Session,
)
from securelink.handshake.wire import Code
from securelink.limits import SEND_SECONDS, STOP_GRACE_SECONDS
from securelink.transport import link as link_module
from securelink.transport.bounds import Bounds
from securelink.transport.loop import hand_over

pytestmark = pytest.mark.usefixtures("tidy")
again = pytest.mark.parametrize("attempt", range(REPEATS))


def recorded(server: Server) -> list[str]:
    """Grows by what the server tells of its sessions and of itself."""
    events: list[str] = []
    for name in ("on_start", "on_connect", "on_disconnect", "on_stop"):
        getattr(server, name)(lambda *_, name=name: events.append(name[3:]))
    return events


# --- starting and stopping -----------------------------------------------------------------------------------


def test_starting_and_stopping_twenty_times(identity: Identity) -> None:
    """On the same port, at once, with a client each time: it starts anew, and nothing is left of the one before."""
    server = Server("127.0.0.1", 0, keys=identity)
    server.on("echo", lambda session, packet: session.send("echo", packet.data))
    server.start()
    server.port = server.address[1]
    server.stop()
    events = recorded(server)
    threads, descriptors = threading.active_count(), open_descriptors()
    for number in range(20):
        with server:
            assert server.running
            client = Client("127.0.0.1", server.port, pin=identity.fingerprint).connect()
            client.send("echo", number)
            assert take(client) == [number]
        assert not server.running
        assert server.threads == []
        assert server.sessions == {}
        with pytest.raises(ConnectionClosed) as caught:
            client.receive(WAIT)
        assert caught.value.code == Code.SHUTDOWN
        assert caught.value.clean
    assert events == ["start", "connect", "disconnect", "stop"] * 20
    until(lambda: threading.active_count() <= threads)
    until(lambda: open_descriptors() <= descriptors)


@again
def test_stopping_from_many_threads(attempt: int, identity: Identity) -> None:
    """Four threads stop it, while clients come and go and handlers run: all come back, once it is told."""
    with serving(identity) as server:
        events = recorded(server)
        server.on("work", lambda session, packet: time.sleep(0.003))
        begun = threading.Barrier(5)
        over = threading.Event()
        address = server.address

        def visit() -> None:
            while not over.is_set():
                client = Client(*address, pin=identity.fingerprint)
                try:
                    client.connect(1.0)
                    for _ in range(10):
                        client.send("work")
                except (OSError, ConnectionClosed, HandshakeError):
                    pass
                client.close()

        def stop() -> None:
            begun.wait(WAIT)
            assert server.stop()

        with Crew() as crew:
            for _ in range(2):
                crew.start(visit)
            for _ in range(4):
                crew.start(stop)
            time.sleep(0.01 * attempt)
            begun.wait(WAIT)
            until(lambda: not server.running)
            over.set()
        assert events[-1] == "stop"
        assert events.count("stop") == 1
        assert events.count("connect") == events.count("disconnect")


def test_starting_again_while_another_thread_still_waits_for_the_stop(identity: Identity) -> None:
    """One thread stops, another starts at once: the first comes back all the same, and does not touch the new one."""
    server = Server("127.0.0.1", 0, keys=identity)
    for _ in range(10):
        server.start()
        with Crew() as crew:
            crew.start(lambda: server.stop() or pytest.fail("a handler is said to run"))
            until(lambda: not server.running)
            server.start()
        assert server.running
        assert server.stop()


def test_before_and_after(identity: Identity) -> None:
    """What may be called when it does not run may be called; the rest says why not."""
    server = Server("127.0.0.1", 0, keys=identity)
    for _ in range(2):
        assert server.stop()
        assert server.stop()
        assert not server.running
        assert server.sessions == {}
        assert server.threads == []
        assert server.broadcast("x") == 0
        with server.batch():
            pass
        server.start()
        with pytest.raises(ConfigError, match="running"):
            server.start()
        with server as again_server:
            assert again_server is server


def test_a_start_that_fails_can_be_repeated(identity: Identity) -> None:
    """A port in use: nothing is left, and as soon as it is free the same server starts."""
    with serving(identity) as first:
        second = Server(*first.address, keys=identity)
        for _ in range(3):
            with pytest.raises(ConnectFailed):
                second.start()
            assert not second.running
            assert second.stop()
    with second:
        assert second.running


@again
def test_stopping_while_handlers_run(attempt: int, identity: Identity) -> None:
    """stop() waits for handlers that are at work; what they send is sent, and their session ends after them."""
    with serving(identity) as server, joined(server, 4) as clients:
        events = recorded(server)
        inside = threading.Semaphore(0)

        @server.on("work")
        def work(session: Session, packet: Any) -> None:
            inside.release()
            if attempt % 2:
                hand_over()
            time.sleep(0.05)
            events.append("worked")

        for client in clients:
            client.send("work")
        for _ in clients:
            assert inside.acquire(timeout=WAIT)
        assert server.stop()
        assert events.count("worked") == 4
        assert events.count("disconnect") == 4
        assert events[-1] == "stop"


def test_a_handler_that_does_not_come_back(identity: Identity) -> None:
    """stop(timeout) returns False in time; the port is free; the handler's thread ends when the handler does."""
    gate, inside = threading.Event(), threading.Event()
    server = Server("127.0.0.1", 0, keys=identity).start()
    events = recorded(server)

    @server.on("sleep")
    def sleep(session: Session, packet: Any) -> None:
        inside.set()
        gate.wait(WAIT)
        with pytest.raises(ConnectionClosed):
            session.send("too late")
        events.append("woke")

    with joined(server, 2) as (sleeper, other):
        sleeper.send("sleep")
        assert inside.wait(WAIT)
        assert server.stop(timeout=1.0) is False
        assert "woke" not in events
        until(lambda: not server.running)
        with pytest.raises(ConnectionClosed) as caught:
            other.receive(WAIT)
        assert caught.value.code == Code.SHUTDOWN
        assert server.stop()  # nothing runs any more, as far as the server is concerned
    gate.set()
    until(lambda: "woke" in events)
    # The session ended while its handler slept; it was told when the handler had come back.
    until(lambda: events[2:] == ["disconnect", "stop", "woke", "disconnect"])


def test_clients_that_do_not_answer(identity: Identity) -> None:
    """A peer that never says CLOSE holds stop() up for its timeout only, and on_disconnect is called for it too."""
    with serving(identity) as server:
        events = recorded(server)
        with joined(server, 2) as (polite, silent):
            channel = silent._channel
            assert channel is not None
            with channel._driving():  # nobody reads
                began = time.monotonic()
                server.stop(timeout=0.3)
                assert 0.25 < time.monotonic() - began < SOON
            until(lambda: events == ["connect", "connect", "disconnect", "disconnect", "stop"])
            with pytest.raises(ConnectionClosed):
                polite.receive(WAIT)


def test_a_stop_that_is_held_up(identity: Identity) -> None:
    """A machine that stands still while the server stops: its clients' on_disconnect is called all the same."""
    with serving(identity) as server:
        events = recorded(server)
        silent = Client(*server.address, pin=identity.fingerprint).connect()
        channel, loop = silent._channel, server._loop
        assert channel is not None
        assert loop is not None
        until(lambda: events)
        inside, told = threading.Event(), threading.Event()

        def hold_up() -> None:
            inside.set()
            told.wait(WAIT)

        with channel._driving(), Crew() as crew:  # nobody reads
            loop.call(hold_up)
            assert inside.wait(WAIT)
            crew.start(server.stop, 0.05)
            until(lambda: loop._commands)
            loop.call(lambda: time.sleep(0.1 + STOP_GRACE_SECONDS))
            told.set()
        until(lambda: not server.running)
        silent.close()
        assert events == ["connect", "disconnect", "stop"]


@again
@pytest.mark.parametrize("where", ["handler", "on_connect", "on_disconnect", "on_tick"])
def test_stopping_from_inside(attempt: int, where: str, identity: Identity) -> None:
    """A handler or a listener may stop its own server: stop() only asks, and the server stops when it is through."""
    server = Server("127.0.0.1", 0, keys=identity, tick_rate=200 if where == "on_tick" else None)
    said: list[bool] = []
    through = threading.Event()

    def stop(*_: object) -> None:
        if not said:
            said.append(server.stop())
            said.append(server.stop())
            through.set()

    if where == "handler":
        server.on("stop", stop)
    else:
        getattr(server, where)(stop)
    server.start()
    client = Client(*server.address, pin=identity.fingerprint)
    try:
        client.connect()
        client.send("stop")
    except (ConnectionClosed, OSError, HandshakeError):
        pass
    if where == "on_disconnect":
        client.close()
    assert through.wait(WAIT)
    assert said == [False, False]
    until(lambda: not server.running)
    client.close()
    assert server.stop()
    until(lambda: not [t for t in threading.enumerate() if "server" in t.name])


def test_stopping_from_a_handler_of_another_server(identity: Identity) -> None:
    """There stop() waits: the two have nothing to do with each other."""
    with serving(identity) as first, serving(identity) as second, joined(first) as (client,):
        first.on("stop the other", lambda session, packet: second.stop())
        assert client.request("stop the other", timeout=WAIT) is True
        assert not second.running


def test_a_clients_handler_stops_the_server(identity: Identity) -> None:
    """In the background of a client of the same process."""
    with serving(identity) as server, joined(server) as (client,):
        said: list[bool] = []
        client.on("stop", lambda packet: said.append(server.stop()))
        server.broadcast("stop")
        until(lambda: said == [True])


def test_slow_ticks_do_not_hold_up_a_stop(identity: Identity) -> None:
    """Ticks that take longer than their period: the last one is waited for, no other is begun."""
    server = Server("127.0.0.1", 0, keys=identity, tick_rate=1000.0)
    ticks: list[bool] = []

    @server.on_tick
    def tick() -> None:
        ticks.append(server._listener is None or server._listener.closed)
        time.sleep(0.02)

    with server:
        until(lambda: len(ticks) > 2)
        assert server.stop(SOON)
    assert not any(ticks)


def test_code_that_is_told_of_the_stop(identity: Identity) -> None:
    """on_stop may use the server: ask, stop again, and start it anew from another thread."""
    server = Server("127.0.0.1", 0, keys=identity)
    seen: list[object] = []

    @server.on_stop
    def stopped() -> None:
        seen.append((server.running, server.stop()))
        with Crew() as crew:
            crew.start(server.start)

    server.start()
    assert server.stop()
    assert server.running
    server.on_stop.remove_listener(stopped)
    assert server.stop()
    assert seen == [(False, True)]


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
    """Threads send and broadcast while the game loop turns; in its own handlers nobody waits for the other side."""
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


# --- addresses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "dialled"),
    [
        ("::1", "::1"),
        ("localhost", "localhost"),
        ("127.0.0.1", "localhost"),
        ("", "127.0.0.1"),
        ("", "::1"),
        ("", "localhost"),
    ],
)
def test_addresses_of_all_kinds(host: str, dialled: str, identity: Identity) -> None:
    """IPv6, names, one socket for both families: the session knows the client's plain address and what it dialled."""
    server = Server(host, 0, keys=identity)
    server.on("echo", lambda session, packet: session.send("echo", packet.data))
    with server, Client(dialled, server.address[1], pin=identity.fingerprint) as client:
        client.send("echo", 1)
        assert take(client) == [1]
        (session,) = server.sessions.values()
        assert session.address[0] in ("127.0.0.1", "::1")
        assert session.dialled == dialled
        if dialled != "localhost":
            assert session.address[0] == dialled


# --- sending ----------------------------------------------------------------------------------------------------------


def test_broadcasting_to_some(identity: Identity) -> None:
    """to= and exclude= take sessions and tokens, alone or many; unknown tokens and ended sessions are passed over."""
    with serving(identity) as server, joined(server, 4) as clients:
        sessions = [server.sessions[client.token] for client in clients]
        tokens = [client.token for client in clients]
        cases: list[tuple[dict[str, Any], list[int]]] = [
            ({}, [0, 1, 2, 3]),
            ({"to": sessions[0]}, [0]),
            ({"to": tokens[1]}, [1]),
            ({"to": [sessions[1], tokens[2]]}, [1, 2]),
            ({"to": ["no such token"]}, []),
            ({"to": []}, []),
            ({"exclude": sessions[0]}, [1, 2, 3]),
            ({"exclude": [tokens[1], sessions[2]]}, [0, 3]),
            ({"to": tokens, "exclude": tokens[3]}, [0, 1, 2]),
            ({"to": (session for session in sessions)}, [0, 1, 2, 3]),
        ]
        for number, (options, expected) in enumerate(cases):
            assert server.broadcast("case", number, **options) == len(expected)
        for index, client in enumerate(clients):
            mine = [n for n, (_, expected) in enumerate(cases) if index in expected]
            assert take(client, len(mine)) == mine
            assert client.receive(0.0) is None
        clients[0].close()
        until(lambda: len(server.sessions) == 3)
        assert server.broadcast("late", to=sessions) == 3


def test_the_sessions_are_a_picture(identity: Identity) -> None:
    """`server.sessions` can be kept, looked through and not changed, while sessions come and go."""
    with serving(identity) as server:
        over = threading.Event()

        def visit() -> None:
            while not over.is_set():
                with joined(server, 2):
                    pass

        with Crew() as crew:
            for _ in range(2):
                crew.start(visit)
            for _ in range(300):
                picture = server.sessions
                assert all(session.token == token for token, session in picture.items())
            over.set()
        with joined(server) as (client,):
            picture = server.sessions
            with pytest.raises(TypeError):
                picture["x"] = picture[client.token]  # type: ignore[index]
        until(lambda: not server.sessions)
        assert list(picture) == [client.token]


def test_a_batch_of_a_server(identity: Identity) -> None:
    """What one thread sends inside the block goes out at its end, one record a session; others' at once."""
    with serving(identity) as server, joined(server, 2) as (client, other):
        sessions = [server.sessions[c.token] for c in (client, other)]
        with server.batch():
            for number in range(20):
                for session in sessions:
                    session.send("x", number)
            assert client.receive(0.02) is None
            with Crew() as crew:
                crew.start(lambda: sessions[1].send("x", "at once"))
            assert take(other, 21) == [*range(20), "at once"]
        assert take(client, 20) == list(range(20))
        assert sessions[0]._numbering.outgoing.sent == 1


def test_a_batch_does_not_outgrow_its_bounds(identity: Identity) -> None:
    """Inside a batch a send waits for room as outside: the block holds back system calls, not memory."""
    with serving(identity) as server, joined(server) as (client,):
        session = server.sessions[client.token]
        session._bounds = Bounds(unsent=200_000)
        with Crew() as crew:
            crew.start(lambda: len(take(client, 50)) == 50 or pytest.fail("too few"))
            with server.batch():
                for _ in range(50):
                    session.send("x", bytes(50_000), timeout=WAIT)
                    assert session._queued <= 300_000


@again
def test_a_send_in_a_handler_never_waits(attempt: int, identity: Identity) -> None:
    """Also in one that has lost the lead long ago: it is queued, the peer is not read, and all arrives in the end."""
    with serving(identity) as server, joined(server) as (client,):
        session = server.sessions[client.token]
        session._bounds = Bounds(unsent=100_000)
        took: list[float] = []

        @server.on("much")
        def much(session: Session, packet: Any) -> None:
            if packet.data:
                hand_over()
                until(lambda: server._loop and server._loop.turn_thread)
            began = time.monotonic()
            for number in range(100):
                session.send("x", [number, bytes(50_000)])
            took.append(time.monotonic() - began)

        client.send("much", attempt % 2)
        until(lambda: took)
        assert took[0] < SEND_SECONDS / 2
        assert [data[0] for data in take(client, 100)] == list(range(100))
        client.send("echo", "read again")
        assert take(client) == ["read again"]


def test_a_send_outside_waits_and_says_for_whom(identity: Identity) -> None:
    """A peer that takes nothing: the error names the session, and the packet was not queued."""
    with serving(identity) as server, joined(server) as (client,):
        session = server.sessions[client.token]
        session._bounds = Bounds(unsent=300_000)
        channel = client._channel
        assert channel is not None
        sent = 0

        def send() -> None:
            nonlocal sent
            session.send("x", [sent, bytes(50_000)], timeout=0.05)
            sent += 1

        with channel._driving(), pytest.raises(LinkTimeout) as caught:
            list(iter(send, "never"))
        assert client.token in caught.value.message
        session.send("x", ["end"], timeout=WAIT)
        numbers = [data[0] for data in take(client, sent + 1)]
        assert numbers == [*range(sent), "end"]


# --- the end of a session --------------------------------------------------------------------------------------------


@again
def test_the_order_of_a_sessions_events(attempt: int, identity: Identity) -> None:
    """on_connect first, on_disconnect last and once, the packets between them, whatever the client does."""
    with serving(identity) as server:
        told: dict[str, list[str]] = {}
        server.on_connect(lambda session: told.setdefault(session.token, []).append("connect"))
        server.on_disconnect(lambda session: told[session.token].append("disconnect"))
        server.on("x", lambda session, packet: told[session.token].append("x"))

        def visit(name: int) -> None:
            for number in range(6):
                client = Client(*server.address, pin=identity.fingerprint).connect()
                for _ in range(5):
                    client.send("x")
                if (name + number) % 3 == 0:
                    client.close()
                elif (name + number) % 3 == 1:
                    server.sessions[client.token].kick()
                    client.close()
                else:
                    link = client._channel._link  # type: ignore[union-attr]
                    link.sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
                    client.close()

        with Crew() as crew:
            for name in range(3):
                crew.start(visit, name)
        until(lambda: not server.sessions)
        until(lambda: all(events[-1] == "disconnect" for events in told.values()))
        assert len(told) == 18
        for events in told.values():
            assert events[0] == "connect"
            assert events.count("connect") == events.count("disconnect") == 1
            assert len(events) <= 7


def test_a_session_that_has_ended(identity: Identity) -> None:
    """It says that it is over, whatever is asked of it; kicking it again is harmless."""
    with serving(identity) as server, joined(server) as (client,):
        session = server.sessions[client.token]
        session.kick("once")
        session.kick("twice")
        with pytest.raises(ConnectionClosed) as caught:
            client.receive(WAIT)
        assert caught.value.text == "once"
        until(lambda: not session.connected)
        for call in (
            lambda: session.send("x"),
            lambda: session.request("x", timeout=WAIT),
            lambda: session.ping(WAIT),
        ):
            with pytest.raises(ConnectionClosed) as closed:
                call()
            assert closed.value.code == Code.KICKED
        session.kick()
        assert server.broadcast("x", to=[session]) == 0


def test_a_server_that_is_gone_is_not_kept(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of ours refers to a stopped server or to an ended session."""
    monkeypatch.setattr(link_module, "CLOSE_SECONDS", 0.2)
    server = Server("127.0.0.1", 0, keys=identity).start()
    with joined(server) as (client,):
        session = weakref.ref(server.sessions[client.token])
    until(lambda: gc.collect() is not None and session() is None)
    server.stop()
    reference = weakref.ref(server)
    del server
    until(lambda: gc.collect() is not None and reference() is None)


def test_logging_at_every_level_costs_nobody_a_lock(identity: Identity) -> None:
    """A log handler that uses the server itself does not hang it."""
    with serving(identity) as server:
        seen: list[int] = []

        class Curious(logging.Handler):
            """Looks at the server in every record."""

            def emit(self, record: logging.LogRecord) -> None:
                """As a status window might."""
                seen.append(len(server.sessions))
                server.broadcast("log", 1)

        handler = Curious()
        logging.getLogger("securelink").addHandler(handler)
        try:
            with joined(server, 2) as clients:
                server.sessions[clients[0].token].kick("x")
                clients[1].ping(WAIT)
            assert server.stop()
        finally:
            logging.getLogger("securelink").removeHandler(handler)
        assert seen


def test_descriptors_do_not_grow(identity: Identity) -> None:
    """A hundred sessions later the process has as many descriptors and threads as after the first."""
    with serving(identity) as server:

        def visit() -> None:
            with joined(server) as (client,):
                client.send("echo", 1)
                assert take(client) == [1]

        def left() -> tuple[int, int]:
            assert server._listener is not None
            until(lambda: not server._listener.links)  # type: ignore[union-attr]
            return len(os.listdir("/proc/self/fd")), len(server.threads)

        visit()
        until(lambda: not [t for t in threading.enumerate() if "clients" in t.name])
        first = left()
        for _ in range(100):
            visit()
        until(lambda: not [t for t in threading.enumerate() if "clients" in t.name])
        descriptors, threads = left()
        assert descriptors == first[0]
        assert threads <= 13  # a pool, and its watchdog


def test_a_connection_that_will_not_go_away_holds_up_no_stop(identity: Identity) -> None:
    """Should one stay listed for ever, stop() waits for it once, not for ever."""
    with serving(identity) as server, joined(server):
        assert server._listener is not None
        [link] = server._listener.links
        link._closed = True
        assert server.stop(0.1)
        assert not server.running
        link.sock.close()


def test_ctrl_c_before_the_server_runs(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while it says where it listens: nothing runs, and it can be started again."""

    def interrupt(self: Server) -> None:
        raise KeyboardInterrupt

    server = Server("127.0.0.1", 0, keys=identity)
    with monkeypatch.context() as patch:
        patch.setattr(Server, "_announce", interrupt)
        began = time.monotonic()
        server.serve_forever()
        assert time.monotonic() - began < SOON
    assert not server.running
    server.start()
    assert server.stop()
