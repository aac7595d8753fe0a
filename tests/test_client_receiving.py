"""What a client receives: who drives, what is delivered to whom, and in which order."""

from __future__ import annotations

import gc
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from helpers import WAIT, until
from inside import awaited_by, has_ticks
from together import (
    AT_ONCE,
    REPEATS,
    Crew,
    channel_of,
    joined,
    link_of,
    serving,
    session_of,
    take,
)

from securelink import ConfigError, ConnectionClosed, Identity, Received, Session
from securelink.codes import Code
from securelink.interrupts import Right
from securelink.threads import caretaker as caretaker_module
from securelink.threads.client_channel import ClientChannel
from securelink.threads.giving_way import worker_threads
from securelink.wire.packets import Packet

pytestmark = pytest.mark.usefixtures("tidy")
again = pytest.mark.parametrize("attempt", range(REPEATS))


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
                until(lambda: channel_of(client).drivers)
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
            until(lambda: channel.drive_right.taken)
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
        wait = ClientChannel._wait  # noqa: SLF001  # the moment before it
        raced: list[bool] = []
        stored = Received(Packet("stored by another thread"), channel)

        def race(self: ClientChannel, timeout: float | None, ready: Any) -> None:
            if not raced:
                raced.append(True)
                self.mailbox.packets.append((1, stored))
            wait(self, timeout, ready)

        monkeypatch.setattr(ClientChannel, "_wait", race)
        began = time.monotonic()
        assert client.receive(WAIT) is stored
        assert time.monotonic() - began < AT_ONCE
        assert not channel.mailbox.packets


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
            until(lambda: channel_of(client).drive_right.taken)
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
        # As a blocked send does: it reads, and leaves the rest to others.
        until(lambda: channel.drive_once(lambda: link.drive(0.5)))  # the loop may be at it
        until(lambda: handled)
        assert handled == [attempt]


def test_a_handler_bound_late(identity: Identity) -> None:
    """Packets that came before their handler are given to it when it is bound, if nobody received them."""
    with serving(identity) as server, joined(server) as (client,):
        session_of(server, client).send("early", 1)
        until(lambda: link_of(client).background and channel_of(client).core.receiving.items)
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
        channel_of(session).end(Code.NORMAL)
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
            until(lambda: len(awaited_by(client)) == 3)
            session = session_of(server, client)
            began = time.monotonic()
            for number in range(3):
                session.send("wanted", number)
            session.send("other", 3)
        assert time.monotonic() - began < AT_ONCE
        assert sorted(found) == [0, 1, 2, 3]
        assert not awaited_by(client)
        assert client.receive(0.0) is None


def test_receiving_inside_a_handler(identity: Identity) -> None:
    """A handler cannot receive: that is an error that says what to do, not a wait forever. Asking is possible."""
    with serving(identity) as server, joined(server) as (client,):
        server.on("three", lambda session, packet: 3)
        said: list[object] = []

        calls: list[Callable[[], object]] = [
            client.receive,
            lambda: client.wait_for("x", WAIT),
        ]

        @client.on("go")
        def go(packet: Received) -> None:
            for call in calls:
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


def test_a_client_that_is_left_alone_needs_no_ticks(identity: Identity) -> None:
    """The loop reads it from then on; whoever drives it takes it back, and gets what came."""
    with serving(identity) as server, joined(server) as [client]:
        link = link_of(client)
        for number in range(3):
            until(lambda: link.background and not has_ticks(link))
            session_of(server, client).send("one", number)
            until(lambda: channel_of(client).core.receiving.items)
            assert take(client) == [number]
            client.send("echo", number)
            assert take(client) == [number]
            until(lambda: has_ticks(link) or link.background)


def test_a_handler_that_is_bound_late_gets_what_waits(identity: Identity) -> None:
    """Also when nobody drives the client any more, and nothing else arrives."""
    got: list[object] = []
    with serving(identity) as server, joined(server) as [client]:
        until(lambda: link_of(client).background)
        session_of(server, client).send("late", 1)
        until(lambda: channel_of(client).core.receiving.items)
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

    class Taken(Right):
        looks = 0

        @property
        def taken(self) -> bool:
            self.looks += 1
            return self.looks > 1

    with serving(identity) as server, joined(server) as [client]:
        link, channel = link_of(client), channel_of(client)
        until(lambda: link.background)
        right, channel.drive_right = channel.drive_right, Taken()
        del channel.drive_right.free
        link.background = False
        link.drives_seen = channel.drives
        assert link.tick() is False
        assert not link.background
        channel.drive_right = right


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


def test_objects_share_the_names_of_their_attributes(identity: Identity) -> None:
    """CPython does that for at most 30; with more, each object has a table of 1.5 KiB, which packets look through."""

    def wide() -> Counter[str]:
        ours = [o for o in gc.get_objects() if type(o).__module__.startswith("securelink")]
        return Counter(type(o).__qualname__ for o in ours if len(getattr(o, "__dict__", ())) > 30)

    before = wide()  # other tests may have left some
    with serving(identity) as server, joined(server, 2) as clients:
        for client in clients:
            client.send("echo", 1)
            assert take(client) == [1]
        assert set(wide() - before) <= {"ServerOptions"}  # of which a server has one


def test_handlers_go_on_when_there_is_room_again(identity: Identity) -> None:
    """Packets that wait for `receive` hold up what is for handlers; when they are taken, nothing more need come."""
    with serving(identity) as server, joined(server, max_unhandled=5000) as (client,):
        handled: list[Any] = []
        client.on("handled", lambda packet: handled.append(packet.data))
        session = session_of(server, client)
        session.send("x")
        assert take(client) == [None]
        until(lambda: not has_ticks(link_of(client)))  # its loop has it, and looks at it no more
        for number in range(3):
            session.send("x", [number, bytes(3000)])
            until(lambda: len(channel_of(client).mailbox.packets) == min(number + 1, 2))  # noqa: B023
        session.send("handled", 1)
        until(lambda: len(channel_of(client).core.receiving.items) == 2)
        time.sleep(0.3)  # several ticks find that it cannot go on
        assert handled == []
        assert [packet[0] for packet in take(client, 2)] == [0, 1]
        until(lambda: handled == [1], 10)  # and not with the first heartbeat, after 20 s
