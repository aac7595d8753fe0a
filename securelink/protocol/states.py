"""
The state machine as data: `MOVES` lists the inputs of each state, the method that takes each, and the next state.

States only change by this table: `Connection` looks up every step in it, the peer's and our own. A missing entry is
an error. docs/PROTOCOL.md, section 13, has the same table in words.
"""

from __future__ import annotations

from enum import Enum, IntEnum, auto
from typing import NamedTuple

from ..wire.fields import Content, Kind


class State(Enum):
    """
    The state of a connection, as its receiving half sees it.

    READS_NOTHING lists the states in which one side computes or decides. Only the sending half knows that we have
    sent CLOSE (`Sender.closed`): the inputs until the peer's CLOSE stay the same. A server is WELCOMED instead of
    OPEN if it was asked to report the first record.
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

    __hash__ = object.__hash__  # Enum's own is a function in Python, and each step looks a state up


class Input(IntEnum):
    """Inputs of a connection: a frame in clear, a content, a step of our own, an end."""

    # Frames in clear.
    CLIENT_HELLO = auto()
    SERVER_HELLO = auto()
    ALERT = auto()
    # Contents of SEALED and PLAIN frames.
    SERVER_AUTH = auto()
    CLIENT_AUTH = auto()
    WELCOME = auto()
    DATA = auto()
    DATA_ACK = auto()
    ACK = auto()
    PING = auto()
    PONG = auto()
    KEY_UPDATE = auto()
    CLOSE = auto()
    # Steps of our own, named like the methods that take them; ADMIT and ADMIT_ON_TRIAL are `welcome()`. RESUME is
    # always on trial: the used ticket stays valid until the client shows that it has the next one.
    AUTHENTICATE = auto()
    BEGIN_ANSWER = auto()
    FINISH_ANSWER = auto()
    VERIFY_CLIENT = auto()
    ADMIT = auto()
    ADMIT_ON_TRIAL = auto()
    RESUME = auto()
    REFUSE = auto()
    # Ends that can come at any time.
    FAULT = auto()  # the peer broke the protocol
    GIVE_UP = auto()  # we end a handshake for a reason of our own
    DEADLINE = auto()  # the time for the handshake is over
    ABORT = auto()  # a record is lost on our side, or another connection carries the session
    END_OF_STREAM = auto()


class Take(Enum):
    """The names of what takes an input of the peer: each role has a method or function for each name in its states."""

    CLIENT_HELLO = auto()
    SERVER_HELLO = auto()
    ALERT = auto()
    SERVER_AUTH = auto()
    CLIENT_AUTH = auto()
    WELCOME = auto()
    FIRST_RECORD = auto()
    DATA = auto()
    DATA_ACK = auto()
    ACK = auto()
    PING = auto()
    PONG = auto()
    KEY_UPDATE = auto()
    CLOSE = auto()
    CLOSE_UNPROVED = auto()  # from a peer that has proved nothing, so it is treated like an ALERT

    __hash__ = object.__hash__  # as above


class Move(NamedTuple):
    """
    The effect of one input in one state.

    Attributes:
        then: The next state.
        take: The method for the peer's message; None for our own steps and for ends, which are methods already.
        in_plaintext: The next state of a connection without encryption, if it differs.
    """

    then: State
    take: Take | None = None
    in_plaintext: State | None = None


#: kind of a frame in clear -> its input.
KIND_INPUTS: dict[int, Input] = {
    int(kind): Input[kind.name] for kind in (Kind.CLIENT_HELLO, Kind.SERVER_HELLO, Kind.ALERT)
}
#: content of a SEALED or PLAIN frame -> its input.
CONTENT_INPUTS: dict[int, Input] = {int(content): Input[content.name] for content in Content}

_CLIENT: dict[tuple[State, Input], Move] = {
    (State.HELLO_SENT, Input.SERVER_HELLO): Move(
        State.WAIT_AUTH, Take.SERVER_HELLO, in_plaintext=State.VERIFIED
    ),
    (State.HELLO_SENT, Input.ALERT): Move(State.FAILED, Take.ALERT),
    (State.WAIT_AUTH, Input.SERVER_AUTH): Move(State.VERIFIED, Take.SERVER_AUTH),
    (State.WAIT_AUTH, Input.CLOSE): Move(State.FAILED, Take.CLOSE_UNPROVED),
    (State.VERIFIED, Input.AUTHENTICATE): Move(State.AUTH_SENT),
    (State.AUTH_SENT, Input.WELCOME): Move(State.OPEN, Take.WELCOME),
    (State.AUTH_SENT, Input.CLOSE): Move(State.CLOSED, Take.CLOSE),
}
_SERVER: dict[tuple[State, Input], Move] = {
    (State.START, Input.CLIENT_HELLO): Move(State.HELLO_RECEIVED, Take.CLIENT_HELLO),
    (State.HELLO_RECEIVED, Input.BEGIN_ANSWER): Move(State.ANSWERING),
    (State.ANSWERING, Input.FINISH_ANSWER): Move(State.WAIT_CLIENT),
    (State.WAIT_CLIENT, Input.CLIENT_AUTH): Move(State.AUTH_RECEIVED, Take.CLIENT_AUTH),
    (State.WAIT_CLIENT, Input.ALERT): Move(State.FAILED, Take.ALERT),
    (State.WAIT_CLIENT, Input.CLOSE): Move(State.FAILED, Take.CLOSE_UNPROVED),
    (State.AUTH_RECEIVED, Input.VERIFY_CLIENT): Move(State.AUTHORIZING),
    (State.AUTH_RECEIVED, Input.REFUSE): Move(State.FAILED),
    (State.AUTHORIZING, Input.ADMIT): Move(State.OPEN),
    (State.AUTHORIZING, Input.ADMIT_ON_TRIAL): Move(State.WELCOMED),
    (State.AUTHORIZING, Input.RESUME): Move(State.WELCOMED),
    (State.AUTHORIZING, Input.REFUSE): Move(State.FAILED),
    (State.WELCOMED, Input.DATA): Move(State.OPEN, Take.FIRST_RECORD),
    (State.WELCOMED, Input.DATA_ACK): Move(State.OPEN, Take.FIRST_RECORD),
    (State.WELCOMED, Input.ACK): Move(State.OPEN, Take.FIRST_RECORD),
    (State.WELCOMED, Input.PING): Move(State.OPEN, Take.FIRST_RECORD),
    (State.WELCOMED, Input.PONG): Move(State.OPEN, Take.FIRST_RECORD),
    (State.WELCOMED, Input.KEY_UPDATE): Move(State.OPEN, Take.FIRST_RECORD),
    (State.WELCOMED, Input.CLOSE): Move(State.CLOSED, Take.FIRST_RECORD),
}
_OPEN: dict[tuple[State, Input], Move] = {
    (State.OPEN, Input.DATA): Move(State.OPEN, Take.DATA),
    (State.OPEN, Input.DATA_ACK): Move(State.OPEN, Take.DATA_ACK),
    (State.OPEN, Input.ACK): Move(State.OPEN, Take.ACK),
    (State.OPEN, Input.PING): Move(State.OPEN, Take.PING),
    (State.OPEN, Input.PONG): Move(State.OPEN, Take.PONG),
    (State.OPEN, Input.KEY_UPDATE): Move(State.OPEN, Take.KEY_UPDATE),
    (State.OPEN, Input.CLOSE): Move(State.CLOSED, Take.CLOSE),
}
#: Inputs that end a connection in any state; an ended connection keeps its state.
ENDS: dict[Input, State] = {
    Input.FAULT: State.FAILED,
    Input.GIVE_UP: State.FAILED,
    Input.DEADLINE: State.FAILED,
    Input.ABORT: State.FAILED,
    Input.END_OF_STREAM: State.CLOSED,
}
OVER = frozenset((State.CLOSED, State.FAILED))

#: (state, input) -> the method that takes it, and the next state. Missing: the input is not allowed there.
MOVES: dict[tuple[State, Input], Move] = {
    **_CLIENT,
    **_SERVER,
    **_OPEN,
    **{
        (state, end): Move(state if state in OVER else then)
        for end, then in ENDS.items()
        for state in State
    },
}

#: States in which arriving bytes stay in the buffer: the table has no input of the peer for them.
READS_NOTHING = frozenset(State) - {state for (state, _), move in MOVES.items() if move.take}
