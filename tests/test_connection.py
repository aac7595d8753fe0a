"""What a connection does by itself: answers, acknowledgements, heartbeats, new keys, deadlines, its end."""

from __future__ import annotations

import runpy
from math import inf
from pathlib import Path
from typing import Any

import pytest
from engines import Pair, Role, opened, other, packets, plain_items, sent
from hypothesis import given, settings
from hypothesis import strategies as st
from inside import controls_of

from securelink.codes import Code
from securelink.errors import RecordError
from securelink.keys import Identity
from securelink.limits import (
    ACK_BYTES,
    ACK_FEW_RECORDS,
    ACK_FEW_SECONDS,
    ACK_RECORDS,
    ACK_SECONDS,
    CLOSE_SECONDS,
    MAX_CONTROLS,
    MAX_SWEEP_STEP,
    SILENCE_FACTOR,
    UPDATE_SECONDS,
)
from securelink.protocol import (
    Closed,
    Connection,
    Event,
    Expired,
    Failed,
    Item,
    Overdue,
    Pinged,
    Ponged,
    ServerConnection,
    Silent,
    State,
)
from securelink.wire.fields import Content, Mode
from securelink.wire.messages import Wanted

HEARTBEAT = 20.0  # as Pair's server proposes it
SILENCE = SILENCE_FACTOR * HEARTBEAT

both_modes = pytest.mark.parametrize("mode", [Mode.REQUIRED, Mode.OFF])
both_roles = pytest.mark.parametrize("role", ["client", "server"])


def live(pair: Pair, until: float) -> list[tuple[Role, Event]]:
    """Let the time pass from deadline to deadline, and carry what is said; returns what was reported."""
    found: list[tuple[Role, Event]] = []
    roles: tuple[Role, ...] = ("client", "server")
    while True:
        due = min(pair.engine(role).next_deadline() for role in roles)
        if due > until:
            pair.now = until
            return found
        pair.now = max(pair.now, due)
        for role in roles:
            if pair.engine(role).next_deadline() <= pair.now:
                found += [(role, event) for event in pair.engine(role).on_deadline(pair.now)]
        pair.post("client", b"")


def alone(connection: Connection, now: float, until: float) -> tuple[list[Event], bytes]:
    """Let the time of one side pass while nothing arrives; returns its events and what it said."""
    events: list[Event] = []
    said = b""
    while (due := max(now, connection.next_deadline())) <= until:
        now = due
        events += connection.on_deadline(now)
        said += connection.data_to_send()
    return events, said


# --- answers ------------------------------------------------------------------------------------------------


@both_modes
@both_roles
def test_a_ping_is_answered(role: Role, mode: Mode, identity: Identity) -> None:
    """PING is answered by PONG with the same bytes, without anybody's help."""
    pair = opened(identity, mode)
    pair.engine(role).control(Content.PING, b"12345678")
    pair.post(role, b"")
    assert pair.items[other(role)][-1] == Pinged(b"12345678")
    assert pair.items[role][-1] == Ponged(b"12345678")


def test_answers_that_nobody_takes_are_few(identity: Identity) -> None:
    """A peer that pings while nothing can be written makes us keep MAX_CONTROLS answers, no more."""
    pair = opened(identity)
    pings = b"".join(pair.sender("client").control(Content.PING, bytes(8)) for _ in range(200))
    pair.server.receive_data(pings, 0.0)
    assert controls_of(pair.server) == MAX_CONTROLS
    pair.post("server", b"")
    assert pair.items["client"].count(Ponged(bytes(8))) == MAX_CONTROLS
    assert not pair.server.wants_write


@both_modes
@both_roles
def test_close_is_answered(role: Role, mode: Mode, identity: Identity) -> None:
    """CLOSE is answered by one CLOSE; each side knows who began, and nothing is asked for afterwards."""
    pair = opened(identity, mode)
    pair.engine(role).close(Code.KICKED, "enough", now=0.0)
    pair.post(role, b"")
    assert pair.items[other(role)][-1] == Closed(Code.KICKED, "enough")
    assert pair.items[role][-1] == Closed(Code.NORMAL, "")
    (answer,) = [item for item in pair.items[role] if isinstance(item, Closed)]
    (question,) = [item for item in pair.items[other(role)] if isinstance(item, Closed)]
    assert answer.answers
    assert not question.answers
    assert pair.engine(role).asked == (Code.KICKED, "enough")
    assert pair.engine(other(role)).asked is None
    for connection in (pair.client, pair.server):
        assert not connection.wants_write
        connection.control(Content.PING, bytes(8))
        assert connection.data_to_send() == b""


