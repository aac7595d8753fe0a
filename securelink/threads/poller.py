"""
Which sockets are ready. The leader's alone.

`selectors` is what every platform has. Where there is epoll it is used directly: `selectors` makes room for as many
events as there are sockets at each call (120 KB for 10,000), and wraps each event twice.
"""

from __future__ import annotations

import select
import selectors
import socket
import sys
from typing import Protocol

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE
HANGUP = 4  # the peer has sent its last byte; told only by epoll, and by others when they are read
MAX_EVENTS = 256  # of one call; what is left is reported by the next


class IOReady(Protocol):
    """What is registered."""

    def on_io(self, mask: int) -> None:
        """Called by the leader; `mask` has READ, WRITE and HANGUP."""

    def on_error(self) -> None:
        """Called after `on_io` raised: a bug of ours that must not hurt others."""


class Poller(Protocol):
    """A set of sockets."""

    def set(self, sock: socket.socket, mask: int, target: IOReady) -> None:
        """What to report for a socket (READ, WRITE, HANGUP); a mask of 0 removes it."""

    def poll(self, timeout: float | None) -> list[tuple[IOReady, int]]:
        """(target, mask) of those that are ready; waits up to `timeout` seconds, None for ever."""

    def close(self) -> None:
        """Release it."""


class SelectorPoller:
    """On `selectors`: any platform."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def set(self, sock: socket.socket, mask: int, target: IOReady) -> None:
        """As `Poller.set`; HANGUP is not told."""
        mask &= READ | WRITE
        try:
            key = self._selector.get_key(sock)
        except (KeyError, ValueError):
            if mask:
                self._selector.register(sock, mask, target)
            return
        if not mask:
            self._selector.unregister(sock)
        elif key.events != mask or key.data is not target:
            self._selector.modify(sock, mask, target)

    def poll(self, timeout: float | None) -> list[tuple[IOReady, int]]:
        """As `Poller.poll`."""
        return [(key.data, mask) for key, mask in self._selector.select(timeout)]

    def close(self) -> None:
        """As `Poller.close`."""
        self._selector.close()


if sys.platform == "linux":

    class EpollPoller:
        """On epoll, level-triggered, with a bounded number of events a call."""

        def __init__(self) -> None:
            self._epoll = select.epoll()
            self._targets: dict[int, tuple[IOReady, int]] = {}

        def set(self, sock: socket.socket, mask: int, target: IOReady) -> None:
            """As `Poller.set`."""
            number = sock.fileno()
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

        def close(self) -> None:
            """As `Poller.close`."""
            self._epoll.close()


def make_poller() -> Poller:
    """The best that this platform has."""
    if sys.platform == "linux":
        return EpollPoller()
    return SelectorPoller()
