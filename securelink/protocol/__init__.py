"""
The core: bytes and the time in; records, events, bytes and deadlines out. It has no socket, no thread and no clock.

Feed arriving bytes to `receive_data` (b"" is end of stream); it returns records and events in order. `data_to_send`
returns the output: the handshake, answers, acknowledgements, heartbeats, CLOSE. `next_deadline` says when
`on_deadline` has to be called. Any split of the input gives the same events. A connection that met an error stays
failed: its last event is `Failed`. A connection carries a `SessionCore`, which outlives it.

`MOVES` is the state machine: the inputs allowed in each state, and the next state. A missing entry is an error.
Two threads may use the receiving half (`receive_data`) and the sending half (`sender`) at the same time, one each.

    states.py   the states, and the one table of their inputs
    events.py   events of a connection
    sender.py   the sending half of an open connection
    connection.py   the common part of both roles
    contents.py     what both do with each content, such as PING or CLOSE
    server.py   the server's end
    client.py   the client's end, and the errors for refusals
    strangers.py   recognises peers that speak another protocol

    handshake_client.py, handshake_server.py   both halves of the computation
    call_order.py  a step of it that comes too early is an error
    key_schedule.py    the secrets and keys of a connection
    records.py     AES-256-GCM or plaintext
    key_update.py  when a key is replaced
    acknowledgements.py   numbers the records of a session, and keeps them until they are acknowledged
    ack_timing.py  when to send an acknowledgement
    liveness.py    heartbeats and silence

    resumption.py  the data that both sides keep to resume a session
    tickets.py     the server's tickets

    session_core.py   the durable side of a session, which a connection carries
    send_queue.py, receive_queue.py, arrived.py, requests.py, replies.py   its parts
    durable.py     the same for a session that a store keeps
    bounds.py      bounds of one session
    rate_limit.py  how much a peer may send in a second
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
from .resumption import Grant, Resumption, Returning
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
    "Returning",
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
