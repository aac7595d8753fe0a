"""A client connects, sends, ends, and leaves nothing behind."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from functools import partial
from typing import Any

import pytest
from helpers import WAIT, until
from inside import cared_for, clients_loop
from together import (
    AT_ONCE,
    PATIENCE,
    REPEATS,
    Crew,
    channel_of,
    confirmed,
    deafen,
    joined,
    link_of,
    serving,
    session_of,
    take,
)

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
from securelink.codes import Code
from securelink.protocol.bounds import Bounds
from securelink.threads import caretaker as caretaker_module

pytestmark = pytest.mark.usefixtures("tidy")
again = pytest.mark.parametrize("attempt", range(REPEATS))


# --- connecting, and the end -------------------------------------------------------------------------------------


@again
def test_connect_comes_first_and_disconnect_last(attempt: int, identity: Identity) -> None:
    """However slow its listener: on_connect is through before the first packet, on_disconnect comes after the last."""
    with serving(identity) as server:

        @server.on_connect
        def greet(session: Session) -> None:
            for number in range(10):
                session.send("x", number)

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


@pytest.mark.usefixtures("not_kept")
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
                    link_of(session).loop.call(link_of(session).lost)
                until(lambda: gone)
            assert not client.connected
            assert len(failures) == attempt % 3
            for failure in failures:
                expected = {
                    "client": Code.NORMAL, "kick": Code.KICKED, "stop": Code.SHUTDOWN, "break": Code.BROKEN
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
        channel_of(client).bounds = Bounds(inbox_bytes=100_000)
        session = session_of(server, client)
        for _ in range(20):
            session.send("x", bytes(50_000))
        until(lambda: channel_of(client).core.receiving.full)
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
                client.on_disconnect(partial(events.append, "gone"))
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
        confirmed(client)

        give_up = deafen(server, session)
        count = 0
        while not channel_of(client).core.sending.packets:
            client.send("lost", [count, bytes(300_000)], timeout=0.0)
            count += 1
        client.send("lost", [count, "last"], timeout=0.0)
        client.send("lost", [count + 1, "state"], timeout=0.0, latest="state")
        expected = list(range(count + 2))
        assert [packet.data[0] for packet in client.close(0.1)] == expected
        assert [packet.data[0] for packet in client.close(0.1)] == expected
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
        sent = channel_of(client).core.numbering.outgoing
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
            until(lambda: channel_of(client).drive_right.taken)
            began = time.monotonic()
            for _ in range(12):
                client.send("up", bytes(1_000_000))
            until(lambda: len(arrived) == 12)
            assert time.monotonic() - began < AT_ONCE
            session_of(server, client).send("done")


def test_a_peer_that_is_too_fast_is_not_throttled_for_life(identity: Identity) -> None:
    """A client that has had more packets than its rate reads on in the next second, and so in all others."""
    with serving(identity) as server, joined(server) as (client,):
        channel_of(client).bounds = Bounds(rate=50)
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
        for channel in (channel_of(session), channel_of(client)):
            until(lambda channel=channel: channel.core.numbering.outgoing.unacked == 0)  # type: ignore[misc]
            assert not channel.core.numbering.outgoing.kept


def test_only_the_caretaker_touches_its_poller(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that fills the inbox of a client in the background leaves the poller to the loop."""
    with serving(identity) as server, joined(server) as (client,):
        loop = link_of(client).loop
        wrong: list[int] = []
        poller = loop._poller  # noqa: SLF001  # who changes it
        change = poller.set

        def watched(*arguments: Any) -> None:
            if not loop.leading:
                wrong.append(threading.get_ident())
            change(*arguments)

        monkeypatch.setattr(poller, "set", watched)
        channel = channel_of(client)
        channel.bounds = Bounds(inbox_bytes=100_000)
        until(lambda: link_of(client).background)
        session = session_of(server, client)

        def fill() -> None:
            for _ in range(10):
                session.send("x", bytes(50_000))
            while not channel.core.receiving.full:
                link_of(client).drive(WAIT)

        assert channel.drive_once(fill)
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
            loop = clients_loop()
            assert loop is not None
        with joined(server):
            assert clients_loop() is loop
            monkeypatch.setattr(caretaker_module, "LINGER_SECONDS", 0.2)
        until(lambda: clients_loop() is None)
        until(lambda: not loop.thread_names())
        with joined(server):
            assert clients_loop() is not loop
    until(lambda: not cared_for())


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
    assert not cared_for()


def test_timeouts_are_kept(identity: Identity, patient: None) -> None:
    """receive(timeout) returns None in time, whoever drives and however long the slices are."""
    with serving(identity) as server, joined(server) as (client,), Crew() as crew:
        crew.start(take, client)
        until(lambda: channel_of(client).drive_right.taken)
        for timeout in (0.0, 0.05, 0.2):
            began = time.monotonic()
            assert client.receive(timeout) is None
            assert timeout - 0.01 <= time.monotonic() - began < AT_ONCE
        with pytest.raises(LinkTimeout):
            client.wait_for("x", 0.05)
        session_of(server, client).send("done")
