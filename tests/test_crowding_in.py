"""Who comes while all places of half-open connections are taken: crowds wait, and nobody keeps the others out."""

from __future__ import annotations

import dataclasses
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Self

import pytest
from helpers import WAIT, Scene, admitting, echo, end_of_stream, failure, scene, until
from inside import listener_of

from benchmarks.carriers import Counting
from securelink import Client, HandshakeError, Identity, Server
from securelink.app.failure_budget import KNOWN, LATE, NEW
from securelink.codes import Code
from securelink.streams.memory import MemoryStream, memory_pair
from securelink.threads.admission_queue import AdmissionQueue, Waiting
from securelink.threads.loop import Loop

pytestmark = pytest.mark.usefixtures("tidy")
PLACES = 4
AGES = 3600.0  # seconds that no test takes


def knock(port: int, source: str = "127.0.0.1") -> socket.socket:
    """A connection that says nothing."""
    return socket.create_connection(("127.0.0.1", port), WAIT, source_address=(source, 0))


@pytest.fixture
def few_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers have few places, and endless patience with those that have one."""
    monkeypatch.setattr("securelink.threads.gate.PLACE_SECONDS", AGES)
    monkeypatch.setattr("securelink.threads.gate._LOOK_SECONDS", 0.02)
    admitting(monkeypatch, max_half_open=PLACES)


@pytest.fixture
def stage(identity: Identity, few_places: None) -> Iterator[Scene]:
    """Such a server, and a neighbour."""
    with scene(identity) as stage:
        until(lambda: stage.listener.gate.half_open == 0)
        yield stage


@pytest.fixture
def far_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """No address counts as this machine."""
    for module in ("gate", "suspensions"):
        monkeypatch.setattr(f"securelink.threads.{module}.is_loopback_host", lambda host: False)


def test_a_crowd_is_let_in_one_after_the_other(stage: Scene) -> None:
    """Ten times as many clients as there are places, at one instant: all are in, each with one attempt."""
    clients = [stage.client() for _ in range(10 * PLACES)]
    carriers = [Counting() for _ in clients]
    at_once = threading.Barrier(len(clients))
    failed: list[Exception] = []

    def connect(client: Client) -> None:
        at_once.wait(WAIT)
        try:
            client.connect(WAIT)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=connect, args=(client,)) for client in clients]
    for client, carrier, thread in zip(clients, carriers, threads, strict=True):
        client.carrier = carrier
        thread.start()
    for thread in threads:
        thread.join(2 * WAIT)
    assert failed == []
    assert [carrier.attempts for carrier in carriers] == [1] * len(clients)
    assert stage.server.stats()["limits_reached_total"]["half_open"] == 0
    for client in clients:
        client.close()


def test_an_address_that_fills_the_places_keeps_no_other_one_out(stage: Scene) -> None:
    """Silent connections of one address take all places and wait for more: somebody else is in at once."""
    with ExitStack() as stack:
        silent = [stack.enter_context(knock(stage.port, "127.0.0.2")) for _ in range(10 * PLACES)]
        until(lambda: len(stage.listener.gate.waiting) == 9 * PLACES)
        with stage.client() as client:
            assert echo(client, "in")
        assert end_of_stream(silent[0]) == b""


def test_who_has_a_place_and_owes_a_message_loses_it(
    stage: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same address, where nobody can tell friends from strangers: in bounded time."""
    with ExitStack() as stack:
        for _ in range(PLACES):
            stack.enter_context(knock(stage.port))
        until(lambda: stage.listener.gate.half_open == PLACES)
        client = stage.client()
        came = threading.Event()

        def connect() -> None:
            client.connect(WAIT)
            came.set()

        thread = threading.Thread(target=connect)
        thread.start()
        until(lambda: len(stage.listener.gate.waiting) == 1)
        assert not came.wait(0.1)
        monkeypatch.setattr("securelink.threads.gate.PLACE_SECONDS", 0.05)
        thread.join(WAIT)
        assert echo(client, "in")
        client.close()


