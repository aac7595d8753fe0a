"""A client that connects anew begins behind what its last session has left on the server."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from helpers import WAIT, until
from resuming import World, both_modes, resumption_of, suspended
from resuming_server import Arrival
from together import channel_of

from securelink import Client, Code, ConnectionClosed, Identity, Server, Session
from securelink.errors import ConfigError
from securelink.protocol import (
    ClientConnection,
    Failed,
    PlaintextChosen,
    Returning,
    ServerVerified,
)
from securelink.protocol.acknowledgements import Numbering
from securelink.testing import Relay
from securelink.wire.fields import Mode
from securelink.wire.messages import Welcome

MODES = pytest.mark.parametrize("encryption", ["required", "off"])


class Slow:
    """
    A server whose handlers wait until they may go on.

    Attributes:
        told: What they saw, in order.
    """

    def __init__(self, identity: Identity, **options: Any) -> None:
        self.told: list[Any] = []
        self.gate = threading.Event()
        self.sessions: list[Session] = []
        server = self.server = Server("127.0.0.1", 0, keys=identity, **options)
        server.on_connect(self._came)
        server.on_disconnect(lambda session: self.told.append(session.code))
        server.on("n", self._number)

    def _came(self, session: Session) -> None:
        self.sessions.append(session)
        self.told.append("connect")

    def _number(self, session: Session, packet: Any) -> None:
        assert self.gate.wait(WAIT)
        self.told.append(packet.data)


@contextlib.contextmanager
def slow(identity: Identity, **options: Any) -> Iterator[Slow]:
    """Such a server, which runs."""
    one = Slow(identity, **options)
    with one.server:
        yield one
        one.gate.set()


def client_of(one: Slow, **options: Any) -> Client:
    """A client of it."""
    options.setdefault("pin", one.server.fingerprint)
    return Client("127.0.0.1", options.pop("port", one.server.address[1]), **options)


def send(client: Client, *numbers: int) -> None:
    """Send them, and see that the server has them."""
    for number in numbers:
        client.send("n", number)
    client.ping(WAIT)


@MODES
def test_behind_a_session_whose_connection_broke(identity: Identity, encryption: str) -> None:
    """The server may not have noticed; the old session ends there, with its event, before the new one begins."""
    options = {"encryption": encryption} | ({"pin": None} if encryption == "off" else {})
    with slow(identity, encryption=encryption) as one:
        relay = Relay("127.0.0.1", one.server.address[1]).start()
        client = client_of(one, port=relay.port, reconnect=False, **options)
        client.connect(WAIT)
        send(client, 0, 1, 2)
        relay.lose()
        link = channel_of(client).link
        assert link is not None
        link.loop.call(link.lost)
        until(lambda: client.code == Code.BROKEN)
        until(lambda: one.sessions)  # its handler may have begun late
        assert one.sessions[0].connected
        client.connect(WAIT)
        send(client, 3, 4)
        until(lambda: one.sessions[0].ended)
        assert one.told == ["connect"]
        one.gate.set()
        until(lambda: len(one.told) == 8)
        assert one.told == ["connect", 0, 1, 2, Code.NORMAL, "connect", 3, 4]
        client.close()
        relay.stop()


def test_behind_a_session_that_was_closed_while_it_was_away(identity: Identity) -> None:
    """The server learns of the end when the client is back, and not after two minutes."""
    with slow(identity) as one:
        relay = Relay("127.0.0.1", one.server.address[1]).start()
        client = client_of(one, port=relay.port)
        client.connect(WAIT)
        send(client, 0, 1)
        target, relay.target = relay.target, ("127.0.0.1", 1)
        relay.cut()
        until(lambda: one.sessions and one.sessions[0].connected is False)
        client.close()
        relay.target = target
        client.connect(WAIT)
        send(client, 2)
        one.gate.set()
        until(lambda: len(one.told) == 6)
        assert one.told == ["connect", 0, 1, Code.NORMAL, "connect", 2]
        client.close()
        relay.stop()


def test_behind_a_session_that_was_closed_in_order(identity: Identity) -> None:
    """CLOSE is answered after two seconds, though handlers are not through: the list says so, and the order stays."""
    with slow(identity) as one:
        client = client_of(one)
        client.connect(WAIT)
        send(client, 0, 1)
        left = client.close(WAIT)
        assert [packet.data for packet in left] == [0, 1]
        client.connect(WAIT)
        send(client, 2)
        assert one.told == ["connect"]
        one.gate.set()
        until(lambda: len(one.told) == 6)
        assert one.told == ["connect", 0, 1, Code.NORMAL, "connect", 2]
        client.close()


def test_others_do_not_wait(identity: Identity) -> None:
    """Another client of the same address begins at once, and so does a client whose last session has left nothing."""
    with slow(identity) as one:
        first, second = client_of(one), client_of(one)
        first.connect(WAIT)
        send(first, 0)
        second.connect(WAIT)
        until(lambda: len(one.told) == 2)
        second.close()
        second.connect(WAIT)
        until(lambda: len(one.told) == 4)
        assert one.told == ["connect", "connect", Code.NORMAL, "connect"]
        one.gate.set()
        first.close()
        second.close()


def test_a_join_token_is_used_again(identity: Identity) -> None:
    """Who begins anew is let in as everybody is: nothing of the last session speaks for the client."""
    asked: list[Any] = []

    def admit(hello: Any) -> str:
        asked.append(hello.resumed)
        return "ann"

    with slow(identity, authenticate=admit) as one:
        client = client_of(one)
        for number in range(2):
            client.connect(WAIT)
            one.gate.set()
            send(client, number)
            client.close()
        assert asked == [None, None]
        until(lambda: one.told == ["connect", 0, Code.NORMAL, "connect", 1, Code.NORMAL])


def test_another_user_ends_nothing(identity: Identity) -> None:
    """The client logs in as somebody else: the session of the first user stays for him, until its time is over."""
    who = ["ann"]
    with slow(identity, authenticate=lambda hello: hello.credentials["user"]) as one:
        client = client_of(one, credentials=lambda *_: {"user": who[0]}, reconnect=False)
        client.connect(WAIT)
        send(client, 0)
        relay_link = channel_of(client).link
        assert relay_link is not None
        relay_link.loop.call(relay_link.lost)
        until(lambda: client.code == Code.BROKEN)
        until(lambda: one.sessions and not one.sessions[0].connected)
        who[0] = "bob"
        client.connect(WAIT)
        until(lambda: len(one.sessions) == 2)
        one.gate.set()
        until(lambda: 0 in one.told)
        assert not one.sessions[0].ended
        assert [session.user for session in one.sessions] == ["ann", "bob"]
        client.close()


@pytest.mark.pure
@both_modes
def test_the_old_session_does_not_go_on(
    mode: Mode, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that says so has broken the protocol, and one that would is stopped by its own side of it."""
    world = suspended(identity, mode)
    right = Welcome.encode
    monkeypatch.setattr(
        Welcome,
        "encode",
        lambda self: right(dataclasses.replace(self, count=0, token=bytes(15) + b"t")),
    )
    client, arrival = another(world, mode)
    (failed,) = client.receive_data(arrival.data_to_send(), 0.0)
    assert isinstance(failed, Failed)
    assert "did not ask for" in failed.error.message
    assert arrival.verified is not None
    assert arrival.verified.begins_another
    with pytest.raises(ConfigError):
        arrival.engine.may_resume(arrival.verified, Numbering())


