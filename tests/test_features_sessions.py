"""Features of the predecessors under our own names: whom packets are sent to, and what is known of sessions."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from helpers import SOON, WAIT, failure, until
from kept import only
from together import joined, serving, take

from securelink import (
    ConfigError,
    ConnectionClosed,
    Identity,
    LimitExceeded,
    Packet,
    Received,
    Session,
)
from securelink.wire.packets import decode_packets, encode_packet, join_packets

pytestmark = pytest.mark.usefixtures("tidy")


# --- whom it is sent to --------------------------------------------------------------------------------------------


def test_one_some_all_and_all_but(identity: Identity) -> None:
    """By session or by token; who has gone is passed over."""
    with serving(identity) as server, joined(server, 3) as (first, second, third):
        sessions = server.sessions
        one, two, three = (sessions[client.token] for client in (first, second, third))
        one.send("to", "one")
        assert server.broadcast("to", "some", to=[one, second.token]) == 2
        assert server.broadcast("to", "all") == 3
        assert server.broadcast("to", "most", exclude=[third.token]) == 2
        assert server.broadcast("to", "most", exclude=[three]) == 2
        assert take(first, 5) == ["one", "some", "all", "most", "most"]
        assert take(second, 4) == ["some", "all", "most", "most"]
        assert take(third) == ["all"]
        first.close()
        until(lambda: len(server.sessions) == 2)
        assert server.broadcast("to", "all", to=[one, two, "nobody"]) == 1
        assert take(second) == ["all"]
        with pytest.raises(ConnectionClosed):
            one.send("to", "nobody")


def test_a_room_can_be_given_where_sessions_can(identity: Identity) -> None:
    """As those to whom it goes, and as those who are left out; what is neither is refused with what to write."""
    with serving(identity) as server, joined(server, 3) as clients:
        one, two, _ = (server.sessions[client.token] for client in clients)
        one.join("red")
        two.join("red")
        red = server.room("red")
        assert server.broadcast("to", "red", to=red) == red.broadcast("to", "red") == 2
        assert server.broadcast("to", "others", exclude=red) == 1
        assert server.broadcast("to", "one", to=red, exclude=[two]) == 1
        assert server.broadcast("to", "none", to=server.room("empty")) == 0
        assert [take(client, count) for client, count in zip(clients, (3, 2, 1), strict=True)] == [
            ["red", "red", "one"],
            ["red", "red"],
            ["others"],
        ]
        wrong: list[Any] = [5, [one, 5], [red]]
        for given in wrong:
            with pytest.raises(ConfigError, match=r"to= .*sessions or their tokens"):
                server.broadcast("to", to=given)
            with pytest.raises(ConfigError, match=r"exclude= .*sessions or their tokens"):
                red.broadcast("to", exclude=given)


def test_replying_and_relaying(identity: Identity) -> None:
    """A handler answers its sender, and passes on what it says to the others."""
    with serving(identity) as server:

        @server.on("say")
        def say(session: Session, packet: Received) -> None:
            session.send("thanks")
            server.broadcast("said", packet.data, exclude=[session])

        with joined(server, 3) as (speaker, *others):
            speaker.send("say", "hello")
            reply = speaker.receive(WAIT)
            assert reply is not None
            assert reply.action == "thanks"
            for other in others:
                assert take(other) == ["hello"]
            assert speaker.receive(0.02) is None


def test_rooms(identity: Identity) -> None:
    """Who is in a room hears what is said there; the room ends with its last member."""
    with serving(identity, room_capacity=2) as server, joined(server, 3) as clients:
        first, second, third = (server.sessions[client.token] for client in clients)
        for session in (first, second):
            session.join("red")
        with pytest.raises(LimitExceeded, match="full"):
            third.join("red")
        room = server.room("red")
        assert (list(room), len(room), first in room, third in room) == (
            [first, second],
            2,
            True,
            False,
        )
        assert room.broadcast("note", "red", exclude=[first]) == 1
        assert take(clients[1]) == ["red"]
        assert (server.rooms, first.rooms, third.rooms) == (["red"], ["red"], [])
        assert first.leave("red")
        assert not first.leave("red")
        clients[1].close()
        until(lambda: server.rooms == [])


def test_kicking_muting_and_probing(identity: Identity) -> None:
    """One session is told nothing for a while, is asked whether it lives, and is sent away with a reason."""
    with serving(identity) as server, joined(server) as (client,):
        session = only(server)
        assert 0 < session.ping() < SOON
        assert 0 < client.ping() < SOON
        session.mute()
        assert session.muted
        session.send("note", "unheard")
        session.unmute()
        session.send("note", "heard")
        assert take(client) == ["heard"]
        session.kick("too loud")
        with pytest.raises(ConnectionClosed, match="too loud") as ended:
            client.receive(WAIT)
        assert ended.value.text == "too loud"
        until(lambda: not session.connected)
        with pytest.raises(ConnectionClosed):
            session.ping()


# --- what is known ---------------------------------------------------------------------------------------------------


def test_the_registry(identity: Identity) -> None:
    """By token, address and user; in the order of arrival, so the latest is the last and any is a random one."""
    users = {"a": "ada", "b": "bob"}
    with serving(identity, authenticate=lambda hello: users[hello.credentials]) as server:
        assert len(server.sessions) == 0
        before = time.time()
        with joined(server, credentials="a") as (ada,), joined(server, credentials="b") as (bob,):
            until(lambda: len(server.sessions) == 2)
            sessions = server.sessions
            assert list(sessions) == [ada.token, bob.token]
            latest = list(sessions.values())[-1]
            assert (latest.user, latest.token) == ("bob", bob.token)
            assert random.choice(list(sessions.values())).user in ("ada", "bob")
            assert server.find(user="ada") == [sessions[ada.token]]
            assert server.find(address=latest.address) == [latest]
            assert server.find(user="eve") == []
            assert server.find(bob.token) == server.find(bob.token, user="bob") == [latest]
            assert server.find(bob.token, user="ada") == server.find("unknown") == []
            failure(ConfigError, lambda: server.find(latest), r"token= is")  # type: ignore[arg-type]
            assert before <= latest.connected_at <= time.time()
            latest.data["score"] = 5
            assert server.sessions[bob.token].data == {"score": 5}
        until(lambda: len(server.sessions) == 0)


def test_what_is_known_of_a_session(identity: Identity) -> None:
    """All of it as a dict of plain values; texts that show who it is and no secret."""
    with serving(identity) as server, joined(server) as (client,):
        session = only(server)
        session.join("red")
        info = session.info()
        assert (info["token"], info["host"], info["port"]) == (client.token, *session.address)
        assert (info["rooms"], info["muted"], info["connected"]) == (["red"], False, True)
        assert info["encrypted"] is True is client.encrypted
        decode_packets(join_packets([encode_packet(Packet("info", info))]))
        assert session.token in repr(session)
        assert repr(client) == f"<Client of 127.0.0.1:{server.address[1]}, connected>"
        assert repr(server.room("red")) == "<Room 'red', 1 members>"


def test_who_the_server_is(identity: Identity) -> None:
    """A server is named by the fingerprint of its key, which the client has verified; addresses on both sides."""
    with serving(identity) as server, joined(server) as (client,):
        assert client.server_fingerprint == server.fingerprint == identity.fingerprint
        assert (client.host, client.port) == server.address
        assert only(server).address[0] == "127.0.0.1"


def test_thread_overview(identity: Identity) -> None:
    """The server's threads by name, and how many; none is left after it."""
    with serving(identity) as server, joined(server) as (client,):
        client.ping()
        port = server.address[1]
        assert server.threads
        assert all(name.startswith(f"securelink-server-{port}-") for name in server.threads)
        stats = server.stats()
        assert (stats["sessions"], stats["running"]) == (1, True)
        # A busy machine may make it start another one between two looks.
        until(lambda: server.stats()["threads"] == len(server.threads))
    assert server.threads == []
