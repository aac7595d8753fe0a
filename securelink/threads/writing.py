"""
What a connection writes.

Append, try the send right; its holder seals and writes all that is queued, releases it, and looks once more. So records
are sealed in the order of the nonces and of the wire, and no thread waits for the write of another. Bytes that the
kernel does not take stay in the write buffer, and the leader is asked to report when the stream takes more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sized
from typing import Protocol, TypeVar

from ..errors import SecureLinkError
from ..limits import WRITE_BUDGET
from ..protocol import Connection, SessionCore
from ..streams.base import END_SENDING, WRITE, Address, Stream
from .carried import Sending
from .ends import CLOSED, CLOSING, DEAD, OPEN, SHUT, End, forks
from .loop import Loop
from .send_right import SendRight
from .write_buffer import WriteBuffer

log = logging.getLogger("securelink")

Result = TypeVar("Result")


class Owner(Protocol):
    """A link, as its writer needs it."""

    def ask_interest(self) -> None:
        """What the selector reports has to be computed anew. Any thread."""

    def on_error(self) -> None:
        """An internal error: close."""


class _Nobody:
    """Is asked when the link is closed: two that hold each other would stay until the collector comes."""

    def ask_interest(self) -> None:
        """Nothing is reported any more."""

    def on_error(self) -> None:
        """It is closed."""


_NOBODY = _Nobody()


class Writer:
    """
    Seals and writes. Any thread.

    Args:
        loop: Its leader is asked for writability.
        stream: To the peer.
        connection: Says what goes out.
        address: Of the peer, for the log.
        owner: The link that has it, until `close`.

    Attributes:
        end: How far it has come.
        listed: On the loop's flush list.
        buffer: Sealed, and not yet taken by the kernel.
        max_packets: Bytes of the largest encoded packet.
        waiters: Those that wait for room.
        choked: The peer is not read until what waits to be sent is out.
        held: Nothing goes out before a store has what is queued.
    """

    __slots__ = (
        "_address", "_again", "_fork", "_owner", "_packets", "_raw", "_send_right", "_session", "_want_write",
        "buffer", "choked", "connection", "core", "end", "held", "listed", "loop", "max_packets", "stream", "waiters",
    )  # fmt: skip

    def __init__(
        self,
        loop: Loop,
        stream: Stream,
        connection: Connection,
        address: Address,
        owner: Owner,
    ) -> None:
        self.loop = loop
        self.stream = stream
        self.buffer = WriteBuffer(stream)
        self.connection = connection
        self._address = address
        self._owner: Owner = owner
        self._session: Sending | None = None
        # Parts of it, bound once, for every packet looks at them.
        self.core: SessionCore | None = None
        self.waiters: Sized = ()
        self._packets: Sized = ()  # they wait to be sent
        self._again: Sized = ()  # records that are sent again, before those
        self.listed = False
        self.max_packets = 0
        self.end = OPEN
        self.choked = False
        self.held = False
        self._send_right = SendRight(stream)
        self._raw: list[bytes] = []
        self._want_write = False
        self._fork = forks[0]

    def carry(self, session: Sending) -> None:
        """From now on it writes what this session sends."""
        self._session = session
        core = self.core = session.core
        self.buffer.queue = core.sending
        self.waiters = session.waiters
        self._packets, self._again = core.sending.ready, core.numbering.outgoing.again
        self.welcomed()

    def welcomed(self) -> None:
        """The connection may send packets: how large they may be."""
        sender = self.connection.sender
        if sender is not None:
            self.max_packets = sender.max_packets

    def queue_raw(self, data: bytes) -> None:
        """Queue bytes of the handshake, which are sealed already."""
        self._raw.append(data)

    def write_packet(self, encoded: bytes) -> bool:
        """
        Seal and write one packet at once, if nothing waits and no other thread writes. Not for handlers.

        Returns:
            False when it has to be queued.
        """
        right = self._send_right
        try:
            del right.free
        except AttributeError:
            return False
        try:
            connection = self.connection
            sender = connection.sender
            core = self.core
            busy = self.buffer.tail or self._raw or self._packets or self._again
            over = self.end is not OPEN or connection.closing or self._fork != forks[0]
            if busy or over or core is None or sender is None:
                return False
            if not self.buffer.write(sender.packet(encoded)):
                self._ask_writable()
        except (OSError, SecureLinkError) as error:
            self._write_failed(error)
        except BaseException:
            self.break_off()
            raise
        finally:
            right.free = True
            if right.left_open:
                right.close_late()
        if core is None:
            return True
        if (self._packets or connection.wants_write or self.choked) and not (
            self.buffer.tail or self.end >= DEAD
        ):
            self.flush()  # a thread that came meanwhile found the right taken, and went away
        return True

    def flush(self) -> None:
        """Seal and write what is queued, without waiting."""
        right, connection = self._send_right, self.connection
        while True:
            if self.held:
                return
            try:
                del right.free
            except AttributeError:
                return  # its holder looks once more
            try:
                sender, buffer = connection.sender, self.buffer
                queue = buffer.queue
                others = self._raw or self._again or self.waiters or connection.wants_write
                ends = self.end or self.choked or self._fork != forks[0]
                lone = self._packets and not (others or ends or buffer.tail)
                if not lone or queue is None or sender is None:
                    self._write()
                else:  # as usual
                    data = sender.queued(queue)
                    if data and not buffer.write(data):
                        self._ask_writable()
            except (OSError, SecureLinkError) as error:
                self._write_failed(error)
            except BaseException:
                self.break_off()
                raise
            finally:
                right.free = True
                if right.left_open:
                    right.close_late()
            some = self._packets or connection.wants_write or self._raw or self._again
            if not (some or connection.closing or self.choked):  # as usual: quicker than a call
                return
            if self.buffer.tail or self.end >= DEAD or not self._has_more():
                return

    def _has_more(self) -> bool:
        if self._raw or self.choked:
            return True
        connection = self.connection
        sender = connection.sender
        sealing = sender is not None and not sender.closed
        if sealing and (connection.wants_write or self._packets or self._again):
            return True
        return connection.closing is not None and self.end < SHUT

    def _write(self) -> None:
        if self.end >= DEAD:
            self._drop_unsendable()
            return
        if self._fork != forks[0]:
            raise SecureLinkError("this connection belongs to the parent process")
        core = self.core
        buffer = self.buffer
        if buffer.tail:
            if core is not None:
                core.numbering.outgoing.release()
            if not buffer.write_tail():
                self._ask_writable()
                return
        data = self._data_of_all_kinds(self.connection)
        if data and not buffer.write(data):
            self._ask_writable()
        if self.connection.closing is not None or self.choked:
            self._after_write()

    def _data_of_all_kinds(self, connection: Connection) -> bytes:
        parts: list[bytes] = []
        while self._raw:
            parts.append(self._raw.pop(0))
        core, sender = self.core, connection.sender
        if sender is not None and core is not None and not sender.closed:
            if self._again:
                parts.append(sender.again(WRITE_BUDGET))
            elif self._packets:
                parts.append(sender.queued(core.sending))
            elif core.numbering.outgoing.unacked:
                core.numbering.outgoing.release()
            if self.waiters and self._session is not None:
                self._session.wake_waiters()
        if connection.wants_write:
            parts.append(connection.data_to_send(more=bool(self._packets or self._again)))
        return b"".join(parts)

    def _after_write(self) -> None:
        if self.connection.closing is not None:
            self.advance(CLOSING)
        if self.buffer.tail:
            return
        sender = self.connection.sender
        if self.end is CLOSING and (sender is None or sender.closed):
            # Our last byte is out: say so, and read on until the peer's end. Closing now, with unread input,
            # would make TCP destroy what the peer has not read yet.
            self.advance(SHUT)
            self.stream.shutdown(END_SENDING)
        self._unchoke()

    # --- what the selector has to report, and peers that are not read ----------------------------------------------

    def mask(self) -> int:
        """By the leader: WRITE when something waits for it."""
        # The flag falls before the look at the tail: a thread that leaves a tail after the look finds it down, and asks
        # again.
        self._want_write = False
        if not self.buffer.tail:
            return 0
        self._want_write = True
        return WRITE

    def _ask_writable(self) -> None:
        if not self._want_write:
            self._want_write = True
            self._owner.ask_interest()

    def choke(self) -> None:
        """Stop reading until what waits to be sent is out."""
        if not self.choked:
            self.choked = True
            self._owner.ask_interest()
            self.flush()  # the second look: the thread that wrote the rest meanwhile has seen no flag

    def _unchoke(self) -> None:
        if self.choked:
            self.choked = False
            self._owner.ask_interest()

    # --- once a second, by the leader ------------------------------------------------------------------------

    def look_again(self) -> None:
        """
        What the peer has acknowledged goes, though nothing is sent that would take it along; and what a thread queued
        whose second look Ctrl-C has prevented.
        """
        core = self.core
        if core is None:
            return
        if core.numbering.outgoing.releasable or (self._packets and not self.buffer.tail):
            self.flush()

    def on_error(self) -> None:
        """Called after `flush` raised: a bug of ours."""
        self._owner.on_error()

    def advance(self, end: End) -> None:
        """Come nearer to the end."""
        if end > self.end:
            self.end = end

    def _write_failed(self, error: Exception) -> None:
        """The peer takes nothing more. What it sent before may still be unread, so reading goes on."""
        if not isinstance(error, OSError):
            self.loop.call(
                lambda: log.error("cannot write to %s: %s; it is closed", self._address, error)
            )
        self.advance(DEAD)
        self._drop_unsendable()
        self._unchoke()
        self.connection.leave(self.loop.now)
        if self._fork != forks[0] and self._session is not None:
            self._session.orphaned()  # should it have escaped orphaned()

    def break_off(self) -> None:
        """
        Ctrl-C came in the middle of sealing or opening: a counter may have moved without its bytes.

        The peer would take what follows for tampering, so nothing follows: the connection ends here.
        """
        self.advance(DEAD)
        self._drop_unsendable()
        self.connection.abort()  # what still arrives is not looked at
        self._send_right.shut()
        self.connection.leave(self.loop.now)

    def _drop_unsendable(self) -> None:
        self.buffer.clear()
        self._raw.clear()

    def close(self, leave: Callable[[bool], Result]) -> Result:
        """
        By the leader: close the socket, with the send right, or leave it to the thread that does not release that.

        Args:
            leave: Called in that moment, as by `when_not_sending`.

        Returns:
            What that returned.
        """
        self.advance(CLOSED)

        def close(held: bool) -> Result:
            self._drop_unsendable()
            left = leave(held)
            if held:
                self.stream.close()
            else:
                self._send_right.leave_open()
            return left

        left = self.when_not_sending(close)
        self._owner = _NOBODY
        return left

    def let_go(self) -> None:
        """Called with the send right, after the session was detached: nothing here touches it any more."""
        self._drop_unsendable()
        self.core = self._session = self.buffer.queue = None
        self.waiters = self._packets = self._again = ()

    def when_not_sending(self, act: Callable[[bool], Result]) -> Result:
        """
        Do something with the send right, see `Right.within`.

        Its holder gives it back after a write that does not block. It is not to be had when that very thread waits
        here: in the handler of a signal that came while it wrote.
        """
        return self._send_right.wait(act)

    def orphaned(self) -> None:
        """In a child of fork(): the connection is the parent's. The peer must not wait for us to close it as well."""
        # The old one may be held by a thread that is not here.
        self._send_right = SendRight(self.stream)
        self.advance(CLOSED)
        self._drop_unsendable()
        if self._session is not None:
            self._session.orphaned()
        self.stream.close()
