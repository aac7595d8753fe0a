"""
Numbering and retention: what lets a session lose a connection without losing a message.

The unit is the DATA record. Both sides count the records of each direction; the number is never sent, only
acknowledged. A record is kept until the peer has accepted it, because only then is it certain that the peer will
not need it again. The two halves share no lock: the receiving half writes `Outgoing.acknowledged` and
`Incoming.accepted`, the sending half only reads them (one integer each, replaced whole).
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from ..errors import ProtocolError


class Outgoing:
    """
    The records sent in one direction.

    Attributes:
        sent: How many records have a number, in the whole session.
        acknowledged: How many of them the peer has accepted. Written by the receiving half.
        bytes: Of all records so far.
        unacked: Bytes kept because they are not acknowledged; up to date after `release()`.
        again: Records that the last connection may have lost, oldest first: they go before any new one. Always the
            same object.
    """

    __slots__ = ("_kept", "_stated", "acknowledged", "again", "bytes", "sent", "unacked")

    def __init__(self) -> None:
        self.again: deque[bytes] = deque()
        self._stated = 0  # how many the peer said that it had accepted, at the last resume
        self.sent = 0
        self.bytes = 0
        self.acknowledged = 0
        self.unacked = 0
        self._kept: deque[bytes] = deque()

    def keep(self, packets: bytes) -> None:
        """Number one record and keep its bytes, unchanged, until it is acknowledged; drop what is."""
        kept = self._kept
        unacknowledged = self.sent - self.acknowledged
        while len(kept) > unacknowledged:
            self.unacked -= len(kept.popleft())
        self.sent += (
            1  # first: were it last, Ctrl-C before it would make one too many count as acknowledged
        )
        kept.append(packets)
        size = len(packets)
        self.unacked += size
        self.bytes += size

    def release(self) -> None:
        """Drop what the peer has acknowledged. Only the sending half calls this."""
        unacknowledged = self.sent - self.acknowledged
        while len(self._kept) > unacknowledged:
            self.unacked -= len(self._kept.popleft())

    def drop(self) -> None:
        """The session has ended, and nobody will ask what the peer did not acknowledge."""
        self._kept.clear()
        self.again.clear()
        self.unacked = 0

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
        self._stated = count
        self.again.clear()
        self.again.extend(islice(self._kept, count - self.acknowledged, None))

    @property
    def unconfirmed(self) -> list[bytes]:
        """The records (each one `packets` array) that the peer has not acknowledged, oldest first."""
        self.release()
        return list(self._kept)


class Incoming:
    """
    The records accepted from one direction.

    Attributes:
        accepted: How many records are in the session's inbox or were handled. Written by the receiving half.
        confirmed: The last count that was sent as an acknowledgement. Written by the sending half.
    """

    __slots__ = ("accepted", "confirmed")

    def __init__(self) -> None:
        self.accepted = 0
        self.confirmed = 0


class Numbering:
    """Both directions of one session, in either role."""

    __slots__ = ("incoming", "outgoing")

    def __init__(self) -> None:
        self.outgoing = Outgoing()
        self.incoming = Incoming()
