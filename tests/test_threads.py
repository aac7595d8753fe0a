"""What handlers may do to each other: nothing. The lead passes on at every instant, and no packet suffers."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from helpers import WAIT, Hostile, until
from inside import Tollgate, loop_of
from together import REPEATS, Crew, channel_of, joined, serving, session_of, take

from securelink import Client, Identity, RequestFailed, Server, Session
from securelink.limits import WORKERS
from securelink.protocol import Event
from securelink.threads import ready as ready_module
from securelink.threads import watchdog as watchdog_module
from securelink.threads.giving_way import hand_over
from securelink.wire.packets import Packet, decode_packets, encode_packet

again = pytest.mark.parametrize("attempt", range(REPEATS))
pytestmark = pytest.mark.usefixtures("tidy")

AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets the connection
CLIENTS = 6
PACKETS = 40


@pytest.fixture
def biting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watchdog that takes the lead wherever it finds a handler."""
    monkeypatch.setattr(watchdog_module, "WATCHDOG_SECONDS", 0.0001)
    monkeypatch.setattr(ready_module, "WATCHDOG_SECONDS", 0.0001)


def exchange(clients: list[Client], action: str = "echo") -> None:
    """Each client sends numbered packets, all at once, and gets them back: all, in order, once."""
    for number in range(PACKETS):
        for client in clients:
            client.send(action, [client.token, number])
    for client in clients:
        assert take(client, PACKETS) == [[client.token, number] for number in range(PACKETS)]
    for client in clients:
        assert client.receive(0.0) is None


@contextlib.contextmanager
def sleeping(server: Server, places: int) -> Iterator[None]:
    """So many places of the server's handlers are taken by handlers that do not come back until the block ends."""
    gate = threading.Event()
    inside = threading.Semaphore(0)

    @server.on("sleep")
    def sleep(session: Session, packet: object) -> None:
        inside.release()
        gate.wait(WAIT)

    with joined(server, places) as sleepers:
        try:
            for client in sleepers:
                client.send("sleep")
            for _ in sleepers:
                assert inside.acquire(timeout=WAIT)
            until(lambda: loop_of(server).pool.busy_handlers == places)
            yield
        finally:
            gate.set()


# --- the lead passes on ---------------------------------------------------------------------------------------


