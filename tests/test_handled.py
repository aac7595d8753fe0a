"""An acknowledgement says what was handled: so both lists of unconfirmed packets are exact, however a session ends."""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from typing import Any

import pytest
from helpers import SOON, WAIT, until
from programs import process, read_line
from together import channel_of, joined, serving, session_of

from securelink import Client, Identity, Server, Session
from securelink.limits import ACK_RECORDS, ANSWER_SECONDS, PUT_AWAY_BYTES, PUT_AWAY_RECORDS
from securelink.protocol import SessionCore
from securelink.protocol.acknowledgements import Incoming
from securelink.protocol.bounds import Bounds
from securelink.wire.packets import Packet, encode_packet, join_packets

MANY = 300
#: A server that handles three packets and stays in the fourth.
SERVER = """
import sys, time
from securelink import Identity, Server
server = Server("127.0.0.1", 0, keys=Identity.generate(2048))
def take(session, packet):
    if packet.data == 3:
        time.sleep(600)
server.on("n", take)
with server:
    print(server.invite(), flush=True)
    sys.stdin.read()
"""
#: A client that receives three packets, and no more, while all have come.
CLIENT = """
import sys, time
from securelink import Client
client = Client(sys.argv[1]).connect()
for n in range(3):
    assert client.receive().data == n
print("received", flush=True)
while True:
    client.request("anything there?")
    time.sleep(0.01)
"""


def names(packets: list[Packet]) -> list[Any]:
    """What the packets say."""
    return [packet.data for packet in packets]


def numbers(incoming: Incoming) -> tuple[int, int]:
    """How many are accepted, and handled."""
    return incoming.accepted, incoming.handled()


def send_each(peer: Client | Session, action: str, count: int) -> None:
    """Send packets that carry their numbers, each in a record of its own."""
    outgoing = channel_of(peer).core.numbering.outgoing
    for number in range(count):
        sent = outgoing.sent
        peer.send(action, number)
        until(lambda: outgoing.sent > sent)  # noqa: B023  # it is called at once


# --- the count -------------------------------------------------------------------------------------------------


class Inside:
    """One session's receiving side, and somebody who waits for the replies with these numbers."""

    def __init__(self, *waited: int) -> None:
        self.core = SessionCore(Bounds())
        self.queue = self.core.receiving
        self.incoming = self.core.numbering.incoming
        for _ in waited:
            self.core.requests.expect(Waiter())

    def deliver(self, *packets: Packet) -> None:
        """A record arrives."""
        self.incoming.accepted += 1
        self.queue.deliver(join_packets([encode_packet(packet) for packet in packets]))


class Waiter:
    """Waits for a reply."""

    number = 0
    patient = False

    def answered(self, reply: object) -> None:
        """It is there."""

    def over(self) -> None:
        """It will not come."""


def test_a_record_is_handled_when_its_turn_is_over() -> None:
    """Not when it arrives."""
    one = Inside()
    for _ in range(3):
        one.deliver(Packet("a"), Packet("b"))
    assert numbers(one.incoming) == (3, 0)
    one.queue.take()
    assert numbers(one.incoming) == (3, 1)


def test_a_reply_is_handled_when_it_is_given_to_who_asked() -> None:
    """At once where nothing waits before it, and otherwise with what does: a count has no holes."""
    one = Inside(1, 2, 3)
    one.deliver(Packet("r", reply_to=1))
    assert numbers(one.incoming) == (1, 1)
    one.deliver(Packet("x"))
    one.deliver(Packet("r", reply_to=2))
    assert numbers(one.incoming) == (3, 1)
    one.queue.take()
    assert numbers(one.incoming) == (3, 3)
    one.deliver(Packet("r", reply_to=3), Packet("y"))
    assert numbers(one.incoming) == (4, 3)
    one.queue.take()
    assert numbers(one.incoming) == (4, 4)


def test_a_reply_that_comes_while_the_last_record_is_finished() -> None:
    """The two threads that count meet at one moment: nothing is lost, nothing is counted twice."""
    incoming = Incoming()
    incoming.queue()
    incoming.accepted = 3
    incoming.done = 1  # the last that waited is finished, and its thread has looked already
    incoming.ahead = deque([2])  # before this one was put down
    assert incoming.handled() == 1
    incoming.done += 1  # the third record, a moment later
    incoming.go_past(1)
    assert incoming.handled() == 3
    assert not incoming.ahead


def test_what_is_kept_is_not_handled() -> None:
    """A record that the program has not taken holds the count, until it is taken or seems to be wanted by nobody."""
    one = Inside()
    kept: deque[tuple[int, Any]] = deque()
    one.incoming.kept = kept
    for number in (1, 2, 3):
        one.deliver(Packet("x"))
        one.queue.take()
        kept.append((number, "packet"))
    assert numbers(one.incoming) == (3, 0)
    del kept[1]
    assert numbers(one.incoming) == (3, 0)
    del kept[0]
    assert numbers(one.incoming) == (3, 2)
    for passed in range(PUT_AWAY_RECORDS):
        assert numbers(one.incoming) == (3 + passed, 2)
        one.deliver(Packet("x"))
        one.queue.take()
    assert numbers(one.incoming) == (3 + PUT_AWAY_RECORDS,) * 2
    del kept[0]
    one.deliver(Packet("x"))
    one.queue.take()
    assert numbers(one.incoming) == (4 + PUT_AWAY_RECORDS,) * 2


