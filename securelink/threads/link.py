"""
One connection that carries a channel.

Writing: append, try the send right; its holder seals and writes all that is queued, releases it, and looks once more.
So the order of sealing is the order of the nonces is the order on the wire, and nobody waits for it. What the
kernel does not take stays as a tail, and the leader is asked for writability.

Reading, closing the socket and everything else with the selector is the leader's alone.

What is said to the peer and when is the connection's business (`protocol/connection.py`): a link moves bytes, waits,
and calls it.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Sized
from enum import IntEnum
from math import inf
from typing import Any, Protocol, TypeVar

from .._mypyc import mypyc_attr
from ..codes import Code
from ..errors import SecureLinkError
from ..interrupts import Right
from ..limits import MAX_CONTROL_RATE, READ_FRAMES, STALLED_SECONDS, WRITE_BUDGET
from ..protocol import (
    Closed,
    Connection,
    Ended,
    Event,
    Expired,
    Failed,
    Item,
    Pinged,
    Ponged,
    SessionCore,
    Silent,
)
from ..streams.base import BREAK, END_SENDING, HANGUP, READ, WRITE, Stream
from ..wire.fields import Content
from .inbox import Inbox
from .loop import Loop

log = logging.getLogger("securelink")

Result = TypeVar("Result")

READ_SIZE = 64 * 1024  # below malloc's mmap threshold: larger buffers cost a page fault each
RIGHT_SECONDS = 1.0  # the longest wait for the send right; a write that does not block takes less
_forks = [0]


def _count_fork() -> None:
    _forks[0] += 1


# After fork() both processes would use the same keys and nonces: every link of the child is dead.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


class End(IntEnum):
    """
    How far a link has come to its end. Later is higher: a link never goes back.

    Written with the send right, or by the leader that closes the socket.
    """

    OPEN = 0
    CLOSING = 1  # CLOSE is to be said, after what is queued
    SHUT = 2  # our last byte is out and our side is shut; the peer is read until its end
    DEAD = 3  # the peer takes nothing more; what it sent before is read until its end
    CLOSED = 4  # the socket is closed


# Looking up a member costs more than comparing it.
_OPEN, _CLOSING, _SHUT, _DEAD, _CLOSED = End.OPEN, End.CLOSING, End.SHUT, End.DEAD, End.CLOSED


class Carried(Protocol):
    """A session, as the link that carries it needs it."""

    @property
    def core(self) -> SessionCore:
        """What waits to be sent, and where what arrives goes."""

    @property
    def inbox(self) -> Inbox:
        """What runs that."""

    @property
    def waiters(self) -> Sized:
        """Those that wait for room to send; always the same object."""

    @property
    def name(self) -> str:
        """Who the peer is, for the log."""

    def wake_waiters(self) -> None:
        """There may be room to send."""

    def end(self, code: int, text: str = "") -> None:
        """End it from our side."""

    def finished(
        self, code: int, text: str, clean: bool, ours: bool = False, failed: Failed | None = None
    ) -> bool:
        """It is over; False when it was before."""

    def may_suspend(self, link: Any) -> bool:
        """Whether it goes on when this link, which carries it, is lost."""

    def suspend(self, link: Any) -> bool:
        """This link is over: go on without it. False: it is not to be, or another one carries the session."""

    def suspended(self) -> None:
        """After that, when nothing is held any more."""

    parting: bool  # it is over, and answers are waited for that will not come

    def part(self) -> bool:
        """Tell some of those that wait for them; True when more wait."""

    def orphaned(self) -> None:
        """This process is a fork of the one that opened it."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Link:
    """
    Stream, engine, and what waits to be written.

    Args:
        loop: Its leader reads this link.
        stream: To the peer. The link closes it.
        engine: In either role.

    Attributes:
        channel: The session, once there is one.
        listed: On the loop's flush list.
        address: Of the peer.
        max_packets: Bytes of the largest encoded packet.
    """

    __slots__ = (
        "_ack_timed", "_choked", "_controls_before", "_core", "_end", "_fork", "_given_up", "_hung_up", "_raw",
        "_reading", "_send_right", "_stalled", "_tail", "_tail_seen", "_unfinished", "_waiters", "_want_write",
        "address", "channel", "engine", "listed", "loop", "max_packets", "recv_flags", "send_flags", "stream",
    )  # fmt: skip

    def __init__(self, loop: Loop, stream: Stream, engine: Connection) -> None:
        self.loop = loop
        self.stream = stream
        self.send_flags = self.recv_flags = stream.at_once
        self.engine = engine
        engine.at_once = READ_FRAMES
        self.address = stream.peer
        self.channel: Carried | None = None
        # Parts of it, bound once, for every packet looks at them.
        self._core: SessionCore | None = None
        self._waiters: Sized = ()
        self.listed = False
        self.max_packets = 0
        self._end = _OPEN
        self._send_right = Right()
        self._raw: deque[bytes] = deque()
        self._tail = memoryview(b"")
        self._reading = True
        self._choked = False
        self._want_write = False
        self._ack_timed = False  # a timer runs for the acknowledgement that waits
        self._fork = _forks[0]
        self._hung_up = False
        self._given_up = False  # it is worth nothing any more, but a session may go on without it
        self._unfinished = False  # the loop will call go_on()
        self._controls_before = 0  # this second
        # For the sweep: how long the peer took nothing while it was not read for that.
        self._stalled = 0.0
        self._tail_seen = self._tail

    def carry(self, channel: Carried) -> None:
        """From now on this link carries that session."""
        self._core = channel.core
        sender = self.engine.sender
        if sender is not None:
            self.max_packets = sender.max_packets
        self._waiters = channel.waiters
        self.channel = channel  # last: whoever finds it finds the others

    # --- writing: any thread --------------------------------------------------------------------------------

    @property
    def closing(self) -> tuple[int, str] | None:
        """Code and text of the CLOSE that was or will be sent, if any."""
        return self.engine.closing

    @property
    def said_all(self) -> bool:
        """Whether nothing more goes out: our CLOSE is out and our side is shut, or the peer takes nothing."""
        return self._end >= _SHUT

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
        self.engine.control(content, payload)
        self.flush()

    def end(self, code: int, text: str = "") -> None:
        """Send what is queued, then CLOSE; the leader sees to the rest."""
        if self.engine.closing is None:
            self.engine.close(code, text, now=self.loop.now)
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
            engine = self.engine
            sender = engine.sender
            core = self._core
            if (
                self._tail
                or self._end is not _OPEN
                or self._raw
                or core is None
                or core.sending.packets
                or core.numbering.outgoing.again
                or engine.closing is not None
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
        if core is None:
            return True
        if (core.sending.packets or engine.wants_write or self._choked) and not (
            self._tail or self._end >= _DEAD
        ):
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
            if self._tail or self._end >= _DEAD or not self._has_more():
                return

    def _has_more(self) -> bool:
        if self._raw or self._choked:
            return True
        engine = self.engine
        sender = engine.sender
        sealing = sender is not None and not sender.closed
        if sealing and (engine.wants_write or self._has_packets()):
            return True
        return engine.closing is not None and self._end < _SHUT

    def _has_packets(self) -> bool:
        """Whether packets wait to be sent, or records to be sent again."""
        core = self._core
        return core is not None and bool(core.sending.packets or core.numbering.outgoing.again)

    def _write(self) -> None:
        if self._end >= _DEAD:
            self._drop_unsendable()
            return
        if self._fork != _forks[0]:
            raise SecureLinkError("this connection belongs to the parent process")
        core = self._core
        if self._tail:
            if core is not None:
                core.numbering.outgoing.release()
            if not self._write_tail():
                return
        parts: list[bytes] = []
        while self._raw:
            parts.append(self._raw.popleft())
        engine = self.engine
        sender = engine.sender
        if sender is not None and core is not None and not sender.closed:
            if core.numbering.outgoing.again:
                parts.append(sender.again(WRITE_BUDGET))
            elif core.sending.packets:
                parts.append(sender.packets(core.sending.take()))
            elif core.numbering.outgoing.unacked:
                core.numbering.outgoing.release()
            if self._waiters and self.channel is not None:
                self.channel.wake_waiters()
        if engine.wants_write:
            parts.append(engine.data_to_send(more=self._has_packets()))
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        if data:
            self._write_bytes(data)
        if engine.closing is not None or self._choked:
            self._after_write()

    def _write_bytes(self, data: bytes) -> None:
        try:
            taken = self.stream.send(data, self.send_flags)
        except (BlockingIOError, InterruptedError):
            taken = 0
        if taken < len(data):
            self._set_tail(memoryview(data)[taken:])
            self._ask_writable()

    def _write_tail(self) -> bool:
        try:
            taken = self.stream.send(self._tail, self.send_flags)
            self._set_tail(self._tail[taken:])
        except (BlockingIOError, InterruptedError):
            pass
        if self._tail:
            self._ask_writable()
            return False
        return True

    def _set_tail(self, tail: memoryview) -> None:
        self._tail = tail
        if self._core is not None:
            self._core.sending.tail = len(tail)

    def _after_write(self) -> None:
        if self.engine.closing is not None:
            self._advance(_CLOSING)
        if self._tail:
            return
        sender = self.engine.sender
        if self._end is _CLOSING and (sender is None or sender.closed):
            # Our last byte is out: say so, and read on until the peer's end. Closing now, with unread input,
            # would make TCP destroy what the peer has not read yet.
            self._advance(_SHUT)
            self.stream.shutdown(END_SENDING)
        self._unchoke()

    def _advance(self, end: End) -> None:
        """Come nearer to the end."""
        if end > self._end:
            self._end = end

    def _unchoke(self) -> None:
        if self._choked:
            self._choked = False
            self.ask_interest()

    def _write_failed(self, error: Exception) -> None:
        """The peer takes nothing more. What it sent before may still be unread, so reading goes on."""
        if not isinstance(error, OSError):
            self.loop.call(
                lambda: log.error("cannot write to %s: %s; it is closed", self.address, error)
            )
        self._advance(_DEAD)
        self._drop_unsendable()
        self._unchoke()
        self.engine.leave(self.loop.now)
        if self._fork != _forks[0] and self.channel is not None:
            self.channel.orphaned()  # should it have escaped orphaned()

    def break_off(self) -> None:
        """
        Ctrl-C came in the middle of sealing or opening: a counter may have moved without its bytes.

        What would follow looks like tampering to whoever opens it, so nothing follows: the connection ends here.
        """
        self._advance(_DEAD)
        self._drop_unsendable()
        self.engine.abort()  # what still arrives is not looked at
        try:
            self.stream.shutdown(BREAK)
        except OSError:
            pass
        self.engine.leave(self.loop.now)

    def _drop_unsendable(self) -> None:
        self._set_tail(memoryview(b""))
        self._raw.clear()

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
        if self._end is _CLOSED:
            return
        mask = self._write_mask()
        listens = self._listens()
        self.engine.reading(listens)
        if listens:
            mask |= READ
            if self.engine.more:
                self._go_on_later()
        elif not self._hung_up:
            mask |= HANGUP
        self.loop.register(self.stream, mask, self)

    def _listens(self) -> bool:
        """Whether we read what the peer sends."""
        if not self._reading:
            return False
        if self._hung_up:
            return self._has_flood_room()
        return not self._choked and self._has_room()

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
        if channel is None:
            return True
        queue = channel.core.receiving
        return not (queue.full or channel.inbox.throttled) or queue.dropping

    def _has_flood_room(self) -> bool:
        core = self._core
        return core is None or not core.receiving.is_flooded or core.receiving.dropping

    def on_io(self, mask: int) -> None:
        """The selector reports this link."""
        if mask == READ:
            if not (self._end is _CLOSED or self._unfinished):
                self.read()
            return
        if mask & WRITE and self._end is not _CLOSED:
            self.flush()
            self.update_interest()
        if mask & HANGUP and self._end is not _CLOSED:
            # What it left is finite. It is read at once, so that its end is known though handlers lag behind.
            self._peer_hung_up()
        if mask & READ and not (self._end is _CLOSED or self._unfinished):
            self.read()

    def _peer_hung_up(self) -> None:
        self._hung_up = True
        self.engine.hung_up()
        self.update_interest()

    def _go_on_later(self) -> None:
        if not self._unfinished and self.loop.leading:
            self._unfinished = True
            self.loop.make_unfinished(self)

    def go_on(self) -> None:
        """The next part of what arrived; the others had their turn."""
        self._unfinished = False
        if self._end is not _CLOSED and self.engine.more and self._listens():
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
                self.channel.orphaned()
            return  # what arrives is the parent's
        engine = self.engine
        core = self._core
        # While a reply is waited for each record is decoded here, which may take milliseconds.
        engine.at_once = 1 if core is not None and core.requests.expected else READ_FRAMES
        now = self.loop.now
        if engine.more:
            try:
                self.take_items(engine.reconsider(now))
            except BaseException:
                self.break_off()
                raise
            return
        try:
            data = self.stream.recv(READ_SIZE, self.recv_flags)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        except BaseException:
            # What it had read is lost. Sealed records tell, at the next one; plain ones would not.
            engine.interrupted()
            if not engine.encrypted:
                self.break_off()
            raise
        # Ctrl-C is noticed when a function begins: from here on it would lose what was read.
        try:
            loop = self.loop
            loop.grown += len(data)
            if loop.grown > loop.look_after:
                loop.grew()
            self.take_items(engine.receive_data(data, now))
        except BaseException:
            self.break_off()
            raise
        if not data:
            # A connection that had ended before reports nothing; the socket would stay readable forever.
            self.lost()

    def take_items(self, items: list[Item]) -> None:
        """What the connection gave for what was read: records go to the inbox, events to `_event`."""
        engine = self.engine
        core = self._core
        delivered = False
        for item in items:
            if isinstance(item, (bytes, memoryview)):
                core.receiving.deliver(item)  # type: ignore[union-attr]  # data comes after WELCOME
                delivered = True
            else:
                self._event(item)
        if engine.wants_write:
            self.flush()  # one system call for all the answers of one read
        if engine.more:
            self._go_on_later()
        channel = self.channel
        if core is None or channel is None:
            return
        if delivered:
            self._deliverable(channel)
            if core.receiving.full:
                self.update_interest()
            if not self._ack_timed:
                self._time_ack()
        if self._waiters:
            self.flush()  # an acknowledgement may have made room
        if (
            engine.controls - self._controls_before > MAX_CONTROL_RATE
            and not channel.inbox.throttled
        ):
            channel.inbox.throttle()

    def _deliverable(self, channel: Carried) -> None:
        self.loop.ready.add(channel.inbox)

    def _time_ack(self) -> None:
        """Start a timer for the acknowledgement that waits, if one does."""
        acks = self.engine.acks
        if acks.due_at < inf:
            self._ack_timed = True
            self.loop.call_later(acks.due_at - self.loop.now, self._ack_time)

    def _ack_time(self) -> None:
        self._ack_timed = (
            False  # first: who accepts a record from here on starts a timer of its own
        )
        if self._end is not _CLOSED:
            self._pass_time(self.loop.now)
            self._time_ack()

    def _pass_time(self, now: float) -> None:
        """Let the connection do what is due."""
        for event in self.engine.on_deadline(now):
            self._event(event)
        if self.engine.wants_write:
            self.flush()

    def _event(self, event: Event) -> None:
        match event:
            case Pinged():
                pass  # it is answered
            case Ponged(payload):
                self._ponged(payload)
            case Closed():
                self._peer_closed(event)
            case Ended():
                self.lost()
            case Failed():
                self._failed(event)
            case Silent(seconds):
                self._silent(seconds)
            case Expired():
                self._expired()
            case _:
                self._handshake_event(event)

    def _handshake_event(self, event: Event) -> None:
        raise NotImplementedError

    def _ponged(self, payload: bytes) -> None:
        if self._core is not None:
            self._core.requests.ponged(int.from_bytes(payload))

    def _peer_closed(self, closed: Closed) -> None:
        """The peer's CLOSE, which is answered: then the session is over, unless it has only given the connection up."""
        channel = self.channel
        if closed.code == Code.SILENT and channel is not None and channel.may_suspend(self):
            self.give_way()
            return
        self.flush()
        self.finish_channel(closed.code, closed.text, clean=True, ours=closed.answers)

    def _failed(self, failed: Failed) -> None:
        """The peer broke the protocol, or somebody on the path did."""
        channel = self.channel
        if channel is None:
            self._handshake_failed(failed.error, failed.answer)
            return
        if failed.ours:
            # Not the peer's fault, nor a stranger's: Ctrl-C took a piece of the stream with it.
            self.give_way()
            return
        else:
            # It is kept with the session; the frames that it passed through, with what they hold, are not.
            failed.error.__traceback__ = failed.error.__context__ = failed.error.__cause__ = None
            log.warning("%s: %s; the connection is closed", channel.name, failed.as_error())
            self.finish_channel(Code.PROTOCOL, "", clean=False, ours=True, failed=failed)
        self.ask_interest()
        self.flush()

    def _silent(self, seconds: float) -> None:
        """The peer was read, and said nothing for too long."""
        channel = self.channel
        if channel is not None and channel.may_suspend(self):
            self.give_way()
            return
        self.finish_channel(Code.SILENT, "", clean=False, ours=True)
        self.ask_interest()
        self.flush()

    def _expired(self) -> None:
        """The peer did not come to the end in time."""
        self.lost()

    def _handshake_failed(self, error: SecureLinkError, answer: bytes) -> None:
        raise NotImplementedError

    def finish_channel(
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
        asked = self.engine.asked
        if asked is not None and (asked[0] != Code.NORMAL or not clean):
            # We ended it, for a reason or before the stream ended: ours is the reason.
            code, text = asked
            clean = ours = True
        channel = self.channel
        if channel is None or not channel.finished(code, text, clean, ours, failed):
            return False
        if channel.parting:
            self._part(channel)
        return True

    def _part(self, channel: Carried) -> None:
        """Tell those that still wait for answers."""
        while channel.part():
            pass

    def finish_raw(self, data: bytes) -> None:
        """Write last bytes of a failed handshake, shut our side, and let the peer read them."""
        self._raw.append(data)
        self.engine.close(Code.NORMAL, now=self.loop.now)
        self.flush()
        self._reading = True
        self.update_interest()

    def lost(self) -> None:
        """End of stream, reset, or deadline: close the socket. The session ends if it has not."""
        if self._end is _CLOSED:
            return
        self._advance(_CLOSED)
        self.loop.register(self.stream, 0, self)
        # With the send right: a number freed while another thread is in send() could be reused under it.
        left = self.when_not_sending(self._close_socket)
        self._left_by(left)
        self._gone()

    def _close_socket(self, held: bool) -> Carried | None:
        self._advance(_CLOSED)
        self._drop_unsendable()
        left = self.leave_session(held)
        self.stream.close()
        return left

    def leave_session(self, held: bool) -> Carried | None:
        """
        By who reads this link, which is over: its session goes on without it, if it may.

        Args:
            held: Whether the caller has the send right.

        Returns:
            The session that goes on.
        """
        channel, engine = self.channel, self.engine
        if not held or channel is None or engine.asked is not None:
            return None
        if engine.closing is not None and not self._given_up:
            return None  # one side has said that the session is over
        if not channel.suspend(self):
            return None
        self.let_go()
        return channel

    def let_go(self) -> None:
        """By who has the send right, and has detached the session: nothing of this link touches it any more."""
        self._drop_unsendable()
        self._core = self.channel = None
        self._waiters = ()

    def _left_by(self, session: Carried | None) -> None:
        """The connection broke: its session goes on without it, or is over."""
        if session is None:
            self.finish_channel(Code.BROKEN, "", clean=False)
        else:
            session.suspended()

    def give_way(self) -> None:
        """The peer is not to be heard over this link any more; its session may go on over another one."""
        self._given_up = True
        self.flush()  # the last word
        self.lost()

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
        self._advance(_CLOSED)
        self._drop_unsendable()
        if self.channel is not None:
            self.channel.orphaned()
        self.stream.close()

    # --- once a second, by the leader ---------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """What is due, overdue or silent, and rates that are counted anew."""
        if self._end is _CLOSED:
            return
        self._release()
        self.engine.reading(self._listens())
        self._pass_time(now)
        if self._end is _CLOSED:
            return
        self._next_second()
        self._watch_tail()
        if self._is_stalled():
            self._too_slow()

    def _watch_tail(self) -> None:
        """Add up the time in which the peer was not read because it took nothing, and took nothing."""
        liveness = self.engine.liveness
        if liveness is not None:
            still = self._choked and self._tail is self._tail_seen and not self._hung_up
            self._stalled = self._stalled + liveness.step if still else 0.0
            self._tail_seen = self._tail

    def _too_slow(self) -> None:
        if self.channel is not None:
            self.channel.end(Code.TOO_SLOW)

    def _is_stalled(self) -> bool:
        return self._stalled > STALLED_SECONDS

    def _next_second(self) -> None:
        self._controls_before = self.engine.controls
        channel = self.channel
        if channel is not None and channel.inbox.next_second():
            self.update_interest()

    def _release(self) -> None:
        """
        By a sweep: what the peer has acknowledged goes, though nothing is sent that would take it along; and what a
        thread queued whose second look Ctrl-C has prevented.
        """
        core = self._core
        if core is None:
            return
        if core.numbering.outgoing.releasable or (core.sending.packets and not self._tail):
            self.flush()

    def _gone(self) -> None:
        """The socket is closed. Subclasses take it out of their registries."""
