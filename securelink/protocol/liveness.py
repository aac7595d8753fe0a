"""
Keepalive: silence of the peer, when to send heartbeats, and how long their answers take.

A keepalive check comes about once a second. Time in which we did not read does not count as silence, nor does time in
which this process stood still: the time between two checks counts as at most MAX_SWEEP_STEP, and after a longer one
nobody is judged before the next check, for what arrived meanwhile may be unread.
"""

from __future__ import annotations

from math import inf

from ..limits import MAX_HEARTBEAT, MAX_SWEEP_STEP, MIN_HEARTBEAT, SILENCE_FACTOR, SWEEP_SECONDS

RTT_GAIN = 1 / 8  # of each measurement (RFC 6298, section 2)
_LATE_SECONDS = 1.5 * SWEEP_SECONDS  # between two checks: this process stood still


class Liveness:
    """
    Watches one open connection.

    Args:
        heartbeat: The session's interval, in seconds; clamped, because the peer may have proposed it.
        pings: Whether this side sends the heartbeats (the client does). The peer pings only while it does not
            read: then the peer's pings wait unread, and the peer hears no answers.
        now: The time.

    Attributes:
        quiet: How long the peer has been silent while we read, in seconds.
        step: The time that the last check counted, in seconds.
        hung_up: The peer's last byte has arrived, though it is not read yet: pings are useless.
        rtt: The round trip of PING and PONG, smoothed, in seconds; None before the first.
    """

    __slots__ = (
        "_asked_at", "_behind", "_deaf", "_heard", "_heartbeat", "_late", "_looked_at", "_pinged_at", "_pings",
        "_reading", "_spoiled", "_unanswered", "_unfair", "hung_up", "quiet", "rtt", "step",
    )  # fmt: skip

    def __init__(self, heartbeat: float, now: float, *, pings: bool) -> None:
        self._heartbeat = min(max(heartbeat, MIN_HEARTBEAT), MAX_HEARTBEAT)
        self._pings = pings
        self._looked_at = now
        self._pinged_at = now if pings else -inf
        self._heard = 0
        self._reading = True
        self._behind = False
        self._deaf = True  # the duration of the handshake does not count as silence
        self._late = self._unfair = False  # this check, and it is the first in a row
        self.quiet = 0.0
        self.step = 0.0
        self.hung_up = False
        self.rtt: float | None = None
        self._asked_at = now
        self._unanswered = 0
        self._spoiled = False  # the answer waited here, unread

    @property
    def next_look(self) -> float:
        """When to check again."""
        return self._looked_at + SWEEP_SECONDS

    @property
    def silent(self) -> bool:
        """Whether the peer has been silent for too long."""
        return self.quiet > self._heartbeat * SILENCE_FACTOR and not self._unfair

    def reading(self, reads: bool) -> None:
        """Say whether the peer is read from now on."""
        self._reading = reads
        if not reads:
            self._spoiled = True
            self._deaf = True  # a moment is enough: bytes of that time may still be on their way

    def look(self, now: float, heard: int, *, behind: bool) -> None:
        """
        Add the time since the last check.

        Args:
            now: The time.
            heard: A number that changes whenever something was read.
            behind: Unprocessed data waits here, so nothing new is read: this does not count as silence either.
        """
        gap = now - self._looked_at
        late = gap > _LATE_SECONDS
        # A process that is late again and again has read between two checks.
        self._unfair, self._late = late and not self._late, late
        self.step = min(max(0.0, gap), MAX_SWEEP_STEP)
        self._looked_at = now
        self._behind = behind
        if heard != self._heard or self._deaf or behind:
            self._heard = heard
            self._deaf = behind or not self._reading
            self.quiet = 0.0
        else:
            self.quiet += self.step

    def ping_is_due(self, now: float) -> bool:
        """Whether to send a PING now; called after a check."""
        takes = self._reading and not self._behind
        if not self._pings and (takes or self.hung_up):
            return False
        if now - self._pinged_at < self._heartbeat / (1 if self._pings else 2):
            return False
        self._pinged_at = now
        self.pinged(now)
        return True

    def pinged(self, now: float) -> None:
        """A PING goes to the peer."""
        self._asked_at = now
        self._unanswered += 1
        self._spoiled = not self._reading or self._behind

    def ponged(self, now: float) -> None:
        """
        A PONG has come. They come in order: the last one answers the last PING.

        Args:
            now: The time of this moment, not of the last look.
        """
        self._unanswered -= 1
        if self._unanswered or self._spoiled:
            self._unanswered = max(0, self._unanswered)
            return
        took = max(0.0, now - self._asked_at)
        self.rtt = took if self.rtt is None else self.rtt + (took - self.rtt) * RTT_GAIN
