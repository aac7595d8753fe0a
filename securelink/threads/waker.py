"""Lets other threads wake a leader that sleeps in the poller."""

from __future__ import annotations

import math
import socket


class Waker:
    """
    A pair of sockets, of which the poller watches one.

    Attributes:
        receiver: The socket that the poller watches.
        sleeping: The leader has announced that it is going to sleep.
        wakes_at: When a sleeping leader wakes up by itself.
    """

    __slots__ = ("_sender", "receiver", "sleeping", "wakes_at")

    def __init__(self) -> None:
        self.receiver, self._sender = socket.socketpair()
        self.receiver.setblocking(False)
        self._sender.setblocking(False)
        self.sleeping = False
        self.wakes_at = math.inf

    def wake(self) -> None:
        """Wake the leader, so that it sees a change. Any thread, after the change."""
        # Written only after the leader has announced its sleep; it checks once more after announcing.
        if self.sleeping:
            self.sleeping = False
            try:
                self._sender.send(b"\0")
            except OSError:
                pass  # full: the leader wakes anyway; closed: there is no leader to wake

    def close(self) -> None:
        """By the last leader."""
        self.receiver.close()
        self._sender.close()

    def on_io(self, mask: int) -> None:
        """By the leader: it is awake."""
        try:
            self.receiver.recv(4096)
        except OSError:
            pass

    def on_error(self) -> None:
        """Nothing that could go wrong."""
