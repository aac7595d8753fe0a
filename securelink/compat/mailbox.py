"""What clients have sent and a program has not taken yet: bounded by bytes, and no reason to hear others later."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from .. import limits


class Mailroom:
    """The boxes of all clients of a server, with the bounds that they share."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.held = 0  # bytes, in all boxes
        self.waiters = 0  # handlers that wait for room in a box
        self.boxes: set[Mailbox] = set()

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
        """Keep a message. Ends the connection whose box is full for long, or who holds most of what is too much."""
        room, losers = self._room, []
        with room.changed:
            if self._wait_for_room(len(message)):
                self._keep(message)
                while room.held > limits.MAX_MAILROOM:
                    most = max(room.boxes, key=lambda box: box.held)
                    most.close()
                    losers.append(most)
            elif not self._over:
                self.close()
                losers.append(self)
        for box in losers:
            box.refuse()

    def first(self) -> bytes:
        """Wait for the oldest message, which stays in the box; b"" is the end."""
        with self._room.changed:
            self._room.changed.wait_for(lambda: self._messages or self._over)
            return self._messages[0] if self._messages else b""

    def get(self) -> bytes:
        """Wait for the oldest message, and take it; b"" is the end."""
        room = self._room
        with room.changed:
            room.changed.wait_for(lambda: self._messages or self._over)
            if not self._messages:
                return b""
            message = self._messages.popleft()
            self.held -= len(message)
            room.held -= len(message)
            if not self._messages:
                room.boxes.discard(self)
            room.changed.notify_all()
            return message

    def end(self) -> None:
        """Nothing comes any more; what is there can still be taken."""
        with self._room.changed:
            self._over = True
            self._room.changed.notify_all()

    def _fits(self, size: int) -> bool:
        few = len(self._messages) < limits.MAX_MAILBOX_MESSAGES
        return not self._messages or (few and self.held + size <= limits.MAX_MAILBOX)

    def _wait_for_room(self, size: int) -> bool:
        room, end = self._room, time.monotonic() + limits.SEND_SECONDS
        if not self._over and not self._fits(size):
            if room.waiters >= limits.MAX_MAILBOX_WAITERS:
                return False
            room.waiters += 1
            try:
                room.changed.wait_for(
                    lambda: self._over or self._fits(size), max(0.0, end - time.monotonic())
                )
            finally:
                room.waiters -= 1
        return not self._over and self._fits(size)

    def _keep(self, message: bytes) -> None:
        self._messages.append(message)
        self.held += len(message)
        self._room.held += len(message)
        self._room.boxes.add(self)
        self._room.changed.notify_all()

    def close(self) -> None:
        """Drop what is there; nothing more is taken. The caller holds `changed`."""
        self._room.held -= self.held
        self.held = 0
        self._messages.clear()
        self._room.boxes.discard(self)
        self._over = True
        self._room.changed.notify_all()
