"""What arrives at a client: given to its handlers, or kept until the program receives it."""

from __future__ import annotations

import logging
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from ..app.context import ClientContext
from ..app.pending import Pending
from ..app.received import Received
from ..errors import CodecError
from ..limits import MAX_INBOX_RECORDS, MAX_WAITING_DECODED
from ..protocol import SessionCore
from ..text import escaped
from ..wire.packets import Packet, decode_packets, encode_packet, join_packets

log = logging.getLogger("securelink.client")


class Driven(Protocol):
    """A client's channel, as its mailbox knows it."""

    drivers: dict[Any, None]

    def answer(self, packet: Packet, data: Any = None, error: str | None = None) -> None:
        """Send the reply to a request."""

    def place_of(self, packet: Packet) -> tuple[int, int]:
        """The record and the place in it of the packet that is being handled."""

    def is_over(self) -> bool:
        """Whether nothing can be sent any more."""

    def wake_drivers(self) -> None:
        """Let threads that wait look again."""


class Folded:
    """A packet that waits for `receive` as bytes: as objects it may be seventy times larger."""

    __slots__ = ("_at", "_elements", "_origin", "_record", "action", "encoded")

    def __init__(self, packet: Packet, received: Received, origin: Driven, elements: int) -> None:
        self.action = packet.action
        self._record, self._at = received.record, received.at
        self._origin = origin
        self._elements = elements
        self.encoded = encode_packet(packet, elements)

    def unfold(self) -> Received:
        """The packet again."""
        (packet,) = decode_packets(join_packets([self.encoded]), self._elements)
        received = Received(packet, self._origin)
        received.record, received.at = self._record, self._at
        return received


