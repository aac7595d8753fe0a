"""
The connection engine: bytes in, events out, bytes out. No socket, no thread, no clock of its own.

Feed what arrives to `receive_data` (b"" is end of stream); it returns what happened, in order. During the handshake
`data_to_send` has the answer; once OPEN, `sender` seals packets and control records. Any split of the input gives
the same events. An engine that met an error stays failed: its last event is `Failed`.

`MOVES` is the state machine: what may happen in which state, and which one comes next. A missing entry is the error.
The receiving half (`receive_data`) and the sending half (`sender`) may be used by two threads at once, each by one.

    states.py   the states, and the one table of what may happen in which
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
    Expired,
    Failed,
    HelloReceived,
    Item,
    Opened,
    Overdue,
    Pinged,
    PlaintextChosen,
    Ponged,
    ServerVerified,
    Silent,
)
from .handshake_client import PlaintextServer, VerifiedServer
from .handshake_server import VerifiedClient
from .sender import Sender
from .server import ServerConnection
from .states import MOVES, Input, State

__all__ = [
    "MOVES",
    "Alerted",
    "AuthReceived",
    "ClientConnection",
    "Closed",
    "Confirmed",
    "Connection",
    "Ended",
    "Event",
    "Expired",
    "Failed",
    "HelloReceived",
    "Input",
    "Item",
    "Opened",
    "Overdue",
    "Pinged",
    "PlaintextChosen",
    "PlaintextServer",
    "Ponged",
    "Sender",
    "ServerConnection",
    "ServerVerified",
    "Silent",
    "State",
    "VerifiedClient",
    "VerifiedServer",
    "refusal",
]