@again
@pytest.mark.parametrize("how", ["hand over", "watchdog", "both"])
def test_the_lead_passes_on_in_every_handler(
    attempt: int, how: str, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every handler costs its leader the lead, by its own will or not: all echoes come, in order, once."""
    if how != "hand over":
        monkeypatch.setattr(watchdog_module, "WATCHDOG_SECONDS", 0.0001)
        monkeypatch.setattr(ready_module, "WATCHDOG_SECONDS", 0.0001)
    with serving(identity) as server:

        @server.on("work")
        def work(session: Session, packet: Any) -> None:
            session.send("work", packet.data)
            if how != "watchdog":
                hand_over()
            if how != "hand over":
                time.sleep(0.0003)

        with joined(server, CLIENTS) as clients:
            exchange(clients, "work")
        assert len(server.threads) <= WORKERS + 1  # and the watchdog


@again
def test_the_lead_is_taken_at_the_instant_of_return(attempt: int, identity: Identity) -> None:
    """Each time a handler is through, the lead is taken before its thread has it back."""
    with serving(identity) as server:
        taken = list[int]()

        def toll() -> None:
            if not gate.in_handler:
                return
            gate.on_return = lambda: None
            gate.take_lead(threading.get_ident())
            gate.on_return = toll
            taken.append(threading.get_ident())
            if len(taken) % 3 == 0:
                time.sleep(0.0002)  # so that the new leader is in a handler already

        with joined(server, CLIENTS) as clients:
            gate = Tollgate(loop_of(server))
            gate.on_return = toll
            exchange(clients)
            gate.remove()
        assert taken


@again
def test_sends_while_the_leader_is_replaced(attempt: int, identity: Identity, biting: None) -> None:
    """Eight threads send to the same sessions, and handlers as well, while the lead changes hands all the time."""
    with serving(identity) as server, joined(server, 3) as clients:

        @server.on("stir")
        def stir(session: Session, packet: Any) -> None:
            for other in server.sessions.values():
                other.send("stirred", ["handler", session.token, packet.data])
            hand_over()

        sessions = [server.sessions[client.token] for client in clients]

        def sender(name: int) -> None:
            for number in range(PACKETS):
                for session in sessions:
                    session.send("direct", [name, "", number])

        def stirrer(client: Client) -> None:
            for number in range(PACKETS):
                client.send("stir", number)

        with Crew() as crew:
            for name in range(8):
                crew.start(sender, name)
            for client in clients:
                crew.start(stirrer, client)
            for client in clients:
                found = take(client, (8 + len(clients)) * PACKETS)
                sources = {(name, token) for name, token, _ in found}
                assert len(sources) == 8 + len(clients)
                for source in sources:
                    numbers = [n for name, token, n in found if (name, token) == source]
                    assert numbers == list(range(PACKETS)), source
                assert client.receive(0.0) is None


@again
def test_clients_of_many_threads(attempt: int, identity: Identity, biting: None) -> None:
    """Eight threads send through one client while another receives; the server gets each one's packets in order."""
    with serving(identity) as server, joined(server) as (client,):

        def sender(name: int) -> None:
            for number in range(PACKETS):
                client.send("echo", [name, number])

        with Crew() as crew:
            for name in range(8):
                crew.start(sender, name)
            found = take(client, 8 * PACKETS)
        for name in range(8):
            assert [n for who, n in found if who == name] == list(range(PACKETS))


# --- handlers that do not come back -------------------------------------------------------------------------------


@again
def test_all_places_asleep(attempt: int, identity: Identity) -> None:
    """With every place of handlers taken, the server accepts, reads and answers pings; then it delivers all."""
    with serving(identity, workers=5) as server, joined(server) as (client,):
        places = loop_of(server).pool.handler_places
        with sleeping(server, places):
            for number in range(PACKETS * 5):
                client.send("echo", number)
            assert client.ping(WAIT) < WAIT
            outgoing = channel_of(client).core.numbering.outgoing
            incoming = channel_of(session_of(server, client)).core.numbering.incoming
            until(lambda: client.ping(WAIT) and incoming.accepted == outgoing.sent)
            assert outgoing.acknowledged == 0
            with joined(server) as (late,):
                late.send("echo", "late")
                assert late.ping(WAIT) < WAIT
                assert late.receive(0.01) is None
                assert client.receive(0.0) is None
                assert len(server.sessions) == places + 2
        assert take(client, PACKETS * 5) == list(range(PACKETS * 5))


def test_one_place_left(identity: Identity) -> None:
    """With all places but one taken by handlers that sleep, the others' packets are handled as ever."""
    with (
        serving(identity, workers=5) as server,
        joined(server, 3) as clients,
        sleeping(server, loop_of(server).pool.handler_places - 1),
    ):
        exchange(clients)


def test_a_handler_that_sleeps_delays_nobody(identity: Identity) -> None:
    """While one session's handler sleeps, another's packets are answered one after the other."""
    with serving(identity) as server, joined(server, 2) as (sleeper, other):
        inside, gate = threading.Event(), threading.Event()

        @server.on("sleep")
        def sleep(session: Session, packet: object) -> None:
            inside.set()
            gate.wait(WAIT)
            session.send("slept")

        sleeper.send("sleep")
        assert inside.wait(WAIT)
        for number in range(50):
            other.send("echo", number)
            assert take(other) == [number]
        assert sleeper.receive(0.0) is None
        gate.set()
        assert take(sleeper) == [None]


def test_sleeping_handlers_do_not_add_up(identity: Identity) -> None:
    """Each new sleeper costs the others a moment at most: they are answered while all of them sleep."""
    with serving(identity, workers=8) as server, joined(server, 5) as (other, *sleepers):
        gate = threading.Event()
        woke: list[bool] = []
        server.on("sleep", lambda session, packet: woke.append(gate.wait(WAIT)))
        for client in sleepers[: loop_of(server).pool.handler_places - 1]:
            client.send("sleep")
            other.send("echo", 1)
            assert take(other) == [1]
        assert woke == []
        gate.set()


def test_one_handler_at_a_time_on_request(identity: Identity) -> None:
    """`overlap=False`: handlers of different sessions do not overlap either; pings are answered meanwhile."""
    with serving(identity, overlap=False) as server, joined(server, 4) as clients:
        inside: list[int] = []
        most: list[int] = []

        @server.on("work")
        def work(session: Session, packet: Any) -> None:
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.007)
            inside.pop()
            session.send("done")

        for client in clients:
            for _ in range(3):
                client.send("work")
        assert clients[0].ping(WAIT) < WAIT
        for client in clients:
            take(client, 3)
        assert most == [1] * 12


# --- handlers that call what waits -----------------------------------------------------------------------------------


@again
@pytest.mark.parametrize("workers", [3, 12])
def test_a_request_to_ones_own_peer(attempt: int, workers: int, identity: Identity) -> None:
    """A handler asks the very client whose packet it handles, and waits for the answer; others go on."""
    with serving(identity, workers=workers) as server:

        @server.on("ask me")
        def ask(session: Session, packet: Any) -> int:
            answer: int = session.request("double", packet.data, timeout=WAIT)
            return answer + 1

        with joined(server, 3) as clients:
            for client in clients:
                client.on("double", lambda packet: packet.data * 2)

            def asker(client: Client) -> None:
                for number in range(10):
                    assert client.request("ask me", number, timeout=WAIT) == number * 2 + 1

            with Crew() as crew:
                for client in clients:
                    crew.start(asker, client)
            exchange(clients)


def test_a_request_nobody_can_answer_yet(identity: Identity) -> None:
    """A request that would need this session's own handler again fails at once, says so, and harms nobody."""
    with serving(identity) as server, joined(server, 2) as (client, other):
        server.on("inner", lambda session, packet: "never while the outer one runs")

        @server.on("outer")
        def outer(session: Session, packet: Any) -> Any:
            try:
                return session.request("call back", timeout=WAIT)
            except RequestFailed as error:
                return error.reason

        client.on("call back", lambda packet: client.request("inner", timeout=WAIT))
        answers: list[str] = []
        with Crew() as crew:
            crew.start(lambda: answers.append(client.request("outer", timeout=WAIT)))
            exchange([other])
        assert answers == ["error"]


