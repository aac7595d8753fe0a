"""Sending to clients, where a server is reached, and the end of its sessions."""

from __future__ import annotations

import gc
import logging
import os
import threading
import time
import weakref
from typing import Any

import pytest
from helpers import SOON, WAIT, until
from inside import listener_of, loop_of
from together import REPEATS, Crew, channel_of, joined, link_of, serving, take, unread

from securelink import Client, ConnectionClosed, Identity, LinkTimeout, Server, Session
from securelink.codes import Code
from securelink.limits import SEND_SECONDS
from securelink.protocol.bounds import Bounds
from securelink.streams.base import BREAK
from securelink.threads.ends import End
from securelink.threads.giving_way import hand_over

pytestmark = pytest.mark.usefixtures("tidy")
again = pytest.mark.parametrize("attempt", range(REPEATS))


# --- addresses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "dialled"),
    [
        ("::1", "::1"),
        ("localhost", "localhost"),
        ("127.0.0.1", "localhost"),
        ("", "127.0.0.1"),
        ("", "::1"),
        ("", "localhost"),
    ],
)
def test_addresses_of_all_kinds(host: str, dialled: str, identity: Identity) -> None:
    """IPv6, names, one socket for both families: the session knows the client's plain address and what it dialled."""
    server = Server(host, 0, keys=identity)
    server.on("echo", lambda session, packet: session.send("echo", packet.data))
    with server, Client(dialled, server.address[1], pin=identity.fingerprint) as client:
        client.send("echo", 1)
        assert take(client) == [1]
        (session,) = server.sessions.values()
        assert session.address[0] in ("127.0.0.1", "::1")
        assert session.dialled == dialled
        if dialled != "localhost":
            assert session.address[0] == dialled


# --- sending ----------------------------------------------------------------------------------------------------------


def test_broadcasting_to_some(identity: Identity) -> None:
    """to= and exclude= take sessions and tokens, alone or many; unknown tokens and ended sessions are passed over."""
    with serving(identity) as server, joined(server, 4) as clients:
        sessions = [server.sessions[client.token] for client in clients]
        tokens = [client.token for client in clients]
        cases: list[tuple[dict[str, Any], list[int]]] = [
            ({}, [0, 1, 2, 3]),
            ({"to": sessions[0]}, [0]),
            ({"to": tokens[1]}, [1]),
            ({"to": [sessions[1], tokens[2]]}, [1, 2]),
            ({"to": ["no such token"]}, []),
            ({"to": []}, []),
            ({"exclude": sessions[0]}, [1, 2, 3]),
            ({"exclude": [tokens[1], sessions[2]]}, [0, 3]),
            ({"to": tokens, "exclude": tokens[3]}, [0, 1, 2]),
            ({"to": (session for session in sessions)}, [0, 1, 2, 3]),
        ]
        for number, (options, expected) in enumerate(cases):
            assert server.broadcast("case", number, **options) == len(expected)
        for index, client in enumerate(clients):
            mine = [n for n, (_, expected) in enumerate(cases) if index in expected]
            assert take(client, len(mine)) == mine
            assert client.receive(0.0) is None
        clients[0].close()
        until(lambda: len(server.sessions) == 3)
        assert server.broadcast("late", to=sessions) == 3


def test_the_sessions_are_a_picture(identity: Identity) -> None:
    """`server.sessions` can be kept, looked through and not changed, while sessions come and go."""
    with serving(identity) as server:
        over = threading.Event()

        def visit() -> None:
            while not over.is_set():
                with joined(server, 2):
                    pass

        with Crew() as crew:
            for _ in range(2):
                crew.start(visit)
            for _ in range(300):
                picture = server.sessions
                assert all(session.token == token for token, session in picture.items())
            over.set()
        with joined(server) as (client,):
            picture = server.sessions
            with pytest.raises(TypeError):
                picture["x"] = picture[client.token]  # type: ignore[index]
        until(lambda: not server.sessions)
        assert list(picture) == [client.token]


