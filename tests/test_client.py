"""A client and its threads: who drives, what is delivered to whom, and what is left at the end."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from helpers import WAIT, until
from together import REPEATS, Crew, joined, serving, take

from securelink import (
    Client,
    ConfigError,
    ConnectionClosed,
    Identity,
    LinkTimeout,
    Received,
    Server,
    Session,
)
from securelink.handshake.wire import Code
from securelink.transport import caretaker as caretaker_module
from securelink.transport import client_channel as channel_module
from securelink.transport import client_link as link_module
from securelink.transport.bounds import Bounds
from securelink.transport.caretaker import caretaker
from securelink.transport.client_channel import ClientChannel
from securelink.transport.client_link import ClientLink
from securelink.transport.loop import worker_threads

pytestmark = pytest.mark.usefixtures("tidy")
again = pytest.mark.parametrize("attempt", range(REPEATS))

PATIENCE = 40  # seconds
AT_ONCE = PATIENCE / 2  # on the busiest machine


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits looks up by itself so seldom that everybody must be woken by what it waits for."""
    for module in (channel_module, link_module):
        monkeypatch.setattr(module, "PATIENCE_SECONDS", PATIENCE)


def channel_of(client: Client) -> ClientChannel:
    """The session of a client that had one."""
    assert client._channel is not None
    return client._channel


def link_of(client: Client) -> ClientLink:
    """The connection of a connected client."""
    link = channel_of(client)._carrier
    assert link is not None
    return link


def session_of(server: Server, client: Client) -> Session:
    """The server's side of a client's session."""
    return server.sessions[client.token]


def deafen(server: Server, session: Session) -> Callable[[], None]:
    """Let the server not read a session any more; what is returned ends its connection."""
    loop, link = server._loop, session._link
    assert loop is not None
    assert link is not None
    done = threading.Event()

    def stop_reading() -> None:
        link._reading = False
        link.update_interest()
        done.set()

    loop.call(stop_reading)
    assert done.wait(WAIT)
    return lambda: loop.call(link.lost)


# --- receiving -------------------------------------------------------------------------------------------------


@again
def test_receiving_in_several_threads(attempt: int, identity: Identity, patient: None) -> None:
    """Four threads receive from one client: each packet goes to exactly one of them, and none waits for the others."""
    with serving(identity) as server, joined(server) as (client,):
        session = session_of(server, client)
        found: list[int] = []

        def receive() -> None:
            while True:
                packet = client.receive(WAIT)
                assert packet is not None
                if packet.data is None:
                    return
                found.append(packet.data)

        with Crew() as crew:
            for _ in range(4):
                crew.start(receive)
            began = time.monotonic()
            for number in range(200):
                session.send("x", number)
                if number % 20 == 0:
                    until(lambda number=number: number in found)  # type: ignore[misc]
            for _ in range(4):
                session.send("x")
        # Nobody slept over a packet that another one had read for it.
        assert time.monotonic() - began < AT_ONCE
        assert sorted(found) == list(range(200))


@again
def test_one_thread_takes_what_another_has_read(
    attempt: int, identity: Identity, patient: None
) -> None:
    """Two packets in one record, two threads that wait: whoever reads the record, both are served at once."""
    with serving(identity) as server, joined(server) as (client,):
        session = session_of(server, client)
        for _ in range(5):
            with Crew() as crew:
                for _ in range(2):
                    crew.start(take, client)
                until(lambda: channel_of(client)._drivers)
                began = time.monotonic()
                with server.batch():
                    session.send("x", 1)
                    session.send("x", 2)
            assert time.monotonic() - began < AT_ONCE


def test_what_is_handled_elsewhere_is_not_waited_for(identity: Identity, patient: None) -> None:
    """Another thread has taken a record out of the inbox and will store its packets: no wait for the network."""
    with serving(identity) as server, joined(server) as (client,):
        channel = channel_of(client)
        inside, gate = threading.Event(), threading.Event()

        @client.on("slow")
        def slow(packet: Received) -> None:
            inside.set()
            gate.wait(WAIT)

        with server.batch():
            session_of(server, client).send("slow")
            session_of(server, client).send("stored", 1)
        with Crew() as crew:
            assert inside.wait(WAIT)  # in the background
            crew.start(take, client)
            until(channel._drive_lock.locked)
            time.sleep(0.05)
            began = time.monotonic()
            gate.set()
        assert time.monotonic() - began < AT_ONCE


