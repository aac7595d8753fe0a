"""What `Session`, `Client` and `Server` show of themselves."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from helpers import until
from together import joined, serving, session_of, shows

from securelink import ConfigError, Identity, Room, Server, Session
from securelink.app.fanout import Fanout
from securelink.session import local_fanout

pytestmark = pytest.mark.usefixtures("tidy")

#: What an application does with a session, and knows of it.
OFFERED = {
    "address",
    "clean",
    "code",
    "connected",
    "connected_at",
    "data",
    "dialled",
    "encrypted",
    "ended",
    "fingerprint",
    "grace",
    "info",
    "join",
    "kick",
    "leave",
    "mute",
    "muted",
    "operator",
    "ping",
    "pressure",
    "reason",
    "request",
    "request_later",
    "restarted",
    "rooms",
    "rtt",
    "send",
    "set_state",
    "state",
    "text",
    "token",
    "unconfirmed",
    "unmute",
    "user",
}


def test_a_session_shows_what_applications_need() -> None:
    """Nothing of the machinery that carries it stands among its names."""
    assert {name for name in dir(Session) if not name.startswith("_")} == OFFERED


def test_a_session_is_no_handler(identity: Identity) -> None:
    """Bound by mistake it is refused, as everything without a `run` is."""
    with serving(identity) as server, joined(server) as (client,), pytest.raises(ConfigError):
        server.on("x", session_of(server, client))  # type: ignore[call-overload]  # refused


def test_a_session_that_is_dropped_after_its_end_is_gone(identity: Identity) -> None:
    """Session and channel hold each other only while there are packets: no work for the garbage collector."""
    gone: list[weakref.ref[Session]] = []
    with serving(identity) as server:
        server.on_disconnect(lambda session: gone.append(weakref.ref(session)))
        gc.collect()
        gc.disable()
        try:
            with joined(server):
                pass
            until(lambda: gone)
            until(lambda: gone[0]() is None)
        finally:
            gc.enable()


class Joint(Fanout[Session]):
    """Sends to the sessions of several servers, as that of a cluster would: each has a registry of its own."""

    def __init__(self, own: Fanout[Session]) -> None:
        self.registry = own.registry
        self.own, self.all = own, [self]

    def send(self, encoded: bytes, *, to: Any = None, **chosen: Any) -> int:
        """To the receivers among the sessions of each server; a room is known by its name."""
        return sum(
            one.own.send(
                encoded, to=one.rooms.get(to.name) if isinstance(to, Room) else to, **chosen
            )
            for one in self.all
        )

    def set_state(self, encoded: bytes) -> None:
        """To all sessions of each server."""
        for one in self.all:
            one.own.set_state(encoded)

    def greet(self, outlet: Any) -> None:
        """The state that a new session here has missed."""
        self.own.greet(outlet)


def test_a_server_is_given_what_sends_to_many(identity: Identity) -> None:
    """Two servers whose fan-outs know each other are one to those who are sent to, by token and with state too."""
    here, there = Joint(local_fanout(Session)), Joint(local_fanout(Session))
    here.all = there.all = [here, there]
    with (
        Server("127.0.0.1", 0, keys=identity, fanout=here) as first,
        Server("127.0.0.1", 0, keys=identity, fanout=there) as second,
        joined(first) as (ada,),
        joined(second) as (bob,),
    ):
        until(lambda: len(first.sessions) == len(second.sessions) == 1)
        assert first.broadcast("said", 1) == 2
        assert first.broadcast("said", 2, to=bob.token) == 1
        assert second.broadcast("said", 3, exclude=[bob.token]) == 1
        assert [ada.wait_for("said", 30).data for _ in range(2)] == [1, 3]
        assert [bob.wait_for("said", 30).data for _ in range(2)] == [1, 2]
        session_of(first, ada).join("red")
        session_of(second, bob).join("red")
        assert second.room("red").broadcast("said", 4) == 2
        assert second.broadcast("said", 5, to=second.room("red"), exclude=[bob.token]) == 1
        assert [ada.wait_for("said", 30).data for _ in range(2)] == [4, 5]
        assert bob.wait_for("said", 30).data == 4
        second.set_state("night")
        for client in (ada, bob):
            shows(client, "night")
