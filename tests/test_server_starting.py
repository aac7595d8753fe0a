"""A server starts, stops, starts again: all clean, whenever and by whomever it is asked."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from helpers import SOON, WAIT, open_descriptors, until
from inside import loop_of
from together import REPEATS, Crew, channel_of, joined, recorded, serving, take, unread

from securelink import (
    Client,
    ConfigError,
    ConnectFailed,
    ConnectionClosed,
    HandshakeError,
    Identity,
    Server,
    Session,
)
from securelink.codes import Code
from securelink.limits import STOP_GRACE_SECONDS
from securelink.threads.giving_way import hand_over

pytestmark = pytest.mark.usefixtures("tidy")
again = pytest.mark.parametrize("attempt", range(REPEATS))


# --- starting and stopping -----------------------------------------------------------------------------------


def test_starting_and_stopping_twenty_times(identity: Identity) -> None:
    """On the same port, at once, with a client each time: it starts anew, and nothing is left of the one before."""
    server = Server("127.0.0.1", 0, keys=identity)
    server.on("echo", lambda session, packet: session.send("echo", packet.data))
    server.start()
    server.port = server.address[1]
    server.stop()
    events = recorded(server)
    threads, descriptors = threading.active_count(), open_descriptors()
    for number in range(20):
        with server:
            assert server.running
            client = Client("127.0.0.1", server.port, pin=identity.fingerprint).connect()
            client.send("echo", number)
            assert take(client) == [number]
        assert not server.running
        assert server.threads == []
        assert server.sessions == {}
        with pytest.raises(ConnectionClosed) as caught:
            client.receive(WAIT)
        assert caught.value.code == Code.SHUTDOWN
        assert caught.value.clean
    assert events == ["start", "connect", "disconnect", "stop"] * 20
    until(lambda: threading.active_count() <= threads)
    until(lambda: len(open_descriptors()) <= len(descriptors))


@again
def test_stopping_from_many_threads(attempt: int, identity: Identity) -> None:
    """Four threads stop it, while clients come and go and handlers run: all come back, once it is told."""
    with serving(identity) as server:
        events = recorded(server)
        server.on("work", lambda session, packet: time.sleep(0.003))
        begun = threading.Barrier(5)
        over = threading.Event()
        address = server.address

        def visit() -> None:
            while not over.is_set():
                client = Client(*address, pin=identity.fingerprint)
                try:
                    client.connect(1.0)
                    for _ in range(10):
                        client.send("work")
                except (OSError, ConnectionClosed, HandshakeError):
                    pass
                client.close()

        def stop() -> None:
            begun.wait(WAIT)
            assert server.stop()

        with Crew() as crew:
            for _ in range(2):
                crew.start(visit)
            for _ in range(4):
                crew.start(stop)
            time.sleep(0.01 * attempt)
            begun.wait(WAIT)
            until(lambda: not server.running)
            over.set()
        assert events[-1] == "stop"
        assert events.count("stop") == 1
        assert events.count("connect") == events.count("disconnect")


def test_starting_again_while_another_thread_still_waits_for_the_stop(identity: Identity) -> None:
    """One thread stops, another starts at once: the first comes back all the same, and does not touch the new one."""
    server = Server("127.0.0.1", 0, keys=identity)
    for _ in range(10):
        server.start()
        with Crew() as crew:
            crew.start(lambda: server.stop() or pytest.fail("a handler is said to run"))
            until(lambda: not server.running)
            server.start()
        assert server.running
        assert server.stop()


def test_before_and_after(identity: Identity) -> None:
    """What may be called when it does not run may be called; the rest says why not."""
    server = Server("127.0.0.1", 0, keys=identity)
    for _ in range(2):
        assert server.stop()
        assert server.stop()
        assert not server.running
        assert server.sessions == {}
        assert server.threads == []
        assert server.broadcast("x") == 0
        with server.batch():
            pass
        server.start()
        with pytest.raises(ConfigError, match="running"):
            server.start()
        with server as again_server:
            assert again_server is server


def test_a_start_that_fails_can_be_repeated(identity: Identity) -> None:
    """A port in use: nothing is left, and as soon as it is free the same server starts."""
    with serving(identity) as first:
        second = Server(*first.address, keys=identity)
        for _ in range(3):
            with pytest.raises(ConnectFailed):
                second.start()
            assert not second.running
            assert second.stop()
    with second:
        assert second.running


@again
def test_stopping_while_handlers_run(attempt: int, identity: Identity) -> None:
    """stop() waits for handlers that are at work; what they send is sent, and their session ends after them."""
    with serving(identity) as server, joined(server, 4) as clients:
        events = recorded(server)
        inside = threading.Semaphore(0)

        @server.on("work")
        def work(session: Session, packet: Any) -> None:
            inside.release()
            if attempt % 2:
                hand_over()
            time.sleep(0.05)
            events.append("worked")

        for client in clients:
            client.send("work")
        for _ in clients:
            assert inside.acquire(timeout=WAIT)
        assert server.stop()
        assert events.count("worked") == 4
        assert events.count("disconnect") == 4
        assert events[-1] == "stop"


def test_a_handler_that_does_not_come_back(identity: Identity) -> None:
    """stop(timeout) returns False in time; the port is free; the handler's thread ends when the handler does."""
    gate, inside = threading.Event(), threading.Event()
    server = Server("127.0.0.1", 0, keys=identity).start()
    events = recorded(server)

    @server.on("sleep")
    def sleep(session: Session, packet: Any) -> None:
        inside.set()
        gate.wait(WAIT)
        with pytest.raises(ConnectionClosed):
            session.send("too late")
        events.append("woke")

    with joined(server, 2) as (sleeper, other):
        sleeper.send("sleep")
        assert inside.wait(WAIT)
        assert server.stop(timeout=1.0) is False
        assert "woke" not in events
        until(lambda: not server.running)
        with pytest.raises(ConnectionClosed) as caught:
            other.receive(WAIT)
        assert caught.value.code == Code.SHUTDOWN
        assert server.stop()  # nothing runs any more, as far as the server is concerned
    gate.set()
    until(lambda: "woke" in events)
    # The session ended while its handler slept; it was told when the handler had come back.
    until(lambda: events[2:] == ["disconnect", "stop", "woke", "disconnect"])


