"""Packets that a program sends in a row go out together: in order, none lost or late, and counted while they wait."""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from threading import get_ident
from typing import Any

import pytest
from cut_lines import line
from helpers import WAIT, until
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storm import interrupted, points
from together import Crew, channel_of, joined, link_of, serving, session_of, take

from securelink import Client, Identity, Server
from securelink.protocol.bounds import Bounds
from securelink.threads import bursts, outbox
from securelink.threads.bursts import BURST_BYTES, ROW_PACKETS
from securelink.threads.lead import Lead
from securelink.threads.switching import short_turns

pytestmark = pytest.mark.usefixtures("tidy")

warnings.simplefilter(
    "ignore", DeprecationWarning
)  # later Pythons warn that threads and fork() do not mix


@pytest.fixture(autouse=True)
def in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the slowest machine as well what is sent in a row is one."""
    monkeypatch.setattr(outbox, "ROW_SECONDS", WAIT)


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watchdog does not come before the test has looked, and then once: a loop that ends waits for it."""
    monkeypatch.setattr(bursts, "BURST_SECONDS", 2.0)
    monkeypatch.setattr(bursts, "_LOOKS", 1)


@pytest.fixture
def heard() -> list[Any]:
    """What the server has heard."""
    return []


@pytest.fixture
def server(identity: Identity, heard: list[Any]) -> Iterator[Server]:
    """One that notes what it hears."""
    with serving(identity) as server:
        server.on("say", lambda session, packet: heard.append(packet.data))
        server.on("ask", lambda session, packet: heard.append(packet.data))
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """A client of it."""
    with joined(server) as [client]:
        yield client


def sent(client: Client) -> int:
    """How many records the client has sent."""
    return channel_of(client).numbers()["records_sent"]


