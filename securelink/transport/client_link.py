"""
The client's end: who waits drives.

A thread that waits for a packet reads the socket itself, under the drive lock: no thread switch between the kernel and
the caller. A client that nobody drives is read by the caretaker, the loop that all clients of a process share: it
registers links that have been left alone for a tick, and lets go of a link as soon as it meets a driver.
"""

from __future__ import annotations

import atexit
import logging
import os
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any, cast

from ..codec import Packet
from ..errors import ConfigError, ConnectionClosed, LinkTimeout, SecureLinkError
from ..handshake.wire import Code, Content
from ..limits import MAX_HEARTBEAT, MAX_INBOX_RECORDS, MIN_HEARTBEAT, SILENCE_FACTOR
from ..protocol import ClientEngine, Event
from ..received import Received
from .bounds import Bounds
from .channel import Channel, Waiting
from .link import READ_SIZE, Link
from .loop import Loop, hand_over, worker_threads
from .poller import READ, WRITE

log = logging.getLogger("securelink.client")

TICK_SECONDS = 0.05  # how long a client must be left alone before the caretaker reads it
LINGER_SECONDS = 1.0  # the caretaker stays so long after the last client
FLOOD_FACTOR = 8  # a client blocked in send() reads on until its inbox is this many times full
CARETAKER_WORKERS = 8
PATIENCE_SECONDS = (
    1  # a driver's recv() waits so long by itself: one system call where poll() and recv() are two
)
DONT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)  # 0 where the system has no such flag (Windows)

_AGAIN = "call connect() for a new session"
INTERFERES = "connect again; if it happens again, something on the path interferes"
_WAYS_ON: dict[int, str] = {
    Code.PROTOCOL: INTERFERES,
    Code.INTERNAL: "the log of the other side says more",
    Code.SHUTDOWN: "connect(retry=True) waits until it is back",
    Code.TOO_SLOW: "receive more often",
    Code.SILENT: _AGAIN,
    Code.UNREADABLE: "check that both sides run the same version of securelink",
}


def wait_for(sock: socket.socket, *, read: bool = True, write: bool, timeout: float | None) -> bool:
    """Wait until the socket can be read or written, as asked; False after `timeout` seconds."""
    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(sock, (select.POLLIN if read else 0) | (select.POLLOUT if write else 0))
        if timeout is not None:  # poll() rounds up, and what must not wait would wait a millisecond
            timeout = timeout * 1000 + 0.5 if timeout > 0 else 0
        return bool(poller.poll(timeout))
    readers, writers = [sock] if read else [], [sock] if write else []
    readable, writable, _ = select.select(readers, writers, [], timeout)
    return bool(readable or writable)