def test_a_batch_of_a_server(identity: Identity) -> None:
    """What one thread sends inside the block goes out at its end, one record a session; others' at once."""
    with serving(identity) as server, joined(server, 2) as (client, other):
        sessions = [server.sessions[c.token] for c in (client, other)]
        with server.batch():
            for number in range(20):
                for session in sessions:
                    session.send("x", number)
            assert client.receive(0.02) is None
            with Crew() as crew:
                crew.start(lambda: sessions[1].send("x", "at once"))
            assert take(other, 21) == [*range(20), "at once"]
        assert take(client, 20) == list(range(20))
        assert channel_of(sessions[0]).core.numbering.outgoing.sent == 1


def test_a_batch_does_not_outgrow_its_bounds(identity: Identity) -> None:
    """Inside a batch a send waits for room as outside: the block holds back system calls, not memory."""
    with serving(identity) as server, joined(server) as (client,):
        session = server.sessions[client.token]
        channel_of(session).bounds = Bounds(unsent=200_000)
        with Crew() as crew:
            crew.start(lambda: len(take(client, 50)) == 50 or pytest.fail("too few"))
            with server.batch():
                for _ in range(50):
                    session.send("x", bytes(50_000), timeout=WAIT)
                    assert channel_of(session).core.sending.size <= 300_000


@again
def test_a_send_in_a_handler_never_waits(attempt: int, identity: Identity) -> None:
    """Also in one that has lost the lead long ago: it is queued, the peer is not read, and all arrives in the end."""
    with serving(identity) as server, joined(server) as (client,):
        session = server.sessions[client.token]
        channel_of(session).bounds = Bounds(unsent=100_000)
        took: list[float] = []

        @server.on("much")
        def much(session: Session, packet: Any) -> None:
            if packet.data:
                hand_over()
                until(lambda: loop_of(server).lead.thread)
            began = time.monotonic()
            for number in range(100):
                session.send("x", [number, bytes(50_000)])
            took.append(time.monotonic() - began)

        client.send("much", attempt % 2)
        until(lambda: took)
        assert took[0] < SEND_SECONDS / 2
        assert [data[0] for data in take(client, 100)] == list(range(100))
        client.send("echo", "read again")
        assert take(client) == ["read again"]


def test_a_send_outside_waits_and_says_for_whom(identity: Identity) -> None:
    """A peer that takes nothing: the error names the session, and the packet was not queued."""
    with serving(identity) as server, joined(server) as (client,):
        session = server.sessions[client.token]
        channel_of(session).bounds = Bounds(unsent=300_000)
        channel = channel_of(client)
        sent = 0

        def send() -> None:
            nonlocal sent
            session.send("x", [sent, bytes(50_000)], timeout=0.05)
            sent += 1

        with unread(channel), pytest.raises(LinkTimeout) as caught:
            list(iter(send, "never"))
        assert client.token in caught.value.message
        session.send("x", ["end"], timeout=WAIT)
        numbers = [data[0] for data in take(client, sent + 1)]
        assert numbers == [*range(sent), "end"]


# --- the end of a session --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("not_kept")
@again
def test_the_order_of_a_sessions_events(attempt: int, identity: Identity) -> None:
    """on_connect first, on_disconnect last and once, the packets between them, whatever the client does."""
    with serving(identity) as server:
        told: dict[str, list[str]] = {}
        server.on_connect(lambda session: told.setdefault(session.token, []).append("connect"))
        server.on_disconnect(lambda session: told[session.token].append("disconnect"))
        server.on("x", lambda session, packet: told[session.token].append("x"))

        def visit(name: int) -> None:
            for number in range(6):
                client = Client(*server.address, pin=identity.fingerprint).connect()
                for _ in range(5):
                    client.send("x")
                if (name + number) % 3 == 0:
                    client.close()
                elif (name + number) % 3 == 1:
                    server.sessions[client.token].kick()
                    client.close()
                else:
                    link_of(client).stream.shutdown(BREAK)
                    client.close()

        with Crew() as crew:
            for name in range(3):
                crew.start(visit, name)
        until(lambda: not server.sessions)
        until(lambda: len(told) == 18)  # of a session that is over on_connect may not have begun
        until(lambda: all(events[-1] == "disconnect" for events in told.values()))
        for events in told.values():
            assert events[0] == "connect"
            assert events.count("connect") == events.count("disconnect") == 1
            assert len(events) <= 7


