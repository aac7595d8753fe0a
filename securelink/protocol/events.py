"""The events of a connection."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..codes import Code
from ..errors import ProtocolError, RecordError, SecureLinkError
from ..wire.messages import Welcome
from .handshake_client import PlaintextServer, VerifiedServer
from .records import INTERFERES
from .resumption import Resumption
from .states import State

FAULTY = "this is not a fault of the network: use the same version of securelink on both sides"


@dataclass(frozen=True)
class HelloReceived:
    """Server: call `begin_answer`, send, then `finish_answer` (both expensive) in a worker thread."""


@dataclass(frozen=True)
class AuthReceived:
    """Server: call `verify_client` (expensive), then `welcome` with the proof that it returns, or `refuse`."""


@dataclass(frozen=True)
class ServerVerified:
    """Client: the server proved its key; decide on trust, then call `authenticate` with the proof."""

    server: VerifiedServer


@dataclass(frozen=True)
class PlaintextChosen:
    """Client: the server answered in plaintext, which our mode allows; call `authenticate` with it."""

    server: PlaintextServer


@dataclass(frozen=True)
class Opened:
    """
    Client: the session exists.

    `resumed`: the client's old session continues; False: a new one, even if the client wanted to resume.
    `resumption`: resumes it later, in place of the one that was used this time; None if the server keeps nothing.
    """

    welcome: Welcome
    resumed: bool = False
    resumption: Resumption | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Confirmed:
    """Server: the first record after WELCOME has come, so the client has received it. Only if this was requested."""


@dataclass(frozen=True)
class Pinged:
    """A PING of the peer; the connection answers by itself."""

    payload: bytes


@dataclass(frozen=True)
class Ponged:
    """The answer to our PING."""

    payload: bytes


@dataclass(frozen=True)
class Alerted:
    """The peer gave up before it proved its identity. This only ends the attempt."""

    code: int
    seconds: int = 0  # BLOCKED: for how long


@dataclass(frozen=True)
class Closed:
    """
    The peer's CLOSE. Nothing follows it; the connection answers by itself.

    `answers`: whether it answers a CLOSE of ours. `delay`: seconds after which this side is asked to come back; what is
    too long for anybody is the shell's to say.
    """

    code: int
    text: str
    answers: bool = field(default=False, compare=False)
    delay: float = 0.0


@dataclass(frozen=True)
class Ended:
    """End of stream without CLOSE."""


@dataclass(frozen=True)
class Silent:
    """The peer was silent for so many seconds in which it was read. The connection sends CLOSE by itself."""

    seconds: float


@dataclass(frozen=True)
class Overdue:
    """The handshake took too long, and ended in this state; `answer` is a last message for the peer."""

    state: State
    answer: bytes


@dataclass(frozen=True)
class Expired:
    """The connection is over, and the peer has not closed it in time: close the stream."""


@dataclass(frozen=True)
class Failed:
    """
    The peer broke the protocol. Before the session is open `answer` is a last message for it; later the connection
    sends CLOSE by itself.

    `proved`: the offending record was authenticated as the peer's, so an attacker on the path cannot have sent it.
    `ours`: bytes were lost on this side, so the peer is not to blame.
    `spared`: the connection says no CLOSE, for that would end a session that may go on over another connection. A shell
    that does not want that calls `close`.
    """

    error: SecureLinkError
    answer: bytes
    proved: bool = False
    ours: bool = False
    spared: bool = False

    @property
    def words(self) -> str:
        """The side that broke the protocol, and the rule, for the local user."""
        if isinstance(self.error, RecordError):
            return self.error.message  # the message itself says that it was changed on the way
        who = "the peer" if self.proved else "the peer, or somebody on the path to it,"
        return f"{who} broke the protocol: {self.error.message}"

    @property
    def hint(self) -> str:
        """The hint: what to do next."""
        return self.error.hint or (FAULTY if self.proved else INTERFERES)

    def as_error(self) -> ProtocolError:
        """The same as a new error, of the same class."""
        kind = RecordError if isinstance(self.error, RecordError) else ProtocolError
        return kind(self.words, code=Code.PROTOCOL, hint=self.hint)


Event = (
    HelloReceived
    | AuthReceived
    | ServerVerified
    | PlaintextChosen
    | Opened
    | Confirmed
    | Pinged
    | Ponged
    | Alerted
    | Closed
    | Ended
    | Failed
    | Silent
    | Overdue
    | Expired
)
#: `receive_data` returns these: a record's `packets` array as bytes, or an event.
Item = bytes | memoryview | Event
