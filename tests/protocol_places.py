"""The places in which an engine can be: role, state and mode, and how to bring one there."""

from __future__ import annotations

from engines import Pair, Role

from securelink.keys import Identity
from securelink.protocol import State
from securelink.wire.fields import Content, Mode

OFF, REQUIRED = Mode.OFF, Mode.REQUIRED
Place = tuple[Role, State, Mode]

PROTECTED: dict[State, set[int]] = {
    State.WAIT_AUTH: {Content.SERVER_AUTH, Content.CLOSE},
    State.AUTH_SENT: {Content.WELCOME, Content.CLOSE},
    State.WAIT_CLIENT: {Content.CLIENT_AUTH, Content.CLOSE},
    State.WELCOMED: {4, 5, 6, 7, 8, 9, 10},
    State.OPEN: {4, 5, 6, 7, 8, 9, 10},
}
PLACES: list[Place] = [
    ("client", State.HELLO_SENT, REQUIRED),
    ("client", State.HELLO_SENT, OFF),
    ("client", State.WAIT_AUTH, REQUIRED),
    ("client", State.AUTH_SENT, REQUIRED),
    ("client", State.AUTH_SENT, OFF),
    ("client", State.OPEN, REQUIRED),
    ("client", State.OPEN, OFF),
    ("server", State.START, REQUIRED),
    ("server", State.WAIT_CLIENT, REQUIRED),
    ("server", State.WAIT_CLIENT, OFF),
    ("server", State.WELCOMED, REQUIRED),
    ("server", State.WELCOMED, OFF),
    ("server", State.OPEN, REQUIRED),
    ("server", State.OPEN, OFF),
]
KEYED = [place for place in PLACES if place[1] in PROTECTED]


def at(place: Place, identity: Identity) -> Pair:
    """A pair whose engine in that role is in that state, and in that mode."""
    role, state, mode = place
    waits = state is State.WELCOMED
    pair = Pair(identity, client_mode=mode, server_mode=mode, wait_for_sign=waits)
    return pair.run() if state in (State.OPEN, State.WELCOMED) else pair.until(role, state)
