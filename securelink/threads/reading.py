"""
What a connection reads: bytes are opened, records go to the inbox, and everything else is an event for the link.

The leader reads, or the thread that drives a client. What is said to the peer and when is the connection's business
(`protocol/connection.py`).
"""

from __future__ import annotations

import time
from functools import partial
from math import inf
from typing import Protocol

from ..limits import MAX_CONTROL_RATE, READ_FRAMES
from ..protocol import Connection, Event, Item, SessionCore
from ..streams.base import Stream
from .carried import Receiving
from .ends import CLOSED, forks
from .loop import Loop
from .tasks import Unfinished
from .writing import Writer

_RECORD = (bytes, memoryview)
READ_SIZE = 64 * 1024  # below malloc's mmap threshold: larger buffers cost a page fault each


class Reports(Unfinished, Protocol):
    """A link, as its reader tells it what has come."""

    def delivered(self) -> None:
        """Records have come to the inbox."""

    def event(self, event: Event) -> None:
        """Something else has come."""

    def update_interest(self) -> None:
        """Whether it is read may have changed."""

    def pass_time(self, now: float) -> None:
        """Let the connection do what is due."""

    def heard_all(self) -> None:
        """The stream is at its end."""

    def orphaned_late(self) -> None:
        """Another process has opened it."""


