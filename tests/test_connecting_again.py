"""A client connects more than once: after an end, from several threads, with packets that nobody has received yet."""

from __future__ import annotations

import logging
import re
import threading
from contextlib import ExitStack
from typing import Any

import pytest
from helpers import WAIT, until
from together import (
    REPEATS,
    Crew,
    arrived,
    channel_of,
    deafen,
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
    LimitExceeded,
    LinkTimeout,
    Server,
)
from securelink.protocol.bounds import Bounds
from securelink.testing import Relay

pytestmark = pytest.mark.usefixtures("tidy")
again = pytest.mark.parametrize("attempt", range(REPEATS))


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
def test_two_threads_connect_one_client(attempt: int, identity: Identity) -> None:
    """One session comes of it, the other call says so, and close() leaves no session behind that nobody knows."""
    with serving(identity) as server:
        client = Client(*server.address, pin=identity.fingerprint)
        results: list[str] = []
        gate = threading.Barrier(4)

        def enter() -> None:
            gate.wait(WAIT)
            try:
                client.connect()
                results.append("connected")
            except ConfigError as error:
                results.append(error.message)

        with Crew() as crew:
            for _ in range(4):
                crew.start(enter)
        results.remove("connected")
        assert len(results) == 3
        assert all(re.search("is connected|another thread", result) for result in results)
        until(lambda: len(server.sessions) == 1)
        client.close()
        until(lambda: not server.sessions)
        assert server.stats()["sessions_total"] == 1


def test_closing_while_another_thread_connects(identity: Identity) -> None:
    """connect() gives up when close() is called meanwhile, between two attempts and in the middle of one."""
    with serving(identity) as server:
        address = server.address
    client = Client(*address, pin=identity.fingerprint)
    errors: list[ConnectionClosed] = []

    def enter() -> None:
        with pytest.raises(ConnectionClosed, match="while this client was connecting") as caught:
            client.connect(60, retry=True)
        errors.append(caught.value)

    with Crew() as crew:
        crew.start(enter)
        until(lambda: client.close() == [] and errors)
    held, entered = threading.Event(), threading.Event()

    def authenticate(hello: Any) -> str:
        entered.set()
        held.wait(WAIT)
        return "ada"

    with serving(identity, authenticate=authenticate) as server, Crew() as crew:
        client = Client(*server.address, pin=identity.fingerprint)
        crew.start(enter)
        assert entered.wait(WAIT)
        client.close()
        held.set()
        until(lambda: len(errors) == 2)
        until(lambda: not server.sessions)
    assert not client.connected


@pytest.mark.usefixtures("not_kept")
@pytest.mark.parametrize("end", ["kick", "stop", "break"])
def test_unread_packets_survive_connecting_again(end: str, identity: Identity) -> None:
    """What came before the end and was not received comes first after it, whoever had looked at it or not."""
    with serving(identity) as server:
        client = Client(*server.address, pin=identity.fingerprint).connect()
        events: list[str] = []
        client.on("bound", lambda packet: events.append(f"bound {packet.data}"))
        client.on_disconnect(lambda: events.append("gone"))
        first = client.token
        session = session_of(server, client)
        session.send("a", 1)
        assert client.wait_for("a", WAIT).data == 1
        for number in range(2, 5):
            session.send("a", number)
        session.send("bound", 5)
        if end == "break":
            arrived(channel_of(session))
            link_of(session).loop.call(link_of(session).lost)
        elif end == "kick":
            session.kick()
        until(lambda: end == "stop" or not client.connected)
        if end == "stop":
            server.stop()
            until(lambda: not client.connected)
            server.start()
            client = moved(client, server)
        client.connect()
        assert events == ["bound 5", "gone"]
        client.send("echo", 6)
        packets = [client.receive(WAIT) for _ in range(4)]
        assert [packet and packet.data for packet in packets] == [2, 3, 4, 6]
        assert client.token != first
        client.close()


def moved(client: Client, server: Server) -> Client:
    """The same client, for a server whose port has changed."""
    client.port = server.address[1]
    return client


def test_too_many_unread_packets_of_the_last_session(identity: Identity) -> None:
    """Nothing is dropped in silence and nothing grows: connect() says what waits, close() drops it."""
    with serving(identity) as server:
        client = Client(*server.address, pin=identity.fingerprint).connect()
        channel_of(client).bounds = Bounds(inbox_bytes=10_000)
        session = session_of(server, client)
        for number in range(3):
            session.send("x", [number, bytes(6_000)])

        def stored() -> bool:
            with pytest.raises(LinkTimeout):
                client.wait_for("never", 0.05)
            return len(channel_of(client).mailbox.packets) > 1

        until(stored)
        for number in range(3, 6):
            session.send("x", [number, bytes(6_000)])
        session.kick()
        until(lambda: not client.connected)
        with pytest.raises(LimitExceeded, match="wait for receive") as caught:
            client.connect()
        assert "close()" in caught.value.hint
        assert [packet[0] for packet in take(client, 6)] == list(range(6))
        client.connect()
        client.close()
        assert client.close() == []


def test_attempts_that_fail_alike_are_told_once(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that is away for minutes fills no screen; each outage and each new reason is told."""

    def outages() -> list[list[tuple[int, str]]]:
        found: list[list[tuple[int, str]]] = []
        for record in caplog.records:
            if "the connection is lost" in record.getMessage():
                found.append([])
            elif "no other connection yet" in record.getMessage():
                found[-1].append((record.levelno, record.getMessage()))
        return found

    caplog.set_level(logging.DEBUG, "securelink.client")
    with serving(identity) as server, ExitStack() as stack:
        relay = stack.enter_context(Relay(*server.address))
        here = relay.port
        client = stack.enter_context(Client("127.0.0.1", here, pin=identity.fingerprint))
        for number in range(2):
            relay.stop()
            until(lambda: len(outages()) > number and len(outages()[number]) >= 4)  # noqa: B023
            relay = stack.enter_context(Relay(*server.address, listen_port=here))
            until(lambda: client.connected)
    for attempts in outages():
        last = ""
        for level, message in attempts:
            assert level == (logging.DEBUG if message == last else logging.INFO)
            last = message
    assert any(level == logging.DEBUG for attempts in outages() for level, _ in attempts)
