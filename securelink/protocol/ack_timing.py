"""
When to send an acknowledgement on its own.

An acknowledgement states how many records are handled (`Incoming.handled`). Usually it goes out with a record that is
sent anyway (`Sender`). When no record is sent, it goes out after ACK_RECORDS handled records, ACK_BYTES bytes or
ACK_SECONDS. A quiet session, which has fewer than ACK_FEW_RECORDS by then, waits for that many or for ACK_FEW_SECONDS;
otherwise it would send one acknowledgement for each record.
"""

from __future__ import annotations

from math import inf

from ..limits import ACK_BYTES, ACK_FEW_RECORDS, ACK_FEW_SECONDS, ACK_RECORDS, ACK_SECONDS
from .acknowledgements import Incoming


class AckTiming:
    """
    Decides when to acknowledge. The receiving half calls `look`, the thread that handles what was accepted `handled`,
    and the timekeeper `on_time`.

    Args:
        incoming: The session's count of accepted records. All are acknowledged again, because acknowledgements of an
            earlier connection may be lost.
        now: The time.

    Attributes:
        bytes: Accepted on this connection. Counted by the receiving half.
        due: An acknowledgement is to be sent. Set here, cleared by the sending half.
        due_at: When to call `on_time`, by the given clock; `inf` while nothing waits.
    """

    __slots__ = ("_incoming", "_patient", "bytes", "due", "due_at")

    def __init__(self, incoming: Incoming, now: float = inf) -> None:
        self._incoming = incoming
        incoming.confirmed = 0
        self.bytes = 0
        incoming.at_once = ACK_RECORDS
        self._patient = False  # few records have come; they wait for ACK_FEW_SECONDS
        self.due = False
        self.due_at = now + ACK_SECONDS if incoming.accepted else inf

    def look(self, now: float) -> bool:
        """
        Called when records were accepted and counted; True when an acknowledgement is due.

        Hot: once for each read, because nothing is written before all that it brought has been looked at.
        """
        incoming = self._incoming
        if self.due_at == inf and incoming.accepted != incoming.confirmed:
            self.due_at = now + ACK_SECONDS
        return not incoming.queued and self.handled(self.bytes)

    def handled(self, size: int) -> bool:
        """
        Called when something was handled; True when an acknowledgement is due.

        Args:
            size: Bytes of all records that were handled so far, or nearly so.
        """
        incoming = self._incoming
        handled = incoming.handled() - incoming.confirmed
        if handled >= incoming.at_once or (handled > 0 and size - incoming.told_bytes >= ACK_BYTES):
            incoming.told_bytes = size
            self._raise()
            return True
        return False

    def on_time(self, now: float) -> bool:
        """`due_at` has come: True when an acknowledgement is due."""
        incoming = self._incoming
        handled = incoming.handled() - incoming.confirmed
        waits = incoming.accepted != incoming.confirmed
        if waits and not self._patient and handled < ACK_FEW_RECORDS:
            self._patient = True
            incoming.at_once = ACK_FEW_RECORDS
            incoming.owes = True  # perhaps: nobody has counted to so few
            self.due_at = now + ACK_FEW_SECONDS - ACK_SECONDS
            return False
        self._patient = False
        incoming.at_once = ACK_RECORDS
        self.due_at = inf
        # Count after clearing the time: records accepted later set their own time.
        handled = incoming.handled()
        if incoming.accepted != handled:
            self.due_at = now + ACK_FEW_SECONDS  # nobody says when a single record is handled
        if handled <= incoming.confirmed:
            return False
        self._raise()
        return True

    def _raise(self) -> None:
        self._incoming.at_once = ACK_RECORDS
        self.due = True