@pytest.mark.pure  # it replaces a method of the session
def test_the_last_look_before_reading(
    identity: Identity, monkeypatch: pytest.MonkeyPatch, patient: None
) -> None:
    """What arrives between a caller's look and its taking the drive is seen before it waits for the network."""
    with serving(identity) as server, joined(server) as (client,):
        channel = channel_of(client)
        drive = ClientChannel._drive
        raced: list[bool] = []

        def race(self: ClientChannel, timeout: float, ready: Any) -> None:
            if not raced:
                raced.append(True)
                self._packets.append("stored by another thread")  # type: ignore[arg-type]
            drive(self, timeout, ready)

        monkeypatch.setattr(ClientChannel, "_drive", race)
        began = time.monotonic()
        packet: object = client.receive(WAIT)
        assert packet == "stored by another thread"
        assert time.monotonic() - began < AT_ONCE
        assert not channel._packets


def test_a_client_that_nobody_reads_is_read_in_the_background(
    identity: Identity, patient: None
) -> None:
    """Handlers run while the main thread sleeps; packets without one wait for it, in order."""
    with serving(identity) as server, joined(server) as (client,):
        handled: list[tuple[int, int]] = []
        client.on("tick", lambda packet: handled.append((threading.get_ident(), packet.data)))
        session = session_of(server, client)
        for number in range(50):
            session.send("tick", number)
            session.send("note", number)
        until(lambda: len(handled) == 50)
        assert [number for _, number in handled] == list(range(50))
        assert {thread for thread, _ in handled} <= set(worker_threads)
        assert take(client, 50) == list(range(50))
        # Whoever waits in receive() runs the handlers from now on.
        with Crew() as crew:
            crew.start(take, client)
            until(channel_of(client)._drive_lock.locked)
            time.sleep(0.02)
            session.send("tick", 50)
            until(lambda: len(handled) == 51)
            session.send("note")
        assert handled[-1][0] not in worker_threads


@again
def test_what_a_driver_leaves_behind_is_handled(attempt: int, identity: Identity) -> None:
    """A thread that only asks for something reads packets of handlers too: they run, though nothing more arrives."""
    with serving(identity) as server, joined(server) as (client,):
        handled: list[int] = []

        @server.on("give")
        def give(session: Session, packet: Received) -> None:
            session.send("event", packet.data)

        client.on("event", lambda packet: handled.append(packet.data))
        until(lambda: link_of(client).background)
        link = link_of(client)
        channel = channel_of(client)
        client.send("give", attempt)
        with channel._driving():
            # As a blocked send does: it reads, and leaves the rest to others.
            link.drive(0.5)
        until(lambda: handled)
        assert handled == [attempt]


def test_a_handler_bound_late(identity: Identity) -> None:
    """Packets that came before their handler are given to it when it is bound, if nobody received them."""
    with serving(identity) as server, joined(server) as (client,):
        session_of(server, client).send("early", 1)
        until(lambda: link_of(client).background and channel_of(client)._inbox)
        handled: list[int] = []
        client.on("early", lambda packet: handled.append(packet.data))
        until(lambda: handled == [1])


def test_polling(identity: Identity, patient: None) -> None:
    """poll() never waits: handlers are called, the rest is returned; it says when the session is over."""
    with serving(identity) as server, joined(server) as (client,):
        handled: list[int] = []
        client.on("tick", lambda packet: handled.append(packet.data))
        session = session_of(server, client)
        for number in range(10):
            session.send("tick", number)
            session.send("note", number)
        notes: list[int] = []

        def enough() -> bool:
            began = time.monotonic()
            notes.extend(packet.data for packet in client.poll())
            assert time.monotonic() - began < AT_ONCE
            return len(notes) == len(handled) == 10

        until(enough)
        assert notes == handled == list(range(10))
        session.kick("enough")
        with pytest.raises(ConnectionClosed, match="enough"):
            until(lambda: client.poll() is None)


