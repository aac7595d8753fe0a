"""A connection through a relay: its two streams, and the ends that bytes are written to."""

from __future__ import annotations

import contextlib
import threading

from ..streams.base import BREAK, END_SENDING, STOP_READING, Stream

_CHUNK = 64 * 1024  # bytes of one read


def read(source: Stream) -> bytes:
    """The next chunk; waits for it."""
    while True:
        try:
            return source.recv(_CHUNK, source.at_once)
        except (BlockingIOError, InterruptedError):
            source.wait(read=True, write=False, timeout=None)


class Outlet:
    """
    The receiving end of one direction of one connection.

    Args:
        stream: To the receiver.
        pair: The connection.
        cut_after: As in `Flow`, for this connection alone.

    Attributes:
        written: Bytes that were passed on.
    """

    def __init__(self, stream: Stream, pair: Pair, cut_after: int | None = None) -> None:
        self._stream = stream
        self._pair = pair
        self.number = pair.number
        self._lock = threading.Lock()  # so that injected bytes lie between chunks, never inside
        self.cut_after = cut_after
        self.written = 0

    @property
    def closed(self) -> bool:
        """Whether its connection is cut."""
        return self._pair.is_cut

    def write(self, data: bytes) -> None:
        """Pass bytes on; into the void when the connection is lost without a word."""
        with self._lock:
            if self._pair.lost:
                return
            self.written += len(data)
            self._write(memoryview(data))

    def _write(self, rest: memoryview) -> None:
        while rest:
            try:
                rest = rest[self._stream.send(rest, self._stream.at_once) :]
            except (BlockingIOError, InterruptedError):
                self._stream.wait(read=False, write=True, timeout=None)


class Pair:
    """
    The two streams of a connection; they are closed when both directions have ended.

    Attributes:
        number: Of the connection.
        lost: Nothing passes any more, and nobody is told: a half-open connection.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.lost = False
        self._streams: list[Stream] = []
        self._lock = threading.Lock()  # guards all fields
        self._open = 2
        self._cut = False
        self._reset = False

    @property
    def is_cut(self) -> bool:
        """Whether it is cut."""
        return self._cut

    def add(self, stream: Stream) -> None:
        """One of the two streams."""
        with self._lock:
            self._streams.append(stream)
            cut = self._cut
        if cut:  # while the peer was being connected
            self.cut(self._reset)

    def cut(self, reset: bool) -> None:
        """End it."""
        with self._lock:
            self._cut = True
            self._reset = self._reset or reset
            streams = tuple(self._streams)
        for stream in streams:
            with contextlib.suppress(OSError):
                # Wakes the threads that read; the last of them closes, so no number is reused under the other.
                stream.shutdown(STOP_READING if reset else BREAK)

    def direction_ended(self, sink: Stream) -> bool:
        """Pass the end of stream on; True for the second direction, which closes both streams."""
        with self._lock:
            self._open -= 1
            last = self._open == 0
        if not (self._reset or self.lost):
            with contextlib.suppress(OSError):
                sink.shutdown(END_SENDING)
        if last:
            for stream in self._streams:
                stream.close(reset=self._reset)
        return last
