"""
One TCP connection that carries a channel.

Writing: append, try the send right; its holder seals and writes all that is queued, releases it, and looks once more.
So the order of sealing is the order of the nonces is the order on the wire, and nobody waits for it. What the
kernel does not take stays as a tail, and the leader is asked for writability.

Reading, closing the socket and everything else with the selector is the leader's alone.
"""

from __future__ import annotations

import logging
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from .._mypyc import mypyc_attr
from ..codes import Code
from ..errors import SecureLinkError
from ..interrupts import Right
from ..limits import (
    ACK_BYTES,
    ACK_FEW_RECORDS,
    ACK_FEW_SECONDS,
    ACK_RECORDS,
    ACK_SECONDS,
    CLOSE_SECONDS,
    MAX_CONTROL_RATE,
    MAX_SWEEP_STEP,
    READ_FRAMES,
    STALLED_SECONDS,
    UPDATE_SECONDS,
)
from ..protocol import Closed, Connection, Ended, Event, Failed, Item, Pinged, Ponged
from ..streams.sockets import peer_address
from ..wire.fields import Content
from .loop import Loop
from .poller import HANGUP, READ, WRITE

if TYPE_CHECKING:
    from .channel import Channel

log = logging.getLogger("securelink")

Result = TypeVar("Result")

MAX_CONTROLS = 64  # control records that wait behind a full kernel buffer
READ_SIZE = 64 * 1024  # below malloc's mmap threshold: larger buffers cost a page fault each
RIGHT_SECONDS = (
    1.0  # the longest wait for the send right; a write that does not block takes microseconds
)
_forks = [0]


def _count_fork() -> None:
    _forks[0] += 1


# After fork() both processes would use the same keys and nonces: every link of the child is dead.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


