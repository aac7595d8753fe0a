"""
The connection of a client.

Its channel's driver reads it. When it is left alone for a tick the caretaker registers it with its loop and reads it
there, until it meets a driver.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sized
from typing import Protocol, cast

from ..codes import Code
from ..interrupts import Right, Sign
from ..protocol import ClientConnection, Event
from ..state import SessionFile
from ..streams.base import BREAK, HANGUP, READ, WRITE, Stream
from .caretaker import TICK_SECONDS, Caretaker
from .carried import Carried
from .ends import CLOSED, DEAD, OPEN
from .link import Link
from .loop import Loop
from .outcome import Outcome
from .writing import Writer

log = logging.getLogger("securelink.client")

LONG_QUIET_TICKS = 20


PATIENCE_SECONDS = 1  # a driver's recv() waits this long by itself: one system call where poll() and recv() are two


class Driven(Carried, Protocol):
    """A client's session, as its link needs it."""

    drive_right: Right
    drivers: dict[Sign, None]
    drives: int
    ended: bool
    file: SessionFile | None  # where another process finds it

    def is_wanted(self) -> bool:
        """Whether what comes must not wait until a thread drives."""

    def has_handlers(self) -> bool:
        """Whether packets go to handlers by themselves."""

    def ended_event(self) -> object:
        """The session is over, and what came in it is handled."""

    def released(self) -> None:
        """The stream is closed."""

    def wake_drivers(self) -> None:
        """Let threads that wait look again."""


