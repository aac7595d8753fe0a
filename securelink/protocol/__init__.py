"""
The core: bytes and the time in; records, events, bytes and deadlines out. No socket, no thread, no clock of its own.

Feed what arrives to `receive_data` (b"" is end of stream); it returns what happened, in order. `data_to_send` has what
is to be said: the handshake, answers, acknowledgements, heartbeats, CLOSE. `next_deadline` says when `on_deadline` has
to be called. Any split of the input gives the same events. A connection that met an error stays failed: its last
event is `Failed`. A `SessionCore` is what a connection carries, and outlives it.

`MOVES` is the state machine: what may happen in which state, and which one comes next. A missing entry is the error.
The receiving half (`receive_data`) and the sending half (`sender`) may be used by two threads at once, each by one.

    states.py   the states, and the one table of what may happen in which
    events.py   what a connection reports
    sender.py   the sending half of an open connection
    connection.py   what both roles share
    server.py   the server's end
    client.py   the client's end, and the errors for refusals
    strangers.py   what knocks and is no client of ours

    handshake_client.py, handshake_server.py   both halves of the computation
    schedule.py    key schedule
    records.py     AES-256-GCM or plaintext
    numbering.py   counting and keeping the records of a session
    acknowledging.py   when an acknowledgement goes
    liveness.py    heartbeats and silence

    resumption.py  what both sides keep to resume a session
    tickets.py     the server's tickets

    session_core.py   the durable side: what a connection carries
    send_queue.py, receive_queue.py, requests.py   what it has
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
from .resumption import Grant, Resumption
from .sender import Sender
from .server import ServerConnection
from .session_core import SessionCore
from .states import MOVES, Input, State
from .tickets import Issued, Resuming, Tickets, TicketTable

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
    "Grant",
    "HelloReceived",
    "Input",
    "Issued",
    "Item",
    "Opened",
    "Overdue",
    "Pinged",
    "PlaintextChosen",
    "PlaintextServer",
    "Ponged",
    "Resuming",
    "Resumption",
    "Sender",
    "ServerConnection",
    "ServerVerified",
    "SessionCore",
    "Silent",
    "State",
    "TicketTable",
    "Tickets",
    "VerifiedClient",
    "VerifiedServer",
    "refusal",
]