class Reader:
    """
    Reads a stream.

    Args:
        loop: Of the link.
        stream: From the peer.
        connection: Opens what comes.
        writer: Writes the answers.

    Attributes:
        open: Whether we read what the peer sends; not while a worker has the connection.
        refused: Something has come while it was not open, and the selector reports this stream no more.
        core: Of the session, once there is one.
        hung_up: The peer has sent its last byte.
        greedy: It is read while somebody waits for room to send, even though the inbox is full.
        unfinished: The loop will call `go_on` of the link.
    """

    __slots__ = (
        "_ack_timed", "_controls_before", "_fork", "_session", "_writer", "connection", "core", "greedy", "hung_up",
        "loop", "open", "recv_flags", "refused", "stream", "unfinished",
    )  # fmt: skip

    def __init__(self, loop: Loop, stream: Stream, connection: Connection, writer: Writer) -> None:
        self.loop = loop
        self.stream = stream
        self.recv_flags = stream.at_once
        self.connection = connection
        connection.at_once = READ_FRAMES
        self._writer = writer
        self._session: Receiving | None = None
        self._ack_timed = False  # a timer runs for the acknowledgement that waits
        self._controls_before = 0  # this second
        self.core: SessionCore | None = None
        self.open = True
        self.refused = False
        self.hung_up = False
        self.greedy = False
        self.unfinished = False
        self._fork = forks[0]

    def carry(self, session: Receiving) -> None:
        """From now on it reads what is for this session."""
        self.core = session.core
        self._session = session

    def let_go(self) -> None:
        """Called by the reading thread: the session goes on without it."""
        self.core = self._session = None

    def ponged(self, payload: bytes) -> None:
        """A PONG has come."""
        if self.connection.liveness is not None:
            self.connection.liveness.ponged(time.monotonic())
        if self.core is not None:
            self.core.requests.ponged(int.from_bytes(payload))

    def listens(self) -> bool:
        """Whether we read what the peer sends."""
        if not self.open:
            return False
        if self.hung_up or (self.greedy and self._writer.waiters):
            return self.has_flood_room()
        return not self._writer.choked and self.has_room()

    def reopen(self) -> bool:
        """
        By who has the connection: it is read from now on.

        Returns:
            Whether the leader has to be asked for that: the selector does not report it.
        """
        # First: a leader that refuses from here on sees it when it looks what to report.
        self.open = True
        refused, self.refused = self.refused, False
        return refused

    def has_room(self) -> bool:
        """Whether the inbox takes more; a session that we ended takes all, for the peer's CLOSE comes last."""
        session = self._session
        if session is None:
            return True
        queue = session.core.receiving
        return not (queue.full or session.inbox.throttled) or queue.dropping

    def has_flood_room(self) -> bool:
        """Whether it takes what must come, such as an end that is behind it."""
        core = self.core
        return core is None or not core.receiving.is_flooded or core.receiving.dropping

    def read(self, link: Reports) -> None:
        """
        One read, or the next part of the last one: READ_FRAMES at most, whatever they hold, so that nobody can keep
        the leader.
        """
        if self._fork != forks[0]:
            link.orphaned_late()
            return  # what arrives is the parent's
        if not self.open:
            self.refused = True
            link.update_interest()
            return
        connection = self.connection
        core = self.core
        # While a reply is waited for each record is decoded here, which may take milliseconds.
        connection.at_once = 1 if core is not None and core.requests.expected else READ_FRAMES
        loop = self.loop
        if connection.more:
            try:
                self.take_items(connection.reconsider(loop.now), link)
            except BaseException:
                self._writer.break_off()
                raise
            return
        try:
            recv = self.stream.recv
            data = recv(READ_SIZE, self.recv_flags)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        except BaseException:
            # What it had read is lost. Sealed records tell, at the next one; plain ones would not.
            connection.interrupted()
            if not connection.encrypted:
                self._writer.break_off()
            raise
        # Ctrl-C is noticed when a function begins: from here on it would lose what was read.
        try:
            loop.grown = grown = loop.grown + len(data)
            if grown > loop.look_after:
                loop.grew()
            found = connection.receive(data, loop.now)
            if core is None or isinstance(found, list):
                self.take_items(found if isinstance(found, list) else [found], link)
            else:  # a lone record, as usual
                core.receiving.deliver(found)
                self._told(link, core)
        except BaseException:
            self._writer.break_off()
            raise
        if not data:
            # A connection that had ended before reports nothing; the socket would stay readable forever.
            link.heard_all()

    def take_items(self, items: list[Item], link: Reports) -> None:
        """What the connection gave for what was read: records go to the inbox, all else to `event`."""
        connection = self.connection
        core = self.core
        delivered = False
        for item in items:
            if isinstance(item, _RECORD):
                core.receiving.deliver(item)  # type: ignore[union-attr]  # data comes after WELCOME
                delivered = True
            else:
                if delivered:
                    link.delivered()  # first: after the event the session may be on its own
                link.event(item)
        if not delivered or len(items) > 1:
            self.loop.unread = True
        if connection.more:
            self.go_on_later(link)
        session = self._session
        if delivered and core is not None and session is not None:
            self._told(link, core)
        elif connection.wants_write or self._writer.waiters:
            self._writer.flush()
        if (
            session is not None
            and connection.controls - self._controls_before > MAX_CONTROL_RATE
            and not session.inbox.throttled
        ):
            session.inbox.throttle()

    def _told(self, link: Reports, core: SessionCore) -> None:
        """Records have come to the inbox."""
        writer = self._writer
        # One system call for all the answers of one read. An acknowledgement may have made room for those that wait.
        if self.connection.wants_write or writer.waiters:
            writer.flush()
        link.delivered()
        if core.receiving.full:
            link.update_interest()
        if not self._ack_timed:
            self._time_ack(link)

    def go_on_later(self, link: Reports) -> None:
        """More has come than one turn takes: let the others have theirs."""
        if not self.unfinished and self.loop.leading:
            self.unfinished = True
            session = self._session
            self.loop.make_unfinished(link, None if session is None else session.inbox.network)

    def _time_ack(self, link: Reports) -> None:
        """Start a timer for the acknowledgement that waits, if one does."""
        acks = self.connection.acks
        if acks.due_at < inf:
            self._ack_timed = True
            self.loop.call_later(acks.due_at - self.loop.now, partial(self._ack_time, link))

    def _ack_time(self, link: Reports) -> None:
        # First: a thread that accepts a record from here on starts a timer of its own.
        self._ack_timed = False
        if self._writer.end is not CLOSED:
            link.pass_time(self.loop.now)
            self._time_ack(link)

    def next_second(self, now: float) -> bool:
        """By the sweep: rates are counted anew. Returns whether it is read again that was not, for its rate."""
        self._controls_before = self.connection.controls
        session = self._session
        return session is not None and session.inbox.next_second(now)