@mypyc_attr(allow_interpreted_subclasses=True)
class Link:
    """
    Socket, engine, and what waits to be written.

    Args:
        loop: Its leader reads this link.
        sock: Connected, non-blocking.
        engine: In either role.

    Attributes:
        channel: The session, once there is one.
        listed: On the loop's flush list.
        address: Of the peer.
        reads: Counts reads; a sweep tells from it whether the peer is silent, without a clock per read.
        deadline: When a sweep may close this link (handshake, closing), or None.
        max_packets: Bytes of the largest encoded packet.
    """

    __slots__ = (
        "_ack_bytes", "_ack_listed", "_ack_records", "_choked", "_close", "_closed", "_controls", "_controls_before",
        "_deaf", "_fork", "_hung_up", "_interrupted", "_looked_at", "_quiet", "_raw", "_reading", "_send_dead",
        "_send_right", "_shut", "_stalled", "_tail", "_tail_seen", "_unfinished", "_want_write", "address", "channel",
        "deadline", "engine", "key_since", "listed", "loop", "max_packets", "reads", "reads_seen", "recv_flags",
        "send_flags", "sock",
    )  # fmt: skip

    def __init__(self, loop: Loop, sock: socket.socket, engine: Connection) -> None:
        self.loop = loop
        self.sock = sock
        self.send_flags = 0  # of each send(); the socket itself is non-blocking
        self.recv_flags = 0
        self._interrupted = False
        self.engine = engine
        engine.at_once = READ_FRAMES
        self.address = peer_address(sock)
        self.channel: Channel | None = None
        self.listed = False
        self.reads = 0
        self.reads_seen = 0
        self.key_since = loop.now
        self.deadline: float | None = None
        self.max_packets = 0
        self._send_right = Right()
        self._raw: deque[bytes] = deque()
        self._controls: deque[tuple[Content, bytes]] = deque()
        self._close: tuple[int, str] | None = None
        self._tail = memoryview(b"")
        self._reading = True
        self._choked = False
        self._want_write = False
        self._send_dead = False
        self._shut = False
        self._closed = False
        self._ack_bytes = 0
        self._ack_records = ACK_RECORDS  # so many records are acknowledged at once
        self._ack_listed = False
        self._fork = _forks[0]
        self._hung_up = False
        self._unfinished = False  # the loop will call go_on()
        self._controls_before = 0  # this second
        # For the sweep: how long the peer was silent while we listened, and how long it took nothing while we did not.
        self._deaf = False
        self._looked_at = loop.now
        self._quiet = 0.0
        self._stalled = 0.0
        self._tail_seen = self._tail

    # --- writing: any thread --------------------------------------------------------------------------------

    @property
    def closing(self) -> tuple[int, str] | None:
        """Code and text of the CLOSE that was or will be sent, if any."""
        return self._close

    @property
    def said_all(self) -> bool:
        """Whether our CLOSE is out, and our side is shut."""
        return self._shut

    @property
    def tail_size(self) -> int:
        """Bytes sealed and not yet taken by the kernel."""
        return len(self._tail)

    def write_raw(self, data: bytes) -> None:
        """Queue bytes of the handshake, which are sealed already, and write them."""
        self._raw.append(data)
        self.flush()

    def control(self, content: Content, payload: bytes = b"") -> None:
        """Queue a control record and write it. After CLOSE there are none."""
        sender = self.engine.sender
        if sender is None or sender.closed:
            return
        if len(self._controls) >= MAX_CONTROLS:
            return  # a peer that pings without reading gets no answers
        self._controls.append((content, payload))
        self.flush()

    def end(self, code: int, text: str = "") -> None:
        """Send what is queued, then CLOSE; the leader sees to the rest."""
        if self._close is None:
            self._close = (code, text)
            self.loop.call(self._begin_closing)
            self.ask_interest()
        self.flush()

    def write_packet(self, encoded: bytes) -> bool:
        """
        Seal and write one packet at once, if nothing waits and nobody else writes. Not for handlers.

        Returns:
            False when it has to be queued.
        """
        right = self._send_right
        try:
            del right.free
        except AttributeError:
            return False
        try:
            sender = self.engine.sender
            channel = self.channel
            if (
                self._tail
                or self._send_dead
                or self._raw
                or channel is None
                or channel._outbox
                or self._close is not None
                or sender is None
                or self._fork != _forks[0]
            ):
                return False
            self._write_bytes(sender.packet(encoded))
        except (OSError, SecureLinkError) as error:
            self._write_failed(error)
        except BaseException:
            self.break_off()
            raise
        finally:
            right.free = True
        assert channel is not None
        waiting = channel._outbox or self._controls or self._choked or self._close is not None
        if waiting and not (self._tail or self._send_dead):
            self.flush()  # a thread that came meanwhile found the right taken, and went away
        return True

    def flush(self) -> None:
        """Seal and write what is queued, without waiting."""
        right = self._send_right
        while True:
            try:
                del right.free
            except AttributeError:
                return  # who has it looks once more
            try:
                self._write()
            except (OSError, SecureLinkError) as error:
                self._write_failed(error)
            except BaseException:
                self.break_off()
                raise
            finally:
                right.free = True
            if self._tail or self._send_dead or not self._has_more():
                return

    def _has_more(self) -> bool:
        if self._raw or self._choked:
            return True
        sender = self.engine.sender
        if sender is not None and not sender.closed:
            channel = self.channel
            if self._controls or (channel is not None and channel._outbox):
                return True
        return self._close is not None and not self._shut

    def _write(self) -> None:
        if self._send_dead:
            self._drop_unsendable()
            return
        if self._fork != _forks[0]:
            raise SecureLinkError("this connection belongs to the parent process")
        channel = self.channel
        if self._tail:
            if channel is not None:
                channel._numbering.outgoing.release()
            if not self._write_tail():
                return
        parts: list[bytes] = []
        while self._raw:
            parts.append(self._raw.popleft())
        sender = self.engine.sender
        if sender is not None and channel is not None and not sender.closed:
            if channel._outbox:
                parts.append(sender.packets(channel._take()))
            elif channel._numbering.outgoing.unacked:
                channel._numbering.outgoing.release()
            while self._controls:
                content, payload = self._controls.popleft()
                parts.append(
                    sender.ack() if content is Content.ACK else sender.control(content, payload)
                )
            if channel._waiters:
                channel._wake_waiters()
        if self._close is not None and sender is not None and not sender.closed and self._drained():
            parts.append(sender.close(*self._close))
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        if data:
            self._write_bytes(data)
        if self._close is not None or self._choked:
            self._after_write()

    def _drained(self) -> bool:
        return self.channel is None or not self.channel._outbox

    def _write_bytes(self, data: bytes) -> None:
        try:
            taken = self.sock.send(data, self.send_flags)
        except (BlockingIOError, InterruptedError):
            taken = 0
        if taken < len(data):
            self._tail = memoryview(data)[taken:]
            self._ask_writable()

    def _write_tail(self) -> bool:
        try:
            taken = self.sock.send(self._tail, self.send_flags)
            self._tail = self._tail[taken:]
        except (BlockingIOError, InterruptedError):
            pass
        if self._tail:
            self._ask_writable()
            return False
        self._tail = memoryview(b"")
        return True

    def _after_write(self) -> None:
        if self._tail:
            return
        if self._close is not None and not self._shut and self._close_is_written():
            # Our last byte is out: say so, and read on until the peer's end. Closing now, with unread input,
            # would make TCP destroy what the peer has not read yet.
            self._shut = True
            self.sock.shutdown(socket.SHUT_WR)
        self._unchoke()

    def _unchoke(self) -> None:
        if self._choked:
            self._choked = False
            self.ask_interest()

    def _close_is_written(self) -> bool:
        sender = self.engine.sender
        return sender is None or sender.closed

    def _write_failed(self, error: Exception) -> None:
        """The peer takes nothing more. What it sent before may still be unread, so reading goes on."""
        if not isinstance(error, OSError):
            self.loop.call(
                lambda: log.error("cannot write to %s: %s; it is closed", self.address, error)
            )
        self._send_dead = True
        self._drop_unsendable()
        self._unchoke()
        self.loop.call(self._begin_closing)
        if self._fork != _forks[0] and self.channel is not None:
            self.channel._orphaned()  # should it have escaped orphaned()

    def break_off(self) -> None:
        """
        Ctrl-C came in the middle of sealing or opening: a counter may have moved without its bytes.

        What would follow looks like tampering to whoever opens it, so nothing follows: the connection ends here.
        """
        self._send_dead = True
        self._drop_unsendable()
        self.engine.abort()  # what still arrives is not looked at
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.loop.call(self._begin_closing)

    def _drop_unsendable(self) -> None:
        self._tail = memoryview(b"")
        self._raw.clear()
        self._controls.clear()

    def _ask_writable(self) -> None:
        if not self._want_write:
            self._want_write = True
            self.ask_interest()

    def ask_interest(self) -> None:
        """Let the leader recompute what the selector reports for this link."""
        self.loop.call(self.update_interest)

    def choke(self) -> None:
        """Stop reading until what waits to be sent is out."""
        if not self._choked:
            self._choked = True
            self.ask_interest()
            self.flush()  # the second look: the thread that wrote the rest meanwhile has seen no flag

    # --- the leader ---------------------------------------------------------------------------------------------

    def update_interest(self) -> None:
        """Register for what this link waits for."""
        if self._closed:
            return
        mask = self._write_mask()
        if self._listens():
            mask |= READ
            if self.engine.more:
                self._go_on_later()
        else:
            self._deaf = True
            if not self._hung_up:
                mask |= HANGUP
        self.loop.register(self.sock, mask, self)

    def _listens(self) -> bool:
        """Whether we read what the peer sends."""
        if not self._reading:
            return False
        if self._hung_up:
            return self._has_flood_room()
        return not self._choked and self._has_room()

    def _hears(self) -> bool:
        """Whether what the peer sends is also taken: while more of the last read waits here, nothing new is read."""
        return self._listens() and not self._unfinished

    def _write_mask(self) -> int:
        # The flag falls before the look at the tail: a thread that leaves a tail after the look finds it down, and asks
        # again.
        self._want_write = False
        if not self._tail:
            return 0
        self._want_write = True
        return WRITE

    def _has_room(self) -> bool:
        """Whether the inbox takes more; a session that we ended takes all, for the peer's CLOSE comes last."""
        channel = self.channel
        return channel is None or not (channel._full or channel._throttled) or channel._dropping

    def _has_flood_room(self) -> bool:
        channel = self.channel
        return channel is None or not channel._flooded() or channel._dropping

    def on_io(self, mask: int) -> None:
        """The selector reports this link."""
        if mask == READ:
            if not (self._closed or self._unfinished):
                self.read()
            return
        if mask & WRITE and not self._closed:
            self.flush()
            self.update_interest()
        if mask & HANGUP and not self._closed:
            # What it left is finite. It is read at once, so that its end is known though handlers lag behind.
            self._hung_up = True
            self.update_interest()
        if mask & READ and not (self._closed or self._unfinished):
            self.read()

    def _go_on_later(self) -> None:
        if not self._unfinished and self.loop.leading:
            self._unfinished = self._deaf = True
            self.loop.make_unfinished(self)

    def go_on(self) -> None:
        """The next part of what arrived; the others had their turn."""
        self._unfinished = False
        if not self._closed and self.engine.more and self._listens():
            self.read()

    def on_error(self) -> None:
        """An internal error: close, hurt nobody else."""
        self.lost()

    def read(self) -> None:
        """
        One read, or the next part of the last one: READ_FRAMES at most, whatever they hold, so that nobody can keep
        the leader. What it gave goes to the inbox or to `_event`.
        """
        if self._fork != _forks[0]:
            if self.channel is not None:
                self.channel._orphaned()
            return  # what arrives is the parent's
        engine = self.engine
        channel = self.channel
        # While a reply is waited for each record is decoded here, which may take milliseconds.
        engine.at_once = 1 if channel is not None and channel._expected else READ_FRAMES
        if engine.more:
            try:
                self._take_in(None)
            except BaseException:
                self.break_off()
                raise
            return
        try:
            data = self.sock.recv(READ_SIZE, self.recv_flags)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        except BaseException:
            # What it had read is lost. Sealed records tell, at the next one; plain ones would not.
            self._interrupted = True
            if not self.engine.encrypted:
                self.break_off()
            raise
        # Ctrl-C is noticed when a function begins: from here on it would lose what was read.
        try:
            self.reads += 1
            self._take_in(data)
        except BaseException:
            self.break_off()
            raise
        if not data:
            # An engine that had ended before reports nothing; the socket would stay readable for ever.
            self.lost()

    def _take_in(self, data: bytes | None) -> None:
        engine = self.engine
        self._take_items(engine.reconsider() if data is None else engine.receive_data(data))
        if engine.more:
            self._go_on_later()
        if engine.controls - self._controls_before > MAX_CONTROL_RATE:
            channel = self.channel
            if channel is not None and not channel._throttled:
                channel._throttle()

    def _take_items(self, items: list[Item]) -> None:
        channel = self.channel
        delivered = False
        for item in items:
            if isinstance(item, (bytes, memoryview)):
                channel._deliver(item)  # type: ignore[union-attr]  # data comes after WELCOME
                self._ack_bytes += len(item)
                delivered = True
            else:
                self._event(item)
        if self._controls:
            self.flush()  # one system call for all the answers of one read
        if channel is None:
            return
        if delivered:
            self._interrupted = False  # a record was opened after it: nothing was lost
            self._deliverable(channel)
            if channel._full:
                self.update_interest()
            incoming = channel._numbering.incoming
            if (
                self._ack_bytes >= ACK_BYTES
                or incoming.accepted - incoming.confirmed >= self._ack_records
            ):
                self._ack_bytes = 0
                self._ack_records = ACK_RECORDS
                self.control(Content.ACK)
            elif not self._ack_listed:
                self._ack_listed = True
                self.loop.call_later(ACK_SECONDS, self._ack_late)
        if channel._waiters:
            self.flush()  # an acknowledgement may have made room

    def _deliverable(self, channel: Channel) -> None:
        self.loop.make_ready(channel)

    def _ack_late(self) -> None:
        channel = self.channel
        if channel is not None and not self._closed:
            incoming = channel._numbering.incoming
            if 0 < incoming.accepted - incoming.confirmed < ACK_FEW_RECORDS:
                self._ack_records = ACK_FEW_RECORDS
                self.loop.call_later(ACK_FEW_SECONDS - ACK_SECONDS, self._ack_rest)
                return
        self._ack_rest()

    def _ack_rest(self) -> None:
        self._ack_listed = False
        self._ack_records = ACK_RECORDS
        channel = self.channel
        if self._closed or channel is None:
            return
        # Looked at only now: a thread that delivers after the mark has fallen sets a timer of its own.
        incoming = channel._numbering.incoming
        if incoming.accepted != incoming.confirmed:
            self._ack_bytes = 0
            self.control(Content.ACK)

    def _event(self, event: Event) -> None:
        match event:
            case Pinged(payload):
                if (
                    len(self._controls) < MAX_CONTROLS
                ):  # a peer that pings without reading gets few answers
                    self._controls.append((Content.PONG, payload))
            case Ponged(payload):
                self._ponged(payload)
            case Closed(code, text):
                self._peer_closed(code, text)
            case Ended():
                self.lost()
            case Failed():
                self._failed(event)
            case _:
                self._handshake_event(event)

    def _handshake_event(self, event: Event) -> None:
        raise NotImplementedError

    def _ponged(self, payload: bytes) -> None:
        if self.channel is not None:
            self.channel._ponged(int.from_bytes(payload))

    def _peer_closed(self, code: int, text: str) -> None:
        """The peer's CLOSE: answer with ours, then the session is over."""
        answered = self._close is not None and code == Code.NORMAL  # ours came first
        if self._close is None:
            self._close = (Code.NORMAL, "")
        self.flush()
        self._finish_channel(code, text, clean=True, ours=answered)
        self._begin_closing()

    def _failed(self, failed: Failed) -> None:
        """The peer broke the protocol, or somebody on the path did."""
        channel = self.channel
        if channel is None:
            self._handshake_failed(failed.error, failed.answer)
            return
        if self._interrupted:
            # Not the peer's fault, nor a stranger's: Ctrl-C took a piece of the stream with it.
            self._finish_channel(Code.BROKEN, "", clean=False)
            self.end(Code.NORMAL)
            return
        # It is kept with the session; the frames that it passed through, with what they hold, are not.
        failed.error.__traceback__ = failed.error.__context__ = failed.error.__cause__ = None
        log.warning("%s: %s; the connection is closed", channel._name(), failed.as_error())
        self._finish_channel(Code.PROTOCOL, "", clean=False, ours=True, failed=failed)
        self.end(Code.PROTOCOL)

    def _handshake_failed(self, error: SecureLinkError, answer: bytes) -> None:
        raise NotImplementedError

    def _finish_channel(
        self,
        code: int,
        text: str,
        *,
        clean: bool,
        ours: bool = False,
        failed: Failed | None = None,
    ) -> bool:
        """
        End the session; False when it had ended, or there is none.

        Args:
            clean: Whether a CLOSE announced the end.
            ours: Whether this side ends it, for this reason.
            failed: What broke the protocol.
        """
        closing = self._close
        if closing is not None and (closing[0] != Code.NORMAL or not clean):
            # We ended it, for a reason or before the stream ended: ours is the reason.
            code, text = closing
            clean = ours = True
        channel = self.channel
        return channel is not None and channel._finished(code, text, clean, ours, failed)

    def _begin_closing(self) -> None:
        """From now on a deadline runs; the end of stream usually comes first."""
        if not self._closed and self.deadline is None:
            self.deadline = self.loop.now + CLOSE_SECONDS

    def finish_raw(self, data: bytes) -> None:
        """Write last bytes of a failed handshake, shut our side, and let the peer read them."""
        self._raw.append(data)
        self._close = (Code.NORMAL, "")
        self._begin_closing()
        self.flush()
        self._reading = True
        self.update_interest()

    def lost(self) -> None:
        """End of stream, reset, or deadline: close the socket. The session ends if it has not."""
        if self._closed:
            return
        self._closed = True
        self.loop.register(self.sock, 0, self)
        # With the send right: a number freed while another thread is in send() could be reused under it.
        self.when_not_sending(self._close_socket)
        self._finish_channel(Code.BROKEN, "", clean=False)
        self._gone()

    def _close_socket(self, _held: bool) -> None:
        self._send_dead = True
        self._drop_unsendable()
        self.sock.close()

    def when_not_sending(self, act: Callable[[bool], Result]) -> Result:
        """
        Do something with the send right, see `Right.within`.

        Who has it gives it back after a write that does not block. It is not to be had when that very thread waits
        here: in the handler of a signal that came while it wrote.
        """
        return self._send_right.within(RIGHT_SECONDS, act)

    def orphaned(self) -> None:
        """In a child of fork(): the connection is the parent's. The peer must not wait for us to close it as well."""
        self._send_right = Right()  # the old one may be held by a thread that is not here
        self._send_dead = self._closed = True
        self._drop_unsendable()
        if self.channel is not None:
            self.channel._orphaned()
        self.sock.close()

    def _silence(self, now: float) -> float:
        """
        By a sweep: how long the peer has been silent while we listened, in seconds.

        Time in which we did not read is not its silence, nor is time in which this process stood still.
        """
        step = min(max(0.0, now - self._looked_at), MAX_SWEEP_STEP)
        self._looked_at = now
        hears = self._hears()
        if self.reads != self.reads_seen or self._deaf or not hears:
            self.reads_seen = self.reads
            self._deaf = not hears
            self._quiet = 0.0
        else:
            self._quiet += step
        if self._choked and self._tail is self._tail_seen and not self._hung_up:
            self._stalled += step
        else:
            self._stalled = 0.0
        self._tail_seen = self._tail
        return self._quiet

    def _is_stalled(self) -> bool:
        """By a sweep, after `_silence`: whether the peer is not read, and takes nothing that would change it."""
        return self._stalled > STALLED_SECONDS

    def _next_second(self) -> None:
        """By a sweep: rates are counted anew."""
        self._controls_before = self.engine.controls
        channel = self.channel
        if channel is not None and channel._next_second():
            self.update_interest()

    def _release(self) -> None:
        """
        By a sweep: what the peer has acknowledged goes, though nothing is sent that would take it along; and what a
        thread queued whose second look Ctrl-C has prevented.
        """
        channel = self.channel
        if channel is None:
            return
        if channel._numbering.outgoing.releasable or (channel._outbox and not self._tail):
            self.flush()

    def _watch_key(self, now: float) -> None:
        """By a sweep: a key is replaced before it is an hour old (RFC 9846 5.5)."""
        sender = self.engine.sender
        if sender is not None and now - self.key_since >= UPDATE_SECONDS / 2:
            self.key_since = now
            sender.want_update()

    def _gone(self) -> None:
        """The socket is closed. Subclasses take it out of their registries."""