def test_waiting_calls_of_all_kinds(identity: Identity) -> None:
    """ping(), request() of another session, a send to a crowded one: in handlers, and nobody else waits for it."""
    with serving(identity) as server, joined(server, 3) as (client, second, other):
        second.on("name", lambda packet: "second")

        @server.on("ask around")
        def ask_around(session: Session, packet: Any) -> list[Any]:
            peer = server.sessions[second.token]
            found: list[Any] = [peer.request("name", timeout=WAIT), peer.ping(WAIT) < WAIT]
            with pytest.raises(RequestFailed):
                peer.request("no such thing", timeout=WAIT)
            return found

        with Crew() as crew:
            crew.start(lambda: exchange([other]))
            assert client.request("ask around", timeout=WAIT) == ["second", True]


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_handlers_that_raise(error: type[BaseException], identity: Identity) -> None:
    """A handler that raises, or tries to exit, is logged; its session and all others go on, with the same threads."""
    with serving(identity, workers=4) as server:

        @server.on("fail")
        def fail(session: Session, packet: Any) -> None:
            if packet.data % 2:
                hand_over()
            raise error("on purpose")

        with joined(server, 3) as clients:
            for number in range(20):
                for client in clients:
                    client.send("fail", number)
            exchange(clients)
            assert len(server.threads) <= 5


def test_an_answer_that_cannot_be_sent(identity: Identity) -> None:
    """A handler that returns what no packet can hold: who asked is told that it failed, and the session goes on."""
    with serving(identity) as server, joined(server) as (client,):
        unsendable: Any = object()
        server.on("object", lambda session, packet: unsendable)
        server.on("reply", lambda session, packet: packet.reply(object()))
        for action in ("object", "reply"):
            with pytest.raises(RequestFailed) as caught:
                client.request(action, timeout=WAIT)
            assert caught.value.reason == "error"
        exchange([client])
        assert len(server.caught) == 2


# --- descriptors -----------------------------------------------------------------------------------------------------


@again
def test_descriptors_that_are_reused(attempt: int, identity: Identity, biting: None) -> None:
    """Sessions end and begin at a rate that gives each descriptor number to many: nobody gets another's packet."""
    with serving(identity) as server:

        @server.on("who am I")
        def who(session: Session, packet: Any) -> None:
            session.send("you are", [session.token, packet.data])
            if packet.data % 5 == 4:
                session.kick()

        def visit(name: int) -> None:
            for _ in range(6):
                with joined(server) as (client,):
                    for number in range(5):
                        client.send("who am I", number)
                    assert take(client, 5) == [[client.token, n] for n in range(5)]

        with Crew() as crew:
            for name in range(4):
                crew.start(visit, name)
        until(lambda: not server.sessions)


@pytest.mark.usefixtures("not_kept")
def test_a_descriptor_reused_within_one_poll(identity: Identity) -> None:
    """Connections break, with packets in them, and as many come, between two looks of the server: none is mistaken."""
    server = Server("127.0.0.1", 0, keys=identity)

    @server.on("who am I")
    def who(session: Session, packet: Any) -> None:
        session.send("you are", session.token)

    server.update()
    over = threading.Event()
    looking = threading.Lock()

    def drive() -> None:
        while not over.is_set():
            with looking:
                server.update()
            time.sleep(0.0005)

    with Crew() as crew, contextlib.ExitStack() as stack:
        stack.callback(over.set)
        stack.callback(server.stop)
        crew.start(drive)
        clients = stack.enter_context(joined(server, 4))
        strangers = [stack.enter_context(Hostile(server.address[1])).open() for _ in range(4)]
        for _ in range(5):
            with looking:
                for stranger in strangers:
                    ask(stranger)
                    stranger.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
                    stranger.sock.close()
                for client in clients:
                    client.send("who am I")
                # They have knocked, and are accepted in the same look in which the others are found broken.
                strangers = [stack.enter_context(Hostile(server.address[1])) for _ in range(4)]
            for client in clients:
                assert take(client) == [client.token]
            assert len({answer(stranger.open()) for stranger in strangers}) == 4
        for stranger in strangers:
            stranger.sock.close()
        until(lambda: len(server.sessions) == 4)
    assert server.stop()


def ask(stranger: Hostile) -> None:
    """A client by hand asks the server who it is."""
    assert stranger.engine.sender is not None
    stranger.sock.sendall(stranger.engine.sender.packets([encode_packet(Packet("who am I"))]))


def answer(stranger: Hostile) -> str:
    """What the server says to that."""
    ask(stranger)
    while True:
        for item in stranger.engine.receive_data(stranger.sock.recv(65536), time.monotonic()):
            assert not isinstance(item, Event)
            (packet,) = decode_packets(item)
            token: str = packet.data
            return token
