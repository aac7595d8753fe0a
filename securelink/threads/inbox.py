"""
What arrives at a session: records and events in order, run by at most one thread.

Records wait as bytes and are decoded when their turn comes, so a peer makes us hold its wire bytes, not the many times
larger objects. `_run_right` is the right to run the inbox; the thread that gives it up looks once more.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

from .._mypyc import mypyc_attr
from ..codes import Code
from ..errors import CodecError
from ..interrupts import Right
from ..limits import (
    HANGUP_FACTOR,
    OPENED_GUESS,
    RUN_PACKETS,
    RUN_SECONDS,
)
from ..protocol.bounds import Bounds
from ..wire.packets import Packet, decode_packets
from ..wire.weight import opened_size
from .loop import Loop, worker_threads

if TYPE_CHECKING:
    from .link import Link

log = logging.getLogger("securelink")

Record = bytes | memoryview
Event = Callable[[], None]


class Owner(Protocol):
    """What has a channel: takes the packets that arrive in it."""

    @property
    def session(self) -> Any:
        """What the application knows the session as."""

    @property
    def name(self) -> str:
        """Who the peer is, for the log."""

    @property
    def held(self) -> int:
        """Bytes that it keeps for the peer."""

    def handle(self, channel: Any, packet: Packet) -> None:
        """
        Take one packet.

        Raises:
            BaseException: One that is no `Exception`, of the application's.
        """

    def throttled(self) -> None:
        """The peer sends more than it may in a second."""


class Partly:
    """A record of which some packets, replies, were given to those that waited for them."""

    __slots__ = ("record", "taken")

    def __init__(self, record: Record, taken: frozenset[int]) -> None:
        self.record = record
        self.taken = taken  # places of these packets in the record

    def __len__(self) -> int:
        return len(self.record)


class Rest:
    """
    A record whose turn has come: its packets, until all of them are handled, perhaps in the session's next turn.

    Bytes are known of the record alone. What a packet took of them is not its share: one may have nearly all.
    """

    __slots__ = ("_held", "_record", "at", "charged", "packets", "size")

    def __init__(self, packets: list[Packet], record: Record) -> None:
        self.packets = packets
        self._record: Record = record  # kept for an estimate that is seldom asked for
        self._held = 0
        self.size = len(record)  # bytes of the record
        self.charged = False  # whether it is counted with what waits for `receive`
        self.at = 0  # the next one to handle

    @property
    def held(self) -> int:
        """What is kept of it in memory, in bytes; about, for only the packets themselves know."""
        if not self._held:
            self._held = opened_size(self._record, self.packets)
        return self._held


@mypyc_attr(allow_interpreted_subclasses=True)
class Inbox:
    """The receiving half of a `Channel`."""

    __slots__ = (
        "_detail", "_dropping", "_expected", "_full", "_handled", "_handled_before", "_in_bytes", "_inbox",
        "_link", "_opened", "_out_bytes", "_run_right", "_runner", "_throttled", "bounds", "loop", "owner",
    )  # fmt: skip

    def __init__(self, loop: Loop, bounds: Bounds, owner: Owner) -> None:
        self.loop = loop
        self.bounds = bounds
        self.owner = owner
        self._link: Link | None = None
        self._detail = ""  # what was wrong with what the peer sent
        self._inbox: deque[Record | Partly | Rest | Event] = deque()
        self._in_bytes = 0  # written by the reading thread only
        self._out_bytes = 0  # written by the running thread only
        self._full = False
        self._handled = 0  # packets; written by the running thread only
        self._handled_before = 0  # this second, for the rate limit; written by the sweep only
        self._throttled = False
        self._opened: Rest | None = None  # the record that is being handled
        self._runner = 0  # the thread that runs handlers of this session
        self._run_right = Right()
        self._dropping = False  # ended from our side: what the peer still sends is not handled
        self._expected: dict[int, Any] = {}  # replies that are waited for

    # --- the reading thread -----------------------------------------------------------------------------------

    def _deliver(self, record: Record) -> None:
        """Take an accepted record; the link stops reading while the inbox is full."""
        if self._dropping:
            return
        item: Record | Partly = record
        if self._expected:
            taken, only = self._give_replies(record)
            if only:
                return
            if taken:
                item = Partly(record, taken)
        self._in_bytes += len(record)
        self._inbox.append(item)
        if (
            self._in_bytes - self._out_bytes > self.bounds.inbox_bytes
            or len(self._inbox) > self.bounds.inbox_records
        ):
            self._full = True
            if not self._inbox:
                self._full = False  # it was emptied between the two lines; nobody else would notice

    def _give_replies(self, record: Record) -> tuple[frozenset[int], bool]:
        """
        While a reply is waited for, records are looked into at once: it must not queue behind what its waiter blocks.

        The record is kept as bytes all the same, and decoded again when its turn comes: as objects it could be
        seventy times larger.

        Returns:
            The places of the replies in it that somebody waited for, and whether there is nothing else.
        """
        try:
            packets = decode_packets(record, self.bounds.elements)
        except CodecError:
            return frozenset(), False  # reported when its turn comes
        taken = frozenset(n for n, packet in enumerate(packets) if self._resolve(packet))
        return taken, bool(taken) and len(taken) == len(packets)

    def note(self, event: Event) -> None:
        """Put an event behind the packets that came before it. Any thread."""
        self._inbox.append(event)
        self.loop.schedule(self)

    # --- the running thread -----------------------------------------------------------------------------------

    def run(self) -> bool:
        """
        Handle what waits, for RUN_PACKETS or RUN_SECONDS.

        Returns:
            True when something is left, or came meanwhile: the caller sees that the inbox is run again.
        """
        right = self._run_right
        try:
            del right.free
        except AttributeError:
            return False  # the thread that runs it looks once more when it is done
        try:
            more = self._run()
        except BaseException as error:
            # Ctrl-C, most likely. In the program's own thread it ends what the program is doing;
            # in one of ours it would only end the thread.
            if get_ident() not in worker_threads:
                self.loop.schedule(self)
                raise
            log.warning(
                "a handler of %s raised %s, which ends nothing in a thread of ours; the session goes on",
                self.name, type(error).__name__,
            )  # fmt: skip
            more = True
        finally:
            right.free = True
        # Given up; look once more: a thread that appended meanwhile found us running and went away.
        return more or bool(self._inbox)

    def _run(self) -> bool:
        self._runner = get_ident()
        try:
            return self._run_some()
        finally:
            self._runner = 0

    def _handling(self) -> Packet | None:
        """In a handler of this session: its packet. None in any other thread, and in listeners of events."""
        opened = self._opened
        if (
            self._runner != get_ident()
            or opened is None
            or not 0 < opened.at <= len(opened.packets)
        ):
            return None
        return opened.packets[opened.at - 1]

    def _run_some(self) -> bool:
        inbox = self._inbox
        left = RUN_PACKETS
        deadline = 0.0  # unknown while there is a single thing to do: a lone packet costs no look at the clock
        while inbox:
            # Not popleft(): Ctrl-C comes after calls, and would take the item with it.
            item = inbox[0]
            if isinstance(item, (bytes, memoryview, Partly)):
                item = self._rest_of(item)
            elif isinstance(item, Rest):
                del inbox[0]
            else:
                if not deadline and len(inbox) > 1:
                    deadline = time.monotonic() + RUN_SECONDS
                del inbox[0]
                item()
                left -= 1
                if inbox and (left <= 0 or time.monotonic() > deadline):
                    return True
                continue
            self._opened = item  # counted, until all of it is handled
            packets = item.packets
            try:
                count = len(packets)
                if not count:
                    left -= 1  # an empty record is work as well
                if not deadline and (inbox or count - item.at > 1):
                    deadline = time.monotonic() + RUN_SECONDS
                while item.at < count:
                    packet = packets[item.at]
                    item.at += 1
                    self.owner.handle(self, packet)
                    left -= 1
                    if self._dropping:
                        item.at = count  # this packet's handler has ended the session
                    elif item.at < count and (left <= 0 or time.monotonic() > deadline):
                        return True
            finally:
                if item.at < len(packets):
                    inbox.appendleft(item)
                else:
                    self._opened = None
                if self._full:
                    self._maybe_room()
            if inbox and (left <= 0 or time.monotonic() > deadline):
                return True
        return False

    def _rest_of(self, record: Record | Partly) -> Rest:
        """The first record, whose turn has come, decoded and counted. After Ctrl-C its turn comes again."""
        inbox, out_bytes = self._inbox, self._out_bytes
        del inbox[0]
        try:
            rest = Rest(self._open(record), record.record if isinstance(record, Partly) else record)
            loop = self.loop
            loop.grown += OPENED_GUESS * rest.size
            if loop.grown > loop.look_after:
                loop.grew()
            return rest
        except (KeyboardInterrupt, SystemExit):
            self._out_bytes = out_bytes
            inbox.appendleft(record)
            raise

    def _open(self, record: Record | Partly) -> list[Packet]:
        """Decode a record whose turn has come, and count it."""
        size = len(record)
        packets = []
        if not self._dropping:
            packets = self._decode(record.record if isinstance(record, Partly) else record)
            if isinstance(record, Partly):
                packets = [packet for n, packet in enumerate(packets) if n not in record.taken]
        self._out_bytes += size
        count = len(packets) or 1
        self._handled += count
        if self._handled - self._handled_before > self.bounds.rate and not self._throttled:
            self._throttle()
        return packets

    def _decode(self, record: Record) -> list[Packet]:
        try:
            return decode_packets(record, self.bounds.elements)
        except CodecError as error:
            log.warning("%s sent a packet that cannot be read: %s", self.name, error)
            self._detail = error.message
            self.end(Code.UNREADABLE)
            return []

    def _throttle(self) -> None:
        """More packets or controls than one session may send in a second: it is not read until the next begins."""
        self._throttled = True
        link = self._link
        if link is not None:
            log.info("%s sends too much: it is not read for the rest of this second", self.name)
            link.ask_interest()
        self.owner.throttled()

    def _next_second(self) -> bool:
        """By a sweep: a new second for the rate limit; True when reading may go on again."""
        self._handled_before = self._handled
        was, self._throttled = self._throttled, False
        return was

    def drop_waiting(self) -> None:
        """
        By the leader, of a session that we have ended for what it keeps: records that wait are dropped at once.

        While one of its handlers runs, the thread that runs it does it: handlers have a bounded number of places.
        """
        right = self._run_right
        try:
            del right.free
        except AttributeError:
            return
        try:
            # Others may append meanwhile, but nobody takes.
            for place in range(len(self._inbox)):
                item = self._inbox[place]
                if isinstance(item, (bytes, memoryview, Partly)):
                    self._out_bytes += len(item)
                    self._inbox[place] = Rest([], b"")
                elif isinstance(item, Rest):
                    self._inbox[place] = Rest([], b"")
            self._opened = None
        finally:
            right.free = True
        self.loop.schedule(self)

    def _flooded(self) -> bool:
        """Whether so much waits that not even a peer that hung up, or lets us wait in `send`, is read."""
        return self._in_bytes - self._out_bytes > self.bounds.inbox_bytes * HANGUP_FACTOR

    def _maybe_room(self) -> None:
        bounds = self.bounds
        if (
            self._in_bytes - self._out_bytes <= bounds.inbox_bytes // 2
            and len(self._inbox) <= bounds.inbox_records // 2
        ):
            self._full = False
            link = self._link
            if link is not None:
                link.ask_interest()

    @property
    def name(self) -> str:
        """Who the peer is, for the log."""
        return self.owner.name

    def _resolve(self, packet: Packet) -> bool:
        """Give a reply to the call that waits for it; False when none does. `Channel` does it."""
        raise NotImplementedError

    def end(self, code: int, text: str = "") -> None:
        """End the session from our side. `Channel` does it."""
        raise NotImplementedError
