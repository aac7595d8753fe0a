"""
What arrives at a session: records and events in order, run by at most one thread.

Records wait as bytes and are decoded when their turn comes, so a peer makes us hold its wire bytes, not the many times
larger objects. `_run_lock` is the right to run the inbox; who gives it up looks once more.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any

from ..codec import Packet, decode_packets
from ..codes import Code
from ..errors import CodecError
from ..limits import RUN_PACKETS, RUN_SECONDS
from ..native import mypyc_attr
from .bounds import Bounds
from .loop import Loop, worker_threads

if TYPE_CHECKING:
    from .link import Link

log = logging.getLogger("securelink")

Record = bytes | memoryview
Event = Callable[[], None]


class Decoded:
    """Packets in the inbox that were decoded before their turn."""

    __slots__ = ("packets", "size")

    def __init__(self, packets: list[Packet], size: int = 0) -> None:
        self.packets = packets
        self.size = size  # what is to be counted as taken when their turn comes, in bytes


@mypyc_attr(allow_interpreted_subclasses=True)
class Inbox:
    """The receiving half of a `Channel`."""

    __slots__ = (
        "_bounds", "_detail", "_dropping", "_expected", "_full", "_handled", "_handled_before", "_in_bytes", "_inbox",
        "_link", "_loop", "_out_bytes", "_run_lock", "_scheduled", "_share", "_throttled",
    )  # fmt: skip

    def __init__(self, loop: Loop, bounds: Bounds) -> None:
        self._loop = loop
        self._bounds = bounds
        self._link: Link | None = None
        self._detail = ""  # what was wrong with what the peer sent
        self._inbox: deque[Record | Decoded | Event] = deque()
        self._in_bytes = 0  # written by the reading thread only
        self._out_bytes = 0  # written by the running thread only
        self._full = False
        self._handled = 0  # packets; written by the running thread only
        self._handled_before = 0  # this second, for the rate limit; written by the sweep only
        self._throttled = False
        self._share = 0  # bytes that each packet of the record being handled had on the wire
        self._run_lock = threading.Lock()
        self._scheduled = False
        self._dropping = False  # ended from our side: what the peer still sends is not handled
        self._expected: dict[int, Any] = {}  # replies that are waited for

    # --- the reading thread -----------------------------------------------------------------------------------

    def _deliver(self, record: Record) -> None:
        """Take an accepted record; the link stops reading while the inbox is full."""
        if self._dropping:
            return
        item: Record | Decoded = record
        if self._expected:
            item = self._without_replies(record)
            if not item:
                return
        self._in_bytes += len(record)
        self._inbox.append(item)
        if (
            self._in_bytes - self._out_bytes > self._bounds.inbox_bytes
            or len(self._inbox) > self._bounds.inbox_records
        ):
            self._full = True
            if not self._inbox:
                self._full = False  # it was emptied between the two lines; nobody else would notice

    def _without_replies(self, record: Record) -> Record | Decoded:
        """While a reply is waited for, records are decoded at once: it must not queue behind what its waiter blocks."""
        try:
            packets = decode_packets(record)
        except CodecError:
            return record  # reported when its turn comes
        rest = [packet for packet in packets if not self._resolve(packet)]
        if len(rest) == len(packets):
            return record
        return Decoded(rest, len(record)) if rest else b""

    def _note(self, event: Event) -> None:
        """Put an event behind the packets that came before it. Any thread."""
        self._inbox.append(event)
        self._scheduled = True
        self._loop.schedule(self)

    # --- the running thread -----------------------------------------------------------------------------------

    def run(self) -> bool:
        """Handle what waits; True when the rest is for another turn."""
        self._scheduled = False
        while self._run_lock.acquire(False):
            try:
                if self._run():
                    return True
            except BaseException:
                # SystemExit or Ctrl-C. In the program's own thread it ends what the program is doing;
                # in one of ours it would only end the thread.
                if get_ident() not in worker_threads:
                    self._loop.schedule(self)
                    raise
                log.exception(
                    "a handler of %s asked to exit; only the main thread can", self._name()
                )
            finally:
                self._run_lock.release()
            # Given up; look once more: who appended meanwhile found us running and went away.
            if not self._inbox:
                return False
        return False

    def _run(self) -> bool:
        left = RUN_PACKETS
        inbox = self._inbox
        deadline = 0.0
        while inbox:
            if left <= 0:
                return True
            item = inbox.popleft()
            if isinstance(item, (bytes, memoryview)):
                size = len(item)
                packets = [] if self._dropping else self._decode(item)
            elif isinstance(item, Decoded):
                size = item.size
                packets = [] if self._dropping else item.packets
            else:
                left -= 1
                item()
                continue
            self._out_bytes += size
            done = 0
            if size:  # else it is the rest of a record, and was counted with it
                count = len(packets) or 1  # an empty record is work as well
                self._handled += count
                self._share = size // count
            if not packets:
                left -= 1
            if self._handled - self._handled_before > self._bounds.rate and not self._throttled:
                self._throttle()
            try:
                for packet in packets:
                    done += 1
                    self._handle(packet)
                    left -= 1
                    if done == len(packets):
                        break
                    if self._dropping:  # this packet's handler has ended the session
                        done = len(packets)
                        break
                    now = time.monotonic()
                    deadline = deadline or now + RUN_SECONDS
                    if left <= 0 or now > deadline:
                        return True
            finally:
                if done < len(packets):
                    inbox.appendleft(Decoded(packets[done:]))
                if self._full:
                    self._maybe_room()
        return False

    def _decode(self, record: Record) -> list[Packet]:
        try:
            return decode_packets(record)
        except CodecError as error:
            log.warning("%s sent a packet that cannot be read: %s", self._name(), error)
            self._detail = error.message
            self._end(Code.UNREADABLE)
            return []

    def _throttle(self) -> None:
        """More packets than one session may send in a second: it is not read until the next one begins."""
        self._throttled = True
        link = self._link
        if link is not None:
            log.info("%s sends more than %d packets a second", self._name(), self._bounds.rate)
            link.ask_interest()

    def _next_second(self) -> bool:
        """By a sweep: a new second for the rate limit; True when reading may go on again."""
        self._handled_before = self._handled
        was, self._throttled = self._throttled, False
        return was

    def _maybe_room(self) -> None:
        bounds = self._bounds
        if (
            self._in_bytes - self._out_bytes <= bounds.inbox_bytes // 2
            and len(self._inbox) <= bounds.inbox_records // 2
        ):
            self._full = False
            link = self._link
            if link is not None:
                link.ask_interest()

    def _handle(self, packet: Packet) -> None:
        """Give one packet to the application. Subclasses; must not raise."""
        raise NotImplementedError

    def _name(self) -> str:
        """Who the peer is, for the log."""
        raise NotImplementedError

    def _resolve(self, packet: Packet) -> bool:
        """Give a reply to who waits for it; False when nobody does. `Channel` does it."""
        raise NotImplementedError

    def _end(self, code: int, text: str = "") -> None:
        """End the session from our side. `Channel` does it."""
        raise NotImplementedError
