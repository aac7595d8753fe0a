"""The state machine: in each state exactly what the table says is accepted; all else ends the connection."""

from __future__ import annotations

import ast

import pytest
from engines import TOKEN, Pair, Role, other, split_frames
from hypothesis import given, settings
from hypothesis import strategies as st
from inside import takes_of
from programs import ROOT
from protocol_places import KEYED, OFF, PLACES, PROTECTED, REQUIRED, Place, at

from securelink import crypto
from securelink.codes import Code
from securelink.errors import ConfigError, ProtocolError, RecordError
from securelink.keys import Identity
from securelink.protocol import (
    MOVES,
    Alerted,
    AuthReceived,
    Closed,
    Ended,
    Failed,
    HelloReceived,
    PlaintextChosen,
    ServerVerified,
    State,
)
from securelink.protocol.states import CONTENT_INPUTS, ENDS, KIND_INPUTS, READS_NOTHING, Input, Take
from securelink.wire.fields import Content, Kind, Mode
from securelink.wire.messages import ClientHello, Close, ServerHello, VersionMismatch, Welcome

CLEAR: dict[State, set[int]] = {
    State.HELLO_SENT: {Kind.SERVER_HELLO, Kind.ALERT},
    State.START: {Kind.CLIENT_HELLO},
    State.WAIT_CLIENT: {Kind.ALERT},
}
IDLE: list[Place] = [
    ("client", State.VERIFIED, REQUIRED),
    ("client", State.VERIFIED, OFF),
    ("server", State.HELLO_RECEIVED, REQUIRED),
    ("server", State.HELLO_RECEIVED, OFF),
    ("server", State.AUTH_RECEIVED, REQUIRED),
    ("server", State.AUTH_RECEIVED, OFF),
]

# A body that is in order for each kind and content: what is refused is refused for coming now.
CLIENT_SHARE = crypto.ClientShare().public
SERVER_SHARE = bytes(1088) + b"\x09" + bytes(31)
FRAMES_IN_ORDER: dict[tuple[int, Mode], bytes] = {
    (Kind.CLIENT_HELLO, OFF): ClientHello(OFF, bytes(32), None).encode(),
    (Kind.CLIENT_HELLO, REQUIRED): ClientHello(REQUIRED, bytes(32), CLIENT_SHARE).encode(),
    (Kind.SERVER_HELLO, OFF): ServerHello(False, bytes(32), None).encode(),
    (Kind.SERVER_HELLO, REQUIRED): ServerHello(True, bytes(32), SERVER_SHARE).encode(),
    (Kind.ALERT, OFF): b"\x01",
    (Kind.ALERT, REQUIRED): b"\x01",
}
RECORDS: dict[int, bytes] = {
    Content.WELCOME: Welcome(TOKEN, 65536, 1.0).encode()[1:],
    Content.DATA: b"\x90",
    Content.DATA_ACK: bytes(8) + b"\x90",
    Content.ACK: bytes(8),
    Content.PING: bytes(8),
    Content.PONG: bytes(8),
    Content.KEY_UPDATE: b"",
    Content.CLOSE: Close(Code.NORMAL, 0).encode()[1:],
}


def clear_frame(kind: int, mode: Mode = OFF) -> bytes:
    """A frame in clear, in order but for its kind."""
    body = FRAMES_IN_ORDER.get((kind, mode), bytes(40))
    return bytes([kind]) + len(body).to_bytes(3) + body


def protected_kind(mode: Mode) -> int:
    return Kind.PLAIN if mode == OFF else Kind.SEALED


def names(place: object) -> str | None:
    """How a place is called in the list of tests."""
    if isinstance(place, tuple):
        return f"{place[0]}-{place[1].name}-{place[2].name}"
    return None


def test_the_table_is_that_of_the_document() -> None:
    """What may come is written twice, here and in the code; both must be the same."""
    peers = {(s, given): move for (s, given), move in MOVES.items() if move.take is not None}
    clear = {(s, KIND_INPUTS[kind]) for s, kinds in CLEAR.items() for kind in kinds}
    protected = {
        (s, CONTENT_INPUTS[content]) for s, found in PROTECTED.items() for content in found
    }
    assert clear | protected == set(peers)
    reading = {state for state, _ in peers}
    assert reading | READS_NOTHING == set(State)
    assert not reading & READS_NOTHING


def test_each_input_has_what_takes_it(identity: Identity) -> None:
    """Each role has a method for all that its states name, and no `Take` is there for nothing."""
    pair = Pair(identity)
    clients = {State.HELLO_SENT, State.WAIT_AUTH, State.VERIFIED, State.AUTH_SENT}
    for (state, _), move in MOVES.items():
        if move.take is not None:
            if state in clients or state is State.OPEN:
                assert move.take in takes_of(pair.client)
            if state not in clients:
                assert move.take in takes_of(pair.server)
    assert {move.take for move in MOVES.values()} == {*Take, None}


