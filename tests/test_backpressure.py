"""A session that has no room: what becomes of a packet, and that nobody else is slowed by it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from helpers import WAIT, failure, until
from inside import listener_of
from programs import process, read_line
from together import channel_of, joined, serving, take

from securelink import Client, Code, ConfigError, ConnectionClosed, Identity, Server, Session
from securelink.limits import WRITE_BUDGET
from securelink.protocol.bounds import Bounds

KIB = bytes(1024)


def away(server: Server) -> Session:
    """The only session, which has lost its connection; its client cannot come back while the server is paused."""
    (session,) = server.sessions.values()
    server.pause()
    for link in tuple(listener_of(server).links):
        link.loop.call(link.lost)
    until(lambda: not session.connected)
    return session


@contextmanager
def scene(identity: Identity, **options: Any) -> Iterator[tuple[Server, Session, Client]]:
    """A session with room for 64 KiB whose client is away."""
    with serving(identity, resume=60, **options) as server, joined(server) as (client,):
        until(lambda: len(server.sessions) == 1)
        session = away(server)
        channel_of(session).bounds = Bounds(unsent=64 * 1024)
        yield server, session, client
        server.resume()


def test_send_tells_what_happened(identity: Identity) -> None:
    """With full="drop" nothing waits: what finds no room is dropped, counted, and said; the rest comes in order."""
    with scene(identity) as (server, session, client):
        began = time.monotonic()
        taken = [session.send("n", [n, KIB], full="drop") for n in range(100)]
        assert time.monotonic() - began < WAIT
        assert taken.count(True) in range(55, 64)
        assert taken == sorted(taken, reverse=True)
        assert session.info()["dropped"] == taken.count(False)
        assert server.stats()["packets_dropped_total"] == taken.count(False)
        assert channel_of(session).unsent <= 64 * 1024
        server.resume()
        assert [data[0] for data in take(client, taken.count(True))] == list(
            range(taken.count(True))
        )
        until(lambda: session.send("n", [100, KIB], full="drop"))
        assert take(client)[0][0] == 100


def test_the_newest_needs_no_room(identity: Identity) -> None:
    """A packet that replaces a waiting one is taken, however full the session is."""
    with scene(identity) as (server, session, client):
        assert session.send("at", [0, KIB], latest="at", full="drop")
        while session.send("n", KIB, full="drop"):
            pass
        assert session.send("at", [1, KIB], latest="at", full="drop")
        assert not session.send("at", [2, KIB], latest="other", full="drop")
        server.resume()
        assert take(client)[0][0] == 1


def test_a_broadcast_leaves_out_who_has_no_room(identity: Identity) -> None:
    """The others get it at once, and the count says how many; without `full` it is queued all the same."""
    with serving(identity, resume=60) as server, joined(server) as (_first,):
        until(lambda: len(server.sessions) == 1)
        (session,) = server.sessions.values()
        with joined(server) as (other,):
            until(lambda: len(server.sessions) == 2)
            for one in server.sessions.values():
                one.join("room")
            server.pause()
            link = channel_of(session).link
            assert link is not None
            link.loop.call(link.lost)
            until(lambda: not session.connected)
            channel_of(session).bounds = Bounds(unsent=64 * 1024)
            while session.send("n", KIB, full="drop"):
                pass
            assert server.broadcast("b", KIB, full="drop") == 1
            assert server.room("room").broadcast("b", KIB, full="drop") == 1
            assert server.broadcast("b", KIB) == 2
            assert take(other, 3) == [KIB, KIB, KIB]
            server.resume()


def test_end_is_the_hard_way(identity: Identity) -> None:
    """full="end" ends a session that has no room, for good."""
    with scene(identity) as (_server, session, _client):
        while session.send("n", KIB, full="end"):
            pass
        until(lambda: session.ended)
        assert session.code == Code.TOO_SLOW
        with pytest.raises(ConnectionClosed):
            session.send("n", KIB, full="drop")


def test_nobody_waits_for_ever(identity: Identity) -> None:
    """A send without a timeout to a client that does not come back ends with its session."""
    with serving(identity, resume=1) as server, joined(server, reconnect=False) as (_client,):
        until(lambda: len(server.sessions) == 1)
        session = away(server)
        channel_of(session).bounds = Bounds(unsent=64 * 1024)
        errors: list[BaseException] = []

        def fill() -> None:
            try:
                while True:
                    session.send("n", KIB, timeout=None)
            except ConnectionClosed as error:
                errors.append(error)

        writer = threading.Thread(target=fill)
        writer.start()
        writer.join(WAIT)
        assert not writer.is_alive()
        assert len(errors) == 1
        server.resume()


def test_a_client_may_drop_as_well(identity: Identity) -> None:
    """The same on the other side, while the server does not read: the client goes on at once."""
    with serving(identity) as server, joined(server) as (client,):
        blocked = threading.Event()
        server.on("stop", lambda session, packet: blocked.wait(WAIT))
        try:
            client.send("stop")
            channel_of(client).bounds = Bounds(unacked=256 * 1024)
            began = time.monotonic()
            taken = [client.send("n", KIB, full="drop") for _ in range(400)]
            assert False in taken
            assert time.monotonic() - began < WAIT
        finally:
            blocked.set()


def test_other_words_are_refused(identity: Identity) -> None:
    """`full` is one of two words."""
    with serving(identity) as server, joined(server) as (client,):
        failure(ConfigError, lambda: client.send("x", full="later"), "full='later'")
        failure(ConfigError, lambda: server.broadcast("x", full="newest"), "full='newest'")


#: A client that tells, when it is asked, the first and last number it had, how many, and whether they rose.
COUNTING = """
import sys
from securelink import Client
client = Client("127.0.0.1", int(sys.argv[1]), pin=sys.argv[2])
had = []
client.on("n", lambda packet: had.append(packet.data[0]))
with client:
    print("there", flush=True)
    for line in sys.stdin:
        print(*had[:1], *had[-1:], len(had), had == sorted(set(had)), flush=True)
