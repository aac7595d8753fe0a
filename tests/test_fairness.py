"""Nobody is kept waiting: what one connection, session or record may take before the others have their turn."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from typing import Any

import pytest
from engines import Pair
from helpers import WAIT, Hostile, until
from linked import Bench, bench
from proxied import header
from together import channel_of, joined, session_of

from securelink import Client, Identity, Received, Server, Session
from securelink.limits import READ_FRAMES, RUN_PACKETS, TURN_SECONDS
from securelink.protocol.bounds import Bounds
from securelink.threads import inbox
from securelink.threads.asking import Waiting
from securelink.threads.loop import Loop
from securelink.threads.requesting import expect
from securelink.wire.fields import Content, Mode
from securelink.wire.packets import Packet, encode_packet, join_packets

EMPTY = join_packets([])
TINY = join_packets([encode_packet(Packet("x"))] * 1000)
FLOODS = {
    "ACK": (Content.ACK, bytes(8)),
    "PING": (Content.PING, bytes(8)),
    "PONG": (Content.PONG, bytes(8)),
    "empty DATA": (Content.DATA, EMPTY),
    "empty DATA_ACK": (Content.DATA_ACK, bytes(8) + EMPTY),
    "tiny packets": (Content.DATA, TINY),
}


def flood(stage: Bench, content: Content, payload: bytes, count: int) -> None:
    """Records of one kind, as a peer with the keys can make them, all at once."""
    assert stage.peer.sender is not None
    seal = stage.peer.sender.records.seal
    stage.sock.sendall(b"".join(seal(content.to_bytes(1) + payload) for _ in range(count)))


# --- sessions --------------------------------------------------------------------------------------------------


class Clock:
    """Time that passes only when a handler says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now


