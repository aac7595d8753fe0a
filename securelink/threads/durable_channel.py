"""A session of a server that a store keeps: a channel whose turns are committed before anybody is told of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any, Protocol

from ..app.pending import Pending
from ..codes import Code
from ..errors import Refused
from ..limits import WRITE_BUDGET
from ..protocol.arrived import Rest
from ..protocol.bounds import Bounds
from ..protocol.durable import DurableCore
from ..protocol.send_queue import Mark
from ..protocol.session_core import SessionCore
from ..state import Change, SavedTicket
from ..state.rows import Counts, encode, renewed
from .asking import Waiting
from .book import Book
from .channel import Channel
from .inbox import Inbox, Owner
from .link import Link
from .loop import Loop
from .outbox import Outbox
from .turns import Turn


class Describes(Owner, Protocol):
    """What has such a channel, and knows what else is kept of the session."""

    def describe(
        self, token: bytes, tickets: list[SavedTicket], lost_at: float | None
    ) -> bytes | None:
        """What is kept beside packets and counts, encoded; None: it is over, and nothing is kept any more."""


class DurableInbox(Inbox):
    """Runs a session as a turn of the book."""

    __slots__ = ()
    session: DurableChannel

    def _is_through(self) -> bool:
        return False  # its turn is published in one of the loop's, of which there is none while another is kept

    def _run_some(self) -> bool:
        turn = self.session.turn
        before = turn.begin()
        try:
            return super()._run_some()
        finally:
            first = self.queue.items[0] if self.queue.items else None
            if self.parked is not None:
                turn.park(before, self.parked.number)
            else:
                turn.end(before, whole=self.queue.opened is None and not isinstance(first, Rest))


class _Gate:
    """Where packets of others go before the application has let a session in."""

    __slots__ = ("_outbox",)

    def __init__(self, outbox: DurableOutbox) -> None:
        self._outbox = outbox

    def take_in(self, encoded: bytes, latest: Mark) -> None:
        """See `book.Outlet`."""
        self._outbox.take_in_held(encoded, latest)

    def look(self) -> None:
        """See `book.Outlet`."""
        self._outbox.look()


class _Opening(_Gate):
    """In its place among what the application sends: it has let the session in."""

    def take_in(self, encoded: bytes, latest: Mark) -> None:
        """See `book.Outlet`."""
        self._outbox.open()


class DurableOutbox(Outbox):
    """Queues for the book."""

    __slots__ = ("_book", "_channel", "_gate")

    def __init__(self, loop: Loop, core: SessionCore, session: DurableChannel, book: Book) -> None:
        super().__init__(loop, core, session)
        self._gate = _Gate(self)
        self._channel, self._book = session, book

    def post(
        self,
        encoded: bytes,
        timeout: float | None,
        latest: Mark = None,
        wait: bool = True,
        at: float = -inf,  # what the book commits goes out together in any case
    ) -> None:
        """See `Outbox.post`."""
        self.pressure.check_goes_on()
        size = len(encoded)
        if size > self.max_packets:
            raise self._too_large(size)
        if self.muted:
            return
        stage = self._book.stage()
        way = self._gate if self._holding and not self._channel.turn.is_in(stage) else self
        if stage is not None:
            stage.posts.append((way, encoded, latest))
            stage.sizes[self] = stage.sizes.get(self, 0) + size
        else:
            if wait and self.queue.is_crowded(size) and not self._session.inside_handler():
                self.pressure.wait(size, timeout, latest)
            self._book.put(way, encoded, latest)
            self.look()
        self.loop.grown += size
        if self.loop.grown > self.loop.look_after:
            self.loop.grew()

    def take_in(self, encoded: bytes, latest: Mark) -> None:
        """See `book.Outlet`."""
        if not self._session.ended:
            if self._holding and isinstance(latest, str):
                self.queue.supersede(latest)
            self.queue.put(encoded, latest)
            self._book.changed(self._channel)

    def _is_crowded(self, size: int) -> bool:
        """See `Outbox`. What a turn has sent so far counts as well."""
        stage = self._book.stage()
        staged = stage.sizes.get(self, 0) if stage is not None else 0
        if staged and self.queue.unsent + staged + size > self.bounds.unsent:
            return True
        return super()._is_crowded(size)

    def _drop_oldest(self, size: int, key: str) -> int | None:
        """See `Outbox`. The store learns of it with what is queued in their place."""
        stage, queue = self._book.stage(), self.queue
        staged = stage.sizes.get(self, 0) if stage is not None else 0
        with self._book.lock:
            excess = queue.unsent + staged + size - self.bounds.unsent
            dropped = queue.make_room(size + staged, key) if queue.unsent >= excess else None
        if dropped is None and stage is not None:
            return stage.drop_oldest(self, key, excess)
        return dropped

    def take_in_held(self, encoded: bytes, latest: Mark) -> None:
        """Likewise, of others than the application that has not let the session in."""
        if not self.queue.put_held(encoded, latest):
            self.take_in(encoded, latest)

    def greet(self, fire: Callable[[], Pending | None]) -> Pending | None:
        """See `Outbox`. What was held back follows what the application has sent when it let the session in."""
        if not self._holding:
            return fire()
        try:
            pending = fire()
        except (Refused, KeyboardInterrupt):  # see `Outbox`
            raise
        except BaseException:
            self._open()
            raise
        if pending is None:
            self._open()
        else:
            pending.then(self._greeted)
        return pending

    def _greeted(self, error: BaseException | None) -> None:
        if not isinstance(error, Refused):
            self._open()

    def _open(self) -> None:
        self._channel.turn.stage.posts.append((_Opening(self), b"", None))

    def open(self) -> None:
        """With the book's lock."""
        self.queue.release()
        self._holding = False
        self.apart = self._muted
        self._book.changed(self._channel)

    def look(self) -> None:
        """See `book.Outlet`."""
        bounds = self.bounds
        if self.queue.size > bounds.unsent or self.outgoing.unacked > bounds.hard_unacked:
            self.pressure.choke(self.writer)

    def look_again(self) -> None:
        """Acknowledgements make room when the book has taken them in."""
        self._book.note(self._channel)


