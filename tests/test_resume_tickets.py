"""Which ticket is good for what: for one session, of one server, key, mode and application, and once."""

from __future__ import annotations

import pytest
from inside import grants_of, handshake_of
from resuming import (
    OFF,
    OPTIONAL,
    REQUIRED,
    World,
    both_modes,
    goes_on,
    grants,
    hello_of,
    resumption_of,
    suspended,
)
from resuming_server import Server

from securelink.errors import ConfigError
from securelink.keys import Identity
from securelink.protocol import (
    ClientConnection,
    State,
    TicketTable,
)
from securelink.protocol.handshake_server import ServerHandshake
from securelink.protocol.tickets import ticket_digest
from securelink.wire.fields import Mode
from securelink.wire.messages import Wanted


def fresh_session(world: World) -> None:
    """The client is let in, but not to its session; that waits for its owner."""
    before = dict(world.server.sessions)
    world.connect()
    assert world.client.opened[-1] is False
    assert world.is_open
    assert world.client.lost == [["a", "b"]]
    assert len(world.server.sessions) == len(before) + 1
    world.client.say("new")
    world.settle()
    assert list(world.server.sessions.values())[-1].handled == ["new"]


@both_modes
def test_a_ticket_is_used_once(mode: Mode, identity: Identity) -> None:
    """When the client has shown that it has the next ticket, the one before is unknown."""
    world = suspended(identity, mode)
    old = resumption_of(world)
    goes_on(world)
    world.cut()
    new, world.client.resumption = world.client.resumption, old
    world.connect()
    assert world.client.opened[-1] is False
    assert len(world.server.sessions) == 2
    assert new is not None
    assert world.server.table.find(ticket_digest(new.ticket), world.now) is not None


@both_modes
def test_the_used_ticket_is_good_until_the_next_is_there(mode: Mode, identity: Identity) -> None:
    """WELCOME is lost: the client shows the ticket that it used, again; two are valid at most, and work."""
    world = suspended(identity, mode)
    for _ in range(4):
        world.dial()
        world.collect()
        for _ in range(2):
            up, world.up = world.up, b""
            world.arrival.receive(up, world.now)
            if world.arrival.engine.state is State.WELCOMED:
                break
            world.client.receive(world.arrival.data_to_send(), world.now)
            world.up = world.client.data_to_send()
        assert world.arrival.engine.state is State.WELCOMED
        assert grants(world.server) == 2
        world.cut(server_sees=False)
    goes_on(world)
    assert grants(world.server) == 1


