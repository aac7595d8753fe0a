"""Nobody but its owner gets a session, and nothing that somebody else does costs the owner his."""

from __future__ import annotations

import dataclasses
import hmac

import pytest
from engines import split_frames
from inside import bytes_below, grants_of
from resuming import (
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

from securelink import crypto
from securelink.codes import Code
from securelink.errors import ConfigError, HandshakeError, RecordError
from securelink.keys import Identity
from securelink.protocol import (
    Alerted,
    AuthReceived,
    ClientConnection,
    Closed,
    HelloReceived,
    Resumption,
    ServerConnection,
    ServerVerified,
    SessionCore,
    State,
    VerifiedClient,
    handshake_server,
)
from securelink.protocol.bounds import Bounds
from securelink.protocol.tickets import ticket_digest
from securelink.wire.fields import Mode
from securelink.wire.messages import ClientHello, ServerHello, Wanted

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


def test_a_resume_of_nothing(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that has shown no ticket resumes nothing."""
    world = World(identity)
    world.dial()
    refused: list[str] = []

    def decide(verified: VerifiedClient) -> None:
        with pytest.raises(ConfigError, match="needs a grant") as caught:
            SessionCore(Bounds()).resume(world.arrival.engine, verified, 20.0)
        refused.append(caught.value.hint)

    monkeypatch.setattr(world.arrival, "decide", decide)
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