class DurableChannel(Channel):
    """
    A session that a store keeps.

    Args:
        loop: See `Channel`.
        core: Likewise.
        owner: Likewise.
        book: Commits its turns.

    Attributes:
        turn: Of its inbox.
        tickets: With which its client may go on; empty: it is over, or nobody knows of it yet.
        lost_at: When it lost its connection, in seconds since 1970.
    """

    core: DurableCore

    def __init__(self, loop: Loop, core: DurableCore, owner: Describes, book: Book) -> None:
        self.book = book
        self.turn = Turn(book, self)
        self._owner = owner
        self._token = self._counts = b""
        self.tickets: list[SavedTicket] = []
        self.lost_at: float | None = None
        self._is_kept = False  # the store has it, or will after this turn
        self._spills = self._ending = False
        self._described: bytes | None = b""
        self._data: bytes | None = b""
        self._handled = 0
        super().__init__(loop, core, owner)

    def _make_inbox(self, loop: Loop, owner: Owner) -> Inbox:
        return DurableInbox(loop, self.core.receiving, owner, self)

    def _make_outbox(self, loop: Loop) -> Outbox:
        return DurableOutbox(loop, self.core, self, self.book)

    def keep(self, token: bytes, tickets: list[SavedTicket], lost_at: float | None) -> None:
        """By the leader: these are its tickets now, and this is whether it has a connection; the store is to know."""
        self._token, self.tickets, self.lost_at = token, tickets, lost_at
        self._is_kept = True
        with self.book.lock:
            if not self.turn.runs:
                self.look_at_data()
            elif self._data:
                # What its handlers change is not to be kept yet. But the client may be told of its ticket, and has no
                # other one then.
                self._data = renewed(self._data, tickets, lost_at)
            self.book.changed(self)
        self.book.ask()

    def look_at_data(self) -> None:
        """With the book's lock, while no handler of it runs: what the application has made of it is kept."""
        self._data = self._owner.describe(self._token, self.tickets, self.lost_at)

    def visit(self) -> None:
        """By a sweep: others than its handlers may have changed its data, and its client may have acknowledged."""
        if self.turn.runs or not self._is_kept:
            return
        with self.book.lock:
            self.look_at_data()
            core = self.core
            if (
                self._data == self._described
                and not core.numbering.outgoing.releasable
                and not (core.waits and self.link is not None)
            ):
                return
            self.book.changed(self)
        self.book.ask()

    # As a page of the book.

    def collect(self) -> Change | None:
        """See `Page`."""
        if not self._is_kept:
            return None
        core, link = self.core, self.link
        if not self.turn.runs:
            core.publish()
        if link is not None and self._takes(link):
            core.form(1 << 40 if self._ending else WRITE_BUDGET, self.outbox.max_packets)
        changes = core.take(spill=link is None or self._spills)
        self._spills = False
        self._handled = changes.counts[0]
        if self._data is None:
            self._is_kept = False
            return Change(self._token, gone=True)
        counts = encode(Counts(*changes.counts))
        change = Change(self._token, False, None, None, *changes[1:])
        if self._data != self._described:
            change.saved = self._described = self._data
        if counts != self._counts:
            change.counts = self._counts = counts
        return change

    def _takes(self, link: Link) -> bool:
        """Whether packets may be put into records: not many before the client takes those that there are."""
        sender = link.connection.sender
        if sender is None or sender.closed or link.closing is not None:
            return False  # CLOSE counts those that there are
        return self._ending or not (link.writer.buffer.tail or self.core.numbering.outgoing.again)

    def committed(self) -> None:
        """See `Page`."""
        self.core.committed(self._handled)
        link = self.link
        if link is None:
            return
        if self.core.receiving.may_owe():
            self.core.look()
        link.writer.flush()
        if self.waiters:
            self.wake_waiters()
        if self.core.waits and self._takes(link):
            self.book.note(self)

    # What waits for a commit.

    def hold(self, link: Link) -> None:
        """See `Channel`."""
        link.writer.held = True

    def let_out(self, link: Link) -> None:
        """See `Channel`."""
        self._spills = True
        self.book.when_kept(self, partial(_let_out, link))

    def when_kept(self, act: Callable[[], None]) -> None:
        """See `Channel`."""
        self.book.when_kept(self, act)

    def drained(self) -> None:
        """See `Channel`."""
        if self.core.waits:
            self.book.note(self)

    def end(self, code: int, text: str = "", delay: float = 0.0) -> None:
        """See `Channel`. CLOSE comes after what was sent before, which has to be kept first."""
        self.core.receiving.refuse()
        self.book.when_kept(self, partial(self._end, code, text, delay))

    def _end(self, code: int, text: str, delay: float) -> None:
        if self.core.waits and self.link is not None and not self._ending:
            self._ending = True
            self.book.when_kept(self, partial(self._end, code, text, delay))
            return
        super().end(code, text, delay)

    @property
    def outlives(self) -> bool:
        """See `Channel`."""
        return self._is_kept and self._data is not None

    def hand_over(self, delay: float) -> bool:
        """See `Channel`. CLOSE counts records, so it comes when those that there are have been kept."""
        link = self.link
        if link is None or not self.outlives or not self.may_suspend(link):
            return False
        self.book.when_kept(self, partial(link.end, Code.HANDOVER, "", delay))
        return True

    def release(self) -> None:
        """See `Channel`."""
        self.book.release()

    def await_answer(self, waiting: Waiting, deadline: float) -> None:
        """See `Channel`. A handler that waits for its client has to let out what it asks."""
        self.release()
        super().await_answer(waiting, deadline)


def _let_out(link: Link) -> None:
    link.writer.held = False
    link.writer.flush()


def channel_for(
    loop: Loop, bounds: Bounds, owner: Any, book: Book | None, core: DurableCore | None = None
) -> Channel:
    """The channel of a session, which a store keeps if there is one."""
    if book is None:
        return Channel(loop, SessionCore(bounds), owner)
    return DurableChannel(loop, DurableCore(bounds) if core is None else core, owner, book)
