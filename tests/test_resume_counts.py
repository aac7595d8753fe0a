"""What the two sides may say of a session that goes on: counts that can be, and the same session."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from inside import grants_of, handshake_of
from resuming import OFF, OPTIONAL, REQUIRED, World, both_modes, grants, suspended
from resuming_server import Server

from securelink.errors import ProtocolError, RecordError
from securelink.keys import Identity
from securelink.limits import MAX_PACKET
from securelink.protocol import (
    Opened,
    ServerConnection,
    VerifiedClient,
)
from securelink.protocol.handshake_server import ServerHandshake
from securelink.wire.fields import Mode
from securelink.wire.messages import ServerHello, Welcome

# --- counts ----------------------------------------------------------------------------------------------


@both_modes
@pytest.mark.parametrize(
    ("who", "count"), [("client", 2), ("client", 0), ("server", 2), ("server", 0)]
)
def test_a_count_that_cannot_be(who: str, count: int, mode: Mode, identity: Identity) -> None:
    """More than was sent, or less than was acknowledged: an error of whoever says so, and nothing has changed."""
    world = World(identity, mode)
    world.connect()
    world.client.say("a")
    world.server.say(world.held, "A")
    world.settle()
    world.pass_time(5.0)
    world.cut()
    held = world.held
    sides = {"client": world.client.core, "server": held.core}
    assert all(core.numbering.outgoing.acknowledged == 1 for core in sides.values())
    sides[who].numbering.incoming.accepted = count
    world.connect()
    error = world.arrival.failed if who == "client" else world.client.failed
    assert isinstance(error, ProtocolError)
    assert f"has accepted {count} records after 1, of 1 sent" in error.message
    assert "went back in time" in error.hint
    if who == "client":
        assert held.core.connection is None
        assert grants(world.server) == 1
        sides[who].numbering.incoming.accepted = 1
        world.connect()
        assert world.client.opened[-1]


@both_modes
def test_a_count_does_not_fall_from_resume_to_resume(mode: Mode, identity: Identity) -> None:
    """What a side said once that it had accepted it has accepted, acknowledged or not."""
    world = World(identity, mode)
    world.connect()
    world.server.say(world.held, "A")
    world.settle()
    world.cut()
    world.connect()
    world.cut()
    assert world.held.core.numbering.outgoing.acknowledged == 0
    world.client.core.numbering.incoming.accepted -= 1
    world.connect()
    assert isinstance(world.arrival.failed, ProtocolError)
    assert "after 1, of 1" in world.arrival.failed.message


@both_modes
def test_what_is_not_sent_again_yet_is_not_acknowledged(mode: Mode, identity: Identity) -> None:
    """An acknowledgement of records that still wait to be sent again is one of records that were never sent."""
    world = World(identity, mode)
    world.connect()
    world.server.say(world.held, "A")
    world.arrival.data_to_send()
    world.server.say(world.held, "B")
    world.arrival.data_to_send()
    world.cut()
    held = world.held
    world.dial()
    world.collect()
    while held.core.connection is None:
        up, world.up = world.up, b""
        world.arrival.receive(up, world.now)
        if held.core.connection is None:
            world.client.receive(world.arrival.data_to_send(), world.now)
            world.up = world.client.data_to_send()
    outgoing = held.core.numbering.outgoing
    assert (outgoing.sent, len(outgoing.again)) == (2, 2)
    with pytest.raises(ProtocolError, match="acknowledges 1 records after 0, of 0 sent"):
        outgoing.acknowledge(1)
    world.settle()
    world.pass_time(5.0)
    assert outgoing.acknowledged == 2


# --- what a server may say -------------------------------------------------------------------------------


def settled_with(world: World, change: Callable[[Welcome], Welcome]) -> None:
    """An attempt in which the server says another WELCOME."""
    say = ServerConnection._say_welcome  # noqa: SLF001  # no server of ours says anything else
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            ServerConnection, "_say_welcome", lambda engine, welcome: say(engine, change(welcome))
        )
        world.settle()


@both_modes
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"token": bytes(range(16))}, "another session"),
        ({"max_packet": MAX_PACKET - 1}, "another session"),
        ({"count": 7}, "has accepted 7 records"),
    ],
)
@pytest.mark.pure
def test_another_session_than_the_one_asked_for(
    changes: dict[str, Any], message: str, mode: Mode, identity: Identity
) -> None:
    """A session goes on as itself: same token, same limit, a count that can be."""
    world = suspended(identity, mode)
    world.dial()
    settled_with(world, lambda w: dataclasses.replace(w, **changes))
    assert isinstance(world.client.failed, ProtocolError)
    assert message in world.client.failed.message
    assert not any(isinstance(event, Opened) and event.resumed for event in world.client.events)


@both_modes
@pytest.mark.pure
def test_a_resume_that_nobody_asked_for(mode: Mode, identity: Identity) -> None:
    """WELCOME goes on with a session only in a connection whose ticket was shown and taken."""
    for unknown in (False, True):
        world = suspended(identity, mode)
        if unknown:
            world.server = Server(identity, mode)
        else:
            world.client.resumption = None
        world.dial()
        settled_with(world, lambda w: dataclasses.replace(w, count=0))
        assert isinstance(world.client.failed, ProtocolError)
        assert "did not ask for" in world.client.failed.message


@both_modes
def test_an_answer_to_a_ticket_that_was_not_shown(mode: Mode, identity: Identity) -> None:
    """`resumed` in SERVER_HELLO stands there exactly if a ticket was shown."""
    share = bytes(1088) + b"\x09" + bytes(31) if mode == REQUIRED else None
    for asked, resumed in ((False, True), (False, False), (True, None)):
        world = suspended(identity, mode)
        if not asked:
            world.client.resumption = None
        world.dial()
        body = ServerHello(mode == REQUIRED, bytes(32), share, resumed).encode()
        world.client.receive(b"\x02" + len(body).to_bytes(3) + body, world.now)
        assert isinstance(world.client.failed, ProtocolError)
        assert "answers a ticket that was not shown, or not at all" in world.client.failed.message


def test_a_resume_in_another_mode_is_refused(identity: Identity) -> None:
    """A server that takes the ticket of one mode in the other is not believed."""
    share = bytes(1088) + b"\x09" + bytes(31)
    for began in (REQUIRED, OFF):
        world = suspended(identity, began)
        world.client.mode = OPTIONAL
        world.dial()
        encrypted = began == OFF
        body = ServerHello(encrypted, bytes(32), share if encrypted else None, True).encode()
        world.client.receive(b"\x02" + len(body).to_bytes(3) + body, world.now)
        assert isinstance(world.client.failed, ProtocolError)
        assert "another mode" in world.client.failed.message


def test_a_server_without_the_psk(identity: Identity) -> None:
    """Who says that it resumes and has not the PSK cannot compute Finished."""
    world = suspended(identity)
    world.dial()
    hello = world.client.data_to_send()
    impostor = Server(identity).accept().engine
    impostor.receive_data(hello, world.now)
    (grant,) = grants_of(world.server.table).values()
    handshake = handshake_of(impostor)
    assert isinstance(handshake, ServerHandshake)
    # It cannot check the binder, and takes the ticket all the same.
    handshake._grant = dataclasses.replace(grant, psk=bytes(32))  # noqa: SLF001  # see above
    impostor.begin_answer()
    impostor.finish_answer(None)
    world.client.receive(impostor.data_to_send(), world.now)
    assert isinstance(world.client.failed, RecordError)


@both_modes
def test_a_session_that_is_not_resumed_is_another(
    mode: Mode, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the old session had for the server stays there, and what comes in the new one is not counted in the old."""
    world = suspended(identity, mode)
    old = world.client.core
    accepted = old.numbering.incoming.accepted
    world.server = Server(identity, mode)
    world.dial()
    arrival = world.arrival
    decide = arrival.decide

    def decide_and_speak(verified: VerifiedClient) -> None:
        decide(verified)
        assert arrival.held is not None
        world.server.say(arrival.held, "hello")

    monkeypatch.setattr(arrival, "decide", decide_and_speak)
    world.settle()
    assert world.client.handled == [["A"], ["hello"]]
    assert old.numbering.incoming.accepted == accepted
    assert old.connection is None
    assert old.data_to_send() == b""
    assert world.client.lost == [["a", "b"]]
    assert world.client.core.numbering.incoming.accepted == 1
    assert world.held.handled == []
