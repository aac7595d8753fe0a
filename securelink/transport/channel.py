"""
The durable side of a session: an inbox, an outbox and their bounds. A `Link` carries it.

Inbox: records and events in order, run by at most one thread. Records wait as bytes and are decoded when their turn
comes, so a peer makes us hold its wire bytes, not the many times larger objects.

Outbox: packets, encoded, not yet numbered. Inside a handler a send never waits; elsewhere it waits for room.

Locks: `_lock` guards `_outbox`, `_queued`, `_latest` and `_waiters`; it is taken before a link's send lock, never after
user code was entered, and nothing waits while holding it. `_run_lock` is the right to run the inbox.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import get_ident
from typing import TYPE_CHECKING, Any

from ..codec import Packet, decode_packets, encode_packet, join_packets
from ..errors import (
    CodecError,
    ConfigError,
    ConnectionClosed,
    LimitExceeded,
    LinkTimeout,
    RequestFailed,
)
from ..handshake.wire import Code, Content, code_text
from ..limits import (
    HARD_UNACKED,
    HARD_UNSENT,
    MAX_INBOX_BYTES,
    MAX_INBOX_RECORDS,
    MAX_RATE,
    MAX_REQUESTS,
    MAX_UNACKED,
    MAX_UNSENT,
    RUN_PACKETS,
    RUN_SECONDS,
)
from ..session import Numbering
from ..text import escaped
from .loop import Loop, worker_threads

if TYPE_CHECKING:
    from .link import Link

log = logging.getLogger("securelink")

Record = bytes | memoryview
Event = Callable[[], None]
WRITE_BUDGET = (
    256 * 1024
)  # bytes sealed by one write: what waits behind a full kernel buffer stays small


FORKED = "this process is a fork of the one that opened it"


@dataclass(frozen=True)
class Bounds:
    """Bounds of one session; see limits.py for units and reasons."""

    unsent: int = MAX_UNSENT
    hard_unsent: int = HARD_UNSENT
    unacked: int = MAX_UNACKED
    inbox_records: int = MAX_INBOX_RECORDS
    hard_unacked: int = HARD_UNACKED
    inbox_bytes: int = MAX_INBOX_BYTES
    rate: int = MAX_RATE


#: Shared by all channels that wait for nothing: an empty dict each would cost 64 bytes.
_NOTHING: dict[int, Waiting] = {}


class Slot:
    """An outbox entry that may be replaced until it is put into a record (`latest=`)."""

    __slots__ = ("encoded", "key")

    def __init__(self, key: str, encoded: bytes) -> None:
        self.key = key
        self.encoded = encoded


class Decoded:
    """Packets in the inbox that were decoded before their turn."""

    __slots__ = ("packets", "size")

    def __init__(self, packets: list[Packet], size: int = 0) -> None:
        self.packets = packets
        self.size = size  # what is to be counted as taken when their turn comes, in bytes


class Waiting:
    """Somebody waits for a reply or a PONG. The reading thread fills it in."""

    __slots__ = ("event", "packet")

    def __init__(self) -> None:
        self.event = threading.Event()
        self.packet: Packet | None = None


class Channel:
    """Base of the server's `Session` and of the client's session."""

    __slots__ = (
        "__weakref__",
        "_asked",
        "_bounds",
        "_clean",
        "_close_code",
        "_close_text",
        "_dropping",
        "_ended",
        "_expected",
        "_full",
        "_handled",
        "_handled_before",
        "_in_bytes",
        "_inbox",
        "_latest",
        "_link",
        "_lock",
        "_loop",
        "_muted",
        "_numbering",
        "_out_bytes",
        "_outbox",
        "_queued",
        "_run_lock",
        "_scheduled",
        "_share",
        "_throttled",
        "_waiters",
    )  # fmt: skip

    def __init__(self, loop: Loop, bounds: Bounds) -> None:
        self._loop = loop
        self._bounds = bounds
        self._link: Link | None = None
        self._numbering = Numbering()
        self._lock = threading.Lock()
        self._outbox: deque[bytes | Slot] = deque()
        self._queued = 0
        self._latest: dict[str, Slot] | None = None
        self._waiters: list[threading.Event] = []
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
        self._ended = False
        self._close_code = int(Code.NORMAL)
        self._close_text = ""
        self._clean = False
        self._muted = False
        self._asked = 0  # requests and pings so far; under _lock
        self._expected: dict[int, Waiting] = (
            _NOTHING  # replies and PONGs that are waited for; under _lock
        )
        self._dropping = False  # ended from our side: what the peer still sends is not handled

    # --- inbox: the reading thread ------------------------------------------------------------------------

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

    def _resolve(self, packet: Packet) -> bool:
        """Give a reply to who waits for it; False when nobody does."""
        if packet.reply_to is None:
            return False
        with self._lock:
            waiting = self._expected.pop(packet.reply_to, None)
        if waiting is None:
            return False
        waiting.packet = packet
        waiting.event.set()
        return True

    def _ponged(self, number: int) -> None:
        waiting = self._expected.get(-number)
        if waiting is not None:
            waiting.event.set()

    def _note(self, event: Event) -> None:
        """Put an event behind the packets that came before it. Any thread."""
        self._inbox.append(event)
        self._scheduled = True
        self._loop.schedule(self)

    def _make_ready(self) -> None:
        """Put this inbox on the leader's ready list. Only the leader calls this."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.make_ready(self)

    # --- inbox: the running thread --------------------------------------------------------------------------

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
            if callable(item):
                left -= 1
                item()
                continue
            if isinstance(item, Decoded):
                size = item.size
                self._out_bytes += size
                packets = [] if self._dropping else item.packets
            else:
                size = len(item)
                packets = self._decode(item)
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
        self._out_bytes += len(record)
        if self._dropping:
            return []
        try:
            return decode_packets(record)
        except CodecError as error:
            log.warning("%s sent a packet that cannot be read: %s", self._name(), error)
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

    # --- outbox ---------------------------------------------------------------------------------------------

    def _post(
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
            raise self._closed_error()
        size = len(encoded)
        if size > link.max_packets:
            raise LimitExceeded(
                f"a packet of {size} bytes is larger than the {link.max_packets} that this session allows",
                limit="max_packet",
                hint="send it in pieces, or raise max_packet= of the server",
            )
        if self._muted:
            return
        loop = self._loop
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
        bounds = self._bounds
        if self._queued > bounds.unsent or self._numbering.outgoing.unacked > bounds.hard_unacked:
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
            self._queued += size - len(slot.encoded)
            slot.encoded = encoded

    def _take(self) -> list[bytes]:
        """Packets for the next records, oldest first, up to WRITE_BUDGET. Only under the link's send lock."""
        taken: list[bytes] = []
        size = 0
        with self._lock:
            outbox = self._outbox
            while outbox and size < WRITE_BUDGET:
                entry = outbox.popleft()
                if entry.__class__ is Slot:
                    assert isinstance(entry, Slot)
                    assert self._latest is not None
                    del self._latest[entry.key]
                    entry = entry.encoded
                taken.append(entry)  # type: ignore[arg-type]
                size += len(entry)  # type: ignore[arg-type]
            self._queued -= size
        return taken

    def _inside_handler(self) -> bool:
        # With a manual loop nobody would read acknowledgements while we wait.
        return get_ident() in worker_threads or self._loop.manual

    @property
    def _unsent(self) -> int:
        link = self._link
        return self._queued + (link.tail_size if link is not None else 0)

    @property
    def _held(self) -> int:
        """Bytes that this session keeps in memory, in both directions."""
        waiting = self._in_bytes - self._out_bytes
        return self._unsent + self._numbering.outgoing.unacked + waiting

    def _is_crowded(self, size: int) -> bool:
        # Hot: reads without the lock. Who sends at the same time may overshoot by a packet each.
        bounds = self._bounds
        # A packet always fits into an empty session, however small the bounds are.
        unsent = self._unsent
        if unsent and unsent + size > bounds.unsent:
            return True
        unacked = self._numbering.outgoing.unacked
        return bool(unacked) and unacked + size > bounds.unacked

    def _replaces(self, latest: str | None) -> bool:
        """Whether a packet with this key takes the place of one that waits, and needs no room."""
        return latest is not None and self._latest is not None and latest in self._latest

    def _wait_for_room(self, size: int, timeout: float | None, latest: str | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        event = threading.Event()
        try:
            while self._is_crowded(size) and not self._replaces(latest):
                link = self._link
                if link is None or self._dropping:
                    raise self._closed_error()
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
            self._wake_waiters()  # who comes first may have left room for the next

    def _crowded_error(self, timeout: float | None) -> LinkTimeout:
        return LinkTimeout(
            f"{self._name()} does not take its packets: {self._unsent} bytes wait to be sent and "
            f"{self._numbering.outgoing.unacked} to be acknowledged after {timeout} s",
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
        bounds = self._bounds
        unsent, unacked = self._unsent, self._numbering.outgoing.unacked
        if unsent > bounds.hard_unsent or unacked > bounds.hard_unacked:
            log.warning(
                "%s is too slow: %d bytes wait to be sent, %d to be acknowledged; ended",
                self._name(), unsent, unacked,
            )  # fmt: skip
            self._end(Code.TOO_SLOW)
        elif unsent > bounds.unsent:
            link.choke()

    # --- asking ---------------------------------------------------------------------------------------------

    def _expect(self, waiting: Waiting, *, pong: bool = False) -> int:
        with self._lock:
            if self._link is None:
                raise self._closed_error()
            if len(self._expected) >= MAX_REQUESTS:
                raise LimitExceeded(
                    f"{MAX_REQUESTS} requests wait for their reply already", limit="MAX_REQUESTS"
                )
            if self._expected is _NOTHING:
                self._expected = {}
            self._asked += 1
            self._expected[-self._asked if pong else self._asked] = waiting
            return self._asked

    def _forget(self, number: int) -> None:
        with self._lock:
            self._expected.pop(number, None)

    def _ask(self, packet: Packet, timeout: float) -> Packet:
        """
        Send a request and wait for its reply.

        Raises:
            RequestFailed: The other side has no answer.
            ConnectionClosed: The session ended before the reply came.
            LinkTimeout: No reply in time. One that comes later is dropped.
        """
        self._check_may_wait()
        deadline = time.monotonic() + timeout
        waiting = Waiting()
        number = packet.id = self._expect(waiting)
        try:
            self._post(encode_packet(packet), timeout=timeout)
            self._await(waiting, deadline)
        finally:
            self._forget(number)
        reply = waiting.packet
        if reply is None:
            if self._ended:
                raise self._closed_error()
            raise LinkTimeout(
                f"{self._name()} did not answer the request {packet.action!r} within {timeout:g} s"
            )
        if reply.headers and "error" in reply.headers:
            raise RequestFailed(
                escaped(str(reply.data or "")), reason=escaped(str(reply.headers["error"]))
            )
        return reply

    def _probe(self, timeout: float) -> float:
        """Send a PING; seconds until its PONG. Raises `LinkTimeout`, `ConnectionClosed`."""
        self._check_may_wait()
        waiting = Waiting()
        number = self._expect(waiting, pong=True)
        try:
            link = self._link
            if link is None:
                raise self._closed_error()
            start = time.monotonic()
            link.control(Content.PING, number.to_bytes(8))
            self._await(waiting, start + timeout)
            if not waiting.event.is_set():
                raise LinkTimeout(f"{self._name()} did not answer a ping within {timeout:g} s")
            if self._ended:
                raise self._closed_error()
            return time.monotonic() - start
        finally:
            self._forget(-number)

    def _check_may_wait(self) -> None:
        if self._loop.manual and self._loop.turn_thread == get_ident():
            raise ConfigError(
                "a handler inside update() cannot wait for the other side",
                hint="send() and handle the answer as a packet, or use start()",
            )

    def _await(self, waiting: Waiting, deadline: float) -> None:
        """Wait until `waiting` is filled, the session ends or the deadline passes."""
        loop = self._loop
        # Whoever waits must not lead: the reply has to be read.
        loop.hand_over()
        if not loop.manual:
            waiting.event.wait(max(0.0, deadline - time.monotonic()))
            return
        while not waiting.event.wait(0.001) and time.monotonic() < deadline:
            loop.turn()

    def _answer(self, packet: Packet, data: Any = None, error: str | None = None) -> None:
        """Send the reply to a request; a session that has ended meanwhile needs none."""
        headers = {"error": error} if error is not None else None
        reply = Packet(packet.action, data, headers, time.time(), None, packet.id)
        try:
            self._post(encode_packet(reply), timeout=None, wait=False)
        except ConnectionClosed:
            pass

    # --- the end ----------------------------------------------------------------------------------------------

    def _end(self, code: int, text: str = "") -> None:
        """End the session from our side: what is queued goes out, then CLOSE. Any thread; returns at once."""
        self._dropping = True
        link = self._link
        if link is not None:
            link.end(code, text)

    def _unconfirmed(self, link: Link) -> list[Packet]:
        """What the peer has not acknowledged, and what was never sent, in order. After the end."""
        with link._send_lock:
            records = self._numbering.outgoing.unconfirmed
        with self._lock:
            waiting = [e.encoded if isinstance(e, Slot) else e for e in self._outbox]
        records += [join_packets([encoded]) for encoded in waiting]
        return [packet for record in records for packet in decode_packets(record)]

    def _closed_error(self) -> ConnectionClosed:
        words = self._close_text or code_text(self._close_code)
        link = self._link
        if link is not None and link.closing is not None:
            code, text = link.closing
            return ConnectionClosed(
                f"the session is being ended: {text or code_text(code)}",
                code=code,
                text=text,
                clean=True,
            )
        if not self._ended and not self._dropping:
            return ConnectionClosed("there is no connection", hint="call connect() first")
        if not self._clean and self._close_code == Code.NORMAL:
            words = "the connection broke: the other side vanished or the network failed"
        return ConnectionClosed(
            f"the session is over: {words}",
            code=self._close_code,
            text=self._close_text,
            clean=self._clean,
        )

    def _orphaned(self) -> None:
        """In a child of fork(): the session is the parent's. Threads that held these locks are not here."""
        self._lock, self._run_lock = threading.Lock(), threading.Lock()
        self._inbox.clear()
        self._ended, self._clean, self._link = True, False, None
        self._close_code, self._close_text = int(Code.INTERNAL), FORKED

    def _finished(self, code: int, text: str, clean: bool) -> bool:
        """The link is gone. False for all calls but the first: the reading thread and `close()` may race."""
        with self._lock:
            if self._ended:
                return False
            self._ended = True
            self._close_code, self._close_text, self._clean = code, escaped(text), clean
            self._link = None
            expected = tuple(self._expected.values())
        for waiting in expected:
            waiting.event.set()
        self._wake_waiters()
        return True
