"""Nobody but its owner gets a session, and nothing that somebody else does costs the owner his."""

from __future__ import annotations

import dataclasses
import hmac
from collections.abc import Callable

import pytest
from engines import split_frames
from inside import bytes_below, grants_of, handshake_of
from resuming import Server, World

from securelink import crypto
from securelink.codes import Code
from securelink.errors import ConfigError, HandshakeError, ProtocolError, RecordError
from securelink.keys import Identity
from securelink.limits import MAX_PACKET
from securelink.protocol import (
    Alerted,
    AuthReceived,
    ClientConnection,
    Closed,
    HelloReceived,
    Opened,
    Resumption,
    ServerConnection,
    ServerVerified,
    SessionCore,
    State,
    TicketTable,
    VerifiedClient,
    handshake_server,
)
from securelink.protocol.bounds import Bounds
from securelink.protocol.handshake_server import ServerHandshake
from securelink.protocol.tickets import ticket_digest
from securelink.wire.fields import Mode
from securelink.wire.messages import ClientHello, ServerHello, Wanted, Welcome

OFF, OPTIONAL, REQUIRED = Mode.OFF, Mode.OPTIONAL, Mode.REQUIRED
both_modes = pytest.mark.parametrize("mode", [REQUIRED, OFF])


def suspended(identity: Identity, mode: Mode = REQUIRED, **options: object) -> World:
    """A world whose session has lost its connection; a packet of either side is missing on the other."""
    world = World(identity, mode, **options)
    world.connect()
    world.client.say("a")
    world.server.say(world.held, "A")
    world.settle()
    world.cut()
    world.client.say("b")
    world.server.say(world.held, "B")
    return world


def goes_on(world: World) -> None:
    """The owner gets his session after all, with everything in it."""
    world.connect()
    assert world.client.opened[-1] is True
    assert world.held.handled == ["a", "b"]
    assert world.client.handled == [["A", "B"]]


def resumption_of(world: World) -> Resumption:
    """What the client resumes with."""
    assert world.client.resumption is not None
    return world.client.resumption


def hello_of(world: World) -> bytes:
    """The hello of an attempt to resume; nothing has arrived yet."""
    world.dial()
    world.collect()
    return world.up


# --- the binder ------------------------------------------------------------------------------------------