def test_clients_that_do_not_answer(identity: Identity) -> None:
    """A peer that never says CLOSE holds stop() up for its timeout only, and on_disconnect is called for it too."""
    with serving(identity) as server:
        events = recorded(server)
        with joined(server, 2) as (polite, silent):
            channel = channel_of(silent)
            with unread(channel):
                began = time.monotonic()
                server.stop(timeout=0.3)
                assert 0.25 < time.monotonic() - began < SOON
            until(lambda: events == ["connect", "connect", "disconnect", "disconnect", "stop"])
            with pytest.raises(ConnectionClosed):
                polite.receive(WAIT)


def test_a_stop_that_is_held_up(identity: Identity) -> None:
    """A machine that stands still while the server stops: its clients' on_disconnect is called all the same."""
    with serving(identity) as server:
        events = recorded(server)
        silent = Client(*server.address, pin=identity.fingerprint).connect()
        channel, loop = channel_of(silent), loop_of(server)
        until(lambda: events)
        inside, told = threading.Event(), threading.Event()

        def hold_up() -> None:
            inside.set()
            told.wait(WAIT)

        with unread(channel), Crew() as crew:
            loop.call(hold_up)
            assert inside.wait(WAIT)
            crew.start(server.stop, 0.05)
            commands = loop._commands  # noqa: SLF001  # the stop is among them
            until(lambda: commands)
            loop.call(lambda: time.sleep(0.1 + STOP_GRACE_SECONDS))
            told.set()
        until(lambda: not server.running)
        silent.close()
        assert events == ["connect", "disconnect", "stop"]