@pytest.mark.pure  # it replaces the clock of a module
@pytest.mark.parametrize("together", [True, False])
def test_a_session_gives_way_after_each_slow_packet(
    monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    """The clock is looked at after every packet, whether it was alone in its record or not."""
    clock = Clock()
    monkeypatch.setattr(inbox, "time", clock)
    with bench() as stage:

        def slow(data: Any) -> None:
            clock.now += 0.02

        stage.channel.handle = slow  # type: ignore[method-assign]
        if together:
            stage.send(*range(5))
        else:
            for number in range(5):
                stage.send(number)
        for done in range(1, 6):
            stage.loop.turn()
            assert stage.channel.data == list(range(done))


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_session_gives_way_after_so_many_packets(size: int) -> None:
    """A run ends after RUN_PACKETS, however they are spread over records, and goes on where it stopped."""
    with bench() as stage:
        del stage.channel.inbox.right.free
        for first in range(0, 1000, size):
            stage.send(*range(first, min(first + size, 1000)))

        def has_read_all() -> bool:
            stage.turn(1)
            return not stage.link.connection.more

        until(has_read_all)
        stage.turn(20)
        stage.channel.inbox.right.free = True
        before = 0
        while before < 1000:
            stage.channel.inbox.run()
            handled = len(stage.channel.data) - before
            assert 0 < handled <= RUN_PACKETS
            before += handled
        assert stage.channel.data == list(range(1000))


def test_empty_records_are_work() -> None:
    """A record without packets counts as one: no run takes more than RUN_PACKETS of them."""
    with bench() as stage:
        for _ in range(3 * RUN_PACKETS):
            stage.channel.core.receiving.deliver(EMPTY)
        items = stage.channel.core.receiving.items
        before = len(items)
        while before:
            more = stage.channel.inbox.run()
            assert 0 < before - len(items) <= RUN_PACKETS  # fewer where the machine is slow
            before = len(items)
            assert more == bool(before)


class Noting:
    """Something for the ready list that says when it ran."""

    def __init__(self, name: str, ran: list[str], rounds: int = 1) -> None:
        self.name = name
        self.ran = ran
        self.rounds = rounds

    def run(self) -> bool:
        """True while there are rounds left."""
        self.ran.append(self.name)
        self.rounds -= 1
        return self.rounds > 0


def test_on_the_ready_list_once() -> None:
    """However often an inbox is scheduled before its turn, it has one turn."""
    loop = Loop("test", manual=True)
    loop.start()
    ran: list[str] = []
    twice, other = Noting("twice", ran), Noting("other", ran)
    for noting in (twice, twice, other, twice):
        loop.schedule(noting)
    loop.turn()
    while loop.ready.inboxes or loop.ready.again:  # where the first turn took long
        loop.turn()
    loop.stop(lambda: None)
    assert ran == ["twice", "other"]


def test_a_turn_that_began_with_one_inbox_is_bounded() -> None:
    """The clock is looked at as soon as there is a second one."""
    loop = Loop("test", manual=True)
    loop.start()
    ran: list[int] = []

    class Slow:
        def __init__(self, number: int) -> None:
            self.number = number

        def run(self) -> bool:
            ran.append(self.number)
            if not self.number:
                for number in (1, 2, 3):
                    loop.schedule(Slow(number))
            time.sleep(2 * TURN_SECONDS)
            return False

    loop.schedule(Slow(0))
    loop.turn()
    assert ran == [0, 1]
    loop.stop(lambda: None)


def test_who_gave_way_comes_after_those_who_waited() -> None:
    """What arrived while a long inbox ran has its turn before that inbox goes on."""
    loop = Loop("test", manual=True)
    loop.start()
    ran: list[str] = []
    loop.schedule(Noting("busy", ran, rounds=3))
    loop.turn()
    for name in "ab":
        loop.schedule(Noting(name, ran))
    loop.turn()
    while loop.ready.inboxes or loop.ready.again:
        loop.turn()
    loop.stop(lambda: None)
    assert ran == ["busy", "a", "b", "busy", "busy"]


@pytest.mark.parametrize("kind", ["timers", "commands"])
def test_what_is_due_at_once_is_done_in_turns(kind: str) -> None:
    """Of timers and commands that take long a turn runs what fits into its time; the others go on, in order."""
    loop = Loop("test", manual=True)
    loop.start()
    ran: list[int] = []
    for number in range(5):

        def slow(number: int = number) -> None:
            time.sleep(2 * TURN_SECONDS)
            ran.append(number)

        if kind == "timers":
            loop.call_later(0.0, slow)
        else:
            loop.call(slow)
    if kind == "timers":
        loop.turn()  # the commands that start them
    before = len(ran)
    for done in range(before + 1, 6):
        loop.turn()
        assert ran == list(range(done))
    assert before <= 1
    loop.stop(lambda: None)


def test_a_record_of_many_packets_is_not_copied_for_each_turn() -> None:
    """The rest of a record is the same object from turn to turn."""
    with bench() as stage:
        stage.channel.core.receiving.deliver(TINY)
        stage.channel.inbox.run()
        rest = stage.channel.core.receiving.items[0]
        stage.channel.inbox.run()
        assert stage.channel.core.receiving.items[0] is rest


def echoes(server: Server, count: int, busy: int) -> int:
    """How many packets of busy clients are handled at most while one of `count` others waits for an echo."""
    handled: list[None] = []

    def slow(session: Session, packet: Received) -> None:
        time.sleep(0.02)
        handled.append(None)

    server.on("slow", slow)
    worst = 0
    with joined(server, busy) as busy_ones, joined(server, count) as others:
        for number in range(400):
            for client in busy_ones:
                client.send("slow", number)
        until(
            lambda: all(
                channel_of(session_of(server, client)).core.receiving.items for client in busy_ones
            )
        )
        for client in others:
            before = len(handled)
            assert client.request("echo", 1, timeout=WAIT) == 1
            worst = max(worst, len(handled) - before)
        for client in busy_ones:
            session_of(server, client).kick()
    return worst


@pytest.mark.parametrize("options", [{}, {"overlap": False}, {"workers": 3}], ids=str)
def test_one_busy_client_delays_nobody_for_long(identity: Identity, options: Any) -> None:
    """Beside 400 packets of 20 ms each ten others wait for a handler or two, not for a heap of them."""
    server = Server("127.0.0.1", 0, keys=identity, **options)
    server.on("echo", lambda session, packet: packet.data)
    with server:
        # Three on a quiet machine; the heap are 400.
        assert echoes(server, 10, 1) < RUN_PACKETS / 2


# --- records ---------------------------------------------------------------------------------------------------


class CountingReceiver:
    """The opening half of a connection, which counts."""

    def __init__(self, receiver: Any) -> None:
        self.kind: int = receiver.kind
        self._receiver = receiver
        self.opened = 0

    def update(self, now: float) -> None:
        """As it is."""
        self._receiver.update(now)

    def open(self, header: bytes, body: bytes) -> bytes:
        """As it is."""
        self.opened += 1
        plaintext: bytes = self._receiver.open(header, body)
        return plaintext


def counting(stage: Bench) -> CountingReceiver:
    """Count the records that the engine opens, of every kind."""
    engine = stage.link.connection
    counter = CountingReceiver(engine._receive)  # noqa: SLF001  # they all pass it
    engine._receive = counter  # noqa: SLF001  # see above
    return counter


@pytest.mark.pure  # it replaces a part of the engine
@pytest.mark.parametrize("kind", FLOODS)
def test_no_kind_of_record_escapes_the_bound_of_a_turn(kind: str) -> None:
    """One turn opens READ_FRAMES records of one connection and handles RUN_PACKETS of its packets, then others come."""
    content, payload = FLOODS[kind]
    count = 12 if payload is TINY else 10 * READ_FRAMES
    with bench(Bounds(inbox_records=10_000)) as stage:
        counter = counting(stage)
        flood(stage, content, payload, count)
        for _ in range(1000):
            opened, handled = counter.opened, len(stage.channel.data)
            stage.loop.turn()
            assert counter.opened - opened <= READ_FRAMES
            assert len(stage.channel.data) - handled <= RUN_PACKETS
            if counter.opened == count and not stage.channel.core.receiving.items:
                break
        assert counter.opened == count
        assert len(stage.channel.data) == (12_000 if payload is TINY else 0)


@pytest.mark.pure  # it replaces a part of the engine
def test_records_that_are_decoded_early_are_one_a_turn() -> None:
    """While a reply is waited for each record is decoded as it is read: then a turn takes one of a flood."""
    with bench(Bounds(inbox_records=10_000)) as stage:
        expect(stage.channel, Waiting())
        counter = counting(stage)
        flood(stage, Content.DATA, TINY, 12)
        while counter.opened < 12:
            before = counter.opened
            stage.loop.turn()
            assert counter.opened - before <= 1


def test_what_waits_for_its_turn_is_not_lost_when_reading_stops() -> None:
    """A connection that is not read for a while goes on with the frames that it had, though no byte follows them."""
    with bench(Bounds(inbox_records=READ_FRAMES // 2)) as stage:
        del stage.channel.inbox.right.free
        for number in range(3 * READ_FRAMES):
            stage.send(number)
        stage.turn()
        assert stage.channel.core.receiving.full
        assert stage.link.connection.more
        stage.channel.inbox.right.free = True
        stage.channel.loop.schedule(stage.channel.inbox)
        until(lambda: len(stage.channel.data) == 3 * READ_FRAMES, meanwhile=stage.loop.turn)
        assert stage.channel.data == list(range(3 * READ_FRAMES))


@pytest.mark.parametrize("size", [1, 3])
def test_frames_that_come_in_crumbs(size: int) -> None:
    """A stream of single bytes gives the same packets."""
    with bench() as stage:
        assert stage.peer.sender is not None
        data = stage.peer.sender.packets([encode_packet(Packet("x", n)) for n in range(3)])
        for at in range(0, len(data), size):
            stage.sock.sendall(data[at : at + size])
            stage.turn(1)
        stage.turn()
        assert stage.channel.data == [0, 1, 2]


@pytest.mark.pure  # it lowers a bound of a module
def test_controls_have_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends more controls in a second than a session may is not read until the second is over."""
    monkeypatch.setattr("securelink.threads.reading.MAX_CONTROL_RATE", 100)
    with bench() as stage:
        flood(stage, Content.PONG, bytes(8), 500)
        stage.turn(20)
        assert stage.channel.inbox.throttled
        assert 100 < stage.link.connection.controls < 500
        for _ in range(10):
            stage.loop.call(stage.link.next_second)
            stage.turn(5)
        assert stage.link.connection.controls == 500
        stage.loop.call(stage.link.next_second)
        stage.send("read again")
        stage.turn()
        assert stage.channel.data == ["read again"]


def test_an_engine_stops_and_goes_on() -> None:
    """`at_once` frames a call, `more` says that there may be others, and in the end nothing is missing."""
    pair = Pair(None, client_mode=Mode.OFF, server_mode=Mode.OFF).run()
    assert pair.client.sender is not None
    data = b"".join(pair.client.sender.packet(encode_packet(Packet("x", n))) for n in range(10))
    pair.server.at_once = 4
    parts = [pair.server.receive_data(data, 0.0)]
    while pair.server.more:
        parts.append(pair.server.reconsider(0.0))
    assert [len(part) for part in parts] == [4, 4, 2]


# --- addresses -------------------------------------------------------------------------------------------------

MAPS = join_packets([encode_packet(Packet("maps", [{}] * 60_000))])


def attacker(server: Server) -> Hostile:
    """A session of the address 203.0.113.9, by way of a proxy."""
    client = Hostile(server.address[1])
    client.sock.close()
    client.sock = socket.create_connection(server.address, WAIT, source_address=("127.0.0.2", 0))
    client.sock.sendall(header("203.0.113.9"))
    return client.open()


def usual_echo(client: Client, count: int) -> float:
    """How long a client waits for its echo, in seconds: the median of some."""
    took = []
    for number in range(count):
        start = time.monotonic()
        assert client.request("echo", number, timeout=WAIT) == number
        took.append(time.monotonic() - start)
    return sorted(took)[count // 2]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
def test_many_sessions_of_an_address_delay_others_as_one_does(identity: Identity) -> None:
    """Beside 40 sessions of an address whose records take long another one waits for one turn of them, not for 40."""
    server = Server("127.0.0.1", 0, keys=identity, trusted_proxies=["127.0.0.2"])
    server.on("maps", lambda session, packet: None)
    server.on("echo", lambda session, packet: packet.data)
    with server, joined(server) as [client], contextlib.ExitStack() as stack:
        many = [stack.enter_context(attacker(server)) for _ in range(40)]
        for _ in range(4):
            many[0].send(Content.DATA, MAPS)
        few = usual_echo(client, 9)
        for one in many:
            for _ in range(4):
                one.send(Content.DATA, MAPS)
        # They have work for ten seconds: each record takes 30 ms and more.
        beside = usual_echo(client, 15)
        busy = [session for session in server.sessions.values() if session.token != client.token]
        assert sum(len(channel_of(one).core.receiving.items) for one in busy) > 20
        # 5 to 9 ms on a quiet machine; 250 if sessions took turns alone
        assert beside < 10 * few + 0.12
        for session in busy:
            session.kick()
