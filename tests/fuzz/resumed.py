"""
Harnesses of both ends of a connection that is to resume a session, in each of its states.

The shells of `resuming.py` answer what comes. Whatever that is: nobody without the session's PSK ends the session, or
has a ticket of it spent.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from engines import Role, split_frames
from explorer.cloned import copied
from inside import handshake_of, sealer_of
from protocol_places import OFF, REQUIRED, Place
from resuming import World, suspended

from securelink.errors import HandshakeError, ProtocolError
from securelink.keys import Identity
from securelink.limits import MAX_PACKET
from securelink.protocol import Connection, Returning, ServerConnection, State
from securelink.protocol.records import PlainSender, Sealer
from securelink.wire.messages import Welcome

RESUMED: list[Place] = [
    ("client", State.HELLO_SENT, REQUIRED),
    ("client", State.HELLO_SENT, OFF),
    ("client", State.WAIT_AUTH, REQUIRED),
    ("client", State.AUTH_SENT, REQUIRED),
    ("client", State.AUTH_SENT, OFF),
    ("server", State.START, REQUIRED),
    ("server", State.START, OFF),
    ("server", State.WAIT_CLIENT, REQUIRED),
    ("server", State.WAIT_CLIENT, OFF),
    ("server", State.WELCOMED, REQUIRED),
    ("server", State.WELCOMED, OFF),
]
_CLEAR = (State.HELLO_SENT, State.START)
RESUMED_KEYED = [place for place in RESUMED if place[1] not in _CLEAR]
#: Where it matters that another process of the client goes on, which has nothing of the session but its file.
NO_MEMORY: list[Place] = [
    ("client", State.AUTH_SENT, REQUIRED),
    ("client", State.AUTH_SENT, OFF),
    ("server", State.WELCOMED, REQUIRED),
    ("server", State.WELCOMED, OFF),
]


def name_of(place: Place) -> str:
    """As a harness is called."""
    return "-".join((place[0], place[1].name, place[2].name)).lower()


@functools.cache
def key() -> Identity:
    """A key, made once a run: none is in the repository."""
    return Identity.generate(2048)


@functools.cache
def _reached(place: Place, *, remembers: bool = True) -> World:
    """A suspended session whose client, or another process of it, has dialled; this end of it is in this state."""
    role, state, mode = place
    world = suspended(key(), mode)
    if not remembers:
        world.client.die()
        world.client.say("c")
    world.dial()
    world.up = world.client.data_to_send()
    while end_of(world, role).state is not state:
        if world.up:
            frame, *rest = split_frames(world.up)
            world.up = b"".join(rest)
            world.arrival.receive(frame, world.now)
            world.down += world.arrival.data_to_send()
        else:
            frame, *rest = split_frames(world.down)
            world.down = b"".join(rest)
            world.client.receive(frame, world.now)
            world.up += world.client.data_to_send()
    return world


def end_of(world: World, role: Role) -> Connection:
    """The connection of a role."""
    engine = world.client.engine if role == "client" else world.arrival.engine
    assert engine is not None
    return engine


def forged(world: World, role: Role, record: bytes) -> bytes:
    """A frame of a peer that has the right keys, for the end in this role."""
    engine, server = end_of(world, role), world.arrival.engine
    other = sealer_of(end_of(world, "server" if role == "client" else "client"))
    if engine.encrypted and engine.state in (State.WAIT_AUTH, State.WAIT_CLIENT):
        # The peer may have gone on to its next key already, or not be so far.
        assert isinstance(server, ServerConnection)
        secrets = handshake_of(server).handshake_secrets
        assert secrets is not None
        other = Sealer(secrets.server if role == "client" else secrets.client)
    return (other if other is not None else PlainSender()).seal(record)


def resumed_gets(
    place: Place, *, keyed: bool, remembers: bool = True
) -> Callable[[], Callable[[bytes], object]]:
    """
    One end in one state: bytes of somebody in the path, or records of a peer that has the right keys.

    Keyed, the input is records: size u16, content and body; without a size, the rest is one.
    """
    role, _, mode = place

    def prepare() -> Callable[[bytes], object]:
        world: World = copied(_reached(place, remembers=remembers))
        (token,) = world.server.sessions
        known = world.client.resumption

        def feed(data: bytes) -> None:
            (world.client if role == "client" else world.arrival).receive(data, world.now)

        def call(data: bytes) -> None:
            engine = end_of(world, role)
            if not keyed:
                feed(data)
            while keyed and data and engine.state not in (State.FAILED, State.CLOSED):
                size = int.from_bytes(data[:2])
                record, data = data[2 : 2 + size] or b"\x04", data[2 + size :]
                try:
                    frame = forged(world, role, record[: 2**14])
                except (AssertionError, AttributeError):
                    break  # the state went on, and there are no keys of the old one
                feed(frame)
            for failed in (world.client.failed, world.arrival.failed):
                assert failed is None or isinstance(failed, ProtocolError | HandshakeError)
            if mode is REQUIRED and not keyed:
                assert world.server.tickets(token) >= 1
                assert world.client.resumption is known
                assert not world.client.lost
            if (
                engine.state is State.OPEN
                and world.client.returning is Returning.TO_GO_ON
                and not world.client.lost
            ):
                # At the server there may be two: CLIENT_AUTH can ask for another one behind the one of the ticket.
                ends = [world.client] if role == "client" else world.server.sessions.values()
                assert any(engine.numbering is end.core.numbering for end in ends)

        return call

    return prepare


def hello_seeds() -> list[bytes]:
    """What the client says first, in both modes, with its ticket."""
    return [_reached(("server", State.START, mode)).up for mode in (REQUIRED, OFF)]


def welcome_seeds(place: Place) -> list[bytes]:
    """For the keyed harness of a client without memory: WELCOME that states both counts, and possible ones, and not."""
    world = _reached(place, remembers=False)
    (token,) = world.server.sessions
    made = [
        Welcome(token, MAX_PACKET, 20.0, bytes(range(32)), 120, *counts)
        for counts in ((1, 1), (1, None), (None, None), (2**63, 0), (0, 2**64 - 1))
    ]
    return [len(record).to_bytes(2) + record for record in (one.encode() for one in made)]