def test_the_first_reason_counts(identity: Identity) -> None:
    """Who asks twice for the end says CLOSE once, for the first reason."""
    pair = opened(identity)
    pair.server.close(Code.UNREADABLE, now=0.0)
    pair.server.close(Code.TOO_SLOW, now=0.0)
    pair.post("server", b"")
    assert [item for item in pair.items["client"] if isinstance(item, Closed)] == [
        Closed(Code.UNREADABLE, "")
    ]


def test_close_waits_for_what_was_sent_before(identity: Identity) -> None:
    """While packets wait that were sent before the end, answers go out and CLOSE does not."""
    pair = opened(identity)
    before = list(pair.items["server"])
    pair.client.control(Content.PING, bytes(8))
    pair.client.close(Code.NORMAL, now=0.0)
    pair.feed("server", pair.client.data_to_send(more=True))
    assert pair.items["server"] == [*before, Pinged(bytes(8))]
    assert pair.client.wants_write
    pair.feed("server", sent(pair, "client", "last"))
    pair.feed("server", pair.client.data_to_send())
    assert pair.items["server"][-1] == Closed(Code.NORMAL, "")


@both_modes
@both_roles
def test_a_broken_rule_is_answered_by_close(role: Role, mode: Mode, identity: Identity) -> None:
    """After a failure CLOSE says what kind it was, and what still arrives is not looked at."""
    pair = opened(identity, mode)
    broken = pair.forge(role, Content.ACK.to_bytes(1) + b"short")
    late = sent(pair, other(role), "late")
    pair.feed(role, broken)
    (failed,) = [item for item in pair.items[role] if isinstance(item, Failed)]
    assert failed.answer == b""
    assert not failed.ours
    assert pair.engine(role).closing == (Code.PROTOCOL, "")
    assert pair.engine(role).asked is None
    pair.post(role, b"")
    assert pair.items[other(role)][-1] == Closed(Code.PROTOCOL, "")
    assert pair.feed(role, late) == []


def test_bytes_lost_here_are_nobody_elses_fault(identity: Identity) -> None:
    """After an interrupted read a record that does not open ends the connection without an accusation."""
    pair = opened(identity)
    sent(pair, "server", "lost by us")
    pair.client.interrupted()
    pair.feed("client", sent(pair, "server", "next"))
    (failed,) = [item for item in pair.items["client"] if isinstance(item, Failed)]
    assert isinstance(failed.error, RecordError)
    assert failed.ours
    assert pair.client.closing == (Code.NORMAL, "")
    # A record that opens shows that nothing was lost: from then on it is somebody's fault again.
    pair = opened(identity)
    pair.client.interrupted()
    pair.feed("client", sent(pair, "server", "nothing was lost"))
    pair.feed("client", sent(pair, "server", "changed")[:-1] + b"\0\0")
    assert not any(item.ours for item in pair.items["client"] if isinstance(item, Failed))


def test_an_aborted_connection_reads_nothing(identity: Identity) -> None:
    """After `abort` what arrives is not looked at."""
    pair = opened(identity)
    pair.server.abort()
    assert pair.server.state is State.FAILED
    assert pair.feed("server", sent(pair, "client", "late")) == []


# --- acknowledgements -----------------------------------------------------------------------------------------


@both_modes
def test_acknowledged_by_count(mode: Mode, identity: Identity) -> None:
    """After ACK_RECORDS records that nothing answers an acknowledgement goes, and not before."""
    pair = opened(identity, mode)
    for _ in range(ACK_RECORDS - 1):
        pair.post("client", sent(pair, "client", "x"))
    assert pair.client.numbering.outgoing.acknowledged == 0
    pair.post("client", sent(pair, "client", "x"))
    assert pair.client.numbering.outgoing.acknowledged == ACK_RECORDS


