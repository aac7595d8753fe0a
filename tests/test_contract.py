"""What servers and clients promise, once for both shells: each test runs with each shell on each side."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import pytest
from helpers import WAIT, until
from shells import caller, door, of_both_sides, of_servers, say, visitor

from securelink import (
    Code,
    CodecError,
    ConfigError,
    ConnectionClosed,
    Identity,
    LimitExceeded,
    LinkTimeout,
    Refused,
    RequestFailed,
)
from securelink.testing import Relay

pytestmark = [pytest.mark.usefixtures("tidy"), of_servers, of_both_sides]


def received(client: Any, count: int = 1) -> list[Any]:
    """The next packets of a client."""
    found = []
    for _ in range(count):
        packet = client.receive(WAIT)
        assert packet is not None
        found.append((packet.action, packet.data))
    return found


def echoes(session: Any, packet: Any) -> Any:
    """Send it back, and answer with it."""
    say(session, "echo", packet.data)
    return packet.data


def test_packets_arrive_once_and_in_order(identity: Identity, ours: str, theirs: str) -> None:
    """Both ways, with data of each type."""
    many = [None, True, -(2**63), 1.5, "ü", b"\0", [1, [2]], {"a": {1: b""}}, *range(200)]
    with door(identity, ours) as server:
        server.on("echo", echoes)
        with caller(theirs, server) as client:
            for data in many:
                assert client.send("echo", data)
            assert received(client, len(many)) == [("echo", data) for data in many]


def test_requests_of_both_sides(identity: Identity, ours: str, theirs: str) -> None:
    """They are answered by what a handler returns, also one that asks the asking side meanwhile."""
    with door(identity, ours) as server:
        server.on("double", lambda session, packet: 2 * packet.data)
        server.on("who", lambda session, packet: session.request("name", packet.data, timeout=WAIT))
        with visitor(theirs, server) as client:
            client.on("name", lambda packet: ["bob", packet.data])
            client.connect()
            assert [client.request("double", number) for number in range(20)] == list(
                range(0, 40, 2)
            )
            assert client.request("who", 7) == ["bob", 7]
            until(lambda: client.token in server.sessions)
            assert server.session(client).request("name", 8) == ["bob", 8]


def test_requests_that_fail(identity: Identity, ours: str, theirs: str) -> None:
    """An error of a handler, an unknown name and a late answer are told apart; the session goes on."""

    def broken(session: Any, packet: Any) -> None:
        raise ValueError("inside")

    def late(session: Any, packet: Any) -> None:
        threading.Event().wait(0.4)

    with door(identity, ours) as server:
        server.on("broken", broken)
        server.on("late", late)
        server.on("echo", echoes)
        with caller(theirs, server) as client:
            for name, reason in (("broken", "its log says why"), ("nothing", "nothing")):
                with pytest.raises(RequestFailed, match=reason):
                    client.request(name)
            with pytest.raises(LinkTimeout):
                client.request("late", timeout=0.1)
            assert client.request("echo", 1) == 1
            assert [caught.what for caught in server.caught.take()] == ["broken"]


def test_what_cannot_be_sent(identity: Identity, ours: str, theirs: str) -> None:
    """It is an error of the call, and nothing of it leaves."""
    with door(identity, ours, max_packet=65_536) as server:
        server.on("echo", echoes)
        with caller(theirs, server, max_packet=65_536) as client:
            for data, error in (
                ({1, 2}, CodecError),
                (object(), CodecError),
                ("x" * 70_000, LimitExceeded),
            ):
                with pytest.raises(error):
                    client.send("echo", data)
                with pytest.raises(error):
                    server.broadcast("echo", data)
            for name in ("~ours", "", 5, None):
                with pytest.raises((ConfigError, CodecError)):
                    client.send(name)
            assert client.request("echo", "after") == "after"
            assert received(client) == [("echo", "after")]


def test_events_come_in_their_order(identity: Identity, ours: str, theirs: str) -> None:
    """`on_connect` before the first packet, `on_disconnect` once and last, on both sides, with the code."""
    seen: list[Any] = []
    with door(identity, ours) as server:
        server.on_connect(lambda session: seen.append("connect"))
        server.on_message(lambda session, packet: seen.append(packet.action))
        server.on_disconnect(lambda session: seen.append(session.code))
        with visitor(theirs, server) as client:
            own: list[Any] = []
            client.on_connect(lambda: own.append("connect"))
            client.on_disconnect(lambda: own.append(client.code))
            client.connect()
            client.send("a")
            client.send("b")
            assert client.close() == []
            until(lambda: len(seen) == 4 and len(own) == 2)
    assert seen == ["connect", "a", "b", Code.NORMAL]
    assert own == ["connect", Code.NORMAL]


def test_who_is_refused(identity: Identity, ours: str, theirs: str) -> None:
    """By `authenticate`, or in `on_connect`: with the words of the server, and nothing of others' packets."""

    def authenticate(hello: Any) -> Any:
        if hello.credentials != "let me in":
            raise Refused("not you")
        return "ada"

    def full(session: Any) -> None:
        raise Refused("full")

    with door(identity, ours, authenticate=authenticate) as server:
        with visitor(theirs, server, credentials="please") as client:
            with pytest.raises(Refused) as caught:
                client.connect()
            assert (caught.value.code, caught.value.text) == (Code.REFUSED, "not you")
        with caller(theirs, server, credentials="let me in") as client:
            until(lambda: client.token in server.sessions)
            assert server.sessions[client.token].user == "ada"
            server.on_connect(full)
            server.set_state("secret")
            with visitor(theirs, server, credentials="let me in") as other:
                other.connect()
                with pytest.raises(ConnectionClosed, match="full"):
                    other.receive(WAIT)
                assert other.server_state is None
            assert client.connected