def test_iterating(identity: Identity) -> None:
    """`for packet in client` ends with a clean end of the session, and raises for any other."""
    with serving(identity) as server, joined(server, 2) as (first, second):
        session = session_of(server, first)
        session.send("x", 1)
        session.send("x", 2)
        session._end(Code.NORMAL)
        assert [packet.data for packet in first] == [1, 2]
        session_of(server, second).send("x", 3)
        session_of(server, second).kick("out")
        packets = iter(second)
        assert next(packets).data == 3
        with pytest.raises(ConnectionClosed) as caught:
            next(packets)
        assert (caught.value.code, caught.value.text) == (Code.KICKED, "out")
        assert caught.value.clean


@again
def test_waiting_for_the_same_name_twice(attempt: int, identity: Identity, patient: None) -> None:
    """Three threads wait for packets of one name, another receives: each gets one of its own, at once."""
    with serving(identity) as server, joined(server) as (client,):
        found: list[int] = []
        with Crew() as crew:
            for _ in range(3):
                crew.start(lambda: found.append(client.wait_for("wanted", WAIT).data))
            crew.start(lambda: found.append(take(client)[0]))
            until(lambda: len(client._awaited) == 3)
            session = session_of(server, client)
            began = time.monotonic()
            for number in range(3):
                session.send("wanted", number)
            session.send("other", 3)
        assert time.monotonic() - began < AT_ONCE
        assert sorted(found) == [0, 1, 2, 3]
        assert client._awaited == []
        assert client.receive(0.0) is None