def test_requests_are_no_row(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for each answer sends nothing in a row: the next request goes out at once, as a packet would."""
    monkeypatch.setattr(outbox, "ROW_SECONDS", 0.000_000_001)
    held: list[object] = []

    class Noting(bursts.Bursts):
        def add(self, writer: Any, thread: int) -> bool:
            held.append(writer)
            return False

    loop = channel_of(client).loop
    monkeypatch.setattr(loop, "bursts", Noting(loop.lead, watched=False))
    for _ in range(2 * ROW_PACKETS):
        client.request("ask", 1)
    for _ in range(2 * ROW_PACKETS):
        client.request_later("ask", 1).result(WAIT)
    assert held == []


@pytest.mark.usefixtures("slowly")
def test_a_row_becomes_few_records(client: Client, heard: list[Any]) -> None:
    """The first three go out alone; the others wait for each other until the program waits."""
    before = sent(client)
    for number in range(50):
        client.send("say", number)
    assert sent(client) == before + ROW_PACKETS
    assert client.receive(0.001) is None
    assert sent(client) == before + ROW_PACKETS + 1
    until(lambda: heard == list(range(50)))


@pytest.mark.usefixtures("slowly")
def test_much_does_not_wait(client: Client, heard: list[Any]) -> None:
    """As soon as 8 KiB have come together they go out."""
    for number in range(3 * BURST_BYTES // 1000):
        client.send("say", [number, bytes(1000)])
        assert client.pressure.unsent < BURST_BYTES
    until(lambda: [item[0] for item in heard] == list(range(3 * BURST_BYTES // 1000)))


def test_the_last_of_a_burst_while_its_sender_computes(client: Client, heard: list[Any]) -> None:
    """Nothing stays behind: it arrives although the thread that sent it neither waits nor calls anything of ours."""
    for number in range(50):
        client.send("say", number)
    end = time.perf_counter() + WAIT
    while len(heard) < 50 and time.perf_counter() < end:
        sum(range(1000))
    assert heard == list(range(50))


def test_bursts_one_after_the_other(client: Client, heard: list[Any]) -> None:
    """It is seen to each time, also when the last burst was just over."""
    for burst in range(40):
        for number in range(5):
            client.send("say", [burst, number])
        time.sleep(burst % 10 / 2000)
    until(lambda: len(heard) == 200)
    assert heard == sorted(heard)


@pytest.mark.parametrize("way", ["request", "ping", "poll", "another client", "close"])
@pytest.mark.usefixtures("slowly")
def test_whatever_waits_lets_it_go(
    server: Server, client: Client, heard: list[Any], way: str
) -> None:
    """Each call that waits sends first what its thread has held back."""
    with joined(server) as [other]:
        ways: dict[str, Callable[[], object]] = {
            "request": lambda: client.request("ask", -1),
            "ping": lambda: client.ping(WAIT),
            "poll": lambda: client.poll(),
            "another client": lambda: other.receive(0.001),
            "close": lambda: client.close(),
        }
        before = sent(client)
        for number in range(10):
            client.send("say", number)
        assert client.pressure.unsent > 0
        ways[way]()
        assert client.pressure.unsent == 0
        assert sent(client) <= before + ROW_PACKETS + 2
        until(lambda: [number for number in heard if number >= 0] == list(range(10)))
        if way == "close":
            assert client.unconfirmed == []


@pytest.mark.usefixtures("slowly")
def test_a_handler_lets_it_go(server: Server) -> None:
    """What a handler of a client sends in a row is out when it has returned."""
    with joined(server) as [client]:
        client.on("go", lambda packet: [client.send("echo", n) for n in range(10)] and None)
        session_of(server, client).send("go")
        assert take(client, 10) == list(range(10))


def test_a_lone_packet_never_waits(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a slow row: packets that are further apart go out at once."""
    monkeypatch.setattr(outbox, "ROW_SECONDS", 0.0)
    for number in range(10):
        client.send("echo", number)
        assert client.pressure.unsent == 0
    assert take(client, 10) == list(range(10))


def test_a_clock_that_is_set_back(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of packets may be wrong: they go out all the same."""
    usual = time.time
    for shift in (0.0, -3600.0, 3600.0):
        monkeypatch.setattr(time, "time", lambda shift=shift: usual() + shift)
        for number in range(8):
            client.send("echo", number)
        assert take(client, 8) == list(range(8))


@pytest.mark.usefixtures("slowly")
def test_the_bound_counts_what_waits(client: Client, heard: list[Any]) -> None:
    """No more waits than `max_unsent` says; when that is reached it goes out, and the sender goes on."""
    channel = channel_of(client)
    channel.bounds = Bounds(unsent=2000)
    for number in range(50):
        client.send("say", [number, bytes(150)])
        assert client.pressure.unsent <= 2000
    assert client.pressure.blocked == 0
    client.receive(0.001)
    assert client.pressure.unsent == 0
    until(lambda: [item[0] for item in heard] == list(range(50)))


@pytest.mark.usefixtures("slowly")
def test_what_a_cut_leaves_unconfirmed(identity: Identity) -> None:
    """A connection is cut amid a burst, and the session ends: heard or unconfirmed is each packet, in order."""
    with line(identity) as stage:
        client = stage.client
        for number in range(10):
            client.send("say", number)
        until(lambda: len(stage.heard) == ROW_PACKETS)
        stage.refuse()
        for number in range(10, 20):
            client.send("say", number)
        until(lambda: not client.connected)
        left = [packet.data for packet in client.close() if packet.action == "say"]
        assert left[-(20 - ROW_PACKETS) :] == list(range(ROW_PACKETS, 20))
        assert stage.heard == list(range(ROW_PACKETS))


@pytest.mark.usefixtures("slowly")
def test_a_cut_amid_a_burst(identity: Identity) -> None:
    """What waits when the connection is cut goes on over the next one, each packet once."""
    with line(identity) as stage:
        client = stage.client
        for number in range(10):
            client.send("say", number)
        stage.relay.cut()
        for number in range(10, 20):
            client.send("say", number)
        until(lambda: len(stage.heard) == 20)
        assert stage.heard == list(range(20))


@pytest.mark.cost
def test_interrupted_at_every_point(server: Server, heard: list[Any]) -> None:
    """Wherever Ctrl-C interrupts a burst, what was sent comes in order, and nothing later is kept back."""
    with joined(server):  # so that the caretaker stays
        for at in points(step=int(os.environ.get("SECURELINK_POINTS", "3"))):
            heard.clear()
            with joined(server) as [client]:

                def burst(client: Client = client) -> None:
                    for number in range(8):
                        client.send("say", number)

                storm = interrupted(at, burst)
                if client.connected:  # otherwise it came amid sealing
                    client.send("say", 8)
                    until(lambda: 8 in heard)
                    assert heard == [*range(len(heard) - 1), 8], storm.where
            if not storm.where:
                break
    until(lambda: sys.getswitchinterval() > 0.001)


def test_a_fork_amid_a_burst(client: Client, heard: list[Any]) -> None:
    """The child sends nothing of it, and the parent all."""
    for number in range(10):
        client.send("say", number)
    child = os.fork()
    if child == 0:
        os._exit(len(bursts.waiting))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    until(lambda: heard == list(range(10)))


def test_the_switch_interval_is_restored(client: Client) -> None:
    """It is short while something waits, and as it was when nothing does."""
    before = sys.getswitchinterval()
    for number in range(10):
        client.send("say", number)
    until(lambda: not bursts.waiting and sys.getswitchinterval() == before)


def test_a_server_that_sends_in_a_row(server: Server, client: Client) -> None:
    """A thread of the server's program, which never waits for anything of ours."""
    session = session_of(server, client)
    for number in range(30):
        session.send("item", number)
    assert take(client, 30) == list(range(30))


# --- order ---------------------------------------------------------------------------------------------------------

WAYS = ("send", "broadcast", "batch", "request", "pause")
plans = st.lists(st.sampled_from(WAYS), max_size=25)


class Actor:
    """Sends numbers, each time in one of the ways."""

    def __init__(self, name: str, server: Server | None, side: Any) -> None:
        self._name, self._server, self._side = name, server, side
        self.count = 0

    def _next(self) -> list[Any]:
        self.count += 1
        return [self._name, self.count]

    def follow(self, plan: list[str]) -> None:
        """Do all that."""
        for way in plan:
            if way == "send":
                self._side.send("item", self._next())
            elif way == "broadcast" and self._server is not None:
                self._server.broadcast("item", self._next())
            elif way == "batch":
                with (self._server or self._side).batch():
                    for _ in range(3):
                        self._side.send("item", self._next())
            elif way == "request":
                self._side.request_later("asked", self._next())
            elif way == "pause":
                time.sleep(0.0002)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.tuples(plans, plans, plans, plans))
def test_order_in_every_mix(identity: Identity, tried: tuple[list[str], ...]) -> None:
    """Whoever sends, and in whatever ways: what one thread or handler sends comes in its order, each packet once."""
    by_thread, by_handler, by_client, by_other = tried
    at_server, at_client = [], []
    with serving(identity) as server, joined(server) as [client]:
        for name in ("item", "asked"):
            server.on(name, lambda session, packet: at_server.append(packet.data))
            client.on(name, lambda packet: at_client.append(packet.data))
        session = session_of(server, client)
        actors = [
            Actor("thread", server, session), Actor("handler", server, session),
            Actor("client", None, client), Actor("other", None, client),
        ]  # fmt: skip
        thread, handler, first, second = actors
        done = threading.Event()

        @server.on("go")
        def go(session: object, packet: object) -> None:
            handler.follow(by_handler)
            done.set()

        client.send("go")
        with Crew() as crew:
            crew.start(thread.follow, by_thread)
            crew.start(first.follow, by_client)
            crew.start(second.follow, by_other)
        assert done.wait(WAIT)
        until(lambda: len(at_client) == thread.count + handler.count)
        until(lambda: len(at_server) == first.count + second.count)
    for heard, pair in ((at_client, actors[:2]), (at_server, actors[2:])):
        for actor, name in zip(pair, ("thread", "handler"), strict=True):
            name = name if heard is at_client else {"thread": "client", "handler": "other"}[name]
            assert [n for who, n in heard if who == name] == list(range(1, actor.count + 1))


def test_nothing_is_left_of_bursts(server: Server) -> None:
    """A connection that is over is not kept by what it held back."""
    with joined(server) as [client]:
        for number in range(10):
            client.send("say", number)
        link_of(client).lost()
        until(lambda: not bursts.waiting)


class Writes:
    """A connection that counts how often it is flushed."""

    listed = False
    flushed = 0

    def flush(self) -> None:
        """As `Flushable.flush`."""
        self.flushed += 1

    def on_error(self) -> None:
        """As `Flushable.on_error`."""


def test_a_loop_that_ends_in_the_moment_of_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who noted a connection just before the watchdog ended sends it, and the switch interval is as before."""
    bundle = bursts.Bursts(Lead(lambda: None), watched=True)
    writer, begin = Writes(), short_turns.begin

    def late(user: object) -> None:
        bundle.close()
        begin(user)

    monkeypatch.setattr(short_turns, "begin", late)
    before = sys.getswitchinterval()
    assert not bundle.add(writer, get_ident())
    assert writer not in bursts.waiting
    assert sys.getswitchinterval() == before


def test_interrupted_between_striking_out_and_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    """`send` has returned: what it queued goes out, wherever Ctrl-C comes."""

    class Interrupting(dict[Any, int]):
        def pop(self, *arguments: Any) -> Any:
            super().pop(*arguments)
            raise KeyboardInterrupt

    writer = Writes()
    monkeypatch.setattr(bursts, "waiting", Interrupting({writer: get_ident()}))
    with pytest.raises(KeyboardInterrupt):
        bursts.over()
    assert writer.flushed == 1