def test_only_the_table_changes_a_state() -> None:
    """One line of the package sets the state of a connection, after it has looked into the table."""
    found = []
    for file in (ROOT / "securelink").rglob("*.py"):
        for function in ast.walk(ast.parse(file.read_text())):
            if isinstance(function, ast.FunctionDef):
                found += [
                    f"{file.name}:{function.name}"
                    for node in ast.walk(function)
                    if isinstance(node, ast.Attribute)
                    and node.attr == "state"
                    and isinstance(node.ctx, ast.Store)
                ]
    # A file has a state, too: when it was last changed.
    files = {"files.py:__init__", "files.py:_open", "revocation.py:_look"}
    assert sorted(set(found) - files) == ["connection.py:__init__", "connection.py:_go"]


@pytest.mark.parametrize("given", [given for given in Input if given not in ENDS])
def test_a_step_that_is_not_in_the_table(given: Input, identity: Identity) -> None:
    """What the table does not have changes no state, but raises; so in every state, the last two included."""
    for state in State:
        pair = Pair(identity)
        pair.server.state = state
        if (state, given) not in MOVES:
            with pytest.raises(ConfigError, match="does not belong here"):
                pair.server._go(given)  # noqa: SLF001  # no call of the engine asks for it there
            assert pair.server.state is state


@pytest.mark.parametrize("place", PLACES, ids=names)
def test_frames_in_clear(place: Place, identity: Identity) -> None:
    """A frame in clear that does not belong here, known or not, ends the connection with one error."""
    role, state, mode = place
    for kind in (0, 1, 2, 3, 4, 5, 6, 127, 255):
        pair = at(place, identity)
        if kind == protected_kind(mode) and state in PROTECTED:
            continue
        frame = clear_frame(kind, mode)
        if state is State.START:
            frame = frame.ljust(12, b"\0")  # a server looks at 12 bytes before it judges
        items = pair.feed(role, frame)
        if kind in CLEAR.get(state, ()):
            assert not any(isinstance(item, Failed) for item in items), kind
            continue
        assert isinstance(pair.failure(role), ProtocolError), kind
        assert len(items) == 1
        stays_failed(pair, role)


@pytest.mark.parametrize("place", KEYED, ids=names)
def test_contents(place: Place, identity: Identity) -> None:
    """A protected record whose content does not belong here, known or not, ends the connection with one error."""
    role, state, _ = place
    for content in (*range(14), 127, 255):
        pair = at(place, identity)
        body = RECORDS.get(content, bytes(40))
        items = pair.feed(role, pair.forge(role, bytes([content]) + body))
        if content in PROTECTED[state]:
            continue
        error = pair.failure(role)
        assert isinstance(error, ProtocolError)
        assert error.message == f"content {content} while {state.value}"
        assert len(items) == 1
        stays_failed(pair, role)


@pytest.mark.parametrize("place", KEYED, ids=names)
def test_contents_that_belong_here(place: Place, identity: Identity) -> None:
    """What the table has is accepted: the handshake's own message, CLOSE, and all of an open session."""
    role, state, mode = place
    for content in PROTECTED[state]:
        pair = at(place, identity)
        if content in RECORDS:
            items = pair.feed(role, pair.forge(role, bytes([content]) + RECORDS[content]))
            if (content, mode) == (Content.KEY_UPDATE, OFF):
                assert "key update in plaintext" in str(pair.failure(role))
                continue
            unproved = state in (State.WAIT_AUTH, State.WAIT_CLIENT)
            end = Alerted(Code.NORMAL) if unproved else Closed(Code.NORMAL, "")
            assert (end in items) == (content == Content.CLOSE)
        else:
            pair.run()
            assert pair.is_open
        assert not any(isinstance(item, Failed) for item in pair.items[role])


def stays_failed(pair: Pair, role: Role) -> None:
    """Nothing revives an engine: not what would have been right, not the end of the stream."""
    engine = pair.engine(role)
    for frame in split_frames(bytes(pair.sent[other(role)])):
        assert engine.receive_data(frame, 0.0) == []
    assert engine.reconsider(0.0) == []
    assert engine.state is State.FAILED
    assert engine.receive_data(b"", 0.0) == [Ended()]
    assert engine.state is State.FAILED


