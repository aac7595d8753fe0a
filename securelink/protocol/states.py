"""The state machine as data."""

from __future__ import annotations

from enum import Enum

from ..wire.fields import Content, Kind


class State(Enum):
    """
    Where a connection stands, as its receiving half sees it.

    READS_NOTHING has the states in which one side computes or decides. That we have said CLOSE is known to the
    sending half alone (`Sender.closed`): what may be read until the peer's CLOSE stays the same.
    A server is WELCOMED instead of OPEN where it was asked to tell when the first record has come.
    """

    HELLO_SENT = "client: hello sent"
    WAIT_AUTH = "client: waiting for the server's proof"
    VERIFIED = "client: deciding whether to trust the server"
    AUTH_SENT = "client: waiting for WELCOME"
    START = "server: waiting for a hello"
    HELLO_RECEIVED = "server: computing its hello"
    ANSWERING = "server: computing its proof"
    WAIT_CLIENT = "server: waiting for the client's proof"
    AUTH_RECEIVED = "server: checking the client's proof"
    AUTHORIZING = "server: deciding"
    WELCOMED = "server: waiting for a sign that WELCOME has arrived"
    OPEN = "open"
    CLOSED = "closed"
    FAILED = "failed"


_OPEN_CONTENTS = (
    Content.DATA,
    Content.DATA_ACK,
    Content.ACK,
    Content.PING,
    Content.PONG,
    Content.KEY_UPDATE,
    Content.CLOSE,
)

# Two tables, because kinds and contents are both small integers and equal ones are equal as keys.

#: (state, kind of a frame in clear) -> name of the method that takes it. Missing: the peer broke the protocol.
FRAMES: dict[tuple[State, Kind], str] = {
    (State.HELLO_SENT, Kind.SERVER_HELLO): "_server_hello",
    (State.HELLO_SENT, Kind.ALERT): "_alert",
    (State.START, Kind.CLIENT_HELLO): "_client_hello",
    (State.WAIT_CLIENT, Kind.ALERT): "_alert",
}

#: (state, content of a SEALED or PLAIN frame) -> name of the method that takes it. Missing: likewise.
CONTENTS: dict[tuple[State, Content], str] = {
    (State.WAIT_AUTH, Content.SERVER_AUTH): "_server_auth",
    (State.WAIT_AUTH, Content.CLOSE): "_close",
    (State.AUTH_SENT, Content.WELCOME): "_welcome",
    (State.AUTH_SENT, Content.CLOSE): "_close",
    (State.WAIT_CLIENT, Content.CLIENT_AUTH): "_client_auth",
    (State.WAIT_CLIENT, Content.CLOSE): "_close",
    **{(State.WELCOMED, content): "_first_record" for content in _OPEN_CONTENTS},
    **{(State.OPEN, content): f"_{content.name.lower()}" for content in _OPEN_CONTENTS},
}

#: States in which what arrives stays in the buffer.
READS_NOTHING = frozenset(
    (
        State.HELLO_RECEIVED,
        State.ANSWERING,
        State.AUTH_RECEIVED,
        State.AUTHORIZING,
        State.VERIFIED,
        State.CLOSED,
        State.FAILED,
    )
)
