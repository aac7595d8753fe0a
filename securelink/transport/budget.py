"""How often a stranger may fail: a budget for each address, and for the networks of IPv6 that one customer gets."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..limits import FAILED_WINDOW, MAX_FAILED_ADDRESSES
from .sockets import networks

# A network may fail so many times as often as one /64 in it: a /56 is a household, a /48 a company.
SHARES = (1, 4, 16)


class FailureBudget:
    """
    Counts failures by address.

    Args:
        limit: Failures of one address in a window.
        clock: Seconds, monotonic.
        exempt: Whether an address has no budget.

    Attributes:
        window: Seconds from an address's first failure until all of them are forgotten.
    """

    def __init__(
        self, limit: int, clock: Callable[[], float], exempt: Callable[[str], bool]
    ) -> None:
        self._limit = limit
        self._clock = clock
        self._exempt = exempt
        self.window = FAILED_WINDOW
        self._lock = threading.Lock()
        self._failures: dict[
            str, tuple[float, int]
        ] = {}  # network -> since, how many; oldest first

    def blocked_for(self, host: str) -> float:
        """Seconds until this address may try again; 0.0 when it may now."""
        if self._exempt(host):
            return 0.0
        with self._lock:
            return self._left(host)

    def charge(self, host: str) -> float:
        """
        Count a failure, or what may become one, unless the address is blocked already. In one step: of guesses that are
        made at once no more than the budget are looked at.

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
                since, count = self._count(network)
                if not count:
                    self._make_room()
                self._failures[network] = (since, count + 1)
            return 0.0

    def refund(self, host: str) -> None:
        """What was counted was no failure after all."""
        with self._lock:
            for network in networks(host):
                since, count = self._count(network)
                if count > 1:
                    self._failures[network] = (since, count - 1)
                else:
                    self._failures.pop(network, None)

    def failures(self, host: str) -> int:
        """How many of this address, or of its /64, are counted."""
        with self._lock:
            return self._count(networks(host)[0])[1]

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._failures.clear()

    def __len__(self) -> int:
        return len(self._failures)

    def _left(self, host: str) -> float:
        now = self._clock()
        left = 0.0
        for network, share in zip(networks(host), SHARES, strict=False):
            since, count = self._count(network)
            if count >= self._limit * share:
                left = max(left, since + self.window - now)
        return left

    def _count(self, network: str) -> tuple[float, int]:
        now = self._clock()
        since, count = self._failures.get(network, (now, 0))
        if now - since >= self.window:
            self._failures.pop(network, None)
            return now, 0
        return since, count

    def _make_room(self) -> None:
        # Whoever has so many addresses is not stopped by counting them; memory is what is left to guard.
        while len(self._failures) >= MAX_FAILED_ADDRESSES:
            del self._failures[next(iter(self._failures))]
