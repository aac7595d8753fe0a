"""What servers and clients promise over time, once for both shells: bounds, trust, ends and returns."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import WAIT, until
from kept import Place
from ports import free_port
from programs import process, read_line
from shells import caller, door, of_both_sides, of_servers, say, visitor
from test_contract import received

from securelink import (
    Code,
    ConnectionClosed,
    Identity,
    LimitExceeded,
    LinkTimeout,
    NotTrusted,
    Refused,
    RequestFailed,
    seal,
    unseal,
)
from securelink.errors import UnsealError
from securelink.testing import Relay

pytestmark = [pytest.mark.usefixtures("tidy"), of_servers, of_both_sides]

KIB = b"x" * 1024


def ends(client: Any) -> ConnectionClosed:
    """Why the session of a client is over."""
    with pytest.raises(ConnectionClosed) as caught:
        client.receive(WAIT)
    return caught.value


def away(relay: Relay) -> None:
    """Its client loses the connection, and finds the server nowhere."""
    relay.target = ("127.0.0.1", free_port())
    relay.cut()


def test_draining(identity: Identity, ours: str, theirs: str) -> None:
    """Who leaves in time is waited for; the others hear when to come back, and do so, not before."""
    with door(identity, ours) as server, caller(theirs, server) as client:
        port = server.address[1]
        with caller(theirs, server) as other:
            done: list[bool] = []
            thread = threading.Thread(target=lambda: done.append(server.drain(WAIT)))
            thread.start()
            until(lambda: server.paused)
            client.close()
            assert other.ping(WAIT) > 0
            other.close()
            thread.join(WAIT)
            assert done == [True]
    with door(identity, ours, port=port) as server, caller(theirs, server) as client:
        told = time.monotonic()  # or later, by the clock of a client that hears it soon
        assert not server.drain(back_in=0.5)
        error = ends(client)
        assert (error.code, error.clean) == (Code.RESTART, True)
        with door(identity, ours, port=port) as following:
            client.connect(WAIT, retry=True)
            assert time.monotonic() >= told + 0.4
            until(lambda: client.token in following.sessions)


def test_rates_slow_down(identity: Identity, ours: str, theirs: str) -> None:
    """Whoever sends too much is not read for a moment: nothing is lost, nobody is ended, and it is counted."""
    got: list[int] = []
    with door(identity, ours, max_rate=20) as server, caller(theirs, server) as client:
        server.on("n", lambda session, packet: got.append(packet.data))
        for number in range(60):
            client.send("n", number)
        until(lambda: server.stats()["limits_reached_total"]["rate"] >= 1)
        assert client.ping(WAIT) > 0
        until(lambda: len(got) == 60)
        assert got == list(range(60))
        assert client.connected


def test_limits_are_errors_and_are_shown(identity: Identity, ours: str, theirs: str) -> None:
    """What is one too many names its limit, and nothing has happened then; `limits()` says what is used."""
    bounds = {"max_rooms": 2, "max_rooms_per_session": 2, "room_capacity": 1, "max_connections": 3}
    with (
        door(identity, ours, **bounds) as server,
        caller(theirs, server) as ada,
        caller(theirs, server) as bob,
    ):
        until(lambda: len(server.sessions) == 2)
        server.session(ada).join("one")
        server.session(ada).join("two")
        for client, room, limit in (
            (ada, "three", "max_rooms_per_session"),
            (bob, "three", "max_rooms"),
            (bob, "one", "room_capacity"),
        ):
            with pytest.raises(LimitExceeded) as caught:
                server.session(client).join(room)
            assert caught.value.limit == limit
        assert server.session(bob).rooms == []
        limits = server.limits()
        assert {name: limits[name].used for name in bounds} == {
            "max_rooms": 2, "max_rooms_per_session": 2, "room_capacity": 1, "max_connections": 2
        }  # fmt: skip
        assert {name: limits[name].most for name in bounds} == bounds
        with caller(theirs, server), visitor(theirs, server) as late:
            with pytest.raises(Exception, match="no room for another connection"):
                late.connect()
            assert ada.ping(WAIT) > 0


def test_sealed_packets(
    identity: Identity, other_identity: Identity, ours: str, theirs: str
) -> None:
    """A server passes on what it cannot read, and who it is for can; nobody else."""
    kept: list[bytes] = []
    with (
        door(identity, ours) as server,
        caller(theirs, server) as ada,
        caller(theirs, server) as bob,
    ):
        server.on("keep", lambda session, packet: kept.append(packet.data))
        server.on("fetch", lambda session, packet: kept.pop())
        ada.send("keep", seal(("note", "at eight"), other_identity.public, sender=identity))
        until(lambda: kept)
        assert b"at eight" not in kept[0]
        with pytest.raises(UnsealError):
            unseal(kept[0], identity, sender=identity.public)
        opened = unseal(bob.request("fetch"), other_identity, sender=identity.public)
        assert (opened.packet.action, opened.packet.data) == ("note", "at eight")


def test_invites(identity: Identity, ours: str, theirs: str) -> None:
    """One line of text has the address, the key and a token, which admits as often as it says."""
    with door(identity, ours, authenticate="tokens") as server:
        invite = server.invite(user="ada", uses=1)
        with caller(theirs, server, invite=invite) as client:
            until(lambda: client.token in server.sessions)
            assert server.sessions[client.token].user == "ada"
            with visitor(theirs, server, invite=invite) as other, pytest.raises(Refused):
                other.connect()
            with visitor(theirs, server) as other, pytest.raises(Refused):
                other.connect()
            assert client.ping(WAIT) > 0


def test_trust(
    identity: Identity, other_identity: Identity, ours: str, theirs: str, tmp_path: Path
) -> None:
    """A server that is met is known; its key may not change, by a pin, by an invite or by that memory."""
    known = tmp_path / "known_servers"
    with door(identity, ours) as server:
        port, invite = server.address[1], server.invite()
        with visitor(theirs, server, pin=None, known_servers=known, trust="known") as client:
            with pytest.raises(NotTrusted):
                client.connect()
            assert not client.connected
        with caller(theirs, server, pin=None, known_servers=known) as client:
            assert client.server_fingerprint == identity.fingerprint
        with caller(theirs, server, pin=None, known_servers=known, trust="known"):
            pass
    with door(other_identity, ours, port=port) as server:
        for options in (
            {"pin": None, "known_servers": known},
            {"pin": identity.fingerprint, "known_servers": tmp_path / "others"},
            {"invite": invite, "known_servers": tmp_path / "others"},
        ):
            with visitor(theirs, server, **options) as client:
                with pytest.raises(NotTrusted) as caught:
                    client.connect()
                assert caught.value.fingerprint == other_identity.fingerprint
        assert not server.sessions


#: A server in a process of its own, to be killed: it counts in `session.data`, and tells everybody each number.
MORTAL = """
import asyncio, sys, time
from securelink import Server, aio

