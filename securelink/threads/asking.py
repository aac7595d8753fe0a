"""The state of a thread that waits for an answer of the peer."""

from __future__ import annotations

import math
from typing import Generic, TypeVar

from ..errors import RequestFailed
from ..interrupts import Sign
from ..limits import MAX_CLOSE_TEXT
from ..protocol.replies import Reply
from ..text import escaped, kind_of, shortened
from ..wire.packets import Packet

Target = TypeVar("Target")


class Waiting:
    """
    A wait for a reply or a PONG. The reading thread fills it in.

    Attributes:
        event: Set when the wait is over; by default what a thread waits for.
        number: The number of the request; negative for a PING; 0 before there is one.
        reply: The reply, if one came.
        patient: See `Waiter`.
    """

    __slots__ = ("event", "number", "reply")
    patient = False

    def __init__(self, event: Sign | None = None) -> None:
        self.event = event or Sign()
        self.number = 0
        self.reply: Reply | None = None

    def answered(self, reply: Reply | None) -> None:
        """The reply has come, or the PONG (None)."""
        self.reply = reply
        self.event.set()

    def over(self) -> None:
        """The session has ended: there will be no reply."""
        self.event.set()


def failure_of(reply: Packet) -> RequestFailed | None:
    """The error that a reply stands for, or None."""
    if not reply.headers or "error" not in reply.headers:
        return None
    reason = _words(reply.headers["error"])
    hint = ""
    if reason == "no handler":
        hint = f"is {_words(reply.action)!r} spelled as in the peer's on()?"
    return RequestFailed(_words(reply.data) if reply.data else "", reason=reason, hint=hint)


def _words(value: object) -> str:
    # The rest is cut off first, because escaping all of it could take long.
    if isinstance(value, str):
        return escaped(shortened(value, MAX_CLOSE_TEXT))
    plain = value is None or isinstance(value, bool | int | float)
    return str(value) if plain else kind_of(value)


class Alarm(Generic[Target]):
    """
    The object that a loop keeps until a timer is due: it refers to the session only while that is open.

    Args:
        of: The owner of the timer.

    Attributes:
        of: The same; None when it is over.
        at: When the timer is due; infinity while there is none.
    """

    __slots__ = ("at", "of")

    def __init__(self, of: Target) -> None:
        self.of: Target | None = of
        self.at = math.inf
