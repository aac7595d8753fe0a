"""How a leader that sleeps in the poller is woken by other threads."""

from __future__ import annotations

import math
import socket


class Waker:
    """
    A pair of sockets, of which the poller watches one.

    Attributes:
        receiver: What the poller watches for this object.
        sleeping: The leader has said that it is going to sleep.
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
        """Let the leader look at what has changed. Any thread, after the change."""
        # Written only when the leader said that it goes to sleep; it looks once more after saying so.
        if self.sleeping:
            self.sleeping = False
            try:
                self._sender.send(b"\0")
            except OSError:
                pass  # full: it wakes anyway; closed: nobody is there to wake

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