def test_bytes_put_away_too() -> None:
    """Large records wait for nothing that nobody takes: the other side waits for them."""
    one = Inside(1)
    kept: deque[tuple[int, Any]] = deque([(1, "packet")])
    one.incoming.kept = kept
    one.deliver(Packet("x"))
    one.queue.take()
    assert numbers(one.incoming) == (1, 0)
    one.deliver(Packet("r", bytes(PUT_AWAY_BYTES), reply_to=1))
    assert numbers(one.incoming) == (2, 2)
    assert kept


def test_what_is_dropped_is_not_handled() -> None:
    """After the end nothing counts, whatever becomes of it."""
    one = Inside()
    kept: deque[tuple[int, Any]] = deque()
    one.incoming.kept = kept
    for _ in range(3):
        one.deliver(Packet("x"))
    one.queue.take()
    one.queue.take()
    kept.append((2, "packet"))
    one.queue.refuse()
    kept.clear()
    one.queue.take()
    assert one.incoming.handled() == 1
    one.queue.refuse()
    assert one.incoming.handled() == 1


def test_what_is_dropped_is_not_decoded() -> None:
    """A record that waits when its session ends costs no more than its bytes."""
    one = Inside()
    one.deliver(Packet("x"))
    record = one.queue.items[0]
    assert isinstance(record, bytes)
    one.queue.refuse()
    assert one.queue.begin(record) is None
    assert list(one.queue.items) == [record]


# --- who was killed with a full inbox ---------------------------------------------------------------------------


def test_a_server_that_is_killed() -> None:
    """Its client lists what it has not handled: not less, though all had arrived, and not more."""
    with process(SERVER) as killed, Client(read_line(killed)).connect() as client:
        send_each(client, "n", MANY)
        client.ping(WAIT)  # all of it is there
        outgoing = channel_of(client).core.numbering.outgoing
        until(lambda: outgoing.acknowledged == 3)
        killed.send_signal(signal.SIGKILL)
        until(lambda: not client.connected)
        assert names(client.close()) == list(range(3, MANY))


@pytest.mark.usefixtures("not_kept")
def test_a_client_that_is_killed(identity: Identity) -> None:
    """The server lists for a client what that has not received, though all of it was in the client's memory."""
    left: list[list[Any]] = []
    with serving(identity) as server:
        server.on("anything there?", lambda session, packet: None)
        server.on_disconnect(lambda session: left.append(names(session.unconfirmed)))
        with process(CLIENT, server.invite()) as killed:
            until(lambda: server.sessions)
            (session,) = server.sessions.values()
            send_each(session, "n", MANY)
            assert read_line(killed) == "received"
            outgoing = channel_of(session).core.numbering.outgoing
            until(lambda: outgoing.acknowledged == 3)
            session.ping(WAIT)
            assert outgoing.acknowledged == 3
            killed.send_signal(signal.SIGKILL)
            until(lambda: left)
        pushes = [data for data in left[0] if data is not None]  # the others are replies
        assert pushes == list(range(3, MANY))
        until(lambda: not session.unconfirmed)  # and keeps nothing of it


# --- who says goodbye -----------------------------------------------------------------------------------------------


def test_close_waits_for_handlers(identity: Identity) -> None:
    """A server answers CLOSE when it has handled what came before: normally nothing is left to be listed."""
    heard: list[int] = []

    def slow(session: Session, packet: Any) -> None:
        time.sleep(0.003)  # a twentieth of ANSWER_SECONDS for all of them
        heard.append(packet.data)

    with serving(identity) as server:
        server.on("n", slow)
        with joined(server) as (client,):
            send_each(client, "n", 30)
            assert client.close() == []
            assert heard == list(range(30))
            assert client.clean


def test_close_waits_for_no_handler_that_hangs(identity: Identity) -> None:
    """After ANSWER_SECONDS the answer says what was handled by then, and the list is the rest."""
    gate = threading.Event()
    try:
        with serving(identity) as server:
            server.on("n", lambda session, packet: packet.data < 3 or gate.wait(WAIT) or None)
            with joined(server) as (client,):
                send_each(client, "n", 10)
                began = time.monotonic()
                assert names(client.close(WAIT)) == list(range(3, 10))
                assert time.monotonic() - began < ANSWER_SECONDS + SOON
                assert client.clean
            gate.set()
    finally:
        gate.set()


def test_a_client_that_was_kicked_knows_what_was_dropped(identity: Identity) -> None:
    """What waits behind the packet for which it is kicked is nobody's, and so listed."""
    with serving(identity) as server, joined(server) as (client,):
        gate = threading.Event()

        def take(session: Session, packet: Any) -> None:
            assert gate.wait(WAIT)
            if packet.data == 5:
                session.kick()

        server.on("n", take)
        send_each(client, "n", 20)
        client.ping(WAIT)
        gate.set()
        until(lambda: not client.connected)
        assert names(client.close()) == list(range(5, 20))


