"""Recorded sessions: each role, played again, sends the same bytes, however the other's bytes are cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key
from engines import plain_items
from hypothesis import given, settings
from hypothesis import strategies as st
from transcripts import FOLDER, NAMES, Role, load, replaced, replaying, stream
from transcripts.record import record

from securelink.protocol import (
    AuthReceived,
    Closed,
    Ended,
    Failed,
    HelloReceived,
    Item,
    Opened,
    Pinged,
    PlaintextChosen,
    Ponged,
    ServerVerified,
    State,
)
from securelink.wire.packets import decode_packets

TICKETS = ("encrypted_ticket", "plaintext_ticket")  # these break
NO_CLOSE = {("encrypted_refused", "server")}  # a client that is turned away just goes
NO_CLOSE |= {(name, role) for name in TICKETS for role in ("client", "server")}
RECORDINGS = {name: load(name) for name in NAMES}
ROLES: tuple[Role, ...] = ("client", "server")
THOROUGH = ("encrypted_client_key", "plaintext")  # the others differ in little
WAITING = (HelloReceived, AuthReceived, ServerVerified, PlaintextChosen)  # for a step of ours
BOTH = [(name, role) for name in NAMES for role in ROLES]
# What is sent again has to be sent before it can be acknowledged, so a resumed session is no stream to be fed at once;
# `test_resume.py` cuts those.
STREAMS = [(name, role) for name, role in BOTH if not name.endswith(("_resumed", "_forgotten"))]


def played(recording: dict[str, Any], role: Role, pieces: list[bytes]) -> list[Item]:
    """
    Feed the peer's bytes in these pieces, then the end of the stream; returns all that is reported.

    The role's own handshake is done when its events come. Its packets count as sent from the beginning, so that
    every acknowledgement of the peer finds what it acknowledges, however early it arrives.
    """
    actor = replaying(recording, role)
    own = [step["do"] for step in recording["steps"] if step["role"] == role]
    for do in own:
        if do[0] == "packets":
            actor.engine.numbering.outgoing.keep(b"")
    if role == "client":
        actor.act(own.pop(0))
    items: list[Item] = []
    for piece in [*pieces, b""]:
        new = actor.take(piece)
        while new:
            items += plain_items(new)
            if not isinstance(new[-1], WAITING):
                break
            actor.act(own.pop(0))
            new = actor.engine.reconsider(0.0)
    return items


def replayed(recording: dict[str, Any], role: Role) -> State:
    """Do the steps of a role once more and compare what they send; returns the state at the end."""
    actor = replaying(recording, role)
    with replaced(recording, role):
        for step in recording["steps"]:
            if step["role"] == role:
                assert actor.act(step["do"]).hex() == step["bytes"], step["do"]
            else:
                items = actor.take(bytes.fromhex(step["bytes"]))
                assert not any(isinstance(item, Failed) for item in items)
    return actor.engine.state


@pytest.mark.parametrize(("name", "role"), BOTH)
def test_a_replayed_role_sends_the_recorded_bytes(name: str, role: Role) -> None:
    """With recorded randomness, signature and KEM answer, every frame of a role comes out again, byte for byte."""
    refuses = (name, role) == ("encrypted_refused", "server")
    breaks = State.OPEN if name in TICKETS else State.CLOSED
    assert replayed(RECORDINGS[name], role) is (State.FAILED if refuses else breaks)


@pytest.mark.parametrize(
    "name",
    [
        "encrypted_client_key",
        "plaintext",
        "encrypted_resumed",
        "plaintext_resumed",
        "encrypted_forgotten",
    ],
)
def test_a_new_recording_can_be_played(name: str) -> None:
    """The recorder still makes recordings of the same steps, and they can be played."""
    recording = json.loads(json.dumps(record(name)))
    assert [step["do"] for step in recording["steps"]] == [
        step["do"] for step in RECORDINGS[name]["steps"]
    ]
    for role in ROLES:
        assert replayed(recording, role) is State.CLOSED


def test_what_a_replayed_client_reports() -> None:
    """The events of the recorded session, in order: proof, WELCOME, packets, PONG, CLOSE."""
    recording = RECORDINGS["encrypted_client_key"]
    with replaced(recording, "client"):
        items = played(recording, "client", [stream(recording, "server")])
    names = [type(item).__name__ for item in items]
    assert names == [
        "ServerVerified", "Opened", "bytes", "Ponged", "bytes", "bytes", "Closed", "Ended"
    ]  # fmt: skip
    opened, said, pong, here, after, closed = items[1:-1]
    assert isinstance(opened, Opened)
    assert opened.welcome.token.hex() == recording["server"]["token"]
    assert (opened.welcome.max_packet, opened.welcome.heartbeat) == (2 * 1024 * 1024, 20.0)
    assert pong == Ponged(bytes(range(8)))
    received = [decode_packets(item) for item in (said, here, after) if isinstance(item, bytes)]
    assert [[p.action for p in record] for record in received] == [["said"], ["here"], ["after"]]
    assert received[1][0].data == [1, 2, b"\x00\xff"]
    assert closed == Closed(0, "see you")


def test_what_a_replayed_server_reports() -> None:
    """The same session from the other end."""
    recording = RECORDINGS["encrypted_client_key"]
    with replaced(recording, "server"):
        items = played(recording, "server", [stream(recording, "client")])
    assert [type(item).__name__ for item in items] == [
        "HelloReceived", "AuthReceived", "bytes", "Pinged", "bytes", "bytes", "Closed", "Ended"
    ]  # fmt: skip
    assert items[3] == Pinged(bytes(range(8)))
    assert isinstance(items[2], bytes)
    assert [p.action for p in decode_packets(items[2])] == ["say", "move"]


WHOLE: dict[tuple[str, Role], list[Item]] = {}


def whole(name: str, role: Role) -> list[Item]:
    """What a role reports when everything arrives in one piece."""
    if (name, role) not in WHOLE:
        recording = RECORDINGS[name]
        with replaced(recording, role):
            pieces = [stream(recording, "server" if role == "client" else "client")]
            WHOLE[name, role] = played(recording, role, pieces)
    return WHOLE[name, role]


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_split_gives_the_same_events(data: st.DataObject) -> None:
    """Cut the stream of a whole session anywhere: the same events come in the same order."""
    name, role = data.draw(st.sampled_from(STREAMS))
    recording = RECORDINGS[name]
    peer = stream(recording, "server" if role == "client" else "client")
    cuts = sorted(data.draw(st.lists(st.integers(1, len(peer) - 1), max_size=20)))
    pieces = [peer[a:b] for a, b in zip([0, *cuts], [*cuts, len(peer)], strict=True) if a != b]
    with replaced(recording, role):
        assert played(recording, role, pieces) == whole(name, role)


@pytest.mark.parametrize(("name", "role"), STREAMS)
def test_byte_by_byte_gives_the_same_events(name: str, role: Role) -> None:
    """So does a stream that arrives in single bytes."""
    recording = RECORDINGS[name]
    peer = stream(recording, "server" if role == "client" else "client")
    with replaced(recording, role):
        items = played(recording, role, [peer[n : n + 1] for n in range(len(peer))])
    assert items == whole(name, role)


@pytest.mark.parametrize(("name", "role"), STREAMS)
def test_a_stream_cut_short_gives_a_part_of_the_events(name: str, role: Role) -> None:
    """A connection that breaks after any byte gives what had arrived, then says that it ended: never a clean end."""
    recording = RECORDINGS[name]
    peer = stream(recording, "server" if role == "client" else "client")
    full = whole(name, role)
    stranger = 12 if role == "server" else 0  # fewer bytes are no hello
    with replaced(recording, role):
        for size in range(0, len(peer), 1 if name in THOROUGH else 7):
            items = played(recording, role, [peer[:size]] if size else [])
            assert items[:-1] == full[: len(items) - 1]
            expected = Failed if 0 < size < stranger else Ended
            assert isinstance(items[-1], expected), size
    closes = [item for item in full if isinstance(item, Closed)]
    assert len(closes) == (0 if (name, role) in NO_CLOSE else 1)


def test_recordings_hold_no_private_rsa_key() -> None:
    """No value in a recording is a private key, and no file looks like one."""
    for path in FOLDER.glob("*.json"):
        assert "PRIVATE KEY" not in path.read_text()
        for value in strings(json.loads(path.read_text())):
            try:
                der = bytes.fromhex(value)
            except ValueError:
                continue
            with pytest.raises((ValueError, TypeError)):
                load_der_private_key(der, None)


def strings(value: Any) -> list[str]:
    """All strings inside decoded JSON."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [text for item in value for text in strings(item)] if isinstance(value, list) else []


def test_every_recording_is_played() -> None:
    """The files of the folder are those that the tests know."""
    assert {path.stem for path in FOLDER.glob("*.json")} == set(NAMES)
