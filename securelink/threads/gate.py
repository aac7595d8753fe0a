"""
The bounds before a session, which stand before any expensive work: a cap on half-open connections, caps on all
connections and on those of an address, and a budget of unfinished and failed handshakes for each address, which knows
no successes and not the loopback: a school or a LAN party is one address. Nor does it know what is our own lateness: it
counts who owed the next message, and was not kept waiting before.

At the cap the surplus waits (`admission_queue.py`). For what was begun has been paid for: a crowd that comes at one
instant is let in one after the other, instead of each newcomer costing another one its handshake. But nobody holds a
place for nothing: a place is taken back from a client that has owed us its next message for too long while others
wait, and at once from a network that has more than half of the places, when it is another one's turn.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Set

from ..app.failure_budget import FailureBudget
from ..codes import Code
from ..limits import ACCEPTS_PER_TURN, MAX_TURNED_AWAY, MAX_WAITING_CONNECTIONS, PLACE_SECONDS
from ..streams.addresses import is_loopback_host, networks
from ..streams.base import Address, Stream
from .admission_queue import AdmissionQueue, Waiting
from .loop import Loop
from .server_link import ServerLink
from .settings import HandshakeSettings

log = logging.getLogger("securelink.server")

_LOOK_SECONDS = PLACE_SECONDS / 8  # between two looks at the holders of places, while others wait


class Gate:
    """
    Decides which connections may begin a handshake. By the leader.

    Args:
        loop: Has the time.
        settings: Has the bounds.
        links: All connections.
        note: Counts what happened.
        begin: Called with a stream and its client's address: makes a link of it, and calls `admit`.

    Attributes:
        settings: As above.
        budget: Of failed handshakes.
        half_open: How many connections have no session yet, and a place.
        waiting: Those that wait for one.
        failed: Handshakes that failed so far.
    """

    def __init__(
        self,
        loop: Loop,
        settings: HandshakeSettings,
        links: Set[ServerLink],
        note: Callable[[str], None],
        begin: Callable[[Stream, Address], None],
    ) -> None:
        self._loop = loop
        self.settings = settings
        self._links = links
        self._note = note
        self._begin = begin
        self.waiting = AdmissionQueue(loop, MAX_WAITING_CONNECTIONS)
        self._filling = False
        self._timed = False  # a timer runs for the next look
        self._looked_at = 0.0
        self._stood_still = (
            0.0  # until when this process did not look: nobody owed us anything before
        )
        self.half_open = 0
        self._half_open: dict[str, dict[ServerLink, None]] = {}  # network -> links, oldest first
        self._turned_away: dict[ServerLink, None] = {}  # oldest first
        self._of_address: dict[str, int] = {}  # connections
        # Loopback has no budget: all users of the machine, and whatever tunnel ends here, are that one address.
        self.budget = FailureBudget(
            settings.max_failures, lambda: loop.now, lambda host: is_loopback_host(host)
        )
        self.failed = 0

    def arrived(self, stream: Stream, address: Address) -> None:
        """A connection came in: it begins its handshake, waits for a place, or is turned away."""
        host = address[0]
        room = self.half_open < self.settings.max_half_open and not self.waiting
        if room or self._are_too_many(1) or self.budget.blocked_for(host):
            self._begin(stream, address)
            return
        network = networks(host)[-1]
        self.waiting.put(
            Waiting(self.waiting, stream, address, network, self.budget.standing(host))
        )
        self.fill()

    def fill(self) -> None:
        """Give places to those that wait, as far as there are any."""
        if self._filling or not self.waiting:
            return  # it is called by what it does itself
        self._filling = True
        try:
            self._look()
            for _ in range(ACCEPTS_PER_TURN):
                if not self.waiting:
                    break
                hog = self._hog()
                network = self.waiting.next_network(but=hog)
                full = self.half_open >= self.settings.max_half_open
                if full and not self._take_back(network, hog):
                    break
                waiting = self.waiting.take(network)
                self._begin(waiting.stream, waiting.address)
        finally:
            self._filling = False
        if self.waiting and not self._timed:
            self._timed = True
            self._loop.call_later(_LOOK_SECONDS, self._look_again)

    def _look_again(self) -> None:
        self._timed = False
        self.fill()

    def _look(self) -> None:
        now = self._loop.now
        if self._timed and now - self._looked_at > 2 * _LOOK_SECONDS:
            self._stood_still = now  # what they sent meanwhile is still to be read
        self._looked_at = now

    def _hog(self) -> str:
        """The network that has more than half of the places; "" when none has."""
        busiest = max(self._half_open, key=lambda net: len(self._half_open[net]), default="")
        most = len(self._half_open.get(busiest, ()))
        return busiest if most > self.settings.max_half_open // 2 else ""

    def _take_back(self, network: str, hog: str) -> bool:
        """
        Take a place from a client that owes us its next message.

        Args:
            network: Whose turn it is.
            hog: The network that has more than half of the places; "" when none has.
        """
        if hog and hog != network:
            link = self._longest_owing(hog)
            if link is not None:
                if self._owed_for(link) < self._patience(link):
                    link.handshake.errand.excuse()  # it may be one of a crowd, and as fast as others
                self._drop(link)
                return True
        places = {net: len(links) for net, links in self._half_open.items()}
        by_size = sorted(places, key=places.__getitem__, reverse=True)
        for net in by_size:
            if net != network and places[net] <= places.get(network, 0):
                continue
            link = self._longest_owing(net)
            if link is not None and self._owed_for(link) >= self._patience(link):
                self._drop(link)
                return True
        return False

    def _longest_owing(self, network: str) -> ServerLink | None:
        # One that has its session is through: the leader has only not counted it out yet.
        owing = [
            link
            for link in self._half_open[network]
            if link.channel is None and link.handshake.errand.owed_since < math.inf
        ]
        return min(owing, key=lambda link: link.handshake.errand.owed_since, default=None)

    def _owed_for(self, link: ServerLink) -> float:
        return self._loop.now - max(link.handshake.errand.owed_since, self._stood_still)

    def _patience(self, link: ServerLink) -> float:
        """How long it may owe us a message while others wait: less for each failure of its network."""
        return PLACE_SECONDS * 0.5 ** self.budget.lately(link.address[0])

    def _drop(self, link: ServerLink) -> None:
        log.info("too many half-open connections: the oldest of %s is dropped", link.address[0])
        self._note("limit_half_open")
        if not link.handshake.was_kept_waiting:
            link.handshake.count_failure()
        link.lost()

    def _are_too_many(self, more: int) -> bool:
        there = len(self._links) - len(self._turned_away) + len(self.waiting)
        return there + more > self.settings.max_connections

    def admit(self, link: ServerLink) -> None:
        """
        A connection has a place: it begins its handshake, or is turned away.

        Args:
            link: One of `links` already.
        """
        host = link.address[0]
        if self._are_too_many(0):
            log.warning(
                "too many connections (max_connections): %s is turned away, there are %d",
                host,
                self.settings.max_connections,
            )
            self._note("limit_connections")
            self._refuse(link, link.connection.give_up(Code.BUSY))
            return
        left = self.budget.blocked_for(host)
        if left:
            self._note("limit_failures")
            log.info("%s is turned away: it is blocked for %d s", host, math.ceil(left))
            self._refuse(link, link.handshake.connection.blocked(left))
            return
        if not is_loopback_host(host) and not self._count(link, host):
            log.warning("too many connections of one address (max_per_address): %s", host)
            self._note("limit_per_address")
            self._refuse(link, link.connection.give_up(Code.BUSY))
            return
        self._half_open.setdefault(link.network, {})[link] = None
        self.half_open += 1
        link.update_interest()

    def _count(self, link: ServerLink, host: str) -> bool:
        """Whether its address, or /64, and the networks around it have room for one more connection."""
        mine = networks(host)
        limits = self.settings.per_network
        if any(
            self._of_address.get(net, 0) >= most for net, most in zip(mine, limits, strict=False)
        ):
            return False
        link.counted = True
        for net in mine:
            self._of_address[net] = self._of_address.get(net, 0) + 1
        return True

    @property
    def most_of_address(self) -> int:
        """Connections of the address, or /64, that has most."""
        return max(
            (
                n
                for net, n in tuple(self._of_address.items())
                if net.endswith("/64") or "/" not in net
            ),
            default=0,
        )

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

    def no_longer_half_open(self, link: ServerLink) -> None:
        """The handshake of this link succeeded."""
        if link.half_open:
            link.half_open = False
            self.half_open -= 1
            links = self._half_open[link.network]
            del links[link]
            if not links:
                del self._half_open[link.network]
            self.fill()

    def failed_at(self, host: str, *, charge: bool) -> None:
        """A handshake of this address has failed."""
        if charge:
            self.budget.charge(host)
        left = self.budget.blocked_for(host)
        if left and self.budget.failures(host) == self.settings.max_failures:
            log.warning(
                "%s failed %d handshakes; it is turned away for %d s",
                host,
                self.settings.max_failures,
                math.ceil(left),
            )

    def close(self) -> None:
        """Nobody comes in any more: close those that wait."""
        self._filling = True
        self.waiting.close()

    def left(self, link: ServerLink) -> None:
        """The socket of this link is closed."""
        self._turned_away.pop(link, None)
        self._uncount(link)
        if link.half_open:
            self.no_longer_half_open(link)
            # One that closes without a byte was a probe: a balancer's, or somebody looked whether the port is open.
            handshake = link.handshake
            if handshake.failed or (handshake.was_heard and not handshake.was_kept_waiting):
                handshake.count_failure()
                self.failed += 1
                self._note("handshakes_failed")