class Mailbox:
    """
    Has a client's channel: gives packets to the client's handlers, and keeps the others for `receive`.

    Args:
        client: What the application knows the session as.
        context: Its handlers.
        where: The server, for the log.
        core: The session; what waits here is not handled.

    Attributes:
        packets: What waits for `receive`, each with the number of its record. Always the same object.
        count: How many these are.
        incoming: What is counted of the session's records.
        receiving: The program has called `receive` or `poll`, and so takes what no handler does.
        dropped: Packets that neither a handler nor the program has taken.
        wants_background: Whether packets go to handlers by themselves.
    """

    __slots__ = (
        "_client",
        "_context",
        "_elements",
        "_kept",
        "_queue",
        "_waiting_bytes",
        "_where",
        "count",
        "dropped",
        "incoming",
        "packets",
        "receiving",
        "wants_background",
    )

    def __init__(self, client: Any, context: ClientContext, where: str, core: SessionCore) -> None:
        # Weak: a client that is forgotten while it is connected would otherwise be connected forever.
        self._client = weakref.ref(client)
        self._context = weakref.ref(context)
        self._kept: Any = None
        self._where = where
        self._queue = core.receiving
        self._elements = core.bounds.elements
        self.incoming = core.numbering.incoming
        self.packets: deque[tuple[int, Received | Folded]] = deque()
        self.count: Callable[[], int] = self.packets.__len__  # made once, not for each wait
        self.incoming.kept = self.packets
        self.receiving = self.wants_background = False
        self.dropped = 0
        # Of the records that gave `packets` since it was empty, as on the wire. By the running thread.
        self._waiting_bytes = 0

    @property
    def session(self) -> Any:
        """The client, or None when it was forgotten."""
        return self._client()

    @property
    def name(self) -> str:
        """What the log calls the peer."""
        return f"the server {self._where}"

    @property
    def held(self) -> int:
        """Clients are not counted."""
        return 0

    def throttled(self) -> None:
        """The server sends too much; the log has it."""

    def keep_client(self, *, wanted: bool) -> None:
        """Keep the client alive although the program forgets it, as long as the session lasts: it has work to do."""
        self._kept = self._client() if wanted else None

    def suspended(self) -> Pending | None:
        """The session has lost its connection, and everything that came over it is handled."""
        context: ClientContext | None = self._context()
        return context.on_suspend.fire() if context is not None else None

    def resumed(self, replayed: int) -> Pending | None:
        """It has another one, over which so many records are sent again."""
        context: ClientContext | None = self._context()
        return context.on_resume.fire(replayed) if context is not None else None

    def ended(self) -> Pending | None:
        """The session is over, and everything that came in it is handled."""
        context: ClientContext | None = self._context()
        self._kept = None
        return context.on_disconnect.fire() if context is not None else None

    def handle(self, channel: Driven, packet: Packet) -> Pending | None:
        """Give a packet to the client's handlers, or keep it; returns what is not done yet."""
        if packet.reply_to is not None:
            return None  # a reply that came too late
        received = Received(packet, channel)
        referred = self._context
        context: ClientContext | None = referred()
        taken: Pending | bool = False
        if context is not None:
            handlers = context.handlers
            if (
                handlers.for_all
                or packet.id is not None
                or packet.action in handlers.bound
                or context.awaited
            ):
                taken = context.on_packet(channel, packet, received)
        if taken is False:
            if (
                not self.packets  # as usual
                or self.receiving  # it is not forgotten
                or self._has_space(self._queue.bounds.inbox_bytes)
                or not self._is_forgotten()
            ):
                self._keep(channel, received, packet)
            else:
                self._drop(packet)
        if channel.drivers:
            channel.wake_drivers()
        return None if taken is False or taken is True else taken

    def _keep(self, channel: Driven, received: Received, packet: Packet) -> None:
        """Let a packet wait for `receive`: the first ones as they are, what piles up behind them as bytes."""
        packets, opened, incoming = self.packets, self._queue.opened, self.incoming
        if not packets:
            self._waiting_bytes = 0
        received.record = number = incoming.done + incoming.early + 1
        if opened is not None:
            received.at = opened.at
            if not opened.charged:
                opened.charged = True  # the whole record: what of it this packet is nobody knows
                self._waiting_bytes += opened.size
        if self._waiting_bytes > MAX_WAITING_DECODED:
            packets.append((number, self._folded(channel, received, packet)))
        else:
            packets.append((number, received))

    def _folded(self, channel: Driven, received: Received, packet: Packet) -> Received | Folded:
        try:
            return Folded(packet, received, channel, self._elements)
        except CodecError:
            return received  # a packet that we accept and would not send

    def put_back(self, packets: list[Received]) -> None:
        """Keep what was handed over, and is not wanted there."""
        number = self.incoming.done + self.incoming.early  # behind all that is kept
        self.packets.extend((number, packet) for packet in packets)

    def _is_forgotten(self) -> bool:
        """
        Whether the program has handlers and never receives. They must not stop because nobody takes the other packets:
        of those the newest are dropped then.
        """
        context: ClientContext | None = self._context()
        return context is not None and context.has_handlers and not self.receiving

    def _drop(self, packet: Packet) -> None:
        self.dropped += 1
        if self.dropped == 1:
            log.warning(
                "%s sends '%s', which no handler takes, and receive() was never called: %d packets wait for it, and "
                "more like these are dropped (client.dropped counts them). Bind a handler to what is not wanted",
                self.name, escaped(packet.action), len(self.packets),
            )  # fmt: skip

    def has_room(self, most: int) -> bool:
        """Whether more may be handled before something is received, if `most` bytes of records may wait."""
        return self._has_space(most) or self._is_forgotten()

    def _has_space(self, most: int) -> bool:
        waiting = self.packets
        room = self._waiting_bytes <= most and len(waiting) < MAX_INBOX_RECORDS
        return room or not waiting

    def take(self, action: str) -> Received | None:
        """The first packet of that name."""
        for kept in tuple(self.packets):
            if kept[1].action == action:
                try:
                    self.packets.remove(kept)
                except ValueError:
                    continue  # another thread took it
                return _unfolded(kept[1])
        return None

    def pop(self) -> Received:
        """The first packet. Raises `IndexError` when there is none."""
        packet = self.packets.popleft()[1]
        return packet.unfold() if isinstance(packet, Folded) else packet

    def pop_some(self, limit: int) -> list[Received]:
        """The packets in order, until `limit` bytes of them were unfolded."""
        taken: list[Received] = []
        while self.packets and limit > 0:
            try:
                packet = self.packets.popleft()[1]
            except IndexError:
                break  # another thread was faster
            if isinstance(packet, Folded):
                limit -= len(packet.encoded)
            taken.append(_unfolded(packet))
        return taken

    def inherit(self, last: Mailbox) -> None:
        """Take over what the last session, which is over, leaves for `receive`; it comes first."""
        self._waiting_bytes = last._waiting_bytes
        self.receiving, self.dropped = last.receiving, last.dropped
        while last.packets:
            try:
                self.packets.append((1, last.packets.popleft()[1]))
            except IndexError:
                return  # another thread receives


def _unfolded(packet: Received | Folded) -> Received:
    return packet.unfold() if isinstance(packet, Folded) else packet
