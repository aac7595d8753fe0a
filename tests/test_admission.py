"""Who may knock how often: failures, connections of one address, and addresses that a load balancer passes on."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from helpers import WAIT, Hostile, Scene, echo, end_of_stream, failure, scene, until
from inside import jobs_of, limit_jobs, listener_of
from proxied import behind, header, through
from together import channel_of

from securelink import HandshakeError, Hello, Identity, Refused, Server
from securelink.app.failure_budget import KNOWN, LATE, NEW, FailureBudget
from securelink.codes import Code
from securelink.limits import FAILED_WINDOW, LATE_FAILURES, LATE_WINDOW
from securelink.wire.fields import Kind

pytestmark = pytest.mark.usefixtures("tidy")


@pytest.fixture
def far_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """No address counts as this machine."""
    for module in ("gate", "suspensions"):
        monkeypatch.setattr(f"securelink.threads.{module}.is_loopback_host", lambda host: False)


# --- failures -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("far_away")
def test_guesses_at_once_are_bounded_too(identity: Identity) -> None:
    """Of guesses that wait together, no more are looked at than one address may fail, and none after these."""
    guesses: list[object] = []

    def authenticate(hello: Hello) -> str:
        if hello.credentials == "neighbour":
            return "neighbour"
        guesses.append(hello.credentials)
        raise Refused("wrong")

    neighbour = {"credentials": "neighbour"}
    with (
        scene(identity, authenticate=authenticate, neighbour=neighbour, max_failures=5) as stage,
        ExitStack() as stack,
    ):
        stage.hold_window()
        clients = [stack.enter_context(Hostile(stage.port)) for _ in range(12)]
        for client in clients:
            client.hello()
        for client in clients:
            client.authenticate()
            client.flush()
        codes = [client.ending()[0] for client in clients]
        # They keep their sockets open: their refusals count all the same.
        assert codes.count(Code.REFUSED) == len(guesses) == 5
        assert codes.count(Code.BLOCKED) == 7
        error = failure(HandshakeError, stage.client().connect, "blocked this address for", "wait")
        assert error.code == Code.BLOCKED
        assert len(guesses) == 5


@pytest.mark.usefixtures("far_away")
def test_a_probe_is_no_failure(identity: Identity) -> None:
    """A connection that closes without a byte, as a balancer's probe does, costs its address nothing."""
    with scene(identity, max_failures=2) as stage:
        stage.hold_window()
        for _ in range(10):
            socket.create_connection(("127.0.0.1", stage.port), timeout=WAIT).close()
        until(stage.alone)
        assert stage.listener.gate.failed == 0
        with stage.client() as client:
            assert echo(client, "welcome")


class Crowd:
    """
    Clients of one address, of which the first take all places for logins and the others wait in our queue.

    Attributes:
        inside: They are asked about.
        waiting: Nobody has begun with them.
        door: Lets those go on that are asked about.
    """

    def __init__(
        self,
        stage: Scene,
        stack: ExitStack,
        door: threading.Event,
        asked: list[Hello],
        waiting: int,
    ) -> None:
        self.stage, self.door = stage, door
        self.jobs = jobs_of(stage.server)
        count = self.jobs.places
        self.inside = [self._ask(stack) for _ in range(count)]
        until(lambda: len(asked) == count)  # now they have all places, and need no others
        until(lambda: stage.listener.gate.budget.failures("127.0.0.1") == count)
        self.waiting = [stack.enter_context(Hostile(stage.port)) for _ in range(waiting)]
        for client in self.waiting:
            client.flush()
        until(lambda: len(self.jobs) == waiting)

    def _ask(self, stack: ExitStack) -> Hostile:
        client = stack.enter_context(Hostile(self.stage.port))
        client.hello()
        client.authenticate()
        client.flush()
        return client

    @property
    def counted(self) -> int:
        """Failures of the address."""
        return self.stage.listener.gate.budget.failures("127.0.0.1")


