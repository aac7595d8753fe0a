"""
What a session sends: packets, encoded, not yet numbered. Inside a handler a send never waits; elsewhere it waits for
room.

`_lock` guards `_outbox`, `_queued`, `_latest` and `_waiters`. The link's send right is taken before it, never after; no
user code runs and nothing waits while it is held.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from threading import get_ident
from typing import TYPE_CHECKING

from .._mypyc import mypyc_attr
from ..codes import Code
from ..errors import ConnectionClosed, LimitExceeded, LinkTimeout
from ..interrupts import Sign
from ..limits import OBJECT_BYTES
from ..protocol.bounds import Bounds
from ..protocol.numbering import Numbering
from .inbox import Inbox, Owner
from .loop import Loop, worker_threads

if TYPE_CHECKING:
    from .link import Link

log = logging.getLogger("securelink")

WRITE_BUDGET = (
    256 * 1024
)  # bytes sealed by one write: what waits behind a full kernel buffer stays small


class Slot:
    """An outbox entry that may be replaced until it is put into a record (`latest=`)."""

    __slots__ = ("encoded", "key")

    def __init__(self, key: str, encoded: bytes) -> None:
        self.key = key
        self.encoded = encoded


@mypyc_attr(allow_interpreted_subclasses=True)
class Outbox(Inbox):
    """The sending half of a `Channel`."""

    __slots__ = ("_latest", "_lock", "_outbox", "_queued", "_waiters", "muted", "numbering")

    def __init__(self, loop: Loop, bounds: Bounds, owner: Owner) -> None:
        super().__init__(loop, bounds, owner)
        self.numbering = Numbering()
        self._lock = threading.Lock()
        self._outbox: deque[bytes | Slot] = deque()
        self._queued = 0
        self._latest: dict[str, Slot] | None = None
        self._waiters: list[Sign] = []
        self.muted = False

    def post(
        self, encoded: bytes, *, timeout: float | None, latest: str | None = None, wait: bool = True
    ) -> None:
        """
        Queue one encoded packet and see that it is written.

        Raises:
            ConnectionClosed: The session has ended.
            LimitExceeded: The packet is larger than the session allows.
            LinkTimeout: No room within `timeout` seconds. The packet was not queued.
        """
        link = self._link
        if link is None or self._dropping:
            raise self.closed_error()
        size = len(encoded)
        if size > link.max_packets:
            raise LimitExceeded(
                f"a packet of {size} bytes is larger than the {link.max_packets} that this session allows",
                limit="max_packet",
                hint="send it in pieces, or raise max_packet= of the server",
            )
        if self.muted:
            return
        loop = self.loop
        me = get_ident()
        if loop.turn_thread == me:
            self._put(encoded, size, latest)
            # The flush list is the leader's; if leadership went away meanwhile, nobody may look at it again.
            if not link.listed:
                link.listed = True
                loop.flush_list.append(link)
            if loop.turn_thread != me:
                link.listed = False
                link.flush()
        else:
            if wait and self._is_crowded(size) and not self._inside_handler():
                self._wait_for_room(size, timeout, latest)
            batch = loop.batches.get(me) if loop.batches else None
            if latest is not None or batch is not None or self._outbox:
                written = False
            else:
                written = link.write_packet(encoded)
            if not written:
                self._put(encoded, size, latest)
                if batch is None:
                    link.flush()
                else:
                    batch.append(link)
        loop.grown += size
        if loop.grown > loop.look_after:
            loop.grew()
        bounds = self.bounds
        if self._queued > bounds.unsent or self.numbering.outgoing.unacked > bounds.hard_unacked:
            self._choke(link)

    def _put(self, encoded: bytes, size: int, latest: str | None) -> None:
        with self._lock:
            if latest is None:
                self._outbox.append(encoded)
                self._queued += size
                return
            if self._latest is None:
                self._latest = {}
            slot = self._latest.get(latest)
            if slot is None:
                slot = self._latest[latest] = Slot(latest, b"")
                self._outbox.append(slot)
                self._queued += len(latest)  # the key is kept as long as the packet
            self._queued += size - len(slot.encoded)
            slot.encoded = encoded

    def _take(self) -> list[bytes]:
        """Packets for the next records, oldest first, up to WRITE_BUDGET. Only under the link's send right."""
        taken: list[bytes] = []
        size = keys = 0
        with self._lock:
            outbox = self._outbox
            while outbox and size < WRITE_BUDGET:
                entry = outbox.popleft()
                if isinstance(entry, Slot):
                    assert self._latest is not None
                    del self._latest[entry.key]
                    keys += len(entry.key)
                    entry = entry.encoded
                taken.append(entry)
                size += len(entry)
            self._queued -= size + keys
        return taken

    def _drop_unsent(self) -> None:
        """The connection is closed, and there will be no other: what was not taken or acknowledged is nobody's."""
        with self._lock:
            self._outbox.clear()
            self._latest = None
            self._queued = 0
        self.numbering.outgoing.drop()

    def _inside_handler(self) -> bool:
        # With a manual loop nobody would read acknowledgements while we wait.
        return get_ident() in worker_threads or self.loop.manual

    @property
    def unsent(self) -> int:
        link = self._link
        return self._queued + (link.tail_size if link is not None else 0)

    @property
    def held(self) -> int:
        """
        Bytes that this session keeps in memory, for and of its peer: both directions, with what each piece costs beside
        its bytes, and what is decoded of the record that is being handled. By a sweep.
        """
        outgoing = self.numbering.outgoing
        pieces = len(self._inbox) + len(self._outbox) + outgoing.kept
        waiting = self._in_bytes - self._out_bytes
        held = self.unsent + outgoing.unacked + waiting + OBJECT_BYTES * pieces
        opened = self._opened
        if opened is not None:
            held += opened.held
        return held + self.owner.held

    def _is_crowded(self, size: int) -> bool:
        # Hot: reads without the lock. Threads that send at the same time may overshoot by a packet each.
        bounds = self.bounds
        # A packet always fits into an empty session, however small the bounds are.
        link = self._link
        unsent = self._queued + (len(link._tail) if link is not None else 0)
        if unsent and unsent + size > bounds.unsent:
            return True
        unacked = self.numbering.outgoing.unacked
        return bool(unacked) and unacked + size > bounds.unacked

    def _replaces(self, latest: str | None) -> bool:
        """Whether a packet with this key takes the place of one that waits, and needs no room."""
        return latest is not None and self._latest is not None and latest in self._latest

    def _wait_for_room(self, size: int, timeout: float | None, latest: str | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        event = Sign()
        try:
            while self._is_crowded(size) and not self._replaces(latest):
                link = self._link
                if link is None or self._dropping:
                    raise self.closed_error()
                event.clear()
                with self._lock:
                    if event not in self._waiters:
                        self._waiters.append(event)
                link.flush()  # takes in acknowledgements; also the second look after joining the waiters
                if not self._is_crowded(size):
                    return
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise self._crowded_error(timeout)
                # A slice: a wake-up that is missed costs a moment, not the send.
                event.wait(0.2 if left is None else min(left, 0.2))
        finally:
            with self._lock:
                if event in self._waiters:
                    self._waiters.remove(event)
            self._wake_waiters()  # the first may have left room for the next

    def _crowded_error(self, timeout: float | None) -> LinkTimeout:
        return LinkTimeout(
            f"{self.name} does not take its packets: {self.unsent} bytes wait to be sent and "
            f"{self.numbering.outgoing.unacked} to be acknowledged after {timeout} s",
            hint="is the other side reading? send less, or give send() a longer timeout=",
        )

    def _wake_waiters(self) -> None:
        if self._waiters:
            with self._lock:
                waiting, self._waiters = self._waiters, []
            for event in waiting:
                event.set()

    def _choke(self, link: Link) -> None:
        """Much waits to be sent or acknowledged: stop reading the peer, or end it at a hard limit."""
        link.flush()  # a handler's packets wait for the end of the turn, which is no fault of the peer
        bounds = self.bounds
        unsent, unacked = self.unsent, self.numbering.outgoing.unacked
        if unsent > bounds.hard_unsent or unacked > bounds.hard_unacked:
            log.warning(
                "%s is too slow: %d bytes wait to be sent, %d to be acknowledged; ended",
                self.name, unsent, unacked,
            )  # fmt: skip
            self.end(Code.TOO_SLOW)
        elif unsent > bounds.unsent:
            link.choke()

    def closed_error(self) -> ConnectionClosed:
        """Why nothing can be sent. `Channel` knows."""
        raise NotImplementedError
