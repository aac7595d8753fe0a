"""
The write buffer of a connection: bytes that are sealed, and that the kernel has not taken yet.

They are called the tail. While there is one nothing else is sealed, so it stays below WRITE_BUDGET and one packet.
"""

from __future__ import annotations

from ..limits import STALLED_SECONDS
from ..protocol.liveness import Liveness
from ..protocol.send_queue import SendQueue
from ..streams.base import Stream


class WriteBuffer:
    """
    Writes to a stream what that takes, and keeps the rest. With the send right.

    Args:
        stream: To the peer.

    Attributes:
        tail: What is kept.
        queue: Of the session, which counts the tail with what waits; None before there is one.
    """

    __slots__ = ("_flags", "_seen", "_stalled", "_stream", "queue", "tail")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._flags = stream.at_once
        self.tail = memoryview(b"")
        self.queue: SendQueue | None = None
        # For the sweep: how long the peer took nothing while it was not read for that.
        self._stalled = 0.0
        self._seen = self.tail

    def write(self, data: bytes) -> bool:
        """
        Write, while there is no tail.

        Returns:
            Whether the stream has taken all.

        Raises:
            OSError: It takes nothing any more.
        """
        try:
            send = self._stream.send
            taken = send(data, self._flags)
        except (BlockingIOError, InterruptedError):
            taken = 0
        if taken < len(data):
            self._keep(memoryview(data)[taken:])
            return False
        return True

    def write_tail(self) -> bool:
        """Write the tail, as `write` does."""
        try:
            taken = self._stream.send(self.tail, self._flags)
            self._keep(self.tail[taken:])
        except (BlockingIOError, InterruptedError):
            pass
        return not self.tail

    def clear(self) -> None:
        """Drop the tail: nothing of it will be written."""
        self._keep(memoryview(b""))

    def _keep(self, tail: memoryview) -> None:
        self.tail = tail
        if self.queue is not None:
            self.queue.tail = len(tail)

    def watch(self, liveness: Liveness, *, choked: bool) -> None:
        """
        Once a second, by the leader: add up the time in which the peer took nothing.

        Args:
            liveness: Has the time.
            choked: The peer is not read for that, and has not hung up; otherwise its silence tells.
        """
        still = choked and self.tail is self._seen
        self._stalled = self._stalled + liveness.step if still else 0.0
        self._seen = self.tail

    @property
    def is_stalled(self) -> bool:
        """Whether the peer has taken nothing for too long."""
        return self._stalled > STALLED_SECONDS