@pytest.fixture
def crowd(identity: Identity, far_away: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crowd]:
    """Four that wait behind slow logins; who is asked about is let in."""
    monkeypatch.setattr("securelink.threads.sweeper.SWEEP_SECONDS", 0.05)
    door = threading.Event()
    asked: list[Hello] = []

    def authenticate(hello: Hello) -> str:
        if hello.credentials != "neighbour":
            asked.append(hello)
            assert door.wait(WAIT)
        return "somebody"

    neighbour = {"credentials": "neighbour"}
    with (
        scene(identity, authenticate=authenticate, neighbour=neighbour) as stage,
        ExitStack() as stack,
    ):
        stage.hold_window()
        stack.callback(door.set)
        yield Crowd(stage, stack, door, asked, 4)


def test_who_was_late_in_our_queue_has_not_failed(crowd: Crowd) -> None:
    """A handshake whose time is over while we owe the next message is our failure: its client hears BUSY."""
    crowd.stage.overdue()
    assert [client.ending()[0] for client in crowd.waiting] == [Code.BUSY] * 4
    # Those that are being asked about: their places are taken by the hook of the application.
    assert [client.ending()[0] for client in crowd.inside] == [-1] * len(crowd.inside)
    crowd.door.set()
    until(crowd.stage.alone)
    until(lambda: crowd.counted == 0)
    assert crowd.stage.listener.gate.failed == 0


