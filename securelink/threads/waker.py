"""Lets other threads wake a leader that sleeps in the poller."""

from __future__ import annotations

import math
import os
import socket
import sys
from collections.abc import Callable
from io import FileIO

_ONE = (1).to_bytes(8, sys.byteorder)  # what an eventfd takes


class Waker:
    """
    An eventfd (see eventfd(2)), which the poller watches; on other systems a pair of sockets.

    Attributes:
        receiver: What the poller watches; None: nothing, see `sleeps_elsewhere`.
        sleeping: The leader has announced that it is going to sleep.
        wakes_at: When a sleeping leader wakes up by itself.
    """

    __slots__ = ("_read", "_sender", "_write", "receiver", "sleeping", "wakes_at")

    def __init__(self) -> None:
        self._write: Callable[[bytes], object]
        self._read: Callable[[int], object]
        self.receiver: FileIO | socket.socket | None
        self._sender: FileIO | socket.socket
        if hasattr(os, "eventfd"):
            event = _event()
            self.receiver = self._sender = event
            self._write, self._read = event.write, event.read
        else:
            receiver, sender = socket.socketpair()
            receiver.setblocking(False)
            sender.setblocking(False)
            self.receiver, self._sender = receiver, sender
            self._write, self._read = sender.send, receiver.recv
        self.sleeping = False
        self.wakes_at = math.inf

    def wake(self) -> None:
        """Wake the leader, so that it sees a change. Any thread, after the change."""
        # Written only after the leader has announced its sleep; it checks once more after announcing.
        if self.sleeping:
            self.sleeping = False
            try:
                self._write(_ONE)
            except (OSError, ValueError):
                pass  # full: the leader wakes anyway; closed: there is no leader to wake

    def sleeps_elsewhere(self, knock: Callable[[], None]) -> None:
        """Before it sleeps: the leader does so where only this call wakes it."""
        self.close()
        self.receiver = None
        self._write, self._read = lambda _: knock(), lambda _: None

    def close(self) -> None:
        """By the last leader."""
        if self.receiver is not None:
            self.receiver.close()
            self._sender.close()

    def on_io(self, mask: int) -> None:
        """By the leader: it is awake."""
        try:
            self._read(4096)
        except (OSError, ValueError):
            pass

    def on_error(self) -> None:
        """Nothing that could go wrong."""


def _event() -> FileIO:
    """An eventfd in an object that closes it."""
    # In one call, behind which Ctrl-C may come: a mere number would be lost there, and never closed.
    flags = os.EFD_NONBLOCK | os.EFD_CLOEXEC
    return next(map(FileIO, map(os.eventfd, (0,), (flags,)), ("r+",)))