@again
@pytest.mark.parametrize("where", ["handler", "on_connect", "on_disconnect", "on_tick"])
def test_stopping_from_inside(attempt: int, where: str, identity: Identity) -> None:
    """A handler or a listener may stop its own server: stop() only asks, and the server stops when it is through."""
    server = Server("127.0.0.1", 0, keys=identity, tick_rate=200 if where == "on_tick" else None)
    said: list[bool] = []
    through = threading.Event()

    def stop(*_: object) -> None:
        if not said:
            said.append(server.stop())
            said.append(server.stop())
            through.set()

    if where == "handler":
        server.on("stop", stop)
    else:
        getattr(server, where)(stop)
    server.start()
    client = Client(*server.address, pin=identity.fingerprint)
    try:
        client.connect()
        client.send("stop")
    except (ConnectionClosed, OSError, HandshakeError):
        pass
    if where == "on_disconnect":
        client.close()
    assert through.wait(WAIT)
    assert said == [False, False]
    until(lambda: not server.running)
    client.close()
    assert server.stop()
    until(lambda: not [t for t in threading.enumerate() if "server" in t.name])


def test_stopping_from_a_handler_of_another_server(identity: Identity) -> None:
    """There stop() waits: the two have nothing to do with each other."""
    with serving(identity) as first, serving(identity) as second, joined(first) as (client,):
        first.on("stop the other", lambda session, packet: second.stop())
        assert client.request("stop the other", timeout=WAIT) is True
        assert not second.running


def test_a_clients_handler_stops_the_server(identity: Identity) -> None:
    """In the background of a client of the same process."""
    with serving(identity) as server, joined(server) as (client,):
        said: list[bool] = []
        client.on("stop", lambda packet: said.append(server.stop()))
        server.broadcast("stop")
        until(lambda: said == [True])


def test_a_tick_without_a_rate(identity: Identity, caplog: pytest.LogCaptureFixture) -> None:
    """Without a rate nothing calls `on_tick`, and the server says so when it starts; `update()` does call it."""
    complaint = "on_tick has a listener, but no rate"
    for rate, complains in ((None, True), (50.0, False)):
        caplog.clear()
        server = Server("127.0.0.1", 0, keys=identity, tick_rate=rate)
        server.on_tick(lambda: None)
        with server, joined(server):
            pass  # whoever has entered came behind the loop's first turn
        assert (complaint in caplog.text) == complains
    caplog.clear()
    ticks: list[None] = []
    driven = Server("127.0.0.1", 0, keys=identity)
    driven.on_tick(lambda: ticks.append(None))
    driven.update()
    driven.stop()
    with Server("127.0.0.1", 0, keys=identity):
        pass
    assert len(ticks) == 1
    assert complaint not in caplog.text


def test_slow_ticks_do_not_hold_up_a_stop(identity: Identity) -> None:
    """Ticks that take longer than their period: the last one is waited for, no other is begun."""
    server = Server("127.0.0.1", 0, keys=identity, tick_rate=1000.0)
    ticks: list[bool] = []

    @server.on_tick
    def tick() -> None:
        ticks.append(not server.places)
        time.sleep(0.02)

    with server:
        until(lambda: len(ticks) > 2)
        assert server.stop(SOON)
    assert not any(ticks)


def test_code_that_is_told_of_the_stop(identity: Identity) -> None:
    """on_stop may use the server: ask, stop again, and start it anew from another thread."""
    server = Server("127.0.0.1", 0, keys=identity)
    seen: list[object] = []

    @server.on_stop
    def stopped() -> None:
        seen.append((server.running, server.stop()))
        with Crew() as crew:
            crew.start(server.start)

    server.start()
    assert server.stop()
    assert server.running
    server.on_stop.remove_listener(stopped)
    assert server.stop()
    assert seen == [(False, True)]