def test_acknowledged_by_bytes(identity: Identity) -> None:
    """After ACK_BYTES bytes an acknowledgement goes, however few the records are."""
    pair = opened(identity)
    large = packets("x", data=bytes(ACK_BYTES // 4))
    for _ in range(3):
        pair.post("client", pair.sender("client").packets(large))
    assert pair.client.numbering.outgoing.acknowledged == 0
    pair.post("client", pair.sender("client").packets(large))
    assert pair.client.numbering.outgoing.acknowledged == 4


def test_acknowledged_by_time(identity: Identity) -> None:
    """ACK_SECONDS after the first of several records; a few wait for ACK_FEW_SECONDS, then all are quiet."""
    pair = opened(identity)
    for _ in range(ACK_FEW_RECORDS):
        pair.post("client", sent(pair, "client", "x"))
    assert pair.server.next_deadline() == ACK_SECONDS
    live(pair, ACK_SECONDS)
    assert pair.client.numbering.outgoing.acknowledged == ACK_FEW_RECORDS
    pair.post("client", sent(pair, "client", "x"))
    live(pair, pair.now + ACK_FEW_SECONDS - 0.01)
    assert pair.client.numbering.outgoing.acknowledged == ACK_FEW_RECORDS
    live(pair, pair.now + 0.01)
    assert pair.client.numbering.outgoing.acknowledged == ACK_FEW_RECORDS + 1
    assert pair.server.acks.due_at == inf


# --- the time -------------------------------------------------------------------------------------------------


@both_modes
def test_the_client_keeps_the_session_alive(mode: Mode, identity: Identity) -> None:
    """An idle session lives: the client pings once in a heartbeat, the server answers and pings never."""
    pair = opened(identity, mode)
    assert live(pair, 3600.0) == []
    assert pair.is_open
    pings = sum(isinstance(item, Pinged) for item in pair.items["server"])
    assert 3600 / HEARTBEAT - 2 <= pings <= 3600 / HEARTBEAT
    assert not any(isinstance(item, Pinged) for item in pair.items["client"])


@both_roles
def test_a_silent_peer_is_noticed(role: Role, identity: Identity) -> None:
    """Nothing heard for two and a half heartbeats while we read: CLOSE says SILENT, then the stream is to be closed."""
    pair = opened(identity)
    connection = pair.engine(role)
    connection.on_deadline(0.0)
    events, _ = alone(connection, 0.0, SILENCE)
    assert events == []
    events, said = alone(connection, SILENCE, SILENCE + 2)
    (silent,) = events
    assert isinstance(silent, Silent)
    assert SILENCE < silent.seconds <= SILENCE + 2
    assert connection.closing == (Code.SILENT, "")
    assert said
    events, _ = alone(connection, SILENCE + 2, SILENCE + 2 + CLOSE_SECONDS)
    assert events
    assert set(events) == {Expired()}


@both_roles
def test_time_in_which_we_do_not_read_is_not_silence(role: Role, identity: Identity) -> None:
    """While the shell does not read nobody is silent; afterwards the peer has all of its time."""
    pair = opened(identity)
    connection = pair.engine(role)
    connection.on_deadline(0.0)
    connection.reading(False)
    events, _ = alone(connection, 0.0, 1000.0)
    assert events == []
    connection.reading(True)
    events, _ = alone(connection, 1000.0, 1000.0 + SILENCE)
    assert events == []
    events, _ = alone(connection, 1000.0 + SILENCE, 1003.0 + SILENCE)
    assert [type(event) for event in events] == [Silent]


def test_a_server_that_does_not_read_shows_that_it_is_there(identity: Identity) -> None:
    """Its client's pings wait unread, so the server pings twice in a heartbeat; not into a stream that hung up."""
    pair = opened(identity)
    pair.server.reading(False)
    pair.now = 1.0
    live(pair, 101.0)
    pings = sum(isinstance(item, Pinged) for item in pair.items["client"])
    assert 200 / HEARTBEAT - 1 <= pings <= 200 / HEARTBEAT + 1
    pair.server.hung_up()
    live(pair, 201.0)
    assert sum(isinstance(item, Pinged) for item in pair.items["client"]) == pings


def test_time_in_which_we_stood_still_is_forgiven(identity: Identity) -> None:
    """A process that comes back after an hour counts a moment of it."""
    pair = opened(identity)
    pair.client.on_deadline(0.0)
    pair.client.on_deadline(1.0)
    assert pair.client.on_deadline(3601.0) == []
    assert pair.client.liveness is not None
    assert pair.client.liveness.quiet == 1.0 + MAX_SWEEP_STEP


@pytest.mark.parametrize("heartbeat", [0.001, 4e6])
def test_a_heartbeat_of_the_peer_is_clamped(heartbeat: float, identity: Identity) -> None:
    """Whatever interval a server proposes: a client neither floods it nor waits for days."""
    pair = Pair(identity, heartbeat=heartbeat).run()
    assert pair.is_open
    start = pair.now
    _, said = alone(pair.client, start, start + 3000.0)
    assert said
    assert pair.client.closing == (Code.SILENT, "")
    assert len(said) < 10_000


@both_roles
def test_keys_are_replaced_before_they_are_an_hour_old(role: Role, identity: Identity) -> None:
    """A side that says something now and then changes its key once in an hour, and the other one follows."""
    pair = opened(identity)
    for _ in range(int(5 * UPDATE_SECONDS / 60)):
        live(pair, pair.now + 60.0)
        pair.post(role, sent(pair, role, "x"))
    assert pair.is_open
    assert 4 <= pair.engine(other(role)).key_updates <= 5


def test_the_handshake_has_one_deadline() -> None:
    """What a stranger sends meanwhile moves nothing; it ends with a last word for whoever can read it."""
    pair = Pair(None, client_mode=Mode.OFF, server_mode=Mode.OFF)
    server = ServerConnection(Mode.OFF, Wanted.NO, deadline=10.0)
    assert server.next_deadline() == 10.0
    hello = pair.client.data_to_send() or bytes(pair.sent["client"])
    server.receive_data(hello[:13], 9.0)
    assert server.on_deadline(9.99) == []
    (overdue,) = server.on_deadline(10.0)
    assert isinstance(overdue, Overdue)
    assert overdue.state is State.START
    assert overdue.answer == bytes((5, 0, 0, 1, Code.TIMEOUT))
    assert server.state is State.FAILED
    assert server.on_deadline(server.next_deadline()) == [Expired()]


def test_a_worker_is_not_disturbed_by_the_deadline() -> None:
    """While somebody computes the next step in another thread the connection is ended without a word of ours."""
    server = ServerConnection(Mode.OFF, Wanted.NO, deadline=10.0)
    hello = bytes(Pair(None, client_mode=Mode.OFF, server_mode=Mode.OFF).sent["client"])
    server.receive_data(hello, 0.0)
    server.reading(False)
    assert server.on_deadline(10.0) == [Overdue(State.HELLO_RECEIVED, b"")]
    assert server.state is State.HELLO_RECEIVED


def test_an_open_session_has_no_deadline_of_the_handshake(identity: Identity) -> None:
    """With WELCOME the deadline is gone; after CLOSE the peer has CLOSE_SECONDS."""
    pair = opened(identity)
    pair.server.deadline = 10.0
    pair = Pair(identity)
    pair.server.deadline = 10.0
    pair.run()
    assert pair.server.deadline == inf
    pair.server.close(Code.NORMAL, now=100.0)
    assert pair.server.next_deadline() == 100.0 + CLOSE_SECONDS
    assert pair.server.on_deadline(100.0 + CLOSE_SECONDS) == [Expired()]


# --- any split of the input -----------------------------------------------------------------------------------


def story(identity: Identity | None, mode: Mode) -> tuple[Pair, bytes]:
    """An open session, and what its client says in it: packets, pings, acknowledgements, new keys, CLOSE."""
    pair = Pair(identity, client_mode=mode, server_mode=mode).run()
    said = pair.sender("client")
    stream = b"".join(sent(pair, "client", "x", "y") for _ in range(ACK_RECORDS))
    stream += b"".join(said.control(Content.PING, bytes((n,)) * 8) for n in range(MAX_CONTROLS + 9))
    if mode is Mode.REQUIRED:
        stream += said.records.update()
    stream += b"".join(sent(pair, "client", "z") for _ in range(10)) + said.close(
        Code.NORMAL, "bye"
    )
    return pair, stream


def told(pair: Pair, pieces: list[bytes]) -> tuple[list[Item], Any, list[Item]]:
    """What a server reports of a stream that comes in pieces, what it owes, and what its client reads of that."""
    items: list[Item] = []
    for piece in pieces:
        items += plain_items(pair.server.receive_data(piece, 1.0))
    acks = pair.server.acks
    owes = (acks.due, acks.due_at, controls_of(pair.server), pair.server.closing)
    return items, owes, pair.feed("client", pair.server.data_to_send())


@pytest.mark.parametrize("mode", [Mode.REQUIRED, Mode.OFF])
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_any_split_gives_the_same_duties(
    mode: Mode, data: st.DataObject, identity: Identity
) -> None:
    """However a stream is cut: the same records and events, the same answers, the same acknowledgement and end."""
    pair, stream = story(identity if mode is Mode.REQUIRED else None, mode)
    whole = told(pair, [stream])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=40)))
    pair, stream = story(identity if mode is Mode.REQUIRED else None, mode)
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert told(pair, [piece for piece in pieces if piece]) == whole
    assert whole[0][-1] == Closed(Code.NORMAL, "bye")
    assert whole[1][2:] == (MAX_CONTROLS, (Code.NORMAL, ""))
    assert whole[2][-1] == Closed(Code.NORMAL, "")


# --- the example ----------------------------------------------------------------------------------------------


def test_a_day_without_sockets(capsys: pytest.CaptureFixture[str]) -> None:
    """The example runs two connections for a day: all packets confirmed, keys replaced, a silence noticed."""
    example = Path(__file__).parent.parent / "examples/engine_without_sockets.py"
    world = runpy.run_path(str(example))["main"]()
    assert "nothing heard" in capsys.readouterr().out
    assert world.over == 2
    assert len(world.packets) == 86_400 / 60
    assert {packet.data for packet in world.packets} == {"hello"}
    outgoing = world.ends[world.client].numbering.outgoing
    assert outgoing.sent == outgoing.acknowledged == len(world.packets)
    assert 22 <= world.server.key_updates <= 25
    assert 22 <= world.client.key_updates <= 25
    assert world.server.controls >= 86_400 / HEARTBEAT - 25
    assert world.client.closing == world.server.closing == (Code.SILENT, "")
    assert world.now - 86_400 <= SILENCE + 2
