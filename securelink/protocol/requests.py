"""Request numbers, and the waiters for replies."""

from __future__ import annotations

from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, Protocol

from ..errors import LimitExceeded
from ..wire.packets import Packet
from .replies import Replies, Reply


class Waiter(Protocol):
    """
    A waiter for a reply or a PONG.

    Attributes:
        number: Its number from `expect`; negative for a PONG.
        patient: Whether no thread waits, so that it may learn a moment later that the session has ended.
    """

    number: int
    patient: bool

    def answered(self, reply: Reply | None) -> None:
        """The reply has come, or the PONG (None)."""

    def over(self) -> None:
        """The session has ended: there will be no reply."""


#: Shared by all sessions without waiters: an empty dict for each would cost 64 bytes.
_NOTHING: dict[int, Any] = {}


class Requests:
    """
    The expected replies of one session.

    Args:
        guard: Held while the table changes; a lock where threads share it.
        most: How many may wait.

    Attributes:
        guard, most: The same.
        expected: The waiters by number; read-only for others.
        replies: Replies that have arrived for them and are unread.
    """

    __slots__ = ("_asked", "expected", "guard", "most", "replies")

    def __init__(self, guard: AbstractContextManager[Any], most: int) -> None:
        self.guard = guard
        self.most = most
        self._asked = 0  # requests and pings so far
        self.replies = Replies()
        self.expected: dict[int, Waiter] = _NOTHING

    @property
    def asked(self) -> int:
        """Requests and pings so far."""
        return self._asked

    def go_on_from(self, asked: int) -> None:
        """Another process has asked so many: their numbers are not given again."""
        self._asked = asked

    def expect(self, waiter: Waiter, *, pong: bool = False) -> int:
        """
        Register `waiter` for the reply, or the PONG, with the number that this returns.

        It may be registered even if this raises, because Ctrl-C can come at the end: `waiter.number` tells.

        Raises:
            LimitExceeded: Too many wait already.
        """
        with self.guard:
            if len(self.expected) >= self.most:
                raise LimitExceeded(
                    f"{self.most} requests wait for their reply already", limit="max_requests"
                )
            if self.expected is _NOTHING:
                self.expected = {}
            self._asked += 1
            number = self._asked
            waiter.number = -number if pong else number
            self.expected[waiter.number] = waiter
            return number

    def resolve(self, packet: Packet, record: bytes | memoryview, *, alone: bool) -> bool:
        """
        Give a reply to its waiter, as bytes; False if there is none.

        Args:
            packet: The reply.
            record: The record that contains it.
            alone: Whether the record contains nothing else.
        """
        number = packet.reply_to
        if number is None or number not in self.expected:
            return False
        reply = self.replies.keep(record, packet, alone=alone)
        with self.guard:
            waiter = self.expected.pop(number, None)
        if waiter is None:
            return False
        waiter.answered(reply)
        return True

    def ponged(self, number: int) -> None:
        """A PONG with this number has come. Its waiter removes itself when it wakes."""
        waiter = self.expected.get(-number)
        if waiter is not None:
            waiter.answered(None)

    def forget(self, number: int) -> bool:
        """Remove a waiter; False if there was none."""
        with self.guard:
            return self.expected.pop(number, None) is not None

    def over(self) -> bool:
        """
        The session has ended: tell the waiters that have a thread.

        Returns:
            Whether others are left for `end_some`.
        """
        with self.guard:
            waiting = self._impatient()
            for waiter in waiting:
                del self.expected[waiter.number]
            left = bool(self.expected)
        for waiter in waiting:
            waiter.over()
        return left

    def _impatient(self) -> list[Waiter]:
        return [waiter for waiter in self.expected.values() if not waiter.patient]

    def end_some(self, most: int) -> bool:
        """After `over`: tell some of the rest; True if there are more."""
        with self.guard:
            numbers = list(islice(self.expected, most))
            waiting = [self.expected.pop(number) for number in numbers]
            if not self.expected:
                self.expected = _NOTHING
            left = bool(self.expected)
        for waiter in waiting:
            waiter.over()
        return left