def test_the_first_frame_of_a_client(identity: Identity) -> None:
    """Of all types only a ClientHello opens a connection; no other gets an answer."""
    for kind in range(256):
        pair = Pair(identity, server_mode=OFF)
        body = FRAMES_IN_ORDER[Kind.CLIENT_HELLO, OFF]
        items = pair.feed("server", bytes([kind]) + len(body).to_bytes(3) + body)
        if kind == Kind.CLIENT_HELLO:
            assert items == [HelloReceived()]
        else:
            assert "does not speak securelink" in str(pair.failure("server"))
            assert isinstance(items[0], Failed)
            assert items[0].answer == b""


def test_the_first_frame_of_a_server(identity: Identity) -> None:
    """Of all types only a ServerHello or an ALERT answers a client."""
    for kind in range(256):
        pair = Pair(identity, client_mode=OFF)
        items = pair.feed("client", clear_frame(kind))
        if kind == Kind.SERVER_HELLO:
            assert [type(item) for item in items] == [PlaintextChosen]
        elif kind == Kind.ALERT:
            assert items == [Alerted(1)]
        else:
            assert "not a securelink server" in str(pair.failure("client"))


@pytest.mark.parametrize("place", IDLE, ids=names)
def test_states_that_read_nothing(place: Place, identity: Identity) -> None:
    """While a decision is made, what arrives waits; it is looked at in the state that follows."""
    role, state, _ = place
    pair = at(place, identity)
    assert pair.feed(role, clear_frame(Kind.CLIENT_HELLO)) == []
    assert pair.engine(role).state is state
    waiting = pair.items[role][-1]
    assert isinstance(waiting, HelloReceived | AuthReceived | ServerVerified | PlaintextChosen)
    pair.step()
    assert isinstance(pair.failure(role), ProtocolError)
    assert not pair.is_open


@pytest.mark.parametrize("place", PLACES + IDLE, ids=names)
def test_the_end_of_the_stream(place: Place, identity: Identity) -> None:
    """End of stream in any state is told once as what it is, never as a clean close."""
    role, _, _ = place
    pair = at(place, identity)
    before = len(pair.items[role])
    pair.feed(role, b"")
    assert pair.items[role][before:] == [Ended()]
    assert pair.engine(role).state is State.CLOSED
    assert pair.engine(role).receive_data(clear_frame(1), 0.0) == []


def test_an_alert_after_protected_frames(identity: Identity) -> None:
    """ALERT has no proof: once a direction has sent a protected frame it is an error, and ends nothing cleanly."""
    alert = clear_frame(Kind.ALERT)
    for mode in (REQUIRED, OFF):
        for role in ("client", "server"):
            pair = at((role, State.OPEN, mode), identity)
            pair.feed(role, alert)
            assert "frame of type 5 while open" in str(pair.failure(role))
        pair = at(("client", State.AUTH_SENT, mode), identity)
        pair.feed("client", alert)
        assert "frame of type 5" in str(pair.failure("client"))
    pair = at(("client", State.WAIT_AUTH, REQUIRED), identity)
    pair.feed("client", alert)
    assert "frame of type 5" in str(pair.failure("client"))


@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("joined", [True, False])
def test_an_alert_is_final(identity: Identity, role: Role, joined: bool) -> None:
    """Whoever has said ALERT is not listened to any more: what comes behind it, in order as it may be, is nothing."""
    for mode in (REQUIRED, OFF):
        place = State.HELLO_SENT if role == "client" else State.WAIT_CLIENT
        pair = Pair(identity, client_mode=mode, server_mode=mode).until(role, place)
        sent = pair.sent[other(role)]
        before = len(sent)
        while len(sent) == before:  # until the peer has sent what belongs here
            assert pair.step()
        alert, frame = clear_frame(Kind.ALERT, mode), split_frames(bytes(sent[before:]))[0]
        for data in [alert + frame] if joined else [alert, frame, alert]:
            pair.feed(role, data)
        assert pair.items[role][-1] == Alerted(1)
        assert pair.items[role].count(Alerted(1)) == 1
        assert pair.engine(role).state is State.FAILED
        assert not pair.engine(role).data_to_send()


@pytest.mark.parametrize("body", [b"", b"\0\0"])
def test_an_alert_has_one_byte(body: bytes, identity: Identity) -> None:
    """An ALERT of another size is an error like any other."""
    pair = Pair(identity)
    pair.feed("client", b"\x05" + len(body).to_bytes(3) + body)
    assert "ALERT of the wrong size" in str(pair.failure("client"))


