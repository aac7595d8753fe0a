"""What a relay does with the bytes of one direction: records, holds back, slows down, changes and cuts."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from time import monotonic  # the true one, whatever a test does with the clock

from ..interrupts import Sign
from .pairs import Outlet

Hook = Callable[[bytes], bytes]

_TICK = 0.1  # seconds until a thread that waits notices that its connection is cut
_MAX_CAPTURED = 64 * 1024 * 1024  # bytes kept of each direction; later ones are only passed on


class Flow:
    """
    One direction, over all connections of a relay.

    Args:
        name: "to server" or "to client".

    Attributes:
        hook: Called with each chunk as it arrived; its result is passed on, b"" drops the chunk. None passes all.
            Chunks are cut anywhere: `by_frame` makes a hook that sees whole frames.
        delay: Seconds that each chunk is held back.
        bandwidth: Bytes a second that pass, of all connections together. None: any number.
        cut_after: A connection is cut after this many bytes in this direction: no further byte is passed on, whatever
            the chunks. None: never. It counts from the beginning of each connection.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.hook: Hook | None = None
        self.delay = 0.0
        self.bandwidth: float | None = None
        self.cut_after: int | None = None
        self._flowing = Sign()
        self._flowing.set()
        self._lock = threading.Lock()  # guards _captured and _outlets
        self._captured = bytearray()
        self._outlets: list[Outlet] = []
        self._free_at = 0.0  # when the line has passed on what it has

    @property
    def captured(self) -> bytes:
        """All bytes so far, as the sender sent them."""
        with self._lock:
            return bytes(self._captured)

    def forget(self) -> None:
        """Start capturing again."""
        with self._lock:
            self._captured.clear()

    def hold(self) -> None:
        """Pass nothing on until `release` is called."""
        self._flowing.clear()

    def release(self) -> None:
        """Pass on held bytes, in order, and all later ones."""
        self._flowing.set()

    def inject(self, data: bytes) -> None:
        """
        Insert bytes into the newest connection, after those that were passed on so far.

        Raises:
            OSError: There is no connection, or its receiver is gone.
        """
        with self._lock:
            # By its number: the threads of two connections may come here in another order than the connections did.
            outlet = max(self._outlets, key=lambda outlet: outlet.number, default=None)
        if outlet is None:
            raise ConnectionError("the relay has no connection to inject into")
        outlet.write(data)

    def passes(self, chunk: bytes, outlet: Outlet) -> bool:
        """By a relay: a chunk has come. False when its connection is to be cut."""
        with self._lock:
            room = _MAX_CAPTURED - len(self._captured)
            self._captured += chunk[: max(0, room)]
        if self.delay:
            time.sleep(self.delay)
        self._wait_for_line(len(chunk), outlet)
        while not self._flowing.wait(_TICK):
            if outlet.closed:
                return False
        hook = self.hook
        data = hook(chunk) if hook is not None else chunk
        most = self.cut_after if outlet.cut_after is None else outlet.cut_after
        if most is not None:
            data = data[: max(0, most - outlet.written)]
        outlet.write(data)
        return most is None or outlet.written < most

    def _wait_for_line(self, size: int, outlet: Outlet) -> None:
        """Until the line has room: as long as these bytes take at this bandwidth."""
        bandwidth = self.bandwidth
        if bandwidth is None:
            return
        with self._lock:
            self._free_at = until = max(self._free_at, monotonic()) + size / bandwidth
        while (left := until - monotonic()) > 0 and not outlet.closed:
            time.sleep(min(left, _TICK))

    def opened(self, outlet: Outlet) -> None:
        """By a relay: a connection was added."""
        with self._lock:
            self._outlets.append(outlet)

    def ended(self, outlet: Outlet) -> None:
        """By a relay: a connection has ended."""
        with self._lock, contextlib.suppress(ValueError):
            self._outlets.remove(outlet)
