"""
The bounds before a session, which stand before any expensive work: a cap on half-open connections (at the cap the
oldest of the address that has the most is dropped), caps on all connections and on those of an address, and a budget
of unfinished and failed handshakes for each address, which knows no successes and not the loopback: a school or a LAN
party is one address. Nor does it know what is our own lateness: it counts who owed the next message, and was not kept
waiting before.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Set

from ..app.budget import FailureBudget
from ..codes import Code
from ..limits import MAX_TURNED_AWAY
from ..protocol import ServerConnection
from ..streams.addresses import is_loopback_host, networks
from .loop import Loop
from .server_link import ServerLink
from .settings import HandshakeSettings

log = logging.getLogger("securelink.server")


class Gate:
    """
    Who may begin a handshake. By the leader.

    Args:
        loop: Has the time.
        settings: Has the bounds.
        links: All connections.
        note: Counts what happened.

    Attributes:
        budget: Of failed handshakes.
        half_open: How many connections have no session yet.
        failed: Handshakes that failed so far.
    """

    def __init__(
        self,
        loop: Loop,
        settings: HandshakeSettings,
        links: Set[ServerLink],
        note: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._links = links
        self._note = note
        self.half_open = 0
        self._half_open: dict[str, dict[ServerLink, None]] = {}  # network -> links, oldest first
        self._turned_away: dict[ServerLink, None] = {}  # oldest first
        self._of_address: dict[str, int] = {}  # connections
        # Loopback has no budget: all users of the machine, and whatever tunnel ends here, are that one address.
        self.budget = FailureBudget(
            settings.max_failures, lambda: loop.now, lambda host: is_loopback_host(host)
        )
        self.failed = 0

    def admit(self, link: ServerLink) -> None:
        """
        A connection came in: it may begin its handshake, or is turned away.

        Args:
            link: One of `links` already.
        """
        host = link.address[0]
        if len(self._links) - len(self._turned_away) > self._settings.max_connections:
            log.warning(
                "too many connections (max_connections): %s is turned away, there are %d",
                host,
                self._settings.max_connections,
            )
            self._note("limit_connections")
            self._refuse(link, link.connection.give_up(Code.BUSY))
            return
        left = self.budget.blocked_for(host)
        if left:
            self._note("limit_failures")
            log.info("%s is turned away: it is blocked for %d s", host, math.ceil(left))
            assert isinstance(link.connection, ServerConnection)
            self._refuse(link, link.connection.blocked(left))
            return
        if not is_loopback_host(host) and not self._count(link, host):
            log.warning("too many connections of one address (max_per_address): %s", host)
            self._note("limit_per_address")
            self._refuse(link, link.connection.give_up(Code.BUSY))
            return
        self._half_open.setdefault(link.network, {})[link] = None
        self.half_open += 1
        if self.half_open > self._settings.max_half_open:
            self._drop_oldest()
        link.update_interest()

    def _count(self, link: ServerLink, host: str) -> bool:
        """Whether its address, or /64, and the networks around it have room for one more connection."""
        mine = networks(host)
        limits = self._settings.per_network
        if any(
            self._of_address.get(net, 0) >= most for net, most in zip(mine, limits, strict=False)
        ):
            return False
        link.counted = True
        for net in mine:
            self._of_address[net] = self._of_address.get(net, 0) + 1
        return True

    def _uncount(self, link: ServerLink) -> None:
        if link.counted:
            link.counted = False
            for net in networks(link.address[0]):
                left = self._of_address[net] - 1
                if left:
                    self._of_address[net] = left
                else:
                    del self._of_address[net]

    def _refuse(self, link: ServerLink, word: bytes) -> None:
        link.half_open = False
        self._turned_away[link] = None
        if len(self._turned_away) > MAX_TURNED_AWAY:
            next(iter(self._turned_away)).lost()
        link.finish_raw(word)

    def _drop_oldest(self) -> None:
        busiest = max(self._half_open.values(), key=len)
        # One that has its session is through: the leader has only not counted it out yet.
        link = next((link for link in busiest if link.channel is None), None)
        if link is None:
            return
        log.info("too many half-open connections: the oldest of %s is dropped", link.address[0])
        self._note("limit_half_open")
        link.lost()

    def no_longer_half_open(self, link: ServerLink) -> None:
        """The handshake of this link succeeded."""
        if link.half_open:
            link.half_open = False
            self.half_open -= 1
            links = self._half_open[link.network]
            del links[link]
            if not links:
                del self._half_open[link.network]

    def failed_at(self, host: str, *, charge: bool) -> None:
        """A handshake of this address has failed."""
        if charge:
            self.budget.charge(host)
        left = self.budget.blocked_for(host)
        if left and self.budget.failures(host) == self._settings.max_failures:
            log.warning(
                "%s failed %d handshakes; it is turned away for %d s",
                host,
                self._settings.max_failures,
                math.ceil(left),
            )

    def left(self, link: ServerLink) -> None:
        """The socket of this link is closed."""
        self._turned_away.pop(link, None)
        self._uncount(link)
        if link.half_open:
            self.no_longer_half_open(link)
            # One that closes without a byte was a probe: a balancer's, or somebody looked whether the port is open.
            if link.failed or (link.was_heard and not link.was_kept_waiting):
                link.count_failure()
                self.failed += 1
                self._note("handshakes_failed")