def bind(server):
    @server.on("count")
    def count(session, packet):
        session.data["count"] = session.data.get("count", 0) + 1
        for other in server.sessions.values():
            getattr(other, "send_nowait", other.send)("told", packet.data)
        return session.data["count"]

async def serve(options):
    async with aio.Server("127.0.0.1", **options) as server:
        bind(server)
        print(server.address[1], flush=True)
        await asyncio.sleep(600)

shell, port, keys, state = sys.argv[1:]
options = {"port": int(port), "keys": keys, "state": state, "resume": 300}
if shell == "asyncio":
    asyncio.run(serve(options))
else:
    with Server("127.0.0.1", **options) as server:
        bind(server)
        print(server.address[1], flush=True)
        time.sleep(600)
"""


def test_killed_with_packets_that_were_not_taken(place: Place, ours: str, theirs: str) -> None:
    """With `state=` the next process has the session, its data and what waited: each packet once and in order."""
    port = free_port()

    class There:  # what clients have to know of it
        fingerprint = place.identity.fingerprint
        address = ("127.0.0.1", port)

    there: Any = There
    arguments = (MORTAL, ours, str(port), str(place.keys), str(place.path))
    with (
        Relay("127.0.0.1", port) as relay,
        process(*arguments) as first,
    ):
        assert read_line(first) == str(port)
        with caller(theirs, there, port=relay.port) as ada, caller(theirs, there) as bob:
            token = ada.token
            assert ada.request("count", 0) == 1
            assert received(ada) == received(bob) == [("told", 0)]
            away(relay)
            until(lambda: not ada.connected)
            assert [bob.request("count", number) for number in range(1, 10)] == list(range(1, 10))
            first.kill()
            first.wait(WAIT)
            with process(*arguments) as second:
                assert read_line(second) == str(port)
                relay.target = ("127.0.0.1", port)
                assert received(ada, 9) == [("told", number) for number in range(1, 10)]
                assert received(bob, 9) == [("told", number) for number in range(1, 10)]
                assert ada.request("count", 10, timeout=WAIT) == 2
                assert bob.request("count", 11, timeout=WAIT) == 10
                assert received(ada, 2) == [("told", 10), ("told", 11)]
                assert ada.token == token
                ada.close()
                bob.close()


def test_kicked_with_a_reason(identity: Identity, ours: str, theirs: str) -> None:
    """Both sides have the code and the words, and the client's request that waits fails with them."""
    gone: list[Any] = []
    with door(identity, ours) as server, visitor(theirs, server) as client:
        server.on("kick me", lambda session, packet: session.kick("you asked for it"))
        server.on_disconnect(lambda session: gone.append((session.code, session.text)))
        own: list[Any] = []
        client.on_disconnect(lambda: own.append((client.code, client.text, client.clean)))
        client.connect()
        with pytest.raises(ConnectionClosed) as caught:
            client.request("kick me", timeout=WAIT)
        assert (caught.value.code, "you asked for it" in str(caught.value)) == (Code.KICKED, True)
        until(lambda: gone and own)
        assert gone == [(Code.KICKED, "you asked for it")]
        assert own == [(Code.KICKED, "you asked for it", True)]
        assert not server.sessions


