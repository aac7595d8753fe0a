"""
The durable side of a session, without a socket, thread or clock.

It numbers and keeps what is sent, holds what has arrived, and knows who waits for a reply. A `Connection` carries it;
the numbering is the session's, and is given to each connection before that is open.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext, suppress
from math import inf
from typing import Any

from ..errors import CodecError, ConfigError
from ..limits import OBJECT_BYTES, WRITE_BUDGET
from ..wire.packets import Packet, decode_packets, join_packets
from .acknowledgements import Numbering
from .bounds import Bounds
from .connection import Connection
from .events import Event, Item, Ponged
from .handshake_server import VerifiedClient
from .receive_queue import ReceiveQueue
from .requests import Requests
from .send_queue import SendQueue
from .server import ServerConnection


class SessionCore:
    """
    What a session is, in either role.

    Args:
        bounds: How much it may keep.
        guard: Held while its tables change: a lock where several threads use it.
        numbering: Of a connection that is open and has brought this session instead of the one that was asked for.

    Attributes:
        numbering: Counts and keeps the records of both directions.
        sending: Packets that wait to be sent.
        receiving: What has arrived and waits for its turn.
        requests: Who waits for which reply.
        connection: What carries it now, if anything does.
    """

    __slots__ = ("bounds", "connection", "numbering", "receiving", "requests", "sending")

    def __init__(
        self,
        bounds: Bounds,
        guard: AbstractContextManager[Any] | None = None,
        numbering: Numbering | None = None,
    ) -> None:
        guard = nullcontext() if guard is None else guard
        self.bounds = bounds
        self.numbering = Numbering() if numbering is None else numbering
        self.requests = Requests(guard, bounds.requests)
        self.sending = SendQueue(bounds, self.numbering.outgoing, guard)
        self.receiving = ReceiveQueue(bounds, self.requests, self.numbering.incoming)
        self.connection: Connection | None = None

    def guard_with(self, guard: AbstractContextManager[Any]) -> None:
        """Hold this one while tables change, from now on: the last one belongs to another process."""
        self.requests.guard = self.sending.guard = guard

    def attach(self, connection: Connection) -> None:
        """
        Let a connection carry this session: its records are counted here. Before it is open; or afterwards, a session
        that has the numbering of the connection and begins with it.

        Raises:
            ConfigError: The connection is open already, or another one carries this session.
        """
        if self.connection is not None:
            raise ConfigError(
                "another connection carries this session", hint="detach() that one first"
            )
        if connection.numbering is not self.numbering:
            connection.carry(self.numbering)
        self.connection = connection

    def detach(self, connection: Connection | None = None) -> bool:
        """
        The connection is over, or another one is to carry the session; nothing of it is counted any more. What it had
        not sent, and what was not acknowledged, stays here.

        Args:
            connection: Only if this one carries the session: the end of an earlier one, which is noticed late, is not
                the session's.

        Returns:
            Whether it was carried, and is not any more.
        """
        carrier = self.connection
        if carrier is None or (connection is not None and connection is not carrier):
            return False
        self.connection = None
        carrier.let_go()
        return True

    def resume(
        self, connection: ServerConnection, verified: VerifiedClient, heartbeat: float
    ) -> bool:
        """
        Server: let this session go on over a new connection, whose client has shown a ticket for it and was let in.

        In one step, during which nobody may read or write the connection that carried it until now: its unread bytes
        are dropped, what was accepted is stated, and what the client has not accepted waits to be sent again. Until
        then nothing has changed, and if this raises, nothing does.

        Args:
            connection: The new one, which has verified the client.
            verified: What its `verify_client` returned.
            heartbeat: Proposed seconds between pings.

        Returns:
            False when this session, or the ticket, is not good for it any more; then a new session may be welcomed.

        Raises:
            SecureLinkError: See `ServerConnection.may_resume`: the new connection is over.
            ConfigError: See there.
        """
        if not connection.may_resume(verified, self.numbering):
            return False
        self.detach()
        self.attach(connection)
        connection.resume(verified, heartbeat)
        return True

    # One connection's bytes, where a shell has no faster way of its own.

    def receive_data(self, data: bytes, now: float) -> list[Event]:
        """
        Take bytes from the peer, see `Connection.receive_data`: records go to `receiving`, PONGs to `requests`.

        Returns:
            The events. A session that is not resumed is not carried any more after `Opened`.

        Raises:
            ConfigError: No connection carries this session.
        """
        return self._deliver(self._carrier().receive_data(data, now))

    def reconsider(self, now: float) -> list[Event]:
        """As `receive_data`, for what had arrived while the connection read nothing."""
        return self._deliver(self._carrier().reconsider(now))

    def _carrier(self) -> Connection:
        if self.connection is None:
            raise ConfigError("no connection carries this session", hint="attach() one first")
        return self.connection

    def _deliver(self, items: list[Item]) -> list[Event]:
        events: list[Event] = []
        for item in items:
            if isinstance(item, (bytes, memoryview)):
                self.receiving.deliver(item)
            else:
                if isinstance(item, Ponged):
                    self.requests.ponged(int.from_bytes(item.payload))
                events.append(item)
        connection = self.connection
        if connection is not None and connection.numbering is not self.numbering:
            self.connection = None  # what it carries is another session
        return events

    def data_to_send(self) -> bytes:
        """What is to be sent now: records again, packets that wait, then what the connection has to say."""
        connection = self.connection
        if connection is None:
            return b""
        if self._settles(connection):
            connection.answer_close()
        self.look()
        # WELCOME goes before the first packet.
        parts = [connection.data_to_send(more=True)] if connection.has_handshake_data else []
        sender = connection.sender
        if sender is not None and not sender.closed:
            if self.numbering.outgoing.again:
                parts.append(sender.again(WRITE_BUDGET))
            elif self.sending.packets:
                parts.append(sender.queued(self.sending))
            else:
                self.numbering.outgoing.release()
        if connection.wants_write:
            parts.append(connection.data_to_send(more=self._has_more))
        return b"".join(parts)

    @property
    def _has_more(self) -> bool:
        return bool(self.sending.packets or self.numbering.outgoing.again)

    @property
    def wants_write(self) -> bool:
        """Whether `data_to_send` has something to say."""
        connection = self.connection
        if connection is None:
            return False
        self.look()
        return connection.wants_write or self._has_more or self._settles(connection)

    def look(self) -> bool:
        """Something was handled. Any thread. Whether an acknowledgement is due: the connection wants to write then."""
        incoming = self.numbering.incoming
        incoming.owes = False  # first: another thread may find a reason meanwhile
        if self.receiving.may_owe():
            incoming.owes = True
        connection = self.connection
        if connection is None or not connection.acks.handled(self.receiving.out_bytes):
            return False
        connection.wants_write = True
        return True

    def _settles(self, connection: Connection) -> bool:
        """Whether a CLOSE waits for its answer, and everything that came before it has had its turn."""
        return connection.answer_at < inf and not self.receiving.items

    @property
    def held(self) -> int:
        """
        Bytes that this session keeps in memory, for and of its peer: both directions, with what each piece costs beside
        its bytes, what is decoded of the record that is being handled, and replies that nobody has looked at.
        """
        sending, receiving, outgoing = self.sending, self.receiving, self.numbering.outgoing
        pieces = len(receiving.items) + len(sending.packets) + outgoing.kept
        held = sending.unsent + outgoing.unacked + receiving.waiting + OBJECT_BYTES * pieces
        opened = receiving.opened
        if opened is not None:
            held += opened.held
        return held + receiving.held_in_steps + self.requests.replies.held

    @property
    def is_needed(self) -> bool:
        """Whether something that has come is neither handled nor looked at."""
        receiving = self.receiving
        return bool(receiving.items or receiving.opened or self.requests.replies.held)

    def unconfirmed(self) -> list[Packet]:
        """
        What the peer has not acknowledged, which is what it has not handled, and what was never sent, in order. Nobody
        may send meanwhile.
        """
        records = self.numbering.outgoing.unconfirmed
        records += [join_packets([encoded]) for encoded in self.sending.waiting]
        packets: list[Packet] = []
        for record in records:
            with suppress(CodecError):  # bytes of somebody who went around `encode_packet`
                packets += decode_packets(record, self.bounds.elements)
        return packets
