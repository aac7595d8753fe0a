"""Messages of clients that a program has not taken yet: bounded by bytes, without delaying other clients."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from .. import limits
from ..interrupts import Sign


class Mailroom:
    """The boxes of all clients of a server, with the bounds that they share."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # guards everything of the room and its boxes
        self._changed = Sign()
        self.held = 0  # bytes, in all boxes
        self.waiters = 0  # handlers that wait for room in a box
        self.boxes: set[Mailbox] = set()

    def wait_for(self, ready: Callable[[], object], timeout: float | None = None) -> bool:
        """Wait, without the lock, until something is so; asked under the lock. False when it was not in time."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            with self.lock:
                if ready():
                    return True
                changed = self._changed
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                return False
            changed.wait(left)

    def notify(self) -> None:
        """Something has changed. The caller holds the lock."""
        self._changed.set()
        self._changed = Sign()

    def make_room(self) -> list[Mailbox]:
        """Close the fullest boxes until the rest fits; those that were closed. The caller holds the lock."""
        losers = []
        while self.held > limits.MAX_MAILROOM:
            most = max(self.boxes, key=lambda box: box.held)
            most.close()
            losers.append(most)
        return losers

    def box(self, refuse: Callable[[], object]) -> Mailbox:
        """A box for a client; `refuse()` ends its connection."""
        return Mailbox(self, refuse)


class Mailbox:
    """
    The messages of one client, in order.

    A full box makes its client's handler wait, which slows the client down. Only a few handlers of a server wait at
    a time, because the others must be there for those whose program does take what comes.
    """

    def __init__(self, room: Mailroom, refuse: Callable[[], object]) -> None:
        self._room, self.refuse = room, refuse
        self._messages: deque[bytes] = deque()
        self._over = False
        self.held = 0  # bytes

    def put(self, message: bytes) -> None:
        """Keep a message. Ends a connection whose box is full for long, or that holds most beyond the common bound."""
        room, losers = self._room, []
        self._wait_for_room(len(message))
        with room.lock:
            if not self._over and self._fits(len(message)):
                self._keep(message)
                losers = room.make_room()
            elif not self._over:
                self.close()
                losers.append(self)
        for box in losers:
            box.refuse()

    def first(self) -> bytes:
        """Wait for the oldest message, which stays in the box; b"" is the end."""
        self._room.wait_for(lambda: self._messages or self._over)
        with self._room.lock:
            return self._messages[0] if self._messages else b""

    def get(self) -> bytes:
        """Wait for the oldest message, and take it; b"" is the end."""
        room = self._room
        room.wait_for(lambda: self._messages or self._over)
        with room.lock:
            if not self._messages:
                return b""
            message = self._messages.popleft()
            self.held -= len(message)
            room.held -= len(message)
            if not self._messages:
                room.boxes.discard(self)
            room.notify()
            return message

    def end(self) -> None:
        """No more messages come; kept ones can still be taken."""
        with self._room.lock:
            self._over = True
            self._room.notify()

    def _fits(self, size: int) -> bool:
        few = len(self._messages) < limits.MAX_MAILBOX_MESSAGES
        return not self._messages or (few and self.held + size <= limits.MAX_MAILBOX)

    def _wait_for_room(self, size: int) -> None:
        room = self._room
        with room.lock:
            if self._over or self._fits(size) or room.waiters >= limits.MAX_MAILBOX_WAITERS:
                return
            room.waiters += 1
        try:
            room.wait_for(lambda: self._over or self._fits(size), limits.SEND_SECONDS)
        finally:
            with room.lock:
                room.waiters -= 1

    def _keep(self, message: bytes) -> None:
        self._messages.append(message)
        self.held += len(message)
        self._room.held += len(message)
        self._room.boxes.add(self)
        self._room.notify()

    def close(self) -> None:
        """Drop all messages, and accept no more. The caller holds the lock."""
        self._room.held -= self.held
        self.held = 0
        self._messages.clear()
        self._room.boxes.discard(self)
        self._over = True
        self._room.notify()
