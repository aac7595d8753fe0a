"""
The connection engine: bytes in, events out, bytes out. No socket, no thread, no clock of its own.

Feed what arrives to `receive_data` (b"" is end of stream); it returns what happened, in order. During the handshake
`data_to_send` has the answer; once OPEN, `sender` seals packets and control records. Any split of the input gives
the same events. An engine that met an error stays failed: its last event is `Failed`.

`FRAMES` and `CONTENTS` are the state machine: which frame or content may come in which state. A missing entry is the
error.
The receiving half (`receive_data`) and the sending half (`sender`) may be used by two threads at once, each by one.

    states.py   states, and which message may come in which
    events.py   what a connection reports
    sender.py   the sending half of an open connection
    connection.py   what both roles share
    server.py   the server's end
    client.py   the client's end, and the errors for refusals

    handshake_client.py, handshake_server.py   both halves of the computation
    schedule.py    key schedule
    records.py     AES-256-GCM or plaintext
    numbering.py   counting and keeping the records of a session
    bounds.py      how much one session may keep
"""

from .client import ClientConnection, refusal
from .connection import Connection
from .events import (
    Alerted,
    AuthReceived,
    Closed,
    Confirmed,
    Ended,
    Event,
    Failed,
    HelloReceived,
    Item,
    Opened,
    Pinged,
    PlaintextChosen,
    Ponged,
    ServerVerified,
)
from .handshake_client import PlaintextServer, VerifiedServer
from .handshake_server import VerifiedClient
from .sender import Sender
from .server import ServerConnection
from .states import CONTENTS, FRAMES, State

__all__ = [
    "CONTENTS",
    "FRAMES",
    "Alerted",
    "AuthReceived",
    "ClientConnection",
    "Closed",
    "Confirmed",
    "Connection",
    "Ended",
    "Event",
    "Failed",
    "HelloReceived",
    "Item",
    "Opened",
    "Pinged",
    "PlaintextChosen",
    "PlaintextServer",
    "Ponged",
    "Sender",
    "ServerConnection",
    "ServerVerified",
    "State",
    "VerifiedClient",
    "VerifiedServer",
    "refusal",
]