class ClientLink(Link):
    """
    The connection of a client.

    Args:
        loop: See `Link`.
        stream: Likewise.
        connection: Likewise.
        home: Cares for it.
    """

    __slots__ = (
        "_drivers", "_left_at", "_patient", "_quiet_ticks", "_sat_since", "_sits", "_ticks", "_woken", "background",
        "drives_seen", "home",
    )  # fmt: skip

    def __init__(
        self, loop: Loop, stream: Stream, connection: ClientConnection, home: Caretaker
    ) -> None:
        super().__init__(loop, stream, connection)
        self.home = home
        self.background = False
        self._ticks = 0  # since a thread drove it
        self._quiet_ticks = 1  # after so many the loop takes it over
        self._left_at = 0.0
        self.drives_seen = -1
        self._sits = -1  # the drive in which a thread sat in recv() at the last tick, since
        self._sat_since = 0.0
        self._woken = False
        self._patient: bool | None = (
            None  # whether recv() may wait; not asked before a thread drives
        )
        self._drivers: Sized = ()

    def carry(self, channel: Carried) -> None:
        """As `Link.carry`."""
        self._drivers = cast(Driven, channel).drivers
        super().carry(channel)

    # By the driver, which has the drive right.

    def drive(self, timeout: float | None, *, greedy: bool = False) -> bool:
        """
        Wait for the stream once, then read and write what is there.

        Args:
            greedy: Read although the inbox is full (a blocked send must not stop reading).

        Returns:
            False when nothing happened in `timeout` seconds.
        """
        writer, reader = self.writer, self.reader
        if writer.end is not OPEN and self._is_over(writer):
            return True
        if self.background:
            # In this order: Ctrl-C between the two must not leave a driven link that no thread knows of.
            self.loop.call(self._leave_to_driver)
            self.background = False
        writing = bool(writer.buffer.tail)
        reading = reader.has_room() or ((greedy or reader.hung_up) and reader.has_flood_room())
        if reading and self.connection.more:
            reader.read(self)
            return True
        if not reading and not writing:
            time.sleep(min(timeout or 0.01, 0.01))
            return False
        if not writing and timeout is not None and timeout >= PATIENCE_SECONDS and self._may_sit():
            reader.recv_flags = 0
            try:
                reader.read(self)
            finally:
                reader.recv_flags = self.stream.at_once
            return True
        if not self.stream.wait(read=reading, write=writing, timeout=timeout):
            return False
        if writing:
            writer.flush()
        if reading:
            reader.read(self)
        return True

    def _may_sit(self) -> bool:
        # Ctrl-C may take what a recv() that sat waiting has just read. A lost piece of an encrypted stream is
        # noticed at the next record; plaintext waits with poll().
        if self._patient is None:
            self._patient = self.stream.patience(PATIENCE_SECONDS)
        return self._patient and self.connection.encrypted and not self._woken

    def _is_over(self, writer: Writer) -> bool:
        """Whether nothing more is to be read, or nobody wants it."""
        channel = cast(Driven | None, self.channel)
        left = channel is None or channel.ended
        return writer.end is CLOSED or (writer.end is DEAD and left)

    def delivered(self) -> None:
        """As `Link.delivered`: the driving thread runs the inbox. Behind what the loop reads it wakes others itself."""
        if self._drivers and self.channel is not None and not self.background:
            cast(Driven, self.channel).wake_drivers()

    def lost(self) -> None:
        """End of the connection. The driver only says so; the leader closes the socket."""
        if self.loop.leading:
            super().lost()
        else:
            self.writer.advance(DEAD)
            self._left_by(self.writer.when_not_sending(self.leave_session))
            self.loop.call(super().lost)

    def give_way(self) -> None:
        """As `Link.give_way`, but not under a thread that reads."""
        self._given_up = True
        self.writer.flush()
        self.give_up()

    def finish_channel(self, outcome: Outcome) -> bool:
        channel = cast(Driven | None, self.channel)
        if channel is None or channel.ended:
            return False
        if not super().finish_channel(outcome):
            return False
        channel.inbox.note(channel.ended_event)
        channel.wake_drivers()
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
        elif self.writer.end is not CLOSED:
            mask = self.writer.mask()
            listens = self.reader.listens()
            self.connection.reading(listens)
            if not (listens or self.reader.hung_up):
                mask |= HANGUP
            self.loop.register(self.stream, mask, self)

    def go_on(self) -> None:
        """As `Link.go_on`; a driver goes on by itself."""
        self.reader.unfinished = False
        if (
            self.background
            and self.writer.end is not CLOSED
            and self.connection.more
            and self.reader.listens()
        ):
            self.on_io(READ)

    def on_io(self, mask: int) -> None:
        """The selector reports this link: read it, unless a thread drives."""
        if mask != READ:
            if mask & WRITE:
                self.writer.flush()
                self.update_interest()
            if mask & HANGUP and self.writer.end is not CLOSED:
                self._peer_hung_up()
            if not mask & READ:
                return
        if self.writer.end is CLOSED or self.reader.unfinished:
            return
        channel = cast("Driven | None", self.channel)  # in quotes: a union is made at each call
        if channel is None:
            self._leave_to_driver()
            return
        right = channel.drive_right
        try:
            del right.free
        except AttributeError:
            self._leave_to_driver()
            return
        try:
            self.reader.read(self)
        finally:
            right.free = True
            if channel.drivers:  # a PONG is nothing to deliver, and a thread may wait for it
                channel.wake_drivers()
        if channel.core.receiving.items:
            if channel.has_handlers():
                Link.delivered(self)  # super() costs as much as the rest of this method
            else:
                self.home.driven(self)  # a handler may be bound later: ticks look for one

    def _leave_to_driver(self) -> None:
        self.background = False
        # Taken back at once: it is driven now and then, and each change of hands costs more than a packet. If nothing
        # is in a hurry, the loop waits longer the next time.
        soon = self.loop.now - self._left_at < LONG_QUIET_TICKS * TICK_SECONDS
        self._quiet_ticks = LONG_QUIET_TICKS if soon else 1
        self.update_interest()
        self.home.driven(self)

    def on_error(self) -> None:
        """An internal error: close; other connections go on."""
        self.give_up()

    def tick(self, *, at_once: bool = False) -> bool:
        """
        Take over a client that no thread drove since the last tick, and what a driver left in the inbox.

        Args:
            at_once: Its session goes on over it, and no thread waits for that: there is no tick to be waited for.

        Returns:
            Whether it is the loop's now, and needs no tick until a thread drives it or leaves something in its inbox.
        """
        channel = cast(Driven | None, self.channel)
        if channel is None or self.writer.end is CLOSED:
            return False
        drives = channel.drives
        if self.reader.recv_flags != self.stream.at_once:
            self._look_after_sitter(drives)
        if (drives != self.drives_seen and not at_once) or channel.drive_right.taken:
            self.drives_seen = drives
            self._ticks = 0
            return False
        self._ticks += 1
        if self._ticks < self._quiet_ticks and not (at_once or channel.is_wanted()):
            return False
        if not self.background:
            self._left_at = self.loop.now
            self.background = True
            # Look once more: a driver that began before the flag was up does not know of it, and says nothing.
            if drives != channel.drives or channel.drive_right.taken:
                self.background = False
                return False
            self.update_interest()
        self._hand_to_handlers(channel)
        return not channel.core.receiving.items

    def _look_after_sitter(self, drives: int) -> None:
        """
        Somebody waits in recv(). If the kernel's timeout does not wake it, signals do: after each of them Python calls
        recv() anew, with all of its time. The next of these calls finds no time left, and from then on this link waits
        with poll(), which knows its deadline.
        """
        now = self.loop.now
        if drives != self._sits:
            self._sits, self._sat_since = drives, now
        elif now - self._sat_since > PATIENCE_SECONDS and not self._woken:
            self._woken = True
            self.stream.patience(0.000_001)

    def left_over(self) -> None:
        """Called by the thread that ran the inbox and leaves something in it: the caretaker looks again."""
        if self.background:
            self.loop.call(lambda: self.home.driven(self))

    def _hand_to_handlers(self, channel: Driven) -> None:
        if channel.core.receiving.items and channel.has_handlers():
            Link.delivered(self)

    def _silent(self, seconds: float) -> None:
        super()._silent(seconds)
        self.give_up()

    def _expired(self) -> None:
        self.give_up()

    def give_up(self) -> None:
        """Close, but not under a thread that reads: the number of the socket could be reused under it."""
        channel = cast(Driven | None, self.channel)
        if channel is None or self.writer.end is CLOSED:
            return
        right = channel.drive_right
        try:
            del right.free
        except AttributeError:
            try:
                self.stream.shutdown(BREAK)  # wakes the driver, which then says lost()
            except OSError:
                pass
            return
        try:
            self.lost()
        finally:
            right.free = True

    def say_goodbye(self) -> None:
        """See `Ward`: say CLOSE, or, if another process may go on, only how much this one has handled."""
        channel = cast(Driven | None, self.channel)
        file = channel.file if channel is not None else None
        if channel is None or file is None or not file.holds_one:
            self.end(Code.NORMAL)
            return
        self.connection.numbering.incoming.at_once = 1
        channel.core.look()
        self.writer.flush()

    @property
    def leaving(self) -> bool:
        """Whether its session is over, and only the socket is left to be closed."""
        channel = cast(Driven | None, self.channel)
        return channel is None or channel.ended

    def _gone(self) -> None:
        channel = cast(Driven | None, self.channel)
        if channel is not None:
            channel.released()
        self.home.release(self)
