"""
When to send an acknowledgement on its own.

Usually an acknowledgement goes out with a record that is sent anyway (`Sender`). When no record is sent, it goes out
after ACK_RECORDS records, ACK_BYTES bytes or ACK_SECONDS. A quiet session, which has fewer than ACK_FEW_RECORDS by
then, waits for that many or for ACK_FEW_SECONDS; otherwise it would send one acknowledgement for each record.
"""

from __future__ import annotations

from math import inf

from ..limits import ACK_BYTES, ACK_FEW_RECORDS, ACK_FEW_SECONDS, ACK_RECORDS, ACK_SECONDS
from .numbering import Incoming


class Acknowledging:
    """
    Looks at what a connection accepts. The receiving half calls `look`; the timekeeper calls `on_time`.

    Args:
        incoming: The session's count of accepted records. All are acknowledged again, because acknowledgements of an
            earlier connection may be lost.
        now: The time.

    Attributes:
        bytes: Accepted since the last acknowledgement that was sent on its own. Counted by the receiving half.
        due: An acknowledgement is to be sent. Set here, cleared by the sending half.
        due_at: When to call `on_time`, by the given clock; `inf` while nothing waits.
    """

    __slots__ = ("_at_once", "_incoming", "_patient", "bytes", "due", "due_at")

    def __init__(self, incoming: Incoming, now: float = inf) -> None:
        self._incoming = incoming
        incoming.confirmed = 0
        self.bytes = 0
        self._at_once = ACK_RECORDS  # this many unconfirmed records are acknowledged at once
        self._patient = False  # few records have come; they wait for ACK_FEW_SECONDS
        self.due = False
        self.due_at = now + ACK_SECONDS if incoming.accepted else inf

    def look(self, now: float) -> bool:
        """
        Called when records were accepted and counted; True when an acknowledgement is due.

        Hot: once for each read, because nothing is written before all that it brought has been looked at.
        """
        incoming = self._incoming
        unconfirmed = incoming.accepted - incoming.confirmed
        if self.due_at == inf and unconfirmed:
            self.due_at = now + ACK_SECONDS
        if unconfirmed >= self._at_once or self.bytes >= ACK_BYTES:
            self._raise()
            return True
        return False

    def on_time(self, now: float) -> bool:
        """`due_at` has come: True when an acknowledgement is due."""
        unconfirmed = self._incoming.accepted - self._incoming.confirmed
        if not self._patient and 0 < unconfirmed < ACK_FEW_RECORDS:
            self._patient = True
            self._at_once = ACK_FEW_RECORDS
            self.due_at = now + ACK_FEW_SECONDS - ACK_SECONDS
            return False
        self._patient = False
        self._at_once = ACK_RECORDS
        self.due_at = inf
        # Count after clearing the time: records accepted later set their own time.
        if self._incoming.accepted == self._incoming.confirmed:
            return False
        self._raise()
        return True

    def _raise(self) -> None:
        self.bytes = 0
        self._at_once = ACK_RECORDS
        self.due = True
