"""A session goes on in another process of its client, which has nothing of it but the ticket."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from resuming import World, both_modes, grants, suspended

from securelink.errors import ConfigError, ProtocolError
from securelink.keys import Identity
from securelink.limits import MAX_COUNT
from securelink.protocol import (
    ClientConnection,
    PlaintextChosen,
    Returning,
    ServerConnection,
    ServerVerified,
    SessionCore,
)
from securelink.protocol.bounds import Bounds
from securelink.wire.fields import Mode
from securelink.wire.messages import NO_MEMORY, Welcome


def talked(mode: Mode, identity: Identity) -> World:
    """A session that has lost its client: of each side one packet is acknowledged and one is on its way."""
    world = World(identity, mode)
    world.connect()
    world.client.say("a")
    world.server.say(world.held, "A")
    world.settle()
    world.pass_time(5.0)
    world.client.say("b")
    world.server.say(world.held, "B")
    return world


@both_modes
def test_it_goes_on_where_the_server_is(mode: Mode, identity: Identity) -> None:
    """What was not acknowledged comes again, what was is not; both counts go on, over any number of connections."""
    world = talked(mode, identity)
    world.collect()  # the server's is on the wire, and lost there
    world.cut()
    world.client.die()
    world.client.say("c")
    world.connect()
    assert world.client.opened[-1] is True
    assert world.client.handled == [["A", "B"]]
    assert world.held.handled == ["a", "c"]  # "b" was lost with the process that had it
    outgoing, incoming = world.client.core.numbering.outgoing, world.client.core.numbering.incoming
    assert (outgoing.sent, incoming.accepted) == (2, 2)
    world.client.say("d")
    world.server.say(world.held, "D")
    world.collect()
    world.cut()
    world.connect()  # with memory now: both come again, and come once
    world.pass_time(5.0)
    assert world.client.handled == [["A", "B", "D"]]
    assert world.held.handled == ["a", "c", "d"]
    assert outgoing.acknowledged == 3
    assert world.held.core.numbering.outgoing.acknowledged == 3
    assert outgoing.kept == world.held.core.numbering.outgoing.kept == 0


@both_modes
def test_what_it_had_handled_and_not_acknowledged_comes_twice(
    mode: Mode, identity: Identity
) -> None:
    """Nobody knows that the dead process had it: the next one gets it too, and what it has is a piece without gaps."""
    world = talked(mode, identity)
    world.settle()  # both are handled, and not acknowledged yet
    assert world.client.handled == [["A", "B"]]
    world.cut()
    world.client.die()
    world.connect()
    assert world.client.handled == [["A", "B", "B"]]
    assert world.held.handled == ["a", "b"]


@both_modes
def test_more_was_stated_than_is_acknowledged(mode: Mode, identity: Identity) -> None:
    """The dead process had stated a higher count in an earlier resume: that is forgotten with it."""
    world = talked(mode, identity)
    world.settle()
    world.cut()
    world.connect()  # it states 2, of which 1 is acknowledged
    world.cut()
    world.client.die()
    world.connect()
    assert world.client.handled == [["A", "B", "B"]]
    world.pass_time(5.0)
    assert world.held.core.numbering.outgoing.acknowledged == 2


@both_modes
def test_it_dies_at_each_byte(mode: Mode, identity: Identity) -> None:
    """Wherever the second process dies too, the third one goes on, and the server's packets have no gap."""
    whole = None
    budget = 0
    while whole is None or budget < whole:
        world = talked(mode, identity)
        world.cut()
        world.client.die()
        world.dial()
        left = world.settle(budget)
        if left:
            whole = budget
        world.cut()
        world.client.die()
        world.connect()
        assert world.client.opened[-1] is True
        assert world.client.handled[-1][-1] == "B"
        assert world.held.handled == ["a"]
        assert grants(world.server) == 1
        budget += 97


@both_modes
def test_a_ticket_that_is_not_good_any_more(mode: Mode, identity: Identity) -> None:
    """The session is over: another one begins, in the same connection."""
    world = talked(mode, identity)
    world.cut()
    world.pass_time(300.0)
    world.client.die()
    world.connect()
    assert world.client.opened[-1] is False
    world.client.say("new")
    world.settle()
    assert world.held.handled == ["new"]