def test_receiving_inside_a_handler(identity: Identity) -> None:
    """A handler cannot receive: that is an error that says what to do, not a wait for ever. Asking is possible."""
    with serving(identity) as server, joined(server) as (client,):
        server.on("three", lambda session, packet: 3)
        said: list[object] = []

        @client.on("go")
        def go(packet: Received) -> None:
            for call in (client.receive, lambda: client.wait_for("x", WAIT)):
                try:
                    call()
                except ConfigError as error:
                    said.append(error.hint)
            said.append(client.request("three", timeout=WAIT))
            client.send("echo", "still works")

        session_of(server, client).send("go")
        assert take(client) == ["still works"]
        assert "request()" in str(said[0])
        assert said[0] == said[1]
        assert said[2] == 3


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_ctrl_c_in_a_handler(
    error: type[BaseException], identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the thread that receives it goes through, and what came behind it is not lost."""
    monkeypatch.setattr(caretaker_module, "TICK_SECONDS", WAIT)  # nobody else receives
    with serving(identity) as server, joined(server) as (client,):

        @client.on("stop")
        def stop(packet: Received) -> None:
            raise error

        session = session_of(server, client)
        with server.batch():
            session.send("note", 1)
            session.send("stop")
            session.send("note", 2)
        with pytest.raises(error):
            take(client, 3)
        rest = take(client)
        assert rest in ([1], [2])
        if rest == [1]:
            assert take(client) == [2]


# --- connecting, and the end -------------------------------------------------------------------------------------


@again
def test_connect_comes_first_and_disconnect_last(attempt: int, identity: Identity) -> None:
    """However slow its listener: on_connect is through before the first packet, on_disconnect comes after the last."""
    with serving(identity) as server:
        server.on_connect(lambda session: [session.send("x", n) for n in range(10)])
        client = Client(*server.address, pin=identity.fingerprint)
        events: list[object] = []

        @client.on_connect
        def connected() -> None:
            events.append("begin")
            time.sleep(3 * caretaker_module.TICK_SECONDS)
            client.send("echo", 10)
            events.append("end")

        client.on("x", lambda packet: events.append(packet.data))
        client.on("echo", lambda packet: events.append(packet.data))
        client.on_disconnect(lambda: events.append("gone"))
        client.connect()
        assert events[:2] == ["begin", "end"]
        until(lambda: len(events) == 13)
        session_of(server, client).kick()
        until(lambda: "gone" in events)
        assert events == ["begin", "end", *range(11), "gone"]
        client.close()
        client.close()
        assert events.count("gone") == 1


@again
@pytest.mark.parametrize("who", ["client", "kick", "stop", "break"])
def test_disconnect_is_told_once(attempt: int, who: str, identity: Identity) -> None:
    """Whoever ends it, and whether anybody waits: on_disconnect fires once, and everybody who waits is told."""
    with serving(identity) as server:
        gone: list[int] = []
        with joined(server) as (client,):
            client.on_disconnect(lambda: gone.append(1))
            session = session_of(server, client)
            failures: list[ConnectionClosed] = []

            def receive() -> None:
                try:
                    client.receive(WAIT)
                except ConnectionClosed as error:
                    failures.append(error)

            with Crew() as crew:
                for _ in range(attempt % 3):
                    crew.start(receive)
                if who == "client":
                    assert client.close() == []
                elif who == "kick":
                    session.kick("out")
                elif who == "stop":
                    crew.start(server.stop)
                else:
                    assert session._link is not None
                    session._link.loop.call(session._link.lost)
                until(lambda: gone)
            assert not client.connected
            assert len(failures) == attempt % 3
            for failure in failures:
                expected = {
                    "client": Code.NORMAL, "kick": Code.KICKED, "stop": Code.SHUTDOWN, "break": Code.NORMAL
                }  # fmt: skip
                assert failure.code == expected[who]
                assert failure.clean == (who != "break")
                assert (failure.text == "out") == (who == "kick")
            with pytest.raises(ConnectionClosed):
                client.send("echo", 1)
        time.sleep(0.02)
        assert gone == [1]


@again
def test_closing_while_others_use_it(attempt: int, identity: Identity) -> None:
    """close() while threads send, receive, ask, poll and run a handler: each is told, nothing hangs or fails."""
    with serving(identity) as server, joined(server) as (client,):
        server.on("ask", lambda session, packet: packet.data)
        client.on("echo", lambda packet: time.sleep(0.001))
        begun = threading.Barrier(6)

        def use(call: Any) -> None:
            begun.wait(WAIT)
            with pytest.raises(ConnectionClosed):
                for _ in iter(call, "never"):
                    pass

        with Crew() as crew:
            crew.start(use, lambda: client.send("echo", bytes(1000)))
            crew.start(use, lambda: client.send("quiet", bytes(100_000)))
            crew.start(use, lambda: client.receive(WAIT))
            crew.start(use, lambda: client.request("ask", 1, timeout=WAIT))
            crew.start(use, client.poll)
            begun.wait(WAIT)
            time.sleep(0.005 * (attempt % 4))
            client.close()
        assert not client.connected


def test_closing_a_client_that_is_full(identity: Identity) -> None:
    """Nobody has received for long, the inbox is full: close() does not use up its time, and on_disconnect is told."""
    with serving(identity) as server, joined(server) as (client,):
        gone: list[int] = []
        client.on_disconnect(lambda: gone.append(1))
        channel_of(client)._bounds = Bounds(inbox_bytes=100_000)
        session = session_of(server, client)
        for _ in range(20):
            session.send("x", bytes(50_000))
        until(lambda: channel_of(client)._full)
        began = time.monotonic()
        assert client.close(PATIENCE) == []
        assert time.monotonic() - began < AT_ONCE
        until(lambda: gone == [1])


def test_closing_inside_a_handler(identity: Identity) -> None:
    """A handler may close its own client; what came behind is dropped, on_disconnect comes when it is through."""
    with serving(identity) as server:
        for background in (False, True):
            with joined(server) as (client,):
                events: list[str] = []

                @client.on("bye")
                def bye(packet: Received, client: Client = client, events: Any = events) -> None:
                    assert client.close() == []
                    events.append("closed")

                client.on("late", lambda packet, events=events: events.append("late"))
                client.on_disconnect(lambda events=events: events.append("gone"))
                with server.batch():
                    session_of(server, client).send("bye")
                    session_of(server, client).send("late")
                if not background:
                    with pytest.raises(ConnectionClosed):
                        client.receive(WAIT)
                until(lambda events=events: "gone" in events)  # type: ignore[misc]
                assert events == ["closed", "gone"]


def test_packets_that_were_not_confirmed(identity: Identity) -> None:
    """close() gives back what the server has not acknowledged and what never left, in order; a second one again."""
    with serving(identity) as server, joined(server) as (client,):
        session = session_of(server, client)
        client.send("echo", "arrives")
        assert take(client) == ["arrives"]
        client.ping(WAIT)

        give_up = deafen(server, session)
        count = 0
        while not channel_of(client)._outbox:
            client.send("lost", [count, bytes(300_000)], timeout=0.0)
            count += 1
        client.send("lost", [count, "last"], timeout=0.0)
        client.send("lost", [count + 1, "state"], timeout=0.0, latest="state")
        expected = list(range(count + 2))
        assert [packet.data[0] for packet in client.close(0.1)] == expected
        assert [packet.data[0] for packet in client.close(0.1)] == expected
        give_up()


@again
def test_connecting_again(attempt: int, identity: Identity) -> None:
    """After the end, connect() gives a new session with a new token; handlers and events stay bound."""
    with serving(identity) as server:
        client = Client(*server.address, pin=identity.fingerprint)
        events: list[str] = []
        client.on_connect(lambda: events.append("connect"))
        client.on_disconnect(lambda: events.append("disconnect"))
        tokens = set()
        for number in range(5):
            client.connect()
            tokens.add(client.token)
            with pytest.raises(ConfigError, match="is connected"):
                client.connect()
            client.send("echo", number)
            assert take(client) == [number]
            if number % 2:
                session_of(server, client).kick()
                with pytest.raises(ConnectionClosed):
                    client.receive(WAIT)
            else:
                client.close()
        assert len(tokens) == 5
        until(lambda: events == ["connect", "disconnect"] * 5)
        client.close()


def test_connecting_again_after_a_close_that_timed_out(identity: Identity) -> None:
    """A server that does not answer CLOSE: the client is free for another connection at once."""
    with serving(identity) as server:
        client = Client(*server.address, pin=identity.fingerprint).connect()
        give_up = deafen(server, session_of(server, client))
        client.close(0.05)
        assert not client.connected
        client.connect()
        client.send("echo", 2)
        assert take(client) == [2]
        client.close()
        give_up()


@again
def test_waiting_for_a_late_server(attempt: int, identity: Identity) -> None:
    """connect(retry=True) comes back until somebody listens."""
    with serving(identity) as server:
        address = server.address
    client = Client(*address, pin=identity.fingerprint)
    late = Server(*address, keys=identity)
    with Crew() as crew:
        crew.start(lambda: client.connect(WAIT, retry=True))
        time.sleep(0.08)
        assert not client.connected
        late.start()
    assert client.connected
    client.close()
    late.stop()


def test_before_and_after_a_session(identity: Identity) -> None:
    """Without a session every call says what to do; close() is always allowed."""
    client = Client("127.0.0.1", 5050, pin=identity.fingerprint)
    assert client.close() == []
    assert not client.connected
    assert client.token == ""
    for call in (
        client.receive,
        client.poll,
        lambda: client.send("x"),
        lambda: client.request("x"),
    ):
        with pytest.raises(ConfigError, match="not connected") as caught:
            call()
        assert "connect()" in caught.value.hint
    with serving(identity) as server:
        with Client(*server.address, pin=identity.fingerprint) as client:
            token = client.token
        assert client.token == token
        for call in (client.receive, client.poll, lambda: client.send("x"), client.ping):
            with pytest.raises(ConnectionClosed) as closed:
                call()
            assert closed.value.code == Code.NORMAL
        assert "not connected" in repr(client)


# --- sending -----------------------------------------------------------------------------------------------------


def test_a_batch(identity: Identity) -> None:
    """What one thread sends inside the block goes out together at its end; other threads' packets at once."""
    with serving(identity) as server, joined(server) as (client,):
        sent = channel_of(client)._numbering.outgoing
        with client.batch():
            for number in range(20):
                client.send("echo", number)
            with client.batch():
                client.send("echo", 20)
            assert sent.sent == 0
        assert sent.sent == 1
        assert take(client, 21) == list(range(21))


def test_a_tail_goes_out_while_another_thread_waits(identity: Identity, patient: None) -> None:
    """One thread waits in receive(); what another could not write at once is written as soon as there is room."""
    with serving(identity) as server, joined(server) as (client,):
        arrived: list[int] = []
        server.on("up", lambda session, packet: arrived.append(len(packet.data)))
        with Crew() as crew:
            crew.start(take, client)
            until(channel_of(client)._drive_lock.locked)
            began = time.monotonic()
            for _ in range(12):
                client.send("up", bytes(1_000_000))
            until(lambda: len(arrived) == 12)
            assert time.monotonic() - began < AT_ONCE
            session_of(server, client).send("done")


def test_a_peer_that_is_too_fast_is_not_throttled_for_life(identity: Identity) -> None:
    """A client that has had more packets than its rate reads on in the next second, and so in all others."""
    with serving(identity) as server, joined(server) as (client,):
        channel_of(client)._bounds = Bounds(rate=50)
        session = session_of(server, client)
        for number in range(60):
            session.send("x", number)
        assert take(client, 60) == list(range(60))
        for number in range(60):
            session.send("x", number)
        assert take(client, 60) == list(range(60))


def test_acknowledged_records_are_released_within_seconds(identity: Identity) -> None:
    """Both sides forget what the other has confirmed, though nothing more is sent."""
    with serving(identity) as server, joined(server) as (client,):
        session = session_of(server, client)
        for _ in range(20):
            client.send("echo", bytes(10_000))
        take(client, 20)
        for channel in (session, channel_of(client)):
            until(lambda channel=channel: channel._numbering.outgoing.unacked == 0)  # type: ignore[misc]
            assert not channel._numbering.outgoing._kept


def test_only_the_caretaker_touches_its_poller(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that fills the inbox of a client in the background leaves the poller to the loop."""
    with serving(identity) as server, joined(server) as (client,):
        loop = link_of(client).loop
        wrong: list[int] = []
        change = loop._poller.set

        def watched(*arguments: Any) -> None:
            if not loop.leading:
                wrong.append(threading.get_ident())
            change(*arguments)

        monkeypatch.setattr(loop._poller, "set", watched)
        channel = channel_of(client)
        channel._bounds = Bounds(inbox_bytes=100_000)
        until(lambda: link_of(client).background)
        session = session_of(server, client)
        with channel._driving():
            for _ in range(10):
                session.send("x", bytes(50_000))
            while not channel._full:
                link_of(client).drive(WAIT)
        assert len(take(client, 10)) == 10
        session.kick()
        with pytest.raises(ConnectionClosed):
            client.receive(WAIT)
        assert wrong == []


# --- nothing is left ---------------------------------------------------------------------------------------------


def test_the_caretaker_leaves_after_the_last_client(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One loop serves all clients of the process; it stays a while after the last, and comes back with the next."""
    monkeypatch.setattr(caretaker_module, "LINGER_SECONDS", WAIT)
    with serving(identity) as server:
        with joined(server, 3):
            loop = caretaker._loop
            assert loop is not None
        with joined(server):
            assert caretaker._loop is loop
            monkeypatch.setattr(caretaker_module, "LINGER_SECONDS", 0.2)
        until(lambda: caretaker._loop is None)
        until(lambda: not loop.thread_names())
        with joined(server):
            assert caretaker._loop is not loop
    assert caretaker._users == 0
    assert not caretaker._links


def test_a_closed_client_is_not_kept(identity: Identity) -> None:
    """Nothing of ours refers to a client after its end: sessions, buffers and keys go with it."""
    with serving(identity) as server:
        client = Client(*server.address, pin=identity.fingerprint).connect()
        client.on("x", lambda packet: None)
        client.send("echo", 1)
        take(client)
        client.close()
        reference = weakref.ref(client)
        del client

        def collected() -> bool:
            gc.collect()
            return reference() is None

        until(collected)


def test_a_failed_attempt_leaves_nothing(identity: Identity, other_identity: Identity) -> None:
    """Refused, timed out, not trusted: the caretaker's count goes back, whoever comes next is served."""
    with serving(identity, authenticate=lambda hello: None) as server:
        for pin in (identity.fingerprint, other_identity.fingerprint):
            client = Client(*server.address, pin=pin)
            for _ in range(3):
                with pytest.raises(Exception, match=r"accept|key"):
                    client.connect()
                assert not client.connected
    assert caretaker._users == 0


def test_timeouts_are_kept(identity: Identity, patient: None) -> None:
    """receive(timeout) returns None in time, whoever drives and however long the slices are."""
    with serving(identity) as server, joined(server) as (client,), Crew() as crew:
        crew.start(take, client)
        until(channel_of(client)._drive_lock.locked)
        for timeout in (0.0, 0.05, 0.2):
            began = time.monotonic()
            assert client.receive(timeout) is None
            assert timeout - 0.01 <= time.monotonic() - began < AT_ONCE
        with pytest.raises(LinkTimeout):
            client.wait_for("x", 0.05)
        session_of(server, client).send("done")


def test_a_client_that_is_left_alone_needs_no_ticks(identity: Identity) -> None:
    """The loop reads it from then on; whoever drives it takes it back, and gets what came."""
    with serving(identity) as server, joined(server) as [client]:
        link = link_of(client)
        for number in range(3):
            until(lambda: link.background and link not in caretaker._driven)
            session_of(server, client).send("one", number)
            until(lambda: channel_of(client)._inbox)
            assert take(client) == [number]
            client.send("echo", number)
            assert take(client) == [number]
            until(lambda: link in caretaker._driven or link.background)


def test_a_handler_that_is_bound_late_gets_what_waits(identity: Identity) -> None:
    """Also when nobody drives the client any more, and nothing else arrives."""
    got: list[object] = []
    with serving(identity) as server, joined(server) as [client]:
        until(lambda: link_of(client).background)
        session_of(server, client).send("late", 1)
        until(lambda: channel_of(client)._inbox)
        client.on("late", lambda packet: got.append(packet.data))
        until(lambda: got == [1])


def test_what_a_request_leaves_in_the_inbox(identity: Identity) -> None:
    """A thread that has its answer goes; what it began to handle is handled to the end."""
    got: list[object] = []
    with serving(identity) as server, joined(server) as [client]:

        @server.on("ask")
        def ask(session: Session, packet: Received) -> None:
            with server.batch():
                for number in range(3):
                    session.send("event", number)
            time.sleep(0.14)

        def event(packet: Received) -> None:
            time.sleep(0.17)
            got.append(packet.data)

        client.on("event", event)
        client.request("ask", timeout=WAIT)
        until(lambda: got == [0, 1, 2])


@pytest.mark.pure  # it replaces a lock of a compiled class
def test_a_driver_that_begins_while_the_loop_takes_over(identity: Identity) -> None:
    """Who drives does not know of a flag that goes up behind its back: the loop looks once more, and lets be."""

    class Taken:
        looks = 0

        def locked(self) -> bool:
            self.looks += 1
            return self.looks > 1

        def acquire(self, blocking: bool = True) -> bool:
            return False

    with serving(identity) as server, joined(server) as [client]:
        link, channel = link_of(client), channel_of(client)
        until(lambda: link.background)
        lock, channel._drive_lock = channel._drive_lock, Taken()  # type: ignore[assignment]
        link.background = False
        link.drives_seen = channel._drives
        assert link.tick() is False
        assert not link.background
        channel._drive_lock = lock


def test_packets_leave_nothing_to_collect(identity: Identity) -> None:
    """What a packet allocates is freed with it, on both sides: garbage collection has nothing to do."""

    def collections() -> int:
        return sum(generation["collections"] for generation in gc.get_stats())

    with serving(identity) as server, joined(server) as [client]:
        before = collections()
        for number in range(2000):
            client.send("echo", {"number": number})
            assert take(client) == [{"number": number}]
        assert collections() - before <= 1