@pytest.mark.usefixtures("far_away")
def test_patience_ends_with_failures(stage: Scene) -> None:
    """A network whose handshakes fail has half as much patience after each, so many of them keep nobody waiting."""
    stage.hold_window()
    budget = stage.listener.gate.budget
    for _ in range(30):  # an hour, halved so often, is nothing
        budget.charge("127.0.0.2")
    with ExitStack() as stack:
        held = [stack.enter_context(knock(stage.port, "127.0.0.2")) for _ in range(PLACES // 2)]
        held += [stack.enter_context(knock(stage.port, "127.0.0.3")) for _ in range(PLACES // 2)]
        until(lambda: stage.listener.gate.half_open == PLACES)
        with stage.client() as client:
            assert echo(client, "in")
        assert end_of_stream(held[0]) == b""
        until(lambda: budget.failures("127.0.0.2") == 31)
        assert budget.failures("127.0.0.3") == 0


def test_who_hangs_up_while_it_waits_costs_nothing(stage: Scene) -> None:
    """It leaves the queue at once: nothing is computed for somebody who is gone."""
    with ExitStack() as stack:
        for _ in range(PLACES):
            stack.enter_context(knock(stage.port))
        until(lambda: stage.listener.gate.half_open == PLACES)
        late = [knock(stage.port) for _ in range(5)]
        until(lambda: len(stage.listener.gate.waiting) == 5)
        for sock in late:
            sock.close()
        until(lambda: not stage.listener.gate.waiting)


@pytest.mark.usefixtures("few_places")
def test_a_stop_closes_those_that_wait(identity: Identity) -> None:
    """A server that stops forgets no connection that has no place yet."""
    with Server("127.0.0.1", 0, keys=identity) as server, ExitStack() as stack:
        socks = [stack.enter_context(knock(server.address[1])) for _ in range(2 * PLACES)]
        until(lambda: len(listener_of(server).gate.waiting) == PLACES)
        server.stop()
        for sock in socks:
            end_of_stream(sock)


def test_those_that_wait_are_connections_too(stage: Scene) -> None:
    """They count for max_connections: one more is told at once that there is no room."""
    settings = stage.listener.settings
    stage.listener.gate.settings = dataclasses.replace(settings, max_connections=1 + 2 * PLACES)
    with ExitStack() as stack:
        for _ in range(2 * PLACES):
            stack.enter_context(knock(stage.port))
        until(lambda: len(stage.listener.gate.waiting) == PLACES)
        error = failure(HandshakeError, stage.client().connect, "no room", "try again later")
        assert error.code == Code.BUSY


# --- the queue ---------------------------------------------------------------------------------------------------


class Line:
    """A queue, and those that were put there."""

    def __init__(self, limit: int) -> None:
        self._loop = Loop("line", manual=True)
        self.queue = AdmissionQueue(self._loop, limit)
        self.put_in: dict[str, Waiting] = {}
        self.streams: dict[str, MemoryStream] = {}

    def put(self, name: str, standing: int = NEW) -> None:
        """Put one there, of the network that its name begins with."""
        stream, _ = memory_pair()
        waiting = Waiting(self.queue, stream, (name, 0), name[0], standing)
        self.put_in[name], self.streams[name] = waiting, stream
        self.queue.put(waiting)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._loop.stop(lambda: None)

    def take_all(self) -> list[str]:
        """The names, in the order of their turns."""
        names = []
        while self.queue:
            names.append(self.queue.take(self.queue.next_network()).address[0])
        return names

    def closed(self) -> list[str]:
        """The names of those whose stream was closed."""
        return [name for name, stream in self.streams.items() if stream.closed]


def test_networks_take_turns() -> None:
    """Whatever number of one network waits, another one's turn comes next; good standing comes first."""
    with Line(100) as line:
        for name in ("a1", "a2", "a3", "b1", "c1", "c2"):
            line.put(name)
        line.put("f1", LATE)
        line.put("k1", KNOWN)
        assert line.queue.next_network(but="k") == "a"
        assert line.take_all() == ["k1", "a1", "b1", "c1", "a2", "c2", "a3", "f1"]


def test_the_queue_is_bounded() -> None:
    """Above its limit the newest of the network that has most is closed; nobody with a smaller share."""
    with Line(6) as line:
        for name in ("a1", "a2", "a3", "a4", "b1", "b2", "b3", "a5", "c1"):
            line.put(name)
        assert line.closed() == ["a3", "a4", "a5"]
        assert len(line.queue) == 6
        assert sorted(line.take_all()) == ["a1", "a2", "b1", "b2", "b3", "c1"]


def test_who_leaves_the_queue_leaves_nothing() -> None:
    """In the middle of its network's line, or as its last."""
    with Line(10) as line:
        for name in ("a1", "a2", "a3", "b1"):
            line.put(name)
        for name in ("a2", "b1"):
            line.put_in[name].on_io(4)
        assert line.closed() == ["a2", "b1"]
        assert line.take_all() == ["a1", "a3"]
