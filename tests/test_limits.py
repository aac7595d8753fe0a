"""The limits of a server in one place: what they are, how near it is, and that rates slow down and end nobody."""

from __future__ import annotations

import contextlib
import inspect
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from helpers import WAIT, until
from inside import listener_of
from together import Crew, arrived, channel_of, joined, serving, session_of, take

from securelink import Client, Identity, LimitExceeded, Received, Server, Session
from securelink.limits import DEBT_SECONDS
from securelink.protocol import SessionCore
from securelink.protocol.bounds import Bounds
from securelink.protocol.rate_limit import later_mark
from securelink.wire.packets import Packet, encode_packet, join_packets


def record(count: int, size: int = 1) -> bytes:
    """A record of so many packets, each with data of so many bytes."""
    return join_packets([encode_packet(Packet("x", bytes(size)))] * count)


def test_each_limit_is_an_option(identity: Identity) -> None:
    """They have the names of the options, and the values that were given, also before the server is started."""
    given: dict[str, Any] = {
        "max_byte_rate": 1000, "max_connections": 70, "max_elements": 2000, "max_failures": 8, "max_half_open": 11,
        "max_memory": 12, "max_packet": 3000, "max_per_address": 60, "max_rate": 100, "max_requests": 13,
        "max_rooms": 5, "max_rooms_per_session": 4, "max_suspended": 40, "max_suspended_per_address": 30,
        "max_unacked": 1 << 20, "max_unhandled": 10, "max_unsent": 8, "room_capacity": 3,
    }  # fmt: skip
    server = Server("127.0.0.1", 0, keys=identity, **given)
    limits = server.limits()
    assert {name: limit.most for name, limit in limits.items()} == given
    assert all(limit.used == 0 and limit.unit for limit in limits.values())
    options = inspect.signature(Server).parameters
    assert set(limits) < set(options)
    assert {name for name in options if name.startswith("max_")} == set(limits) - {"room_capacity"}
    assert "room_capacity" not in Server("127.0.0.1", 0, keys=identity).limits()


def test_what_is_used_is_what_there_is(identity: Identity) -> None:
    """Connections, rooms, members, packets, bytes, failures, sessions without a connection."""
    with (
        serving(
            identity, resume=60, room_capacity=9, max_rooms=2, max_rooms_per_session=2
        ) as server,
        joined(server, 3) as clients,
    ):
        until(lambda: len(server.sessions) == 3)
        sessions = list(server.sessions.values())
        for session in sessions:
            session.join("one")
        sessions[0].join("two")
        with pytest.raises(LimitExceeded) as caught:
            sessions[1].join("three")
        assert caught.value.limit == "max_rooms"
        with pytest.raises(LimitExceeded) as caught:
            sessions[0].join("three")
        assert caught.value.limit == "max_rooms_per_session"
        never = [sessions[2].request_later("never", timeout=WAIT) for _ in range(2)]
        limits = server.limits()
        assert limits["max_connections"].used == 3
        assert limits["max_rooms"].used == limits["max_rooms_per_session"].used == 2
        assert limits["max_requests"].used == 2
        assert all(future.cancel() for future in never)
        assert limits["room_capacity"].used == 3
        assert limits["max_rate"].used == 0
        gate = listener_of(server).gate
        for _ in range(4):
            gate.budget.charge("192.0.2.7")
        gate.budget.charge("2001:db8::1")
        assert server.limits()["max_failures"].used == 4
        for _ in range(50):
            clients[1].send("x", bytes(1000))
        until(lambda: server.stats()["packets_received_total"] >= 50)
        # The sweep may have let a second pass in between.
        assert 0 <= server.limits()["max_rate"].used <= 50
        server.pause()  # nobody comes back
        for link in tuple(listener_of(server).links):
            link.loop.call(link.lost)
        until(lambda: server.limits()["max_suspended"].used == 3)
        # On this machine each session counts for itself.
        assert server.limits()["max_suspended_per_address"].used == 1
        assert server.limits()["max_connections"].used == 0
        server.resume()


def test_what_waits_is_shown(identity: Identity) -> None:
    """Of the session that is nearest to the limit: what is not handled, and what is not sent."""
    begun, go_on = threading.Event(), threading.Event()

    def work(session: Session, packet: Received) -> None:
        begun.set()
        go_on.wait(WAIT)

    with serving(identity, resume=60, max_memory=1 << 20) as server, joined(server, 2) as clients:
        server.on("work", work)
        try:
            clients[0].send("work")
            assert begun.wait(WAIT)  # what is sent from here on is behind it, in other records
            for size in (50_000, 20_000):
                clients[0].send("work", bytes(size))
                arrived(channel_of(clients[0]))  # one record each
            until(lambda: server.limits()["max_unhandled"].used > 70_000)
            limits = server.limits()
            assert 50_000 < limits["max_packet"].used < 51_000
            assert 70_000 < limits["max_unhandled"].used < 71_000
            until(lambda: server.limits()["max_memory"].used > 70_000)  # by the next look
        finally:
            go_on.set()
        until(lambda: server.limits()["max_unhandled"].used == 0)
        until(lambda: server.limits()["max_packet"].used == 0)  # another moment, another look
        server.pause()
        for link in tuple(listener_of(server).links):
            link.loop.call(link.lost)
        until(lambda: server.limits()["max_suspended"].used == 2)
        first, second = server.sessions.values()
        first.send("x", bytes(3000))
        second.send("x", bytes(5000))
        assert 5000 < server.limits()["max_unsent"].used < 5100
        assert first.pressure.unsent < second.pressure.unsent == server.limits()["max_unsent"].used
        server.resume()
        until(lambda: server.limits()["max_unsent"].used == 0)


