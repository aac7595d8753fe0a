"""
What both roles do with an ALERT, and with the contents of an open session.

The table of states (`states.py`) says when each may come, and names what takes it.
"""

from __future__ import annotations

from ..codes import Code
from ..errors import ProtocolError
from ..limits import ANSWER_SECONDS
from ..wire.fields import Content
from ..wire.messages import Close
from .connection import Connection, Takes
from .events import Alerted, Closed, Item, Pinged, Ponged
from .states import Take


def _alert(connection: Connection, header: bytes, body: bytes, out: list[Item]) -> None:
    if len(body) != 1 and not (len(body) == 2 and body[0] == Code.BLOCKED):
        raise ProtocolError("an ALERT of the wrong size")
    out.append(Alerted(body[0], body[1] if len(body) == 2 else 0))


def _close(connection: Connection, plaintext: bytes, out: list[Item]) -> None:
    close = _close_of(connection, plaintext)
    answers = connection.asked is not None and close.code == Code.NORMAL
    if connection.sender is not None:
        incoming = connection.numbering.incoming
        connection.leave(connection.now)
        if close.code == Code.HANDOVER:
            pass  # an answer would end the session
        elif connection.closing is None and incoming.handled() != incoming.accepted:
            connection.answer_at = connection.now + ANSWER_SECONDS
        else:
            connection.answer_close()
    out.append(Closed(close.code, close.text, answers, close.delay / 1000))


def _close_unproved(connection: Connection, plaintext: bytes, out: list[Item]) -> None:
    """The peer has proved nothing yet: this only ends the attempt, and its text is unauthenticated."""
    out.append(Alerted(_close_of(connection, plaintext).code))


def _close_of(connection: Connection, plaintext: bytes) -> Close:
    close = Close.decode(plaintext)
    # Before WELCOME the connection does not carry the session to be resumed yet.
    arrived = 0 if connection.sender is None else connection.numbering.incoming.accepted
    if close.sent != arrived:
        raise ProtocolError(f"CLOSE counts {close.sent} records, {arrived} arrived")
    return close


def _ack(connection: Connection, plaintext: bytes, out: list[Item]) -> None:
    if len(plaintext) != 9:
        raise ProtocolError("an ACK record of the wrong size")
    connection.numbering.outgoing.acknowledge(int.from_bytes(plaintext[1:]))


def _ping(connection: Connection, plaintext: bytes, out: list[Item]) -> None:
    if len(plaintext) != 9:
        raise ProtocolError("a PING record of the wrong size")
    connection.control(Content.PONG, plaintext[1:])
    out.append(Pinged(plaintext[1:]))


def _pong(connection: Connection, plaintext: bytes, out: list[Item]) -> None:
    if len(plaintext) != 9:
        raise ProtocolError("a PONG record of the wrong size")
    out.append(Ponged(plaintext[1:]))


#: What both roles share.
SHARED_TAKES: Takes = {
    Take.ALERT: _alert,
    Take.DATA: Connection._data,
    Take.DATA_ACK: Connection._data,
    Take.ACK: _ack,
    Take.PING: _ping,
    Take.PONG: _pong,
    Take.KEY_UPDATE: Connection._key_update,
    Take.CLOSE: _close,
    Take.CLOSE_UNPROVED: _close_unproved,
}
