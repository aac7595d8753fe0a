"""How often a stranger may fail: a budget for each address, and for the networks of IPv6 that one customer gets."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..limits import FAILED_WINDOW, MAX_FAILED_ADDRESSES
from ..rates import WindowCounts
from ..streams.addresses import networks

# A network may fail so many times as often as one /64 in it: a /56 is a household, a /48 a company.
SHARES = (1, 4, 16)


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
        self._tries: dict[str, int] = {}  # those that are counted and under way, by address or /64

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
        Count a failure, or what may become one, unless the address is blocked already. In one step: of guesses that are
        made at once no more than the budget are looked at.

        Args:
            host: The address.
            under_way: It may become one. `settle` says later what has become of it, if it was counted.

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
            if under_way:
                near = networks(host)[0]
                self._tries[near] = self._tries.get(near, 0) + 1
            return 0.0

    def settle(self, host: str, *, failed: bool) -> None:
        """What was under way is over."""
        if self._exempt(host):
            return
        near = networks(host)[0]
        with self._lock:
            left = self._tries.pop(near, 0) - 1
            if left > 0:
                self._tries[near] = left
            if not failed:
                for network in networks(host):
                    self._failures.take_back(network)

    def failures(self, host: str) -> int:
        """How many of this address, or of its /64, are counted, with those that are under way."""
        with self._lock:
            return self._failures.count(networks(host)[0])

    def has_failed(self, host: str, times: int) -> bool:
        """Whether so many of this address, or of its /64, have failed; who has right passwords has tries under way."""
        near = networks(host)[0]
        with self._lock:
            return self._failures.count(near) - self._tries.get(near, 0) >= times

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._failures.clear()

    def __len__(self) -> int:
        return len(self._failures)

    def _left(self, host: str) -> float:
        left = 0.0
        for network, share in zip(networks(host), SHARES, strict=False):
            if self._failures.count(network) >= self._limit * share:
                left = max(left, self._failures.left(network))
        return left