def test_what_the_client_has_not_handled_is_shown(identity: Identity) -> None:
    """Bytes that it has, and that nobody there has taken."""
    with serving(identity) as server, joined(server) as [client]:
        session = session_of(server, client)
        session.send("x", bytes(5000))
        until(lambda: server.limits()["max_unacked"].used > 5000)
        assert session.pressure.unacked == server.stats()["unacked_bytes"] > 5000
        take(client)
        client.send("echo")  # takes the acknowledgement along
        take(client)
        until(lambda: session.pressure.unacked < 5000)


def _drive(server: Server, until_then: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT
    while not until_then():
        server.update()
        assert time.monotonic() < deadline


def test_elements_of_what_is_decoded_in_steps(identity: Identity) -> None:
    """A large record, while it is decoded; nothing before and afterwards."""
    server = Server("127.0.0.1", 0, keys=identity)
    handled: list[int] = []
    server.on("many", lambda session, packet: handled.append(len(packet.data)))
    server.update()
    client = Client(*server.address, pin=server.fingerprint)
    with Crew() as crew:
        crew.start(client.connect, WAIT)
        _drive(server, lambda: client.connected)
    assert server.limits()["max_elements"].used == 0
    client.send("many", [{}] * 60_000)
    seen: list[int] = []
    while not handled:
        server.update(0.001)
        seen.append(server.limits()["max_elements"].used)
    assert 0 < max(seen) <= 60_010
    assert seen[-1] == 0
    with Crew() as crew:
        crew.start(client.close)
        _drive(server, lambda: client.ended)
    server.stop()


def test_half_open_connections_have_an_option(identity: Identity) -> None:
    """Beyond it they wait for their turn; who gets in makes room."""
    with serving(identity, max_half_open=2) as server:
        with contextlib.ExitStack() as stack:
            for _ in range(2):
                stack.enter_context(socket.create_connection(server.address, WAIT))
            until(lambda: server.limits()["max_half_open"].used == 2)
            with joined(server) as [client]:  # a place is taken back from those that say nothing
                assert client.ping(WAIT) > 0
        until(lambda: server.limits()["max_half_open"].used == 0)


def test_a_bucket_holds_a_second() -> None:
    """It is filled by time, holds what one second allows, and is never in debt for longer than the bound."""
    assert later_mark(100, 0, 100, 1.0) == 100  # nothing came: no more than a second's worth waits
    assert later_mark(100, 40, 100, 1.0) == 140
    assert later_mark(100, 100, 100, 0.5) == 150  # half a second gives half of it
    assert later_mark(100, 250, 100, 1.0) == 200  # still 50 too much
    assert later_mark(100, 100, 100, 60.0) == 6100  # a minute away
    assert later_mark(100, 10**9, 100, 1.0) == 10**9 - 100 * DEBT_SECONDS


@pytest.mark.parametrize("bounds", [Bounds(rate=10), Bounds(byte_rate=10_000)])
def test_packets_and_bytes_have_a_rate(bounds: Bounds) -> None:
    """What is too much in one second is made up for in the next ones, and not forgotten at their beginning."""
    queue = SessionCore(bounds).receiving

    def take(count: int) -> None:
        queue.deliver(record(count, 950))
        assert len(queue.take()) == count

    take(10)
    assert not queue.is_over_rate
    assert max(queue.rates) >= 10
    take(15)
    assert queue.is_over_rate
    queue.pass_time(1.0)
    assert queue.is_over_rate  # 25 came in a second that allows 10
    queue.pass_time(1.0)
    assert not queue.is_over_rate
    take(6)
    assert queue.is_over_rate


def test_what_is_sent_again_is_paid_for_by_the_time_away() -> None:
    """A client that wrote for a minute without a connection sends all of that at once, and is not slowed for it."""
    queue = SessionCore(Bounds(rate=10)).receiving
    queue.pass_time(60.0)
    queue.deliver(record(590))
    queue.take()
    assert not queue.is_over_rate
    queue.deliver(record(20))
    queue.take()
    assert queue.is_over_rate


def test_bounds_may_change() -> None:
    """New rates count from now on."""
    queue = SessionCore(Bounds(rate=10)).receiving
    queue.bound_by(Bounds(rate=1000))
    queue.deliver(record(900))
    queue.take()
    assert not queue.is_over_rate


def test_bytes_are_slowed_and_nothing_is_lost(identity: Identity) -> None:
    """A session above `max_byte_rate` is not read for a moment; it goes on, with everything in order."""
    with serving(identity, max_byte_rate=100_000) as server, joined(server) as (client,):
        arrived: list[int] = []
        server.on("n", lambda session, packet: arrived.append(len(packet.data)))
        for _ in range(5):
            client.send("n", bytes(60_000))
        until(lambda: server.stats()["limits_reached_total"]["rate"] >= 1)
        until(lambda: len(arrived) == 5)
        assert client.ping(WAIT) >= 0
        assert client.connected