@pytest.mark.parametrize("taken", [0, 3])
def test_what_close_drops_is_listed_by_the_server(identity: Identity, taken: int) -> None:
    """A client that closes with packets unreceived has not handled them."""
    left: list[list[Any]] = []
    with serving(identity) as server:
        server.on_disconnect(lambda session: left.append(names(session.unconfirmed)))
        with joined(server) as (client,):
            session = session_of(server, client)
            send_each(session, "n", 10)
            client.ping(WAIT)
            for number in range(taken):
                packet = client.receive(WAIT)
                assert packet is not None
                assert packet.data == number
        until(lambda: left)
        assert left == [list(range(taken, 10))]


def test_a_server_that_stops_waits_for_the_clients_handlers(identity: Identity) -> None:
    """And so its list is exact as well."""
    heard: list[int] = []
    left: list[list[Any]] = []

    def slow(packet: Any) -> None:
        time.sleep(0.003)  # a twentieth of ANSWER_SECONDS for all of them
        heard.append(packet.data)

    server = Server("127.0.0.1", 0, keys=identity)
    server.on_disconnect(lambda session: left.append(names(session.unconfirmed)))
    with server:
        client = Client("127.0.0.1", server.address[1], pin=server.fingerprint)
        client.on("n", slow)
        with client:
            session = session_of(server, client)
            send_each(session, "n", 30)
            assert server.stop()
            assert left == [[]]
            assert heard == list(range(30))


# --- waiting for acknowledgements -----------------------------------------------------------------------------------


def test_receive_acknowledges(identity: Identity) -> None:
    """What waits in a client is acknowledged as it is received; what `wait_for` takes out of turn, when its turn is."""
    with serving(identity) as server, joined(server) as (client,):
        session = session_of(server, client)
        outgoing = channel_of(session).core.numbering.outgoing
        send_each(session, "n", 2 * ACK_RECORDS)
        session.send("last")
        client.ping(WAIT)
        assert client.wait_for("last", WAIT).action == "last"
        incoming = channel_of(client).core.numbering.incoming
        assert numbers(incoming) == (2 * ACK_RECORDS + 1, 0)
        for _ in range(ACK_RECORDS + 1):
            client.receive(WAIT)
        # At once, or, if a slow machine has had some of them acknowledged before, with the next ones.
        until(lambda: outgoing.acknowledged >= ACK_RECORDS)
        assert outgoing.acknowledged <= ACK_RECORDS + 1
        while packets := client.poll():
            assert packets
        assert numbers(incoming) == (2 * ACK_RECORDS + 1,) * 2
        until(lambda: outgoing.acknowledged == 2 * ACK_RECORDS + 1)


def test_what_nobody_receives_stops_no_sender(identity: Identity) -> None:
    """A client with handlers leaves a packet where it is: what its handlers take is acknowledged all the same."""
    heard: list[int] = []
    with serving(identity) as server:
        client = Client("127.0.0.1", server.address[1], pin=server.fingerprint)
        client.on("blob", lambda packet: heard.append(len(packet.data)))
        with client:
            session = session_of(server, client)
            session.send("unwanted")
            for _ in range(40):
                session.send("blob", bytes(2**20), timeout=WAIT)
            until(lambda: len(heard) == 40)
            assert client.receive(0) is not None


def test_what_nobody_receives_stops_no_request(identity: Identity) -> None:
    """Nor are replies kept for ever behind it."""
    with serving(identity) as server, joined(server) as (client,):
        server.on("ask", lambda session, packet: packet.data)
        session = session_of(server, client)
        session.send("unwanted")
        for number in range(3 * PUT_AWAY_RECORDS):
            assert client.request("ask", number) == number
        outgoing = channel_of(session).core.numbering.outgoing
        assert outgoing.sent - outgoing.acknowledged <= 2 * PUT_AWAY_RECORDS
        packet = client.receive(WAIT)
        assert packet is not None
        assert packet.action == "unwanted"


@pytest.mark.parametrize("overlap", [True, False])
def test_a_sender_waits_for_a_slow_handler(identity: Identity, overlap: bool) -> None:
    """More than may be unacknowledged goes through a handler that is slow: the sender waits, and nobody for ever."""
    total = [0, 0]

    def slow(session: Session, packet: Any) -> None:
        time.sleep(0.002)
        total[0] += len(packet.data)
        session.send("back", packet.data)

    server = Server("127.0.0.1", 0, keys=identity, overlap=overlap)
    server.on("there", slow)
    with server:
        client = Client("127.0.0.1", server.address[1], pin=server.fingerprint)
        client.on("back", lambda packet: total.__setitem__(1, total[1] + len(packet.data)))
        with client:
            for _ in range(80):
                client.send("there", bytes(2**19), timeout=WAIT)
            until(lambda: total == [80 * 2**19] * 2)
            assert client.connected
