"""
Numbering and retention: what lets a session lose a connection without losing a message.

The unit is the DATA record. Both sides count the records of each direction; the number is never sent, only
acknowledged. There are two counts: *accepted*, what is in the session's inbox, which is exchanged when a session is
resumed, so that nothing of it is sent again; and *handled*, which is what an acknowledgement says. A record is kept
until it is acknowledged: so what a session leaves unconfirmed is what its peer has not handled, though it died with a
full inbox. The two halves share no lock: the receiving half writes `Outgoing.acknowledged` and `Incoming.accepted`, the
sending half only reads them (one integer each, replaced whole).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Any

from ..errors import ProtocolError
from ..limits import ACK_RECORDS, PUT_AWAY_BYTES, PUT_AWAY_RECORDS

Record = bytes | memoryview

#: In the place of an empty deque, which has 760 bytes. Nothing can be put into it.
_NOTHING: deque[Any] = deque(maxlen=0)


class Outgoing:
    """
    The records sent in one direction.

    Attributes:
        sent: How many records have a number, in the whole session.
        acknowledged: How many of them the peer has handled. Written by the receiving half.
        bytes: Of all records so far.
        queued: How many packets of the send queue are in records, in the whole session.
        unacked: Bytes kept because they are not acknowledged; up to date after `release()`.
        again: Records that the last connection may have lost, newest first: the last of them is the next to go, before
            any new one. Always the same object.
    """

    __slots__ = ("_kept", "_stated", "acknowledged", "again", "bytes", "queued", "sent", "unacked")

    def __init__(self) -> None:
        self.again: list[Record] = []
        self._stated = 0  # how many the peer said that it had accepted, at the last resume
        self.sent = 0
        self.queued = 0
        self.bytes = 0
        self.acknowledged = 0
        self.unacked = 0
        self._kept: deque[Record] = _NOTHING

    def keep(self, packets: Record, queued: int = 0) -> None:
        """
        Number one record and keep its bytes, unchanged, until it is acknowledged; drop what is.

        Args:
            packets: The record.
            queued: How many packets of the send queue it holds.
        """
        kept, size = self._kept, len(packets)
        if kept is _NOTHING:
            kept = self._kept = deque()
        unacknowledged = self.sent - self.acknowledged
        while len(kept) > unacknowledged:  # as `release`
            self.unacked -= len(kept.popleft())
        # First: were it last, Ctrl-C before it would make one too many count as acknowledged.
        self.sent += 1
        self.queued += queued  # no call in between: either all three happen, or none
        kept.append(packets)
        self.unacked += size
        self.bytes += size

    def release(self) -> None:
        """Drop what the peer has acknowledged. Only the sending half calls this."""
        kept = self._kept
        unacknowledged = self.sent - self.acknowledged
        while len(kept) > unacknowledged:
            self.unacked -= len(kept.popleft())

    def drop(self) -> None:
        """The session has ended, and nobody will ask what the peer did not acknowledge. Any thread."""
        self._kept, self.again = _NOTHING, []  # the sending half may be at the old ones
        self.unacked = 0

    def restore(self, sent: int, queued: int, kept: list[bytes]) -> None:
        """Go on where another process was: the last of these records has the number `sent`."""
        self.sent, self.queued = sent, queued
        self.acknowledged = self._stated = sent - len(kept)
        self._kept = deque(kept)
        self.unacked = sum(map(len, kept))

    def go_on_from(self, count: int) -> None:
        """
        Go on in a session of which this process knows only how many records the peer has accepted. How many of them it
        has handled, it will tell.
        """
        self.sent = self._stated = count

    def forget_stated(self) -> int:
        """
        The peer has lost its memory of the session: it has nothing of what it has not acknowledged.

        Returns:
            How many records it has acknowledged, which is what it states from now on.
        """
        self._stated = self.acknowledged
        return self.acknowledged

    @property
    def kept(self) -> int:
        """How many records are kept."""
        return len(self._kept)

    @property
    def releasable(self) -> bool:
        """Whether the peer has acknowledged something that is still kept."""
        return len(self._kept) > self.sent - self.acknowledged

    def acknowledge(self, count: int) -> None:
        """
        Take an acknowledgement. Only the receiving half calls this.

        Raises:
            ProtocolError: The count falls, or exceeds what was sent.
        """
        sent = self.sent - len(self.again)
        if not self.acknowledged <= count <= sent:
            raise ProtocolError(
                f"the peer acknowledges {count} records after {self.acknowledged}, of {sent} sent"
            )
        self.acknowledged = count

    def check_stated(self, count: int) -> None:
        """
        What the peer says to resume: so many records it has accepted.

        Raises:
            ProtocolError: They are fewer than it had before, or more than were sent.
        """
        least = max(self.acknowledged, self._stated)
        if not least <= count <= self.sent:
            raise ProtocolError(
                f"the peer has accepted {count} records after {least}, of {self.sent} sent",
                hint="one side's memory of the session went back in time: begin a new session",
            )

    def rewind(self, count: int) -> None:
        """
        Send again what the peer has not accepted. Between two connections, by whoever has the session.

        Raises:
            ProtocolError: See `check_stated`.
        """
        self.check_stated(count)
        self.release()
        self.unacked = sum(map(len, self._kept))  # Ctrl-C in `keep` leaves a wrong one
        self._stated = count
        # The newest ones: of an earlier process's records, none is kept.
        self.again[:] = islice(reversed(self._kept), self.sent - count)

    def send_later(self, records: Sequence[Record]) -> None:
        """These are numbered and kept, and go behind those that wait to be sent again."""
        self.again[:0] = records[::-1]

    @property
    def unconfirmed(self) -> list[Record]:
        """The records (each one `packets` array) that the peer has not acknowledged, oldest first. Any thread."""
        kept = list(self._kept)
        return kept[max(0, len(kept) - (self.sent - self.acknowledged)) :]


#: Records that wait until the program takes them, oldest first: the number of each, and what is kept of it.
Kept = deque[tuple[int, Any]] | tuple[tuple[int, Any], ...]

_ELSEWHERE: Kept = ((0, None),)  # in the place of what is kept: `handled` is to be looked up


class Incoming:
    """
    The records accepted from one direction.

    Which of them are handled is not counted where it happens, for records are finished out of turn: it is what comes
    before the oldest one that is not. Three threads have a part in that, and each writes numbers of its own: the
    receiving half (`accepted`, `early`), who runs the inbox (`done`), the sending half (`confirmed`). A program that
    takes what is kept for it takes it out of `kept`, and writes nothing.

    Attributes:
        accepted: How many records are in the session's inbox or were handled.
        done: Of those that waited for their turn: how many have had it.
        early: How many did not wait for it: replies, handed over while nothing else waited.
        ahead: Numbers of those that are finished too, but behind others that wait.
        kept: Records that have had their turn, and wait until the program takes them. The session's owner has it.
        queued: Whether what is accepted waits in an inbox.
        confirmed: The last count that was sent as an acknowledgement.
        at_once: So many records that are handled and not confirmed are acknowledged without delay.
        owes: An acknowledgement may be due; see `SessionCore.look`.
        told_bytes: Of all handled records, when an acknowledgement was last sent for their size.
    """

    __slots__ = (
        "_final", "_front", "_passed", "_passed_bytes", "_put_away", "accepted", "ahead", "at_once", "confirmed",
        "done", "early", "kept", "owes", "queued", "told_bytes",
    )  # fmt: skip

    def __init__(self) -> None:
        self.accepted = 0
        self.done = 0
        self.early = 0
        self.ahead: deque[int] = _NOTHING
        self.kept: Kept = _ELSEWHERE
        self.confirmed = 0
        self.told_bytes = 0
        self.at_once = ACK_RECORDS
        self.owes = False
        self.queued = False
        self._final: int | None = None
        self._front = (
            0  # the oldest record that is kept, when records were last counted that went past it:
        )
        self._passed = 0  # so many,
        self._passed_bytes = 0  # with so many bytes
        self._put_away = 0

    def go_on_from(self, count: int) -> None:
        """Go on in a session of which this process knows only how many records an earlier one has acknowledged."""
        self.accepted = count

    def queue(self) -> None:
        """What is accepted from now on waits in an inbox. Until then it is handled when it is accepted."""
        self.done = self.accepted - self.early
        self.queued = True
        self.kept = ()

    def handled(self) -> int:
        """How many records, from the first, are handled: what an acknowledgement says. Never too many."""
        # In this order: what is kept of these records is in the queue by now.
        done = self.done + self.early
        return self._before_kept(done) if self.kept else done

    def _before_kept(self, done: int) -> int:
        if not self.queued:
            return self.accepted
        if self._final is not None:
            return self._final
        try:
            oldest = self.kept[0][0]
        except IndexError:
            return done  # taken meanwhile
        return min(done, max(oldest - 1, self._put_away))

    def stop(self) -> None:
        """What is dropped from now on is not handled."""
        if self._final is None:
            self._final = self.handled()
            self.kept = _ELSEWHERE

    def hand_over(self, number: int, size: int) -> None:
        """
        By the receiving half: a record is finished that did not wait for its turn.

        Args:
            number: Its: so many were delivered.
            size: Its bytes.
        """
        if self.done + self.early + 1 == number:
            self.early += 1
        else:
            if self.ahead is _NOTHING:
                self.ahead = deque()
            self.ahead.append(number)
            if self.done + self.early + len(self.ahead) == number:
                self._catch_up()  # the last one that waited has had its turn in this moment
        if self.kept:
            self._pass(size)

    def _catch_up(self) -> None:
        while self.ahead:
            try:
                self.ahead.popleft()
            except IndexError:
                return  # the thread that has just run the last one was faster
            self.early += 1

    def go_past(self, size: int) -> None:
        """By who runs the inbox, when a record has had its turn and there is `ahead` or `kept`."""
        ahead = self.ahead
        while ahead and ahead[0] <= self.done + self.early + 1:
            try:
                ahead.popleft()
            except IndexError:
                break  # the receiving half was faster
            self.done += 1
        if self.kept:
            self._pass(size)

    def _pass(self, size: int) -> None:
        """
        A record is finished behind one that is kept. What the program never takes must not hold back for ever what
        is said of the others: after PUT_AWAY_RECORDS or PUT_AWAY_BYTES it counts as put away.
        """
        try:
            oldest, newest = self.kept[0][0], self.kept[-1][0]
        except IndexError:
            return
        done = self.done + self.early
        if self._final is not None or newest >= done:
            return  # it is kept itself
        if oldest != self._front:
            self._front = oldest
            self._passed = self._passed_bytes = 0
        self._passed += 1
        self._passed_bytes += size
        if self._passed >= PUT_AWAY_RECORDS or self._passed_bytes >= PUT_AWAY_BYTES:
            self._passed = self._passed_bytes = 0
            self._put_away = done


class Numbering:
    """Both directions of one session, in either role."""

    __slots__ = ("incoming", "outgoing")

    def __init__(self) -> None:
        self.outgoing = Outgoing()
        self.incoming = Incoming()