"""


def test_a_process_that_stands_still_costs_bounded_memory(identity: Identity) -> None:
    """Its server sends on, keeps the newest within the bound, and nobody else waits; then it has them in order."""
    bound, many = 1 << 20, 20_000
    with (
        serving(identity, resume=60, max_unsent=bound) as server,
        process(COUNTING, str(server.address[1]), identity.fingerprint) as stopped,
    ):
        read_line(stopped)
        (session,) = server.sessions.values()
        with joined(server) as (other,):
            server.policy("n", "oldest")
            os.kill(stopped.pid, signal.SIGSTOP)
            for number in range(many):
                assert session.send("n", [number, KIB])
            assert session.connected
            pressure = session.pressure
            assert pressure.unsent <= bound + WRITE_BUDGET
            assert channel_of(session).held < bound + pressure.unacked + (1 << 19)
            assert pressure.dropped > 0
            other.send("echo", "still there")
            assert take(other) == ["still there"]
            os.kill(stopped.pid, signal.SIGCONT)
            typed = stopped.stdin
            assert typed is not None

            def told() -> list[str]:
                typed.write("?\n")
                typed.flush()
                return read_line(stopped).split()

            expected = ["0", f"{many - 1}", f"{many - session.pressure.dropped}", "True"]
            until(lambda: told() == expected)


def test_a_state_never_waits(identity: Identity) -> None:
    """The newest takes the place of one that waits, also where there is no room for the first."""
    with scene(identity) as (server, session, client):
        client.on("n", lambda packet: None)
        while session.send("n", KIB, full="drop"):
            pass
        for number in range(100):
            session.set_state([number, KIB])
        assert session.pressure.blocked == 0
        server.resume()
        until(lambda: client.server_state and client.server_state[0] == 99)
