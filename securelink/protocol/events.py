"""What an engine reports."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import SecureLinkError
from ..handshake.client import VerifiedServer
from ..handshake.messages import Welcome


@dataclass(frozen=True)
class HelloReceived:
    """Server: call `answer_hello` (expensive) when a worker has time."""


@dataclass(frozen=True)
class AuthReceived:
    """Server: call `verify_client` (expensive), then `welcome` or `refuse`."""


@dataclass(frozen=True)
class ServerVerified:
    """Client: the server proved its key; decide on trust, then call `authenticate`."""

    server: VerifiedServer


@dataclass(frozen=True)
class PlaintextChosen:
    """Client: the server answered in plaintext, which our mode allows; call `authenticate`."""


@dataclass(frozen=True)
class Opened:
    """Client: the session exists."""

    welcome: Welcome


@dataclass(frozen=True)
class Pinged:
    """Answer with `sender.control(Content.PONG, payload)`."""

    payload: bytes


@dataclass(frozen=True)
class Ponged:
    """The answer to our PING."""

    payload: bytes


@dataclass(frozen=True)
class Alerted:
    """The peer gave up before it had proved who it is. It can end this attempt, nothing more."""

    code: int


@dataclass(frozen=True)
class Closed:
    """The peer's CLOSE. Nothing follows it."""

    code: int
    text: str


@dataclass(frozen=True)
class Ended:
    """End of stream without CLOSE."""


@dataclass(frozen=True)
class Failed:
    """The peer broke the protocol; `answer` is a last word for it, to be sent before the socket is closed."""

    error: SecureLinkError
    answer: bytes


Event = (
    HelloReceived
    | AuthReceived
    | ServerVerified
    | PlaintextChosen
    | Opened
    | Pinged
    | Ponged
    | Alerted
    | Closed
    | Ended
    | Failed
)
#: What `receive_data` returns: a record's `packets` array as bytes, or an event.
Item = bytes | memoryview | Event