@both_modes
def test_a_close_is_no_sign(
    mode: Mode, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CLOSE may have been sent before WELCOME came: it does not say that the next ticket has arrived."""
    world = suspended(identity, mode)
    world.dial()
    world.collect()
    for _ in range(2):
        up, world.up = world.up, b""
        world.arrival.receive(up, world.now)
        world.client.receive(world.arrival.data_to_send(), world.now)
        world.up = world.client.data_to_send() if world.client.opened != [False, True] else b""
    assert world.client.engine is not None
    assert world.client.engine.sender is not None
    confirmed: list[bytes] = []
    monkeypatch.setattr(world.server.table, "confirm", confirmed.append)
    world.arrival.receive(
        world.client.engine.sender.records.seal(b"\x0a\x00" + (1).to_bytes(8)), world.now
    )
    assert confirmed == []


def test_a_ticket_of_another_server(identity: Identity, other_identity: Identity) -> None:
    """A server with another key does not take it, though it has the same tickets; it has to prove that key."""
    world = suspended(identity)
    world.server.identity = other_identity
    fresh_session(world)
    assert world.client.resumption is not None
    assert world.client.resumption.server == other_identity.public


@both_modes
def test_an_unknown_ticket(mode: Mode, identity: Identity) -> None:
    """A server that knows nothing of it, for another process answers, lets the client begin."""
    world = suspended(identity, mode)
    world.server = Server(identity, mode)
    fresh_session(world)


def test_a_ticket_of_another_mode(identity: Identity) -> None:
    """A session goes on in its own mode: the other one does not know its tickets, on either side."""
    sealed, plain = suspended(identity), suspended(identity, OFF)
    for world in (sealed, plain):
        assert world.client.resumption is not None
        mode = OFF if world is sealed else REQUIRED
        with pytest.raises(ConfigError, match="never changes its mode"):
            ClientConnection(mode, max_packet=4096, resumption=world.client.resumption)
        assert not world.client.resumption.suits(mode, None, "game", "1")
        assert world.client.resumption.suits(OPTIONAL, None, "game", "1")
        world.client.mode = OPTIONAL
        world.server.mode = mode
        fresh_session(world)
        assert world.arrival.engine.encrypted is (world is plain)
        assert world.arrival.failed is None


def test_a_ticket_of_another_mode_is_not_taken(identity: Identity) -> None:
    """Below the engine as well: a handshake that is given the grant of another mode does not go on."""
    world, plain = suspended(identity), suspended(identity, OFF)
    hello = hello_of(world)
    (grant,) = grants_of(plain.server.table).values()
    world.arrival.engine.receive_data(hello, world.now)
    handshake = handshake_of(world.arrival.engine)
    assert isinstance(handshake, ServerHandshake)
    with pytest.raises(ConfigError, match="unknown in the other"):
        handshake.resume(grant)


@pytest.mark.parametrize(("shown", "wanted"), [(True, Wanted.NO), (False, Wanted.REQUIRED)])
def test_what_a_server_demands_of_keys(
    shown: bool, wanted: int, identity: Identity, other_identity: Identity
) -> None:
    """When the server demands another thing of client keys than when the session began, that is asked anew."""
    world = World(identity, table=TicketTable())
    world.client.identity = other_identity if shown else None
    world.connect()
    assert world.arrival.verified is not None
    assert world.arrival.verified.key == (other_identity.public if shown else None)
    world.cut()
    world.connect()
    assert world.client.opened[-1] is True
    assert world.arrival.verified.key == (other_identity.public if shown else None)
    world.cut()
    world.server.wanted = wanted
    world.client.identity = None if shown else other_identity
    world.connect()
    assert world.client.opened[-1] is False
    assert world.arrival.verified.key == (None if shown else other_identity.public)


def test_a_client_shows_no_key_to_resume(identity: Identity, other_identity: Identity) -> None:
    """The key of a resumed session is the one that began it, whatever key the client has now."""
    world = World(identity)
    world.client.identity = other_identity
    world.connect()
    resumption = resumption_of(world)
    assert resumption.offered == other_identity.public
    assert resumption.suits(REQUIRED, other_identity.public, "game", "1")
    for wrong in (
        (REQUIRED, None, "game", "1"),
        (REQUIRED, identity.public, "game", "1"),
        (REQUIRED, other_identity.public, "another", "1"),
        (REQUIRED, other_identity.public, "game", "2"),
    ):
        assert not resumption.suits(*wrong)
    world.cut()
    world.client.identity = identity
    world.connect()
    assert world.client.opened[-1] is True
    assert world.arrival.verified is not None
    assert world.arrival.verified.key == other_identity.public


@both_modes
@pytest.mark.parametrize("what", ["application", "version", "user"])
def test_somebody_else_with_the_ticket(what: str, mode: Mode, identity: Identity) -> None:
    """Another application, another version of it, another user: a session of its own, and the old one waits."""
    world = suspended(identity, mode)
    setattr(world.client, what, "other")
    fresh_session(world)
    assert world.server.asked[-1] == ("other" if what == "user" else "ann", what == "user")


@both_modes
def test_a_session_that_ended_is_not_resumed(mode: Mode, identity: Identity) -> None:
    """Kicked, closed or expired: its ticket is worth nothing, at the hello and at the last moment."""
    world = suspended(identity, mode)
    world.server.end(world.held)
    fresh_session_of_nothing(world)
    world = suspended(identity, mode)
    world.now += 119.9
    world.server.pass_time(world.now)
    assert world.server.ended == []
    world.now += 0.2
    world.connect()  # the time is over, whether or not somebody has looked
    assert world.client.opened[-1] is False


def fresh_session_of_nothing(world: World) -> None:
    """A session begins where none is left."""
    world.connect()
    assert world.client.opened[-1] is False
    assert len(world.server.sessions) == 1


@both_modes
def test_a_session_that_ends_while_it_is_resumed(mode: Mode, identity: Identity) -> None:
    """Kicked between the hello and the client's proof: the client gets another one."""
    world = suspended(identity, mode)
    held = world.held
    hello = hello_of(world)
    world.up = b""
    world.arrival.receive(hello, world.now)
    world.server.table.forget(held.token)
    world.settle()
    assert world.client.opened[-1] is False
    assert held.core.connection is None
    assert world.is_open
