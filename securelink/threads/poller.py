"""
Which sockets are ready. The leader's alone.

`selectors` is what every platform has. Where there is epoll it is used directly: `selectors` makes room for as many
events as there are sockets at each call (120 KB for 10,000), and wraps each event twice.
"""

from __future__ import annotations

import select
import selectors
import sys
from collections.abc import Callable
from typing import Protocol

from ..streams.base import HANGUP, READ, WRITE, Source, Told

MAX_EVENTS = 256  # of one call; what is left is reported by the next


class IOReady(Protocol):
    """What is registered."""

    def on_io(self, mask: int) -> None:
        """Called by the leader; `mask` has READ, WRITE and HANGUP."""

    def on_error(self) -> None:
        """Called after `on_io` raised: a bug of ours that must not hurt others."""


class Poller(Protocol):
    """A set of sources that the system knows."""

    def set(self, source: Source, mask: int, target: IOReady) -> None:
        """What to report for a source (READ, WRITE, HANGUP); a mask of 0 removes it."""

    def poll(self, timeout: float | None) -> list[tuple[IOReady, int]]:
        """(target, mask) of those that are ready; waits up to `timeout` seconds, None forever."""

    def fileno(self) -> int:
        """A descriptor that is readable when something is ready; -1: there is none here."""

    def close(self) -> None:
        """Release it."""


class ToldPoller:
    """
    The sources that tell by themselves: as a selector would, it reports what is ready for as long as it is.

    Args:
        wake: Ends the sleep of the thread that polls.

    Attributes:
        watched: source -> (target, mask).
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.watched: dict[Told, tuple[IOReady, int]] = {}
        self._wake = wake

    def set(self, source: Told, mask: int, target: IOReady) -> None:
        """As `Poller.set`."""
        if mask:
            self.watched[source] = target, mask
            source.on_change = self._wake
        elif self.watched.pop(source, None) is not None:
            source.on_change = None

    def are_ready(self) -> bool:
        """Whether one of them is."""
        return any(source.ready() & mask for source, (_, mask) in self.watched.items())

    def poll(self, poller: Poller, timeout: float | None) -> list[tuple[IOReady, int]]:
        """As `Poller.poll`, for these sources and those of `poller` together."""
        ready = [
            (target, found)
            for source, (target, mask) in self.watched.items()
            if (found := source.ready() & mask)
        ]
        return ready + poller.poll(0.0 if ready else timeout)


class SelectorPoller:
    """On `selectors`: any platform."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def set(self, source: Source, mask: int, target: IOReady) -> None:
        """As `Poller.set`; HANGUP is not told: it is met when they are read."""
        mask &= READ | WRITE
        try:
            key = self._selector.get_key(source)
        except (KeyError, ValueError):
            if mask:
                self._selector.register(source, mask, target)
            return
        if not mask:
            self._selector.unregister(source)
        elif key.events != mask or key.data is not target:
            self._selector.modify(source, mask, target)

    def poll(self, timeout: float | None) -> list[tuple[IOReady, int]]:
        """As `Poller.poll`."""
        return [(key.data, mask) for key, mask in self._selector.select(timeout)]

    def fileno(self) -> int:
        """As `Poller.fileno`."""
        fileno = getattr(self._selector, "fileno", None)
        return int(fileno()) if fileno is not None else -1

    def close(self) -> None:
        """As `Poller.close`."""
        self._selector.close()


if sys.platform == "linux":

    class EpollPoller:
        """On epoll, level-triggered, with a bounded number of events a call."""

        def __init__(self) -> None:
            self._epoll = select.epoll()
            self._targets: dict[int, tuple[IOReady, int]] = {}

        def set(self, source: Source, mask: int, target: IOReady) -> None:
            """As `Poller.set`."""
            number = source.fileno()
            known = self._targets.get(number)
            events = 0
            if mask & READ:
                events = select.EPOLLIN
            if mask & WRITE:
                events |= select.EPOLLOUT
            if mask & HANGUP:
                events |= select.EPOLLRDHUP
            if known is None:
                if mask:
                    self._epoll.register(number, events)
                    self._targets[number] = (target, mask)
            elif not mask:
                del self._targets[number]
                self._epoll.unregister(number)
            elif known != (target, mask):
                self._epoll.modify(number, events)
                self._targets[number] = (target, mask)

        def poll(self, timeout: float | None) -> list[tuple[IOReady, int]]:
            """As `Poller.poll`. Errors and hang-ups are reported as whatever was asked for: its call meets them."""
            targets = self._targets
            ready = []
            for number, event in self._epoll.poll(timeout, MAX_EVENTS):
                target, mask = targets[number]
                if event != select.EPOLLIN:
                    if not event & ~select.EPOLLIN:
                        mask &= READ
                    if not event & ~select.EPOLLOUT:
                        mask &= WRITE
                else:
                    mask = READ
                ready.append((target, mask))
            return ready

        def fileno(self) -> int:
            """As `Poller.fileno`."""
            return self._epoll.fileno()

        def close(self) -> None:
            """As `Poller.close`."""
            self._epoll.close()


def make_poller() -> Poller:
    """The best that this platform has."""
    if sys.platform == "linux":
        return EpollPoller()
    return SelectorPoller()
