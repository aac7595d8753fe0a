"""The right to send over a stream, and with it the right to close that."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..interrupts import Right
from ..streams.base import BREAK, Stream

Result = TypeVar("Result")

RIGHT_SECONDS = 1.0  # the longest wait for the send right; a write that does not block takes less


class SendRight(Right):
    """
    A stream is closed with it only: a number freed while another thread is in send() could be reused under it. A
    thread that does not release the right in time closes the stream, when it does:

        finally:
            right.free = True
            if right.left_open:
                right.close_late()

    Args:
        stream: Which it is about.

    Attributes:
        left_open: The leader could not close the stream.
    """

    __slots__ = ("_stream", "left_open")

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self._stream = stream
        self.left_open = False

    def wait(self, act: Callable[[bool], Result]) -> Result:
        """As `within`, for RIGHT_SECONDS."""
        try:
            return self.within(RIGHT_SECONDS, act)
        finally:
            # Also after `leave_open`: a thread that released it just before has not seen the mark.
            if self.left_open:
                self.close_late()

    def leave_open(self) -> None:
        """By the leader, which did not get it: the connection is shut, and the holder closes the stream. In `wait`."""
        self.left_open = True
        self.shut()

    def close_late(self) -> None:
        """Close what was left open, unless another thread has the right, and comes here after that."""
        try:
            del self.free
        except AttributeError:
            return
        try:
            self.left_open = False
            self._stream.close()
        finally:
            self.free = True

    def shut(self) -> None:
        """The connection is over, for the peer and for all that wait for it; its number stays."""
        try:
            self._stream.shutdown(BREAK)
        except OSError:
            pass