def test_every_bit_of_the_binder(identity: Identity) -> None:
    """One changed bit ends the attempt, which proves nothing and changes nothing."""
    world = suspended(identity)
    hello = hello_of(world)
    for bit in range(8 * 32):
        changed = bytearray(hello)
        changed[len(hello) - 32 + bit // 8] ^= 1 << bit % 8
        arrival = world.server.accept()
        arrival.receive(bytes(changed), world.now)
        assert isinstance(arrival.failed, RecordError)
        assert "binder" in arrival.failed.message
        assert HelloReceived() not in arrival.events
        assert arrival.engine.state is State.FAILED
    goes_on(world)


def test_every_byte_of_a_hello_that_asks(identity: Identity) -> None:
    """The binder covers all that is before it: with another byte there nothing is resumed."""
    world = suspended(identity)
    hello = hello_of(world)
    for place in range(13, len(hello) - 32, 11):
        changed = bytearray(hello)
        changed[place] ^= 1
        arrival = world.server.accept()
        arrival.receive(bytes(changed), world.now)
        answers = split_frames(arrival.data_to_send())
        if arrival.failed is None:  # the ticket is another one, which nobody knows
            assert ServerHello.decode(answers[0][4:]).resumed is False
    goes_on(world)


def test_a_ticket_alone_is_worth_nothing(identity: Identity) -> None:
    """Who has seen a ticket cannot ask with it: not without a binder, not with one of another PSK."""
    world = suspended(identity)
    ticket = resumption_of(world).ticket
    share = crypto.ClientShare().public
    for mode, binder in ((OPTIONAL, None), (OPTIONAL, bytes(32)), (REQUIRED, bytes(32))):
        body = ClientHello(mode, bytes(32), share, ticket, binder).encode()
        arrival = world.server.accept()
        arrival.receive(b"\x01" + len(body).to_bytes(3) + body, world.now)
        assert isinstance(arrival.failed, RecordError)
    world.client.resumption = dataclasses.replace(resumption_of(world), psk=bytes(32))
    own = resumption_of(world)
    world.connect()
    assert isinstance(world.arrival.failed, RecordError)
    assert any(isinstance(event, Alerted) for event in world.client.events)
    assert own.ticket == ticket
    assert len(world.server.sessions) == 1


def test_the_binder_is_compared_in_constant_time(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison is that of `hmac`, and it comes before any key exchange."""
    world = suspended(identity)
    hello = hello_of(world)
    compared: list[bytes] = []

    def equal(a: bytes, b: bytes) -> bool:
        compared.append(b)
        return hmac.compare_digest(a, b)

    monkeypatch.setattr(crypto, "equal", equal)

    def refuse(*_: object) -> None:
        raise AssertionError("a key exchange for a wrong binder")

    monkeypatch.setattr(crypto, "answer_key_share", refuse)
    arrival = world.server.accept()
    arrival.receive(hello[:-1] + bytes([hello[-1] ^ 1]), world.now)
    assert compared == [hello[-32:-1] + bytes([hello[-1] ^ 1])]
    assert isinstance(arrival.failed, RecordError)


# --- old messages ----------------------------------------------------------------------------------------


@both_modes
def test_an_old_hello_again(mode: Mode, identity: Identity) -> None:
    """A hello that somebody recorded is answered, and no more: the session stays with whom it is."""
    world = suspended(identity, mode)
    hello = hello_of(world)
    world.settle()
    assert world.client.opened[-1]
    held = world.held
    replay = world.server.accept()
    replay.receive(hello, world.now)
    assert replay.data_to_send()
    assert held.core.connection is world.arrival.engine
    world.client.say("c")
    world.server.say(held, "C")
    world.settle()
    replay.receive(b"", world.now)
    assert (held.handled, world.client.handled) == (["a", "b", "c"], [["A", "B", "C"]])


def test_a_whole_attempt_again(identity: Identity) -> None:
    """All that a client sent in an attempt, while its ticket is still good: its key shares were for that one alone."""
    world = suspended(identity)
    hello = hello_of(world)
    world.arrival.receive(hello, world.now)
    world.down = world.arrival.data_to_send()
    world.client.receive(world.down, world.now)
    auth = world.client.data_to_send()
    world.cut(server_sees=False)
    replay = world.server.accept()
    replay.receive(hello, world.now)
    assert ServerHello.decode(split_frames(replay.data_to_send())[0][4:]).resumed is True
    replay.receive(auth, world.now)
    assert isinstance(replay.failed, RecordError)
    goes_on(world)


def test_nothing_changes_before_the_clients_proof(identity: Identity) -> None:
    """Until the client has proved itself and was let in, the old connection goes on, and its ticket is good."""
    world = World(identity)
    world.connect()
    held, first = world.held, world.client.engine
    assert first is not None
    old = world.arrival
    second = ClientConnection(REQUIRED, max_packet=2**24 - 1, resumption=resumption_of(world))
    arrival = world.server.accept()
    arrival.receive(second.data_to_send(), world.now)
    second.receive_data(arrival.data_to_send(), world.now)
    assert arrival.engine.state is State.WAIT_CLIENT
    assert arrival.engine.encrypted
    world.client.say("a")
    world.server.say(held, "A")
    world.up, world.down = world.client.data_to_send(), old.data_to_send()
    old.receive(world.up, world.now)
    world.client.receive(world.down, world.now)
    assert (held.handled, world.client.handled) == (["a"], [["A"]])
    arrival.receive(b"", world.now)
    assert held.core.connection is old.engine
    assert world.server.table.suspended == 0


@both_modes
def test_a_refused_resume_changes_nothing(mode: Mode, identity: Identity) -> None:
    """The hook is asked again, and sees that a session is asked for; where it says no, the session waits."""
    world = suspended(identity, mode)
    world.server.banned.add("ann")
    world.connect()
    assert Closed(16, "no") in world.client.events
    assert world.server.asked == [("ann", False), ("ann", True)]
    assert len(world.server.sessions) == 1
    assert world.held.core.connection is None


# --- races -----------------------------------------------------------------------------------------------


@both_modes
@pytest.mark.parametrize("seen", [False, True])
def test_two_attempts_race(mode: Mode, seen: bool, identity: Identity) -> None:
    """An attempt that the client has given up, and that arrives late, takes the session from no later one."""
    world = suspended(identity, mode)
    late = world.server.accept()
    world.client.connect()
    late.receive(world.client.data_to_send(), world.now)
    world.client.receive(late.data_to_send(), world.now)
    auth = world.client.data_to_send()  # on its way for a while
    world.dial()
    if seen:
        world.settle()
    else:  # WELCOME is on its way, and the client's sign that it has come is not there yet
        world.collect()
        for _ in range(2):
            up, world.up = world.up, b""
            world.arrival.receive(up, world.now)
            down = world.arrival.data_to_send()
            world.client.receive(down, world.now)
            world.up = world.client.data_to_send()
    assert world.client.opened[-1]
    late.receive(auth, world.now)
    assert late.held is None or late.held is not world.server.sessions[resumption_of(world).token]
    world.settle()
    assert world.client.engine is not None
    assert world.client.engine.state is State.OPEN
    held = world.server.sessions[resumption_of(world).token]
    assert (held.handled, world.client.handled) == (["a", "b"], [["A", "B"]])
    if not seen:
        assert isinstance(late.failed, HandshakeError)
        assert late.failed.code is not Code.INTERNAL
        assert late.engine.state is State.FAILED
    world.cut()
    world.connect()
    assert world.client.opened[-1]


@both_modes
def test_the_later_attempt_takes_over(mode: Mode, identity: Identity) -> None:
    """Two attempts come through, one after the other, with one ticket: the second has the session, and goes on."""
    world = suspended(identity, mode)
    first = world.server.accept()
    world.client.connect()
    first.receive(world.client.data_to_send(), world.now)
    world.client.receive(first.data_to_send(), world.now)
    first.receive(world.client.data_to_send(), world.now)
    assert first.held is world.held
    assert first.data_to_send()  # WELCOME, which the client has given up waiting for
    goes_on(world)
    first.receive(b"", world.now)
    assert world.held.core.connection is world.arrival.engine
    world.cut()
    world.connect()
    assert world.client.opened[-1]


# --- which ticket is good for what -----------------------------------------------------------------------


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


def grants(server: Server) -> int:
    """How many tickets are valid."""
    return len(grants_of(server.table))


@both_modes
def test_a_close_is_no_sign(mode: Mode, identity: Identity) -> None:
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
    world.server.table.confirm = confirmed.append  # type: ignore[method-assign, assignment]
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


def changed_welcome(world: World, change: Callable[[Welcome], Welcome]) -> None:
    """An attempt in which the server says another WELCOME."""
    engine = world.arrival.engine
    say = engine._say_welcome  # noqa: SLF001  # no server of ours says anything else
    vars(engine)["_say_welcome"] = lambda welcome: say(change(welcome))


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
    changes: dict[str, object], message: str, mode: Mode, identity: Identity
) -> None:
    """A session goes on as itself: same token, same limit, a count that can be."""
    world = suspended(identity, mode)
    world.dial()
    changed_welcome(world, lambda w: dataclasses.replace(w, **changes))  # type: ignore[arg-type]
    world.settle()
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
        changed_welcome(world, lambda w: dataclasses.replace(w, count=0))
        world.settle()
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
def test_a_session_that_is_not_resumed_is_another(mode: Mode, identity: Identity) -> None:
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

    arrival.decide = decide_and_speak  # type: ignore[method-assign]
    world.settle()
    assert world.client.handled == [["A"], ["hello"]]
    assert old.numbering.incoming.accepted == accepted
    assert old.connection is None
    assert old.data_to_send() == b""
    assert world.client.lost == [["a", "b"]]
    assert world.client.core.numbering.incoming.accepted == 1
    assert world.held.handled == []


# --- order, secrets --------------------------------------------------------------------------------------


def test_steps_of_a_resume_out_of_order(identity: Identity) -> None:
    """Resuming demands a grant, the proof of this connection, and that the tickets say so; else nothing happens."""
    world = suspended(identity)
    hello = hello_of(world)
    world.up = b""
    engine = world.arrival.engine
    core = world.held.core
    engine.receive_data(hello, world.now)
    engine.begin_answer()
    engine.finish_answer(None)
    world.client.receive(engine.data_to_send(), world.now)
    assert AuthReceived() in engine.receive_data(world.client.data_to_send(), world.now)
    verified = engine.verify_client()
    assert verified.grant is not None
    with pytest.raises(ConfigError, match="too early"):
        engine.resume(verified, 20.0)
    maker = handshake_server._MAKER  # noqa: SLF001  # stolen
    with pytest.raises(ConfigError, match="proved nothing"):
        engine.may_resume(dataclasses.replace(verified, maker=maker), core.numbering)
    assert engine.may_resume(verified, core.numbering)
    with pytest.raises(ConfigError, match="too early"):
        engine.resume(verified, 20.0)
    core.attach(engine)
    engine.resume(verified, 20.0)
    with pytest.raises(ConfigError, match="does not belong here"):
        engine.resume(verified, 20.0)
    with pytest.raises(ConfigError, match="does not belong here"):
        engine.may_resume(verified, core.numbering)


def test_a_resume_of_nothing(identity: Identity) -> None:
    """A client that has shown no ticket resumes nothing."""
    world = World(identity)
    world.dial()
    refused: list[str] = []

    def decide(verified: VerifiedClient) -> None:
        with pytest.raises(ConfigError, match="needs a grant") as caught:
            SessionCore(Bounds()).resume(world.arrival.engine, verified, 20.0)
        refused.append(caught.value.hint)

    world.arrival.decide = decide  # type: ignore[method-assign]
    world.settle()
    assert refused
    assert world.arrival.engine.state is State.AUTHORIZING


def test_a_client_that_has_no_session_to_resume(identity: Identity) -> None:
    """A client cannot state a count of nothing: the session is attached before it authenticates."""
    world = suspended(identity)
    engine = ClientConnection(REQUIRED, max_packet=2**24 - 1, resumption=resumption_of(world))
    arrival = world.server.accept()
    arrival.receive(engine.data_to_send(), world.now)
    (verified,) = engine.receive_data(arrival.data_to_send(), world.now)
    assert isinstance(verified, ServerVerified)
    with pytest.raises(ConfigError, match="no session to resume"):
        engine.authenticate(
            verified.server,
            identity=None,
            dialled="",
            application="",
            version="",
            credentials=b"\xc0",
        )
    assert engine.state is State.VERIFIED


def test_every_connection_has_its_own_secrets(identity: Identity) -> None:
    """Tickets, PSKs and bindings are others on each connection, and a record of one opens on no other."""
    world = World(identity)
    found: list[Resumption] = []
    bindings = []
    frames = []
    for _ in range(4):
        world.connect()
        found.append(resumption_of(world))
        assert world.arrival.verified is not None
        bindings.append(world.arrival.verified.binding)
        world.client.say("x")
        frames.append(world.client.data_to_send())
        for old in frames[:-1]:
            twin = World(identity)
            twin.connect()
            twin.arrival.receive(old, 0.0)
            assert isinstance(twin.arrival.failed, RecordError)
        world.cut()
    for values in ([one.ticket for one in found], [one.psk for one in found], bindings, frames):
        assert len(set(values)) == 4
    assert len({one.token for one in found}) == 1


@both_modes
def test_tickets_and_psks_are_not_shown(mode: Mode, identity: Identity) -> None:
    """No repr has a ticket or a PSK; the server does not even keep the ticket."""
    world = suspended(identity, mode)
    resumption = resumption_of(world)
    digest = ticket_digest(resumption.ticket)
    grant = world.server.table.find(digest, world.now)
    assert grant is not None
    goes_on(world)
    verified = world.arrival.verified
    shown = repr([resumption, grant, verified, *world.client.events, *world.arrival.events])
    for secret in (resumption.ticket, resumption.psk, resumption_of(world).ticket):
        if secret is not None:
            assert secret.hex() not in shown
            assert repr(secret)[2:-1] not in shown
    kept = repr((grant.token, grant.application, list(grants_of(world.server.table))))
    assert repr(resumption.ticket) not in kept
    assert all(len(known) == 32 for known in grants_of(world.server.table))


def test_the_handshake_of_a_resume_is_forgotten(identity: Identity) -> None:
    """Once the session is open again, neither side has the handshake's secrets; the old PSK goes with the ticket."""
    world = suspended(identity)
    old = resumption_of(world).psk
    goes_on(world)
    for engine in (world.client.engine, world.arrival.engine):
        assert not hasattr(engine, "_handshake")
    assert world.client.engine is not None
    assert old is not None
    assert old not in bytes_below(world.client.engine)
    assert grants(world.server) == 1


def test_a_server_without_tickets_takes_none(identity: Identity) -> None:
    """A server that does not resume gives no tickets, and lets a client that shows one begin anew."""
    world = suspended(identity)
    world.dial()
    world.arrival.engine = ServerConnection(REQUIRED, Wanted.WELCOME)
    world.settle()
    assert world.client.opened == [False, False]
    assert world.client.resumption is None
    assert world.is_open