def test_requests_that_are_refused(identity: Identity, ours: str, theirs: str) -> None:
    """A handler of either side refuses with words, and the session goes on."""

    def refuses(*arguments: Any) -> None:
        raise RequestFailed("not now")

    with door(identity, ours) as server, visitor(theirs, server) as client:
        server.on("ask", refuses)
        client.on("ask", refuses)
        client.connect()
        until(lambda: client.token in server.sessions)
        for asking in (client, server.session(client)):
            with pytest.raises(RequestFailed) as caught:
                asking.request("ask", timeout=WAIT)
            assert (caught.value.reason, caught.value.text) == ("refused", "not now")
        assert client.ping(WAIT) > 0
        assert server.caught.take() == []


def test_broadcasts_keep_their_order(identity: Identity, ours: str, theirs: str) -> None:
    """With what handlers, rooms and others send to the same session; who has left a room hears nothing of it."""

    def spread(session: Any, packet: Any) -> None:
        session.join("lobby")
        for number in range(0, 30, 3):
            say(session, "n", number)
            server.inner.broadcast("n", number + 1)
            server.inner.room("lobby").broadcast("n", number + 2)
        session.leave("lobby")
        server.inner.room("lobby").broadcast("n", "after")

    with (
        door(identity, ours) as server,
        caller(theirs, server) as ada,
        caller(theirs, server) as bob,
    ):
        until(lambda: len(server.sessions) == 2)
        server.session(bob).join("lobby")
        server.on("spread", spread)
        ada.request("spread", timeout=WAIT)
        assert received(ada, 30) == [("n", number) for number in range(30)]
        assert received(bob, 21) == [
            *(("n", number) for number in range(30) if number % 3), ("n", "after")
        ]  # fmt: skip
        assert ada.receive(0.05) is None


@pytest.fixture
def relay() -> Iterator[Relay]:
    """Not started before it has a target."""
    made = Relay("127.0.0.1", 1)
    made.start()
    yield made
    made.stop()


def test_back_pressure(identity: Identity, relay: Relay, ours: str, theirs: str) -> None:
    """Without room a `send` waits, or drops, as is said; what was taken arrives in order when there is some again."""
    with door(identity, ours, max_unsent=64 * 1024) as server:
        relay.target = server.address
        with caller(theirs, server, port=relay.port) as client:
            until(lambda: client.token in server.sessions)
            session = server.session(client)
            away(relay)
            until(lambda: not session.connected)
            taken = 0
            while session.send("n", [taken, KIB], full="drop"):
                taken += 1
            assert 32 < taken < 128
            with pytest.raises(LinkTimeout):
                session.send("n", [taken, KIB], timeout=0.05)
            pressure = session.pressure
            assert (pressure.dropped, pressure.blocked) == (1, 1)
            assert server.limits()["max_unsent"].used == pressure.unsent > 60 * 1024
            sent: list[bool] = []
            waits = threading.Thread(
                target=lambda: sent.append(session.send("n", [taken, KIB], timeout=WAIT))
            )
            waits.start()
            until(lambda: session.pressure.blocked == 2)
            relay.target = server.address
            waits.join(WAIT)
            assert sent == [True]
            numbers = [data[0] for _, data in received(client, taken + 1)]
            assert numbers == list(range(taken + 1))


def test_ticks(identity: Identity, ours: str, theirs: str) -> None:
    """They come while nobody does anything, one after the other, until they are switched off; errors end none."""
    seen: list[int] = []

    def tick() -> None:
        seen.append(len(seen))
        server.inner.broadcast("tick", seen[-1])
        if len(seen) == 3:
            raise ValueError("inside")

    with door(identity, ours, tick_rate=100) as server, caller(theirs, server) as client:
        server.on_tick(tick)
        numbers = [data for _, data in received(client, 6)]
        assert numbers == list(range(numbers[0], numbers[0] + 6))
        server.inner.tick_rate = None
        client.ping(WAIT)  # behind what was due
        until(lambda: client.receive(0.2) is None)
        stopped = len(seen)
        assert client.receive(0.1) is None
        assert len(seen) == stopped
        assert [caught.what for caught in server.caught.take()] == ["on_tick"]
