"""Features of the predecessors under our own names: the package, and running a server."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from helpers import SOON, WAIT, failure, until
from inside import loop_of
from ports import free_port
from programs import ROOT
from together import Crew, arrived, channel_of, joined, serving, take

from securelink import (
    Client,
    ConfigError,
    ConnectFailed,
    ConnectionClosed,
    HandshakeError,
    Identity,
    Received,
    Server,
    Session,
)

pytestmark = pytest.mark.usefixtures("tidy")


# --- the package -------------------------------------------------------------------------------------------


def test_it_can_be_installed_and_its_licence_is_in_a_file() -> None:
    """Metadata that pip reads; the licence that it names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (project["name"], project["license"]) == ("securelink-sessions", "MIT")
    for file in project["license-files"]:
        assert "Permission is hereby granted" in (ROOT / file).read_text()


# --- running a server ----------------------------------------------------------------------------------------


def test_host_and_port(identity: Identity) -> None:
    """All addresses and port 5050, unless said otherwise; port 0 is any free one."""
    assert Server(keys=identity).address == ("", 5050)
    port = free_port()
    with Server("127.0.0.1", port, keys=identity) as server:
        assert server.address == ("127.0.0.1", port)
        assert server.lan_address == "127.0.0.1"
    with Server("127.0.0.1", 0, keys=identity) as server:
        assert server.address[1] > 0


def test_the_backlog_can_be_chosen(identity: Identity) -> None:
    """So few connections wait while nobody accepts; with the usual backlog they would be a thousand."""
    server = Server("127.0.0.1", 0, keys=identity, backlog=1)
    server.pause()
    with server, contextlib.ExitStack() as stack:
        waiting = 0
        with contextlib.suppress(TimeoutError):
            while waiting < 20:
                stack.enter_context(socket.create_connection(server.address, timeout=0.2))
                waiting += 1
        assert 1 <= waiting <= 4


def test_a_server_is_prepared_then_started(identity: Identity) -> None:
    """Making one opens nothing; what is bound before the start is there from the first client on."""
    port = free_port()
    server = Server("127.0.0.1", port, keys=identity)
    server.on("ask", lambda session, packet: "answer")
    greeted: list[Session] = []
    server.on_connect(greeted.append)
    assert not server.running
    with pytest.raises(ConnectFailed):
        Client("127.0.0.1", port, pin=identity.fingerprint).connect()
    with server, joined(server) as (client,):
        assert client.request("ask") == "answer"
        assert len(greeted) == 1


def test_running_in_the_background(identity: Identity) -> None:
    """start() returns, and clients are served; `running` says so; events tell of start and stop."""
    server = Server("127.0.0.1", 0, keys=identity)
    told: list[str] = []
    server.on_start(lambda: told.append("start"))
    server.on_stop(lambda: told.append("stop"))
    assert server.start() is server
    assert server.running
    with pytest.raises(ConfigError, match="is running"):
        server.start()
    with joined(server):
        assert server.stop()
    assert not server.running
    assert told == ["start", "stop"]
    assert server.stop()


def test_running_in_the_foreground(identity: Identity) -> None:
    """serve_forever() serves until somebody stops the server."""
    server = Server("127.0.0.1", 0, keys=identity)
    started = threading.Event()
    server.on_start(started.set)
    with Crew() as crew:
        crew.start(server.serve_forever)
        assert started.wait(WAIT)
        with joined(server) as (client,):
            client.ping()
        time.sleep(0.05)
        assert server.running
        server.stop()
    assert not server.running


def update_until(server: Server, condition: Callable[[], object]) -> None:
    """Drive a server by hand until a condition holds."""

    def look() -> object:
        server.update()
        return condition()

    until(look)


def test_updating_by_hand(identity: Identity) -> None:
    """update() never waits, starts the server at first, and runs handlers nowhere else."""
    server = Server("127.0.0.1", 0, keys=identity)
    threads: list[threading.Thread] = []
    ticks: list[int] = []
    server.on("say", lambda session, packet: threads.append(threading.current_thread()))
    server.on_tick(lambda: ticks.append(1))
    server.update()
    client = Client("127.0.0.1", server.address[1], pin=identity.fingerprint)
    with Crew() as crew:
        crew.start(client.connect)
        update_until(server, lambda: client.connected)
    client.send("say")
    time.sleep(0.05)
    assert threads == []
    began = time.monotonic()
    count = len(ticks)
    update_until(server, lambda: threads)
    assert threads == [threading.main_thread()]
    assert len(ticks) > count
    assert time.monotonic() - began < SOON
    server.stop()
    client.close()


@pytest.fixture
def driven(identity: Identity) -> Iterator[tuple[Server, Client]]:
    """A server that is driven by hand, and a client that is in it."""
    server = Server("127.0.0.1", 0, keys=identity)
    server.update()
    client = Client("127.0.0.1", server.address[1], pin=identity.fingerprint)
    with Crew() as crew:
        crew.start(client.connect)
        update_until(server, lambda: client.connected)
    yield server, client
    server.stop()
    client.close()


