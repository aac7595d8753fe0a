"""Bytes that are damaged on the way cost a connection, not the session, unless they are proved to be the peer's."""

from __future__ import annotations

import random
from itertools import count
from typing import Any

import pytest
from cut_lines import line
from helpers import WAIT, failure, until
from resuming import REQUIRED, World
from together import link_of

from securelink import ConnectionClosed, ProtocolError
from securelink.codes import Code
from securelink.keys import Identity
from securelink.protocol import Failed
from securelink.wire.fields import Content


def damaged(stream: bytes, place: int) -> bytes:
    """The stream with one bit changed; which one depends on the place."""
    return stream[:place] + bytes([stream[place] ^ 1 << place % 8]) + stream[place + 1 :]


@pytest.mark.parametrize("up", [True, False])
def test_damage_at_each_byte(up: bool, identity: Identity) -> None:
    """Wherever a stream is damaged the session goes on over the next connection; nothing is lost or doubled."""
    world = World(identity, REQUIRED)
    world.connect()
    held = world.held
    failed = 0
    for place in count():
        world.client.say(f"a{place}", f"b{place}")
        world.server.say(held, f"A{place}", f"B{place}")
        world.collect()
        stream = world.up if up else world.down
        if place >= len(stream):
            break
        if up:
            world.up = damaged(stream, place)
        else:
            world.down = damaged(stream, place)
        world.client.events.clear()
        world.settle()
        seen = world.arrival.events if up else world.client.events
        failed += any(isinstance(event, Failed) and event.spared for event in seen)
        world.cut()
        world.connect()
        assert world.client.opened[-1]
    world.settle()
    assert held.handled == [f"{letter}{n}" for n in range(place + 1) for letter in "ab"]
    assert world.client.handled == [[f"{letter}{n}" for n in range(place + 1) for letter in "AB"]]
    assert failed > place * 3 // 4  # where a length grows, a record that never ends is waited for
    assert place > 30


def test_a_bad_record_of_the_peer_itself(identity: Identity) -> None:
    """What is authenticated and against the rules ends the session for good: CLOSE says so."""
    world = World(identity, REQUIRED)
    world.connect()
    engine = world.client.engine
    assert engine is not None
    engine.control(Content.WELCOME)
    world.settle()
    (failed,) = (event for event in world.arrival.events if isinstance(event, Failed))
    assert (failed.proved, failed.spared) == (True, False)
    assert world.arrival.engine.closing == (Code.PROTOCOL, "")


class Noise:
    """Changes a bit in some chunks of a direction, by a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.count = 0

    def __call__(self, chunk: bytes) -> bytes:
        if self._random.random() > 0.1:
            return chunk
        self.count += 1
        return damaged(chunk, self._random.randrange(len(chunk)))


def test_a_noisy_line(identity: Identity) -> None:
    """Damage now and then, in both directions, in sessions and in handshakes: everything arrives once and in order."""
    with line(identity, server={"heartbeat": 1}) as stage:
        client, session, relay = stage.client, stage.session, stage.relay
        token = client.token
        up, down = relay.to_server.hook, relay.to_client.hook = Noise(1), Noise(2)
        number = 0
        while number < 100 or up.count < 5 or down.count < 5:
            client.send("say", number)
            session.send("told", number)
            number += 1
            until(lambda: client.connected or client.ended)
        relay.to_server.hook = relay.to_client.hook = None
        for expected in range(number):
            packet = client.receive(2 * WAIT)
            assert packet is not None
            assert packet.data == expected
        until(lambda: len(stage.heard) == number)
        assert stage.heard == list(range(number))
        assert client.token == token
        assert "disconnect" not in stage.seen


@pytest.mark.parametrize("encryption", ["required", "off"])
def test_bytes_that_this_side_has_lost(encryption: str, identity: Identity) -> None:
    """Ctrl-C may take a piece of the stream with it: neither side ends the session for that."""
    with line(identity, encryption) as stage:
        client, session = stage.client, stage.session
        link = link_of(client)
        assert link is not None
        link.connection.interrupted()
        wrong = iter([lambda chunk: b"\x09" + chunk[1:]])
        stage.relay.to_client.hook = lambda chunk: next(wrong, lambda chunk: chunk)(chunk)
        session.send("told", 1)
        packet = client.receive(WAIT)
        assert packet is not None
        assert packet.data == 1
        assert client.token == session.token
        assert "disconnect" not in stage.seen


def test_a_peer_that_breaks_the_protocol(identity: Identity) -> None:
    """Who is proved to have sent what is against the rules does not come back, and both sides say why."""
    with line(identity) as stage:
        session = stage.session
        link = link_of(stage.client)
        assert link is not None
        link.control(Content.WELCOME)
        error = failure(ConnectionClosed, lambda: stage.client.receive(WAIT), "protocol")
        assert (error.code, error.clean) == (Code.PROTOCOL, True)
        until(lambda: session.ended)
        assert session.code == Code.PROTOCOL
        assert "suspend" not in stage.seen


@pytest.mark.parametrize("how", ["plaintext", "not kept", "not wanted"])
def test_where_damage_is_the_end(how: str, identity: Identity) -> None:
    """In plaintext, where damage cannot be told from malice, and where no session is kept, by either side."""
    options: dict[str, dict[str, Any]] = {
        "plaintext": {"encryption": "off"},
        "not kept": {"server": {"resume": 0}},
        "not wanted": {"reconnect": False},
    }
    with line(identity, **options[how]) as stage:
        session = stage.session
        wrong = iter([lambda chunk: b"\x09" + chunk[1:]])
        stage.relay.to_client.hook = lambda chunk: next(wrong, lambda chunk: chunk)(chunk)
        session.send("told", 1)
        error = failure(ProtocolError, lambda: stage.client.receive(WAIT), "broke the protocol")
        assert error.code == Code.PROTOCOL
        until(lambda: session.ended)
        assert session.code == Code.PROTOCOL
        assert "suspend" not in stage.seen