def another(world: World, mode: Mode) -> tuple[ClientConnection, Arrival]:
    """A client that wants another session in the place of its last one: the server has welcomed it."""
    client = ClientConnection(
        mode, max_packet=2**24 - 1, resumption=resumption_of(world), returning=Returning.FOR_ANOTHER
    )
    arrival = world.server.accept()
    arrival.receive(client.data_to_send(), 0.0)
    (event,) = client.receive_data(arrival.data_to_send(), 0.0)
    assert isinstance(event, ServerVerified | PlaintextChosen)
    assert client.resumes
    client.authenticate(
        event.server,
        identity=None,
        dialled="ann",
        application="game",
        version="1",
        credentials=b"\xc0",
    )
    arrival.receive(client.data_to_send(), 0.0)
    return client, arrival


def test_another_server_has_never_heard_of_it(identity: Identity) -> None:
    """It answers with a full handshake, in the same connection."""
    with slow(identity) as one:
        client = client_of(one)
        client.connect(WAIT)
        client.close()
    with slow(identity) as other:
        client.port = other.server.address[1]
        client.connect(WAIT)
        other.gate.set()
        send(client, 7)
        client.close()
        until(lambda: other.told == ["connect", 7, Code.NORMAL])


def test_cut_again_and_again(identity: Identity) -> None:
    """A client that connects anew after each cut, while handlers lag behind: no packet overtakes an earlier one."""
    seen: list[int] = []
    server = Server("127.0.0.1", 0, keys=identity)

    @server.on("n")
    def take(session: Session, packet: Any) -> None:
        time.sleep(0.006)
        seen.append(packet.data)

    with server, contextlib.ExitStack() as stack:
        relay = Relay("127.0.0.1", server.address[1]).start()
        stack.callback(relay.stop)
        client = Client("127.0.0.1", relay.port, pin=server.fingerprint, reconnect=False)
        relay.cut_randomly(seed=5, within=12_000)
        number = 0
        for _ in range(25):
            client.connect(WAIT, retry=True)
            with contextlib.suppress(ConnectionClosed):
                for _ in range(30):
                    client.send("n", number)
                    number += 1
            relay.cut()
            until(lambda: not client.connected)
        relay.cut_randomly(None)
        client.connect(WAIT)
        client.send("n", number)
        until(lambda: number in seen)
        client.close()
    assert len(seen) > 1  # how many got through is a matter of time
    assert seen == sorted(set(seen))
