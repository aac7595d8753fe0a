"""
Who is silent, and when to show that we are alive.

The time is told in looks, about one a second. Time in which we did not read is not the peer's silence, and neither is
time in which this process stood still: two looks count MAX_SWEEP_STEP at most, however far apart they are.
"""

from __future__ import annotations

from math import inf

from ..limits import MAX_HEARTBEAT, MAX_SWEEP_STEP, MIN_HEARTBEAT, SILENCE_FACTOR, SWEEP_SECONDS


class Liveness:
    """
    Watches one open connection.

    Args:
        heartbeat: The session's, in seconds; clamped, because the peer may have proposed it.
        pings: Whether this side sends the heartbeats (the client does). The peer pings only while it does not
            read: then the peer's pings wait unread, and the peer hears no answers.
        now: The time.

    Attributes:
        quiet: How long the peer has been silent while we read, in seconds.
        step: How much time the last look counted, in seconds.
        hung_up: The peer's last byte is there, though not yet read: a ping would reach nobody.
    """

    __slots__ = (
        "_behind", "_deaf", "_heard", "_heartbeat", "_looked_at", "_pinged_at", "_pings", "_reading", "hung_up",
        "quiet", "step",
    )  # fmt: skip

    def __init__(self, heartbeat: float, now: float, *, pings: bool) -> None:
        self._heartbeat = min(max(heartbeat, MIN_HEARTBEAT), MAX_HEARTBEAT)
        self._pings = pings
        self._looked_at = now
        self._pinged_at = now if pings else -inf
        self._heard = 0
        self._reading = True
        self._behind = False
        self._deaf = True  # how long the handshake took is not the peer's silence
        self.quiet = 0.0
        self.step = 0.0
        self.hung_up = False

    @property
    def next_look(self) -> float:
        """When to look again."""
        return self._looked_at + SWEEP_SECONDS

    @property
    def silent(self) -> bool:
        """Whether the peer has been silent for too long."""
        return self.quiet > self._heartbeat * SILENCE_FACTOR

    def reading(self, reads: bool) -> None:
        """Whether what the peer sends is read from now on."""
        self._reading = reads
        if not reads:
            self._deaf = True  # a moment is enough: what the peer said then may still be on its way

    def look(self, now: float, heard: int, *, behind: bool) -> None:
        """
        Add up the time since the last look.

        Args:
            now: The time.
            heard: A number that is another one whenever something was read.
            behind: More than was taken waits here, so nothing new is read: that is our time as well.
        """
        self.step = min(max(0.0, now - self._looked_at), MAX_SWEEP_STEP)
        self._looked_at = now
        self._behind = behind
        if heard != self._heard or self._deaf or behind:
            self._heard = heard
            self._deaf = behind or not self._reading
            self.quiet = 0.0
        else:
            self.quiet += self.step

    def ping_is_due(self, now: float) -> bool:
        """Whether to send a PING now; asked after a look."""
        takes = self._reading and not self._behind
        if not self._pings and (takes or self.hung_up):
            return False
        if now - self._pinged_at < self._heartbeat / (1 if self._pings else 2):
            return False
        self._pinged_at = now
        return True