@pytest.mark.pure  # it lowers a bound of a module
def test_who_gives_up_after_waiting_for_us_has_not_failed(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients have a timeout as well: those that we kept waiting may go, before or after their turn has come."""
    monkeypatch.setattr("securelink.threads.errand.PATIENT_SECONDS", 0.0)
    for client in (*crowd.waiting, *crowd.inside):
        client.sock.close()
    crowd.door.set()
    until(crowd.stage.alone)
    until(lambda: crowd.counted == 0)


def test_who_leaves_at_once_has_failed(crowd: Crowd) -> None:
    """A hello without a client behind it costs us a signature: it counts, as long as we were not late."""
    for client in crowd.waiting:
        client.sock.close()
    crowd.door.set()
    until(lambda: crowd.counted == len(crowd.waiting))


def test_who_gives_way_in_the_queue_hears_it_at_once(crowd: Crowd) -> None:
    """A full queue drops what the address with most has queued last: BUSY, no failure, and no wait for a deadline."""
    limit_jobs(crowd.stage.server, len(crowd.jobs))
    with Hostile(crowd.stage.port) as elsewhere:
        elsewhere.sock.close()
        elsewhere.sock = socket.create_connection(
            ("127.0.0.1", crowd.stage.port), WAIT, source_address=("127.0.0.2", 0)
        )
        elsewhere.flush()
        assert crowd.waiting[-1].ending()[0] == Code.BUSY
        crowd.waiting[-1].sock.close()
        crowd.door.set()
        elsewhere.hello()
    for client in crowd.waiting[:-1]:
        client.hello()
    until(lambda: crowd.counted == 0)


def test_right_passwords_at_once_are_not_late(crowd: Crowd) -> None:
    """Many who log in at the same time do not wait behind others as if they had failed."""
    assert crowd.counted >= 3
    standing = crowd.stage.listener.gate.budget.standing
    assert standing("127.0.0.1") <= NEW


@pytest.mark.usefixtures("far_away")
def test_who_says_nothing_is_no_failure(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection without a byte counts nothing, also when its time is over; one with a byte has failed."""
    monkeypatch.setattr("securelink.threads.sweeper.SWEEP_SECONDS", 0.05)
    with scene(identity, max_failures=2) as stage, ExitStack() as stack:
        stage.hold_window()
        address = ("127.0.0.1", stage.port)
        socks = [stack.enter_context(socket.create_connection(address, WAIT)) for _ in range(4)]
        until(lambda: len(stage.half_open()) == 4)
        socks[0].sendall(b"S")
        until(lambda: any(link.connection.reads for link in stage.half_open()))
        stage.overdue()
        for sock in socks:
            assert end_of_stream(sock) == b""
        until(stage.alone)
        assert stage.listener.gate.budget.failures("127.0.0.1") == stage.listener.gate.failed == 1


class Clock:
    """Seconds that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def budget(limit: int = 4) -> tuple[FailureBudget, Clock]:
    """A budget, and its clock; nobody is exempt."""
    clock = Clock()
    return FailureBudget(limit, clock, lambda host: False), clock


def test_a_budget_of_failures() -> None:
    """An address may fail so often in a minute from its first failure; then it may again."""
    counted, clock = budget()
    for _ in range(4):
        assert counted.charge("192.0.2.1") == 0
        clock.now += 10
    assert counted.charge("192.0.2.1") == pytest.approx(20)
    assert counted.charge("192.0.2.2") == 0
    clock.now += 20
    assert counted.blocked_for("192.0.2.1") == 0
    counted.charge("192.0.2.1", under_way=True)
    counted.let_in("192.0.2.1")
    assert counted.failures("192.0.2.1") == 0


def test_what_is_under_way_has_not_failed() -> None:
    """Tries that are made now count against the budget, but make nobody one that has failed."""
    counted, _ = budget(4)
    for _ in range(4):
        assert counted.charge("192.0.2.1", under_way=True) == 0
    assert counted.charge("192.0.2.1", under_way=True) > 0
    assert counted.standing("192.0.2.1") == NEW
    counted.take_back("192.0.2.1")
    counted.failed("192.0.2.1")
    counted.take_back("192.0.2.1")
    counted.failed("192.0.2.1")
    assert counted.failures("192.0.2.1") == 2
    assert counted.standing("192.0.2.1") == NEW + 2


@pytest.mark.parametrize(("size", "share"), [(64, 1), (56, 4), (48, 16)])
def test_networks_of_ipv6_have_budgets(size: int, share: int) -> None:
    """Who has a whole /56 or /48 of IPv6 may fail 4 and 16 times as often as one /64, not 256 and 65,536 times."""
    counted, _ = budget()
    inside = [0x20010DB8 << 96 | number << (128 - size - 4) for number in range(16)]
    if size == 64:
        inside = [0x20010DB8 << 96 | number for number in range(16)]
    hosts = [str(ipaddress.IPv6Address(number)) for number in inside]
    tries = 0
    while not counted.charge(hosts[tries % len(hosts)]):
        tries += 1
    assert tries <= 4 * share
    assert not counted.charge("2001:db9::1")


def test_the_table_of_failures_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many addresses fail, what is kept of them has a bound; the newest are kept."""
    monkeypatch.setattr("securelink.app.failure_budget.MAX_FAILED_ADDRESSES", 50)
    counted, _ = budget(1)
    for number in range(400):
        counted.charge(f"10.0.{number // 256}.{number % 256}")
    assert len(counted) == 50
    assert counted.blocked_for("10.0.1.143") > 0


def test_how_an_address_stands() -> None:
    """Best who was let in before, then who is new, then by failures; they are remembered longer than they block."""
    counted, clock = budget()
    ada, eve = "192.0.2.1", "203.0.113.1"
    for host in (ada, eve):
        assert counted.standing(host) == NEW
        counted.charge(host, under_way=True)
        assert counted.standing(host) == NEW
    counted.let_in(ada)
    assert counted.standing(ada) == KNOWN
    counted.failed(eve)
    assert NEW < counted.standing(eve) < LATE
    for _ in range(LATE_FAILURES - 1):
        assert counted.standing(ada) == KNOWN
        counted.charge(ada)
        counted.charge(eve)
    counted.charge(ada)
    clock.now += FAILED_WINDOW
    assert counted.blocked_for(eve) == 0
    assert counted.standing(eve) == counted.standing(ada) == LATE
    clock.now += LATE_WINDOW
    assert (counted.standing(ada), counted.standing(eve)) == (KNOWN, NEW)


def test_how_networks_of_ipv6_stand() -> None:
    """A network is known as one, and its strangers fail together; who is known fails alone."""
    counted, _ = budget()
    counted.charge("2001:db8:1:1::1", under_way=True)
    counted.let_in("2001:db8:1:1::1")
    assert counted.standing("2001:db8:1:2::1") == KNOWN
    for _ in range(LATE_FAILURES):
        counted.charge("2001:db8:1:2::1")
        counted.charge("2001:db8:2:1::1")
    assert counted.standing("2001:db8:1:1::1") == KNOWN
    assert counted.standing("2001:db8:1:2::1") == LATE
    assert counted.standing("2001:db8:2:2::1") == LATE


def test_what_is_known_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many addresses are let in, what is kept of them has a bound; the newest are kept."""
    monkeypatch.setattr("securelink.app.failure_budget.MAX_KNOWN_NETWORKS", 50)
    counted, _ = budget()
    for number in range(400):
        counted.let_in(f"10.0.{number // 256}.{number % 256}")
    known = [n for n in range(400) if counted.standing(f"10.0.{n // 256}.{n % 256}") == KNOWN]
    assert known == list(range(350, 400))


@pytest.mark.usefixtures("far_away")
def test_one_address_does_not_hold_every_place(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """Connections of one address are bounded; another address enters, and a place that is free again is given."""
    with scene(identity, max_per_address=3) as stage, ExitStack() as stack:
        first = stack.enter_context(stage.client())
        stack.enter_context(stage.client())
        error = failure(HandshakeError, stage.client().connect, "no room", "try again later")
        assert error.code == Code.BUSY
        with Hostile(stage.port) as elsewhere:
            elsewhere.sock.close()
            elsewhere.sock = socket.create_connection(
                ("127.0.0.1", stage.port), WAIT, source_address=("127.0.0.2", 0)
            )
            elsewhere.open()
        first.close()
        with stage.client().connect(WAIT, retry=True) as client:
            assert echo(client, 1)
    assert "too many connections of one address (max_per_address): 127.0.0.1" in caplog.text


@pytest.mark.parametrize(("connections", "most"), [(1, 16), (100, 75), (10_000, 1000)])
def test_the_default_leaves_room_for_others(
    connections: int, most: int, identity: Identity
) -> None:
    """Without a word one address has 1,000 places, and of a smaller server three quarters, but never below 16."""
    with Server("127.0.0.1", 0, keys=identity, max_connections=connections) as server:
        assert listener_of(server).settings.max_per_address == most


def test_a_network_does_not_hold_every_place(identity: Identity) -> None:
    """The /48 of one customer is sixteen addresses, and never more than three quarters of the server."""
    with Server("127.0.0.1", 0, keys=identity, max_connections=100) as server:
        assert listener_of(server).settings.per_network == (75, 75, 75)
    with Server("127.0.0.1", 0, keys=identity, max_per_address=10, max_connections=100) as server:
        assert listener_of(server).settings.per_network == (10, 40, 75)


def test_this_machine_may_hold_every_place(identity: Identity) -> None:
    """Loopback is many, as everybody behind a local proxy is: it has no such bound."""
    with scene(identity, max_per_address=1) as stage, stage.client() as client:
        assert echo(client, 1)


# --- the PROXY protocol -----------------------------------------------------------------------------------------


def test_at_the_bound_of_memory_the_greediest_address_gives_way(identity: Identity) -> None:
    """Many small sessions of a stranger end before an honest one that keeps more than each of them."""
    with behind(identity, max_memory=5 * 2**20) as (server, came), ExitStack() as stack:
        for source in ("192.0.2.1", *["203.0.113.9"] * 4):
            client = stack.enter_context(through(server, header(source)))
            client.open()
            size = 2**21 - 1 if source == "192.0.2.1" else 2**20  # of a frame that it does not end
            client.sock.sendall(bytes((Kind.SEALED,)) + (2**21).to_bytes(3) + bytes(size))
        until(lambda: len(came) == 5 and any(channel_of(session).is_over() for session in came))
        (honest,) = (session for session in came if session.address[0] == "192.0.2.1")
        assert not channel_of(honest).is_over()