def test_kicked_and_stopped(identity: Identity, ours: str, theirs: str) -> None:
    """The client hears why; what was sent before comes first, and everything afterwards is an error."""
    with (
        door(identity, ours) as server,
        caller(theirs, server) as client,
        caller(theirs, server) as other,
    ):
        until(lambda: client.token in server.sessions)
        session = server.session(client)
        session.send("last")
        session.kick("enough")
        assert received(client) == [("last", None)]
        for use, given in ((client.receive, WAIT), (client.send, "x"), (client.request, "x")):
            with pytest.raises(ConnectionClosed, match="enough") as caught:
                use(given)
            assert (caught.value.code, caught.value.clean) == (Code.KICKED, True)
        assert other.connected
        assert server.stop()
        until(lambda: other.ended)
        assert other.code == Code.SHUTDOWN


def test_broadcasts_rooms_and_state(identity: Identity, ours: str, theirs: str) -> None:
    """They reach who is meant, and nobody else; who comes later has the latest state."""
    with (
        door(identity, ours) as server,
        caller(theirs, server) as ada,
        caller(theirs, server) as bob,
    ):
        until(lambda: len(server.sessions) == 2)
        server.session(ada).join("lobby")
        assert server.room("lobby").broadcast("room", 1) == 1
        assert server.broadcast("all", 2) == 2
        assert server.broadcast("not ada", 3, exclude=[ada.token]) == 1
        assert received(ada, 2) == [("room", 1), ("all", 2)]
        assert received(bob, 2) == [("all", 2), ("not ada", 3)]
        server.set_state({"round": 1})
        server.set_state({"round": 2})
        server.broadcast("behind it")
        assert received(ada) == received(bob) == [("behind it", None)]
        assert ada.server_state == bob.server_state == {"round": 2}
        with caller(theirs, server) as late:
            until(lambda: late.token in server.sessions)
            server.broadcast("behind it", to=[late.token])
            assert received(late) == [("behind it", None)]
            assert late.server_state == {"round": 2}
        ada.set_state("ready")
        until(lambda: server.sessions[ada.token].state == "ready")


def test_waiting(identity: Identity, ours: str, theirs: str) -> None:
    """Nothing in time is None, or an error where a packet of one name was wanted; the others wait meanwhile."""
    with door(identity, ours) as server:
        server.on("echo", echoes)
        with caller(theirs, server) as client:
            assert client.receive(0.05) is None
            with pytest.raises(LinkTimeout):
                client.wait_for("echo", 0.05)
            client.send("echo", 1)
            assert client.wait_for("echo", WAIT).data == 1
            assert client.ping(WAIT) > 0


@dataclass
class Move:
    x: int
    y: int = 0


def test_declared_types(identity: Identity, ours: str, theirs: str) -> None:
    """A handler gets data of its type, and a packet with other data never reaches it."""
    with door(identity, ours) as server:
        server.on("move", Move, lambda session, packet: [packet.data.x, packet.data.y])
        with caller(theirs, server) as client:
            assert client.request("move", {"x": 3}) == [3, 0]
            with pytest.raises(RequestFailed):
                client.request("move", {"x": "three"})


def test_a_session_outlives_its_connection(identity: Identity, ours: str, theirs: str) -> None:
    """Both sides talk on over a cut: each packet once and in order, the session, its data and its user the same."""
    got: list[Any] = []
    with door(identity, ours, authenticate=lambda hello: "ada") as server:
        server.on("n", lambda session, packet: got.append(packet.data))
        with (
            Relay("127.0.0.1", server.address[1]) as relay,
            caller(theirs, server, port=relay.port) as client,
        ):
            until(lambda: client.token in server.sessions)
            session = server.session(client)
            session.inner.data["score"] = 7
            token = client.token
            for number in range(90):
                if number % 30 == 15:
                    relay.cut()
                client.send("n", number)
                session.send("n", number)
            until(lambda: len(got) == 90)
            assert received(client, 90) == [("n", number) for number in range(90)]
            assert got == list(range(90))
            assert (client.token, list(server.sessions)) == (token, [token])
            assert (session.data, session.user) == ({"score": 7}, "ada")