class ClientLink(Link):
    """The connection of a client."""

    __slots__ = ("_last_ping", "_patient", "background", "drives_seen", "heartbeat")

    def __init__(
        self, loop: Loop, sock: socket.socket, engine: ClientEngine, heartbeat: float
    ) -> None:
        super().__init__(loop, sock, engine)
        self.send_flags = DONT_WAIT
        self.heartbeat = min(max(heartbeat, MIN_HEARTBEAT), MAX_HEARTBEAT)
        self.background = False
        self.drives_seen = -1
        self._last_ping = time.monotonic()
        self.seen_at = self._last_ping
        self._patient = False
        if DONT_WAIT:
            sock.settimeout(None)
            patience = struct.pack("@ll", PATIENCE_SECONDS, 0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)

    # By the driver, which holds the drive lock.

    def drive(self, timeout: float | None, *, greedy: bool = False) -> bool:
        """
        Wait for the socket once, then read and write what is there.

        Args:
            greedy: Read although the inbox is full (a blocked send must not stop reading).

        Returns:
            False when nothing happened in `timeout` seconds.
        """
        if self._closed or (self._send_dead and self._gone_already()):
            return True
        channel = cast(ClientChannel | None, self.channel)
        writing = bool(self._tail)
        reading = self._has_room() or (greedy and channel is not None and not channel._flooded())
        if not reading and not writing:
            time.sleep(min(timeout or 0.01, 0.01))
            return False
        if DONT_WAIT and not writing and timeout is not None and timeout >= PATIENCE_SECONDS:
            self._patient = True
            try:
                self.read()
            finally:
                self._patient = False
            return True
        if not wait_for(self.sock, read=reading, write=writing, timeout=timeout):
            return False
        if writing:
            self.flush()
        if reading:
            self.read()
        return True

    def _recv(self) -> bytes:
        return self.sock.recv(READ_SIZE, 0 if self._patient else DONT_WAIT)

    def _gone_already(self) -> bool:
        channel = cast(ClientChannel | None, self.channel)
        return channel is not None and channel._ended

    def _deliverable(self, channel: Channel) -> None:
        assert isinstance(channel, ClientChannel)
        if self.loop.leading and channel._has_handlers():
            channel._make_ready()
        if channel._drivers:
            channel._wake_drivers()

    def lost(self) -> None:
        """End of the connection. The driver only says so; the leader closes the socket."""
        if self.loop.leading:
            super().lost()
        else:
            self._send_dead = True
            self._finish_channel(Code.NORMAL, "", clean=False)
            self.loop.call(super().lost)

    def _finish_channel(
        self, code: int, text: str, *, clean: bool, reason: SecureLinkError | None = None
    ) -> bool:
        channel = cast(ClientChannel | None, self.channel)
        if channel is None or channel._ended:
            return False
        if self._close is not None and not clean:
            code, clean = self._close[0], self._close[0] == Code.NORMAL
        if reason is not None:
            if reason is not None and not reason.hint:
                reason.hint = INTERFERES
            channel._reason = reason
        if not super()._finish_channel(code, text, clean=clean, reason=reason):
            return False
        channel._note(channel._ended_event)
        channel._wake_drivers()
        return True

    def _handshake_event(self, event: Event) -> None:
        raise AssertionError("the client's handshake is driven by connect()")

    # By the caretaker's leader.

    def update_interest(self) -> None:
        """As `Link.update_interest`; a driver reads for itself, but may sit in recv() while a tail waits to go."""
        if not self.loop.leading:
            self.ask_interest()  # a driver has filled the inbox
        elif self.background:
            super().update_interest()
        elif not self._closed:
            self.loop.register(self.sock, self._write_mask(), self)

    def on_io(self, mask: int) -> None:
        """The selector reports this link: read it, unless somebody drives."""
        if mask & WRITE:
            self.flush()
            self.update_interest()
        if not mask & READ or self._closed:
            return
        channel = cast(ClientChannel | None, self.channel)
        if channel is None or not channel._drive_lock.acquire(False):
            self._leave_to_driver()
            return
        try:
            self.read()
        finally:
            channel._drive_lock.release()
            if channel._drivers:  # a PONG is nothing to deliver, and somebody may wait for it
                channel._wake_drivers()

    def _leave_to_driver(self) -> None:
        self.background = False
        self.update_interest()

    def on_error(self) -> None:
        """An internal error: close, hurt nobody else."""
        self.give_up()

    def tick(self) -> None:
        """Take over a client that nobody drove since the last tick, and what a driver left in the inbox."""
        channel = cast(ClientChannel | None, self.channel)
        if channel is None or self._closed:
            return
        drives = channel._drives
        if drives != self.drives_seen or channel._drive_lock.locked():
            self.drives_seen = drives
            return
        if not self.background:
            self.background = True
            self.update_interest()
        if channel._inbox and channel._has_handlers():
            channel._make_ready()

    def sweep(self, now: float) -> None:
        """Once a second: ping, and notice a silent or overdue connection."""
        channel = cast(ClientChannel | None, self.channel)
        if channel is None or self._closed:
            return
        if self.reads != self.reads_seen:
            self.reads_seen, self.seen_at = self.reads, now
        self._watch_key(now)
        self._release()
        if channel._next_second():
            self.update_interest()
        if self.deadline is not None and now > self.deadline:
            self.give_up()
        elif now - self.seen_at > self.heartbeat * SILENCE_FACTOR and not channel._full:
            self._finish_channel(Code.SILENT, "", clean=False)
            self.give_up()
        elif now - self._last_ping >= self.heartbeat and self._close is None:
            self._last_ping = now
            self.control(Content.PING, bytes(8))

    def give_up(self) -> None:
        """Close, but not under somebody who reads: the number of the socket could be reused under them."""
        channel = cast(ClientChannel | None, self.channel)
        if channel is None or self._closed:
            return
        if channel._drive_lock.acquire(False):
            try:
                self.lost()
            finally:
                channel._drive_lock.release()
        else:
            try:
                self.sock.shutdown(socket.SHUT_RDWR)  # wakes the driver, which then says lost()
            except OSError:
                pass

    def _gone(self) -> None:
        caretaker.release(self)