def test_protection_does_not_change(identity: Identity) -> None:
    """An encrypted connection takes no PLAIN frame, a plaintext one no SEALED frame, whatever they hold."""
    sealed, plain = at(KEYED[3], identity), at(KEYED[4], identity)
    assert (sealed.client.encrypted, plain.client.encrypted) == (True, False)
    ping = b"\x07" + bytes(8)
    frames = sealed.forge("client", ping), plain.forge("client", ping)
    sealed.feed("client", frames[1])
    plain.feed("client", frames[0])
    assert "frame of type 4 while open" in str(sealed.failure("client"))
    assert "frame of type 3 while open" in str(plain.failure("client"))


def test_what_the_other_side_is_told(identity: Identity) -> None:
    """Before there are keys an ALERT, afterwards a sealed CLOSE tells the peer the code, and nothing else."""
    pair = at(("client", State.HELLO_SENT, REQUIRED), identity)
    pair.feed("client", clear_frame(Kind.CLIENT_HELLO))
    pair.run()
    assert pair.items["server"][-1] == Alerted(Code.PROTOCOL)
    pair = at(("client", State.WAIT_AUTH, REQUIRED), identity)
    pair.feed("client", clear_frame(Kind.CLIENT_HELLO))
    pair.run()
    assert pair.items["server"][-1] == Alerted(Code.PROTOCOL)
    pair = at(("server", State.WAIT_CLIENT, REQUIRED), identity)
    pair.feed("server", clear_frame(Kind.CLIENT_HELLO))
    pair.run()
    assert pair.items["client"][-1] == Closed(Code.PROTOCOL, "")


@pytest.mark.parametrize("mode", [REQUIRED, OFF])
def test_giving_up(mode: Mode, identity: Identity) -> None:
    """Either side can end a handshake for a reason of its own; the other learns the code."""
    pair = at(("client", State.VERIFIED, mode), identity)
    pair.forget_events()
    pair.post("client", pair.client.give_up(Code.NOT_TRUSTED))
    assert pair.items["server"][-1] == Alerted(Code.NOT_TRUSTED)
    assert pair.client.state is State.FAILED
    pair = at(("server", State.START, mode), identity)
    pair.post("server", pair.server.give_up(Code.BUSY))
    assert pair.items["client"] == [Alerted(Code.BUSY)]
    pair = Pair(identity, client_mode=mode, server_mode=mode, refusal=(16, "not today"))
    assert pair.run().items["client"][-1] == Closed(Code.REFUSED, "not today")
    assert pair.server.state is State.FAILED
    assert pair.client.state is State.CLOSED


@pytest.mark.parametrize("place", KEYED, ids=names)
def test_a_farewell_of_somebody_unproved(place: Place, identity: Identity) -> None:
    """CLOSE from a peer that has proved nothing is worth no more than an ALERT, and its text is dropped."""
    role, state, _ = place
    pair = at(place, identity)
    pair.feed(role, pair.forge(role, Close(Code.KICKED, 0, "go away").encode()))
    last = pair.items[role][-1]
    if state in (State.WAIT_AUTH, State.WAIT_CLIENT):
        assert last == Alerted(Code.KICKED)
        stays_failed(pair, role)
    else:
        assert last == Closed(Code.KICKED, "go away")
        assert pair.engine(role).state is State.CLOSED


@given(st.sampled_from(KEYED), st.binary(min_size=1, max_size=60))
@settings(max_examples=300, deadline=None)
def test_a_hostile_peer_with_the_right_keys(
    identity: Identity, place: Place, plaintext: bytes
) -> None:
    """Whatever a peer puts into a record: events or one failure come out, never an exception."""
    role, _, _ = place
    pair = at(place, identity)
    items = pair.feed(role, pair.forge(role, plaintext))
    failed = [item for item in items if isinstance(item, Failed)]
    assert len(failed) <= 1
    assert all(isinstance(item.error, ProtocolError) for item in failed)
    over = any(isinstance(item, Failed | Alerted) for item in items)
    assert (pair.engine(role).state is State.FAILED) == over


@given(st.sampled_from(PLACES), st.binary(min_size=1, max_size=60), st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_a_stranger_in_the_path(identity: Identity, place: Place, body: bytes, kind: int) -> None:
    """So with frames that anybody can write: nothing but a hello or an ALERT at its time does anything."""
    role, state, mode = place
    pair = at(place, identity)
    items = pair.feed(role, bytes([kind]) + len(body).to_bytes(3) + body)
    for item in items:
        if isinstance(item, Failed):
            assert isinstance(item.error, ProtocolError | VersionMismatch)
            if kind == protected_kind(mode) and state in PROTECTED:
                assert isinstance(item.error, RecordError)
        else:
            assert isinstance(item, Alerted)
            assert state in (State.HELLO_SENT, State.WAIT_CLIENT)
