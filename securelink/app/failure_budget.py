"""Bounds failed handshakes: a budget for each address, and for the IPv6 networks that one customer gets."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..limits import (
    FAILED_WINDOW,
    LATE_FAILURES,
    LATE_WINDOW,
    MAX_FAILED_ADDRESSES,
    MAX_KNOWN_NETWORKS,
)
from ..streams.addresses import networks
from ..window_counts import WindowCounts

# Networks may fail this many times as often as a /64 in them: a /56 is a household, a /48 a company.
SHARES = (1, 4, 16)

# The ranks of an address: its turn comes after those of better ranks. Between the last two the failures count.
KNOWN, NEW, LATE = 0, 1, 1 + LATE_FAILURES


class FailureBudget:
    """
    Counts failures by address.

    Args:
        limit: Failures of one address in a window.
        clock: Seconds, monotonic.
        exempt: Whether an address has no budget.
    """

    def __init__(
        self, limit: int, clock: Callable[[], float], exempt: Callable[[str], bool]
    ) -> None:
        self._limit = limit
        self._exempt = exempt
        self._lock = threading.Lock()  # guards the counts
        self._failures = WindowCounts[str](FAILED_WINDOW, MAX_FAILED_ADDRESSES, clock)
        # Longer than the budget lasts: otherwise the next window would begin with a flood of addresses that look new.
        self._settled = WindowCounts[str](LATE_WINDOW, MAX_FAILED_ADDRESSES, clock)
        self._known: dict[str, None] = {}  # networks that were let in; oldest first

    @property
    def window(self) -> float:
        """Seconds from an address's first failure until all of them are forgotten."""
        return self._failures.seconds

    @window.setter
    def window(self, seconds: float) -> None:
        self._failures.seconds = seconds

    def blocked_for(self, host: str) -> float:
        """Seconds until this address may try again; 0.0 when it may now."""
        if self._exempt(host):
            return 0.0
        with self._lock:
            return self._left(host)

    def charge(self, host: str, *, under_way: bool = False) -> float:
        """
        Count a failure, or an attempt that may fail, unless the address is blocked already. This is one step, so that
        no more concurrent guesses are checked than the budget allows.

        Args:
            host: The address.
            under_way: The attempt is in progress. If it was counted, one of the next three methods reports its result
                later.

        Returns:
            Seconds until the address may try again; 0.0 when this one was counted.
        """
        if self._exempt(host):
            return 0.0
        with self._lock:
            left = self._left(host)
            if left:
                return left
            for network in networks(host):
                self._failures.add(network)
            if not under_way:
                self._has_failed(host)
            return 0.0

    def failed(self, host: str) -> None:
        """An attempt in progress has failed."""
        if not self._exempt(host):
            with self._lock:
                self._has_failed(host)

    def take_back(self, host: str) -> None:
        """An attempt in progress is over, and does not count as a failure."""
        if not self._exempt(host):
            with self._lock:
                self._take_back(host)

    def let_in(self, host: str) -> None:
        """An attempt in progress has succeeded: its network is known from now on."""
        if self._exempt(host):
            return
        with self._lock:
            self._take_back(host)
            network = networks(host)[-1]
            self._known.pop(network, None)
            self._known[network] = None
            if len(self._known) > MAX_KNOWN_NETWORKS:
                del self._known[next(iter(self._known))]

    def failures(self, host: str) -> int:
        """The count of this address, or of its /64, with attempts in progress."""
        with self._lock:
            return self._failures.count(networks(host)[0])

    @property
    def most_failures(self) -> int:
        """The highest count of an address, or of a /64."""
        with self._lock:
            known = list(self._failures.keys())
        near = [network for network in known if network.endswith("/64") or "/" not in network]
        return max(map(self._failures.seen, near), default=0)

    def standing(self, host: str) -> int:
        """
        The rank of an address, `KNOWN` to `LATE`. Takes no lock.

        A known address is ranked by its own failures, so that one neighbour does not spoil the rank of a whole
        network; an unknown one by those of its network, which has endless addresses. Attempts in progress have not
        failed.
        """
        around = networks(host)
        if self._is_known(around):
            return KNOWN
        return min(NEW + self._settled.seen(around[-1]), LATE)

    def lately(self, host: str) -> int:
        """Failures of its network in the longer window; none of an address that is known. Takes no lock."""
        around = networks(host)
        return 0 if self._is_known(around) else self._settled.seen(around[-1])

    def _is_known(self, around: tuple[str, ...]) -> bool:
        near, far = around[0], around[-1]
        return far in self._known and self._settled.seen(near) < LATE_FAILURES

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._failures.clear()
            self._settled.clear()

    def __len__(self) -> int:
        return len(self._failures)

    def _has_failed(self, host: str) -> None:
        for network in networks(host):
            self._settled.add(network)

    def _take_back(self, host: str) -> None:
        for network in networks(host):
            self._failures.take_back(network)

    def _left(self, host: str) -> float:
        left = 0.0
        for network, share in zip(networks(host), SHARES, strict=False):
            if self._failures.count(network) >= self._limit * share:
                left = max(left, self._failures.left(network))
        return left