class ClientChannel(Channel):
    """The session as the client holds it."""

    __slots__ = (
        "_carrier", "_drive_lock", "_drivers", "_drives", "_on_end", "_on_packet", "_owner", "_packets", "_reason",
        "_runner", "_waiting_bytes", "_want_handlers", "_warned", "_where",
    )  # fmt: skip

    def __init__(
        self,
        loop: Loop,
        bounds: Bounds,
        *,
        owner: Any,
        where: str,
        on_packet: Callable[[Packet, Received], bool],
        want_handlers: Callable[[], bool],
        on_end: Callable[[], None],
    ) -> None:
        super().__init__(loop, bounds)
        self._owner = owner
        self._where = where
        self._on_packet = on_packet
        self._want_handlers = want_handlers
        self._on_end = on_end
        self._packets: deque[Received] = deque()
        self._waiting_bytes = (
            0  # what came into _packets since it was empty, as on the wire; by the running thread
        )
        self._carrier: ClientLink | None = None
        self._drive_lock = threading.Lock()
        self._drivers: deque[threading.Event] = deque()
        self._drives = 0
        self._reason: SecureLinkError | None = None
        self._runner = 0  # the thread inside handlers of this client
        self._warned = False

    def _name(self) -> str:
        return f"the server {self._where}"

    def _has_handlers(self) -> bool:
        return self._want_handlers()

    def _flooded(self) -> bool:
        held = self._in_bytes - self._out_bytes
        return held > self._bounds.inbox_bytes * FLOOD_FACTOR

    def _ended_event(self) -> None:
        self._on_end()

    # The inbox: run by whoever drives, or by the caretaker.

    def run(self) -> bool:
        """As `Channel.run`; what no handler takes is kept for `receive`, up to a bound."""
        if self._may_run():
            return super().run()
        self._scheduled = False
        if not self._warned:
            self._warned = True
            log.warning(
                "%d packets wait for receive(); until it is called no handler is called either. "
                "Bind a handler to what is not wanted",
                len(self._packets),
            )
        return False

    def _may_run(self) -> bool:
        waiting = self._packets
        room = self._waiting_bytes <= self._bounds.inbox_bytes and len(waiting) < MAX_INBOX_RECORDS
        return room or not waiting or self._dropping

    def take(self, action: str) -> Received | None:
        """The first packet of that name among those that wait for `receive`."""
        for packet in tuple(self._packets):
            if packet.action == action:
                try:
                    self._packets.remove(packet)
                except ValueError:
                    continue  # another thread took it
                return packet
        return None

    def check_may_receive(self) -> None:
        """Raises `ConfigError` inside a handler: what it would wait for is handled only after it."""
        if self._runner == get_ident() and not self._packets:
            raise ConfigError(
                "a handler of this client cannot wait for packets: they come after it",
                hint="use request(), or bind a handler to the packet",
            )

    def _run(self) -> bool:
        self._runner = get_ident()
        try:
            return super()._run()
        finally:
            self._runner = 0

    def _handle(self, packet: Packet) -> None:
        if packet.reply_to is not None:
            return  # a reply that came too late
        received = Received(packet, self._owner)
        if not self._on_packet(packet, received):
            self._waiting_bytes = self._share + (self._waiting_bytes if self._packets else 0)
            self._packets.append(received)
        if self._drivers:
            self._wake_drivers()

    # Driving: any thread.

    def wait(self, timeout: float | None, ready: Callable[[], object]) -> None:
        """
        Wait until something may have happened, by driving or by waiting for the one who drives.

        Args:
            timeout: Seconds; None for ever.
            ready: Whether the caller has what it waits for; asked again once nobody else can bring it unseen.
        """
        if get_ident() in worker_threads:
            hand_over()
        if timeout is None or timeout > PATIENCE_SECONDS:
            timeout = PATIENCE_SECONDS
        if self._drive_lock.acquire(False):
            try:
                self._drives += 1
                self._drive(timeout, ready)
            finally:
                self._drive_lock.release()
                if self._drivers:
                    self._wake_drivers()
            return
        event = threading.Event()
        self._drivers.append(event)
        # Look once more after joining the queue: the driver may have left in between.
        if not ready() and not self._ended and self._drive_lock.locked():
            event.wait(timeout)
        try:
            self._drivers.remove(event)
        except ValueError:
            pass

    def _drive(self, timeout: float, ready: Callable[[], object]) -> None:
        # In this order: what was taken out of the inbox is being handled still, or what came of it is there.
        waiting = bool(self._inbox) and self._may_run()
        running = self._run_lock.locked()
        if ready() or (waiting and not running):
            return
        if running and timeout > 0.02:
            timeout = 0.02  # what comes of it gives no sign on the socket
        link = self._link
        if link is not None:
            link.drive(timeout)  # type: ignore[attr-defined]
        elif running:
            time.sleep(timeout)

    @contextmanager
    def _driving(self) -> Iterator[bool]:
        if not self._drive_lock.acquire(False):
            yield False
            return
        try:
            self._drives += 1
            yield True
        finally:
            self._drive_lock.release()
            self._wake_drivers()

    def _wake_drivers(self) -> None:
        for event in tuple(self._drivers):
            event.set()

    def _wait_for_room(self, size: int, timeout: float | None, latest: str | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._is_crowded(size) and not self._replaces(latest):
            link = self._link
            if link is None or self._dropping:
                raise self._closed_error()
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise self._crowded_error(timeout)
            slice_ = 0.1 if left is None else min(left, 0.1)
            link.flush()
            if not self._is_crowded(size):
                return
            with self._driving() as driving:
                if driving:
                    assert isinstance(link, ClientLink)
                    link.drive(slice_, greedy=True)
                    link.flush()
            if not driving:
                time.sleep(min(slice_, 0.001))

    def _await(self, waiting: Waiting, deadline: float) -> None:
        while not waiting.event.is_set() and not self._ended:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            if self._inbox:
                self.run()  # handlers too: the other side may ask back before it answers
            self.wait(left, waiting.event.is_set)

    def _orphaned(self) -> None:
        super()._orphaned()
        self._drive_lock = threading.Lock()

    def attach(self, link: ClientLink) -> None:
        """The connection that carries this session."""
        self._link = self._carrier = link
        link.channel = self

    def close(self, timeout: float) -> list[Packet]:
        """See `Client.close`."""
        deadline = time.monotonic() + timeout
        self._end(Code.NORMAL)
        self._packets.clear()
        while not self._ended and (left := deadline - time.monotonic()) > 0:
            self.wait(left, lambda: self._ended)
            self.run()  # drops what is not wanted any more
        link = self._carrier
        assert link is not None
        if not self._ended:
            link._finish_channel(Code.NORMAL, "", clean=False)
            link.loop.call(link.give_up)
        elif link.said_all:
            link.loop.call(link.give_up)  # nothing comes after the server's CLOSE
        self.run()  # on_disconnect, unless another thread is at it
        return self._unconfirmed(link)

    def _closed_error(self) -> ConnectionClosed:
        error = super()._closed_error()
        if not error.hint:
            error.hint = _WAYS_ON.get(error.code, "") if error.clean else _AGAIN
        return error

    def _crowded_error(self, timeout: float | None) -> LinkTimeout:
        error = super()._crowded_error(timeout)
        if self._full:
            error.hint = "this program sends without receiving: call receive() or poll() as well"
        return error

    def _inside_handler(self) -> bool:
        # A handler that runs in a driver's thread must not drive again below itself.
        return super()._inside_handler() or self._runner == get_ident()


class _Caretaker:
    """The one loop of all clients of a process; started with the first, stopped after the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: Loop | None = None
        self._links: set[ClientLink] = set()  # the leader's
        self._everyone: set[ClientLink] = set()  # the same, at once, for fork(); guarded by _lock
        self._users = 0

    def loop(self) -> Loop:
        """The running loop, for one connection attempt or link; pair with `leave`."""
        with self._lock:
            self._users += 1
            if self._loop is None:
                self._loop = Loop("clients", workers=CARETAKER_WORKERS)
                self._loop.start()
                self._schedule(self._loop)
            return self._loop

    def leave(self) -> None:
        """One attempt or link fewer."""
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._loop is not None:
                loop = self._loop
                loop.call_later(LINGER_SECONDS, lambda: self._stop_if_unused(loop))

    def _stop_if_unused(self, loop: Loop) -> None:
        with self._lock:
            if self._users or self._loop is not loop:
                return
            self._loop = None
        loop.stop(lambda: None)

    def adopt(self, link: ClientLink) -> None:
        """Care for a link from now on."""
        with self._lock:
            self._everyone.add(link)
        # At once, not by the leader: a program may end right after connect(), and then says goodbye.
        self._links.add(link)

    def say_goodbye(self) -> None:
        """The program ends without close(): say CLOSE, so that servers do not think that the connection broke."""
        for link in tuple(self._links):
            link.end(Code.NORMAL)

    def release(self, link: ClientLink) -> None:
        """By the leader: this link's socket is closed."""
        self._links.discard(link)
        with self._lock:
            self._everyone.discard(link)
        self.leave()

    def forget_all(self) -> None:
        """In a child of fork(): threads and connections belong to the parent."""
        for link in self._everyone:
            link.orphaned()
        if self._loop is not None:
            self._loop.orphaned()
        self.__init__()  # type: ignore[misc]

    def _schedule(self, loop: Loop) -> None:
        def tick() -> None:
            if not loop.stopping:
                loop.call_later(TICK_SECONDS, tick)
            loop.each(self._links, ClientLink.tick)

        def sweep() -> None:
            if not loop.stopping:
                loop.call_later(1.0, sweep)
            loop.each(self._links, lambda link: link.sweep(loop.now))

        loop.call_later(TICK_SECONDS, tick)
        loop.call_later(1.0, sweep)


caretaker = _Caretaker()
atexit.register(caretaker.say_goodbye)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=caretaker.forget_all)