@both_modes
def test_who_has_no_memory_attaches_nothing(mode: Mode, identity: Identity) -> None:
    """A session that is to go on and is not attached is still an error for who has not said that it is forgotten."""
    world = suspended(identity, mode)
    resumption = world.client.resumption
    for returning in (Returning.TO_GO_ON, Returning.WITHOUT_MEMORY):
        client = ClientConnection(mode, max_packet=2**24 - 1, resumption=resumption, returning=returning)  # fmt: skip
        arrival = world.server.accept()
        arrival.receive(client.data_to_send(), 0.0)
        (event,) = client.receive_data(arrival.data_to_send(), 0.0)
        assert isinstance(event, ServerVerified | PlaintextChosen)
        given: dict[str, Any] = {
            "identity": None,
            "dialled": "ann",
            "application": "game",
            "version": "1",
            "credentials": b"\xc0",
        }
        if returning is Returning.TO_GO_ON:
            with pytest.raises(ConfigError, match="no session to resume"):
                client.authenticate(event.server, **given)
            continue
        client.authenticate(event.server, **given)
        arrival.receive(client.data_to_send(), 0.0)
        client.receive_data(arrival.data_to_send(), 0.0)
        core = SessionCore(Bounds(), numbering=client.numbering)
        core.attach(client)
        core.reconsider(0.0)
        core.receive_data(arrival.data_to_send(), 0.0)
        assert len(core.receiving.items) == 2  # "A", which was not acknowledged, and "B"


@both_modes
@pytest.mark.pure
@pytest.mark.parametrize("remembers", [True, False])
def test_counts_that_do_not_fit(
    remembers: bool, mode: Mode, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that answers another question than it was asked, or states what no session has: an error."""
    changes: list[dict[str, Any]] = [
        {"acknowledged": None},
        {"acknowledged": MAX_COUNT + 1},
        {"count": MAX_COUNT + 1},
    ]
    right = Welcome.encode
    for change in [{"acknowledged": 0}] if remembers else changes:
        world = talked(mode, identity)
        world.cut()
        if not remembers:
            world.client.die()

        def wrong(self: Welcome, change: dict[str, Any] = change) -> bytes:
            return right(dataclasses.replace(self, **change))

        with monkeypatch.context() as patch:
            patch.setattr(Welcome, "encode", wrong)
            world.connect()
        assert isinstance(world.client.failed, ProtocolError), change
        assert "count" in world.client.failed.message


def test_only_a_resumed_session_has_a_count() -> None:
    """Field 8 of WELCOME comes with field 5."""
    record = Welcome(bytes(15) + b"\x01", 2**16, 20.0, acknowledged=3).encode()
    with pytest.raises(ProtocolError, match="count"):
        Welcome.decode(record)
    both = Welcome(bytes(15) + b"\x01", 2**16, 20.0, count=2, acknowledged=3)
    assert Welcome.decode(both.encode()) == both


@both_modes
def test_nothing_has_changed_before_it_is_let_in(mode: Mode, identity: Identity) -> None:
    """Whoever says that it has no memory, and is refused, has not made the server forget a count."""
    world = talked(mode, identity)
    world.settle()
    world.cut()
    world.connect()
    world.cut()
    core, resumption = world.client.core, world.client.resumption
    world.client.die()
    world.server.banned.add("ann")
    world.connect()
    world.server.banned.clear()
    world.client.core, world.client.resumption = core, resumption
    world.client.returning = Returning.TO_GO_ON
    world.client.core.numbering.incoming.accepted = 1
    world.connect()
    assert isinstance(world.arrival.failed, ProtocolError)  # 2 was stated before


def test_a_verified_client_says_that_it_forgot(identity: Identity) -> None:
    """The shell of a server learns of it, to tell the application."""
    world = talked(Mode.REQUIRED, identity)
    assert world.arrival.verified is not None
    assert not world.arrival.verified.forgot
    world.cut()
    world.client.die()
    world.connect()
    assert world.arrival.verified.forgot
    assert world.arrival.verified.count == NO_MEMORY
    assert isinstance(world.arrival.engine, ServerConnection)
