"""
The durable side of a session, without a socket, thread or clock.

It numbers and keeps what is sent, holds what has arrived, and knows who waits for a reply. A `Connection` carries it;
the numbering is the session's, and is given to each connection before that is open.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ..errors import ConfigError
from ..limits import OBJECT_BYTES
from ..wire.packets import Packet, decode_packets, join_packets
from .bounds import Bounds
from .connection import Connection
from .events import Event, Ponged
from .numbering import Numbering
from .receive_queue import ReceiveQueue
from .requests import Requests
from .send_queue import SendQueue


class SessionCore:
    """
    What a session is, in either role.

    Args:
        bounds: How much it may keep.
        guard: Held while its tables change: a lock where several threads use it.

    Attributes:
        numbering: Counts and keeps the records of both directions.
        sending: Packets that wait to be sent.
        receiving: What has arrived and waits for its turn.
        requests: Who waits for which reply.
        connection: What carries it now, if anything does.
    """

    __slots__ = ("bounds", "connection", "numbering", "receiving", "requests", "sending")

    def __init__(self, bounds: Bounds, guard: AbstractContextManager[Any] | None = None) -> None:
        guard = nullcontext() if guard is None else guard
        self.bounds = bounds
        self.numbering = Numbering()
        self.requests = Requests(guard)
        self.sending = SendQueue(bounds, self.numbering.outgoing, guard)
        self.receiving = ReceiveQueue(bounds, self.requests)
        self.connection: Connection | None = None

    def guard_with(self, guard: AbstractContextManager[Any]) -> None:
        """Hold this one while tables change, from now on: the last one belongs to another process."""
        self.requests.guard = self.sending.guard = guard

    def attach(self, connection: Connection) -> None:
        """
        Let a connection carry this session. Before it is open: its records are counted here.

        Raises:
            ConfigError: The connection is open already, or another one carries this session.
        """
        if self.connection is not None:
            raise ConfigError(
                "another connection carries this session", hint="detach() that one first"
            )
        connection.carry(self.numbering)
        self.connection = connection

    def detach(self) -> None:
        """The connection is over. What it had not sent, and what was not acknowledged, stays here."""
        self.connection = None

    # One connection's bytes, where a shell has no faster way of its own.

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """
        Take bytes from the peer, see `Connection.receive_data`: records go to `receiving`, PONGs to `requests`.

        Returns:
            The events.

        Raises:
            ConfigError: No connection carries this session.
        """
        connection = self.connection
        if connection is None:
            raise ConfigError("no connection carries this session", hint="attach() one first")
        events: list[Event] = []
        for item in connection.receive_data(data, now):
            if isinstance(item, (bytes, memoryview)):
                self.receiving.deliver(item)
            else:
                if isinstance(item, Ponged):
                    self.requests.ponged(int.from_bytes(item.payload))
                events.append(item)
        return events

    def data_to_send(self) -> bytes:
        """What is to be sent now: packets that wait, then what the connection has to say."""
        connection = self.connection
        if connection is None:
            return b""
        # WELCOME goes before the first packet.
        parts = [connection.data_to_send(more=True)] if connection.has_handshake_data else []
        sender = connection.sender
        if sender is not None and not sender.closed:
            if self.sending.packets:
                parts.append(sender.packets(self.sending.take()))
            else:
                self.numbering.outgoing.release()
        if connection.wants_write:
            parts.append(connection.data_to_send(more=bool(self.sending.packets)))
        return b"".join(parts)

    @property
    def wants_write(self) -> bool:
        """Whether `data_to_send` has something to say."""
        connection = self.connection
        return connection is not None and (connection.wants_write or bool(self.sending.packets))

    @property
    def held(self) -> int:
        """
        Bytes that this session keeps in memory, for and of its peer: both directions, with what each piece costs beside
        its bytes, and what is decoded of the record that is being handled.
        """
        sending, receiving, outgoing = self.sending, self.receiving, self.numbering.outgoing
        pieces = len(receiving.items) + len(sending.packets) + outgoing.kept
        held = sending.unsent + outgoing.unacked + receiving.waiting + OBJECT_BYTES * pieces
        opened = receiving.opened
        if opened is not None:
            held += opened.held
        return held

    def unconfirmed(self) -> list[Packet]:
        """What the peer has not acknowledged, and what was never sent, in order. By the sending half."""
        records = self.numbering.outgoing.unconfirmed
        records += [join_packets([encoded]) for encoded in self.sending.waiting]
        elements = self.bounds.elements
        return [packet for record in records for packet in decode_packets(record, elements)]