def test_a_session_that_has_ended(identity: Identity) -> None:
    """It says that it is over, whatever is asked of it; kicking it again is harmless."""
    with serving(identity) as server, joined(server) as (client,):
        session = server.sessions[client.token]
        session.kick("once")
        session.kick("twice")
        with pytest.raises(ConnectionClosed) as caught:
            client.receive(WAIT)
        assert caught.value.text == "once"
        until(lambda: not session.connected)
        for call in (
            lambda: session.send("x"),
            lambda: session.request("x", timeout=WAIT),
            lambda: session.ping(WAIT),
        ):
            with pytest.raises(ConnectionClosed) as closed:
                call()
            assert closed.value.code == Code.KICKED
        session.kick()
        assert server.broadcast("x", to=[session]) == 0


def test_a_server_that_is_gone_is_not_kept(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of ours refers to a stopped server or to an ended session."""
    monkeypatch.setattr("securelink.protocol.connection.CLOSE_SECONDS", 0.2)
    server = Server("127.0.0.1", 0, keys=identity).start()
    with joined(server) as (client,):
        session = weakref.ref(server.sessions[client.token])
    until(lambda: gc.collect() is not None and session() is None)
    server.stop()
    reference = weakref.ref(server)
    del server
    until(lambda: gc.collect() is not None and reference() is None)


def test_logging_at_every_level_costs_nobody_a_lock(identity: Identity) -> None:
    """A log handler that uses the server itself does not hang it."""
    with serving(identity) as server:
        seen: list[int] = []

        class Curious(logging.Handler):
            """Looks at the server in every record."""

            def emit(self, record: logging.LogRecord) -> None:
                """As a status window might."""
                seen.append(len(server.sessions))
                server.broadcast("log", 1)

        handler = Curious()
        logging.getLogger("securelink").addHandler(handler)
        try:
            with joined(server, 2) as clients:
                server.sessions[clients[0].token].kick("x")
                clients[1].ping(WAIT)
            assert server.stop()
        finally:
            logging.getLogger("securelink").removeHandler(handler)
        assert seen


def test_descriptors_do_not_grow(identity: Identity) -> None:
    """A hundred sessions later the process has as many descriptors and threads as after the first."""
    with serving(identity) as server:

        def visit() -> None:
            with joined(server) as (client,):
                client.send("echo", 1)
                assert take(client) == [1]

        def left() -> tuple[int, int]:
            until(lambda: not listener_of(server).links)
            return len(os.listdir("/proc/self/fd")), len(server.threads)

        visit()
        until(lambda: not [t for t in threading.enumerate() if "clients" in t.name])
        first = left()
        for _ in range(100):
            visit()
        until(lambda: not [t for t in threading.enumerate() if "clients" in t.name])
        descriptors, threads = left()
        assert descriptors == first[0]
        assert threads <= 13  # a pool, and its watchdog


def test_a_connection_that_will_not_go_away_holds_up_no_stop(identity: Identity) -> None:
    """Should one stay listed forever, stop() waits for it once, not forever."""
    with serving(identity) as server, joined(server):
        [link] = listener_of(server).links
        link.writer.end = End.CLOSED  # it says so, and nobody takes it off the list
        assert server.stop(0.1)
        assert not server.running
        link.stream.close()


def test_ctrl_c_before_the_server_runs(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while it says where it listens: nothing runs, and it can be started again."""

    announced: list[Server] = []

    def interrupt(self: Server) -> None:
        announced.append(self)
        if len(announced) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Server, "_announce", interrupt)
    server = Server("127.0.0.1", 0, keys=identity)
    began = time.monotonic()
    server.serve_forever()
    assert time.monotonic() - began < SOON
    assert not server.running
    server.start()
    assert server.stop()