def test_one_update_handles_what_has_come(driven: tuple[Server, Client]) -> None:
    """A game with few frames a second: hundreds of packets since the last one are no reason to lag behind."""
    server, client = driven
    handled: list[int] = []
    server.on("move", lambda session, packet: handled.append(packet.data))
    for number in range(600):
        client.send("move", number)
    arrived(channel_of(client))
    began = time.monotonic()
    server.update(budget=2 * WAIT)
    assert time.monotonic() - began < WAIT  # there is nothing more to do, so it returns
    assert handled == list(range(600))


def test_an_update_keeps_to_its_budget(driven: tuple[Server, Client]) -> None:
    """When the budget is over the rest waits for the next call, in order."""
    server, client = driven
    handled: list[int] = []

    def work(session: Session, packet: Received) -> None:
        handled.append(packet.data)
        time.sleep(0.005)

    server.on("move", work)
    for number in range(100):
        client.send("move", number)
    arrived(channel_of(client))
    server.update(budget=0.0)
    first = len(handled)
    assert 1 <= first <= 10  # a session gives way after 10 ms
    server.update(budget=0.05)
    assert first < len(handled) < 50
    update_until(server, lambda: len(handled) == 100)
    assert handled == list(range(100))
    failure(ConfigError, lambda: server.update(budget=cast(Any, "5")), "budget='5' is not possible")


def settle(server: Server) -> None:
    """Wait until the server's loop has done what it was told, and no listener runs."""
    loop, told = loop_of(server), threading.Event()
    loop.call(told.set)
    assert told.wait(WAIT)
    until(lambda: loop.idle)


def test_ticks_are_steady(identity: Identity) -> None:
    """on_tick fires at the tick rate; the rate may be changed, and switched off, while the server runs."""
    with serving(identity, tick_rate=0.01) as server:
        ticks: list[float] = []
        server.on_tick(lambda: ticks.append(time.monotonic()))
        for rate, seldom in ((50, 0.01), (200, None)):
            began = time.monotonic()
            server.tick_rate = rate
            until(lambda: len(ticks) >= 15)
            assert (
                ticks[14] - began >= 15 / rate
            )  # a busy machine may skip some; more there never are
            server.tick_rate = seldom
            settle(server)
            ticks.clear()
            time.sleep(0.05)
            assert ticks == []
        with pytest.raises(ConfigError):
            server.tick_rate = 0


def test_many_clients_at_once(identity: Identity) -> None:
    """A hundred clients cost no thread each, and each gets its own answers."""
    with serving(identity) as server:
        before = threading.active_count()
        with joined(server, 100) as clients:
            for number, client in enumerate(clients):
                client.send("echo", number)
            assert [take(client)[0] for client in clients] == list(range(100))
            assert len(server.sessions) == 100
            assert threading.active_count() < before + 20


def test_no_more_connections_than_allowed(identity: Identity) -> None:
    """The next one is refused, and let in when somebody has left."""
    with serving(identity, max_connections=2) as server, joined(server, 2) as clients:
        with pytest.raises(HandshakeError, match="no room for another connection"):
            Client("127.0.0.1", server.address[1], pin=identity.fingerprint).connect()
        clients[0].close()
        until(lambda: len(server.sessions) == 1)
        with joined(server):
            assert len(server.sessions) == 2


def test_pausing_and_resuming(identity: Identity) -> None:
    """While paused nobody new comes in, and sessions go on; who has waited gets in afterwards."""
    with serving(identity) as server, joined(server) as (client,), Crew() as crew:
        server.pause()
        assert server.paused
        late = Client("127.0.0.1", server.address[1], pin=identity.fingerprint)
        crew.start(late.connect)
        client.send("echo", 1)
        assert take(client) == [1]
        time.sleep(0.05)
        assert len(server.sessions) == 1
        server.resume()
        until(lambda: len(server.sessions) == 2)
        assert not server.paused
        crew.join()
        late.close()


def test_stopping_tells_the_clients(identity: Identity) -> None:
    """What was sent before arrives; then each client learns that the server shuts down."""
    with serving(identity) as server, joined(server) as (client,):
        until(lambda: server.sessions)
        server.broadcast("last", "words")
        server.stop()
        assert take(client) == ["words"]
        with pytest.raises(ConnectionClosed, match="shutting down") as ended:
            client.receive(WAIT)
        assert ended.value.clean
        assert not client.connected


def test_restarting_at_once_on_the_same_port(identity: Identity) -> None:
    """With connections that were open a moment ago; a retrying client finds the server again."""
    port = free_port()
    server = Server("127.0.0.1", port, keys=identity)
    client = Client("127.0.0.1", port, pin=identity.fingerprint)
    for _ in range(3):
        with server:
            client.connect(retry=True)
            client.ping()
        with pytest.raises(ConnectionClosed):
            client.receive(WAIT)


def test_an_address_in_use(identity: Identity) -> None:
    """Starting there fails at once, and says what is the matter."""
    with (
        serving(identity) as server,
        pytest.raises(ConnectFailed, match="this very program has the port"),
    ):
        Server("127.0.0.1", server.address[1], keys=identity).start()


def test_context_managers(identity: Identity) -> None:
    """A block starts and stops a server, connects and closes a client."""
    with Server("127.0.0.1", 0, keys=identity) as server:
        assert server.running
        with Client("127.0.0.1", server.address[1], pin=identity.fingerprint) as client:
            assert client.connected
        assert not client.connected
    assert not server.running
