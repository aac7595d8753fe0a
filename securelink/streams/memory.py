"""
Streams in memory: both ends are in one process, without a port, a descriptor or the system's buffers.

Sent bytes arrive at once, so nothing depends on how busy the machine is. Selectors cannot watch such streams: each
end tells its watcher (`Told`), and the loop asks it before it sleeps.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from ..errors import ConnectFailed
from ..interrupts import Sign
from ..limits import MEMORY_STREAM_BYTES
from .base import BREAK, END_SENDING, HANGUP, READ, STOP_READING, WRITE, Address, Told

HOST: Final = "127.0.0.1"  # the address of both ends: they are on this machine, and trusted like it
_FIRST_PORT = 49_152


class _Direction:
    """One direction: its bytes, and the states of its two ends. Guarded by the lock of the pair."""

    def __init__(self, capacity: int) -> None:
        self.bytes = bytearray()
        self.capacity = capacity
        self.ended = False  # its sender sends no more
        self.unwanted = False  # its receiver reads no more
        self.reset = False  # its sender has broken it


class _Waiting:
    """Threads that wait for a change."""

    def __init__(self) -> None:
        self._signs: list[Sign] = []

    def until(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        changed = Sign()
        self._signs.append(changed)
        try:
            while True:
                if condition():
                    return True
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                changed.wait(None if timeout is None else left)
                changed.clear()
        finally:
            self._signs.remove(changed)

    def look_again(self) -> None:
        for sign in tuple(self._signs):
            sign.set()


class MemoryStream(Told):
    """
    One end of `memory_pair`, see `Stream` and `Told`.

    Attributes:
        closed: Whether `close` was called.
    """

    at_once = 0  # `recv` and `send` never wait

    def __init__(
        self,
        lock: threading.Lock,
        incoming: _Direction,
        outgoing: _Direction,
        local: Address,
        peer: Address,
    ) -> None:
        self.local = local
        self.peer = peer
        self.closed = False
        self._lock = lock
        self._waiting = _Waiting()
        self._incoming = incoming
        self._outgoing = outgoing
        self._other: MemoryStream | None = None

    def join(self, other: MemoryStream) -> None:
        """Make these two the ends of one connection."""
        self._other, other._other = other, self

    def recv(self, size: int, _flags: int = 0, /) -> bytes:
        """As `Stream.recv`."""
        with self._lock:
            if self.closed:
                raise OSError("the stream is closed")
            incoming = self._incoming
            if incoming.reset:
                raise ConnectionResetError("the peer has broken the connection")
            if not incoming.bytes:
                if incoming.ended or incoming.unwanted:
                    return b""
                raise BlockingIOError("nothing has come")
            data = bytes(incoming.bytes[:size])
            del incoming.bytes[:size]
        self._tell_other()
        return data

    def send(self, data: bytes | memoryview, _flags: int = 0, /) -> int:
        """As `Stream.send`."""
        with self._lock:
            outgoing = self._outgoing
            if self.closed or outgoing.ended or outgoing.unwanted:
                raise BrokenPipeError("the peer takes nothing more")
            room = outgoing.capacity - len(outgoing.bytes)
            if room <= 0:
                raise BlockingIOError("there is no room")
            taken = data[:room]
            outgoing.bytes += taken
        self._tell_other()
        return len(taken)

    def shutdown(self, how: int, /) -> None:
        """As `Stream.shutdown`."""
        with self._lock:
            if self.closed:
                raise OSError("the stream is closed")
            if how in (END_SENDING, BREAK):
                self._outgoing.ended = True
            if how in (STOP_READING, BREAK):
                self._incoming.unwanted = True
        self._tell_other()
        self.tell()

    def close(self, *, reset: bool = False) -> None:
        """As `Stream.close`."""
        with self._lock:
            self._outgoing.reset = self._outgoing.reset or (reset and not self.closed)
            self.closed = True
            self._outgoing.ended = True
            self._incoming.unwanted = True
            self._incoming.bytes.clear()
        self._tell_other()
        self.tell()

    def ready(self) -> int:
        """As `Told.ready`."""
        incoming, outgoing = self._incoming, self._outgoing
        mask = 0
        if incoming.bytes or incoming.ended or incoming.unwanted:
            mask |= READ
        if outgoing.unwanted or outgoing.ended or len(outgoing.bytes) < outgoing.capacity:
            mask |= WRITE
        if incoming.ended:
            mask |= HANGUP
        return mask

    def wait(self, *, read: bool, write: bool, timeout: float | None) -> bool:
        """As `Stream.wait`."""
        wanted = (READ if read else 0) | (WRITE if write else 0)
        return self._waiting.until(lambda: self.closed or bool(self.ready() & wanted), timeout)

    def patience(self, seconds: float) -> bool:
        """As `Stream.patience`: `recv` never waits."""
        return False

    @property
    def waiting(self) -> int:
        """Bytes that were sent by this end and not read yet."""
        return len(self._outgoing.bytes)

    def tell(self) -> None:
        """As `Told.tell`; threads in `wait` check again, too."""
        self._waiting.look_again()
        super().tell()

    def _tell_other(self) -> None:
        if self._other is not None:
            self._other.tell()


def memory_pair(
    capacity: int = MEMORY_STREAM_BYTES,
    addresses: tuple[Address, Address] = ((HOST, 1), (HOST, 2)),
) -> tuple[MemoryStream, MemoryStream]:
    """
    Two ends of one connection.

    Args:
        capacity: Bytes that each direction holds; `send` takes no more until they are read.
        addresses: Of the two.
    """
    lock = threading.Lock()
    there, back = _Direction(capacity), _Direction(capacity)
    one = MemoryStream(lock, back, there, addresses[0], addresses[1])
    two = MemoryStream(lock, there, back, addresses[1], addresses[0])
    one.join(two)
    return one, two


class MemoryListening(Told):
    """A listener of a `MemoryNetwork`, see `Listening` and `Told`."""

    def __init__(self, network: MemoryNetwork, address: Address, backlog: int) -> None:
        self.address = address
        self._network = network
        self._backlog = backlog
        self._offered: deque[MemoryStream] = deque()
        self._waiting = _Waiting()
        self._closed = False

    def offer(self, stream: MemoryStream) -> bool:
        """Queue a stream for `accept`; False if too many wait."""
        if len(self._offered) >= self._backlog:
            return False
        self._offered.append(stream)
        self.tell()
        return True

    def accept(self) -> MemoryStream:
        """As `Listening.accept`."""
        if self._closed:
            raise OSError("the place is closed")
        try:
            return self._offered.popleft()
        except IndexError:
            raise BlockingIOError("nobody waits") from None

    def wait(self, timeout: float) -> bool:
        """As `Listening.wait`."""
        return self._waiting.until(lambda: self._closed or bool(self._offered), timeout)

    def tell(self) -> None:
        """As `Told.tell`; threads in `wait` check again, too."""
        self._waiting.look_again()
        super().tell()

    def close(self) -> None:
        """As `Listening.close`."""
        self._closed = True
        self._network.forget(self)
        while self._offered:
            self._offered.popleft().close()
        self.tell()

    def ready(self) -> int:
        """As `Told.ready`."""
        return READ if self._offered else 0


class MemoryNetwork:
    """
    Ports that exist in this object only, see `Carrier`. Hosts make no difference.

    Args:
        capacity: Bytes that each direction of a connection holds.
    """

    def __init__(self, capacity: int = MEMORY_STREAM_BYTES) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()  # guards _places and _ports
        self._places: dict[int, MemoryListening] = {}
        self._ports = itertools.count(_FIRST_PORT)

    def listen(self, host: str, port: int, backlog: int) -> list[MemoryListening]:
        """As `Carrier.listen`."""
        with self._lock:
            port = port or next(self._ports)
            if port in self._places:
                raise ConnectFailed(
                    f"port {port} of this memory network is in use",
                    hint="stop the server that has it, or choose another port",
                )
            place = self._places[port] = MemoryListening(self, (HOST, port), max(1, backlog))
        return [place]

    def local_address(self) -> str:
        """As `Carrier.local_address`."""
        return HOST

    def connect(self, host: str, port: int, timeout: float) -> MemoryStream:
        """As `Carrier.connect`; it never waits."""
        with self._lock:
            place = self._places.get(port)
            local = (HOST, next(self._ports))
        if place is not None:
            ours, theirs = memory_pair(self._capacity, (local, place.address))
            if place.offer(theirs):
                return ours
        raise ConnectFailed(
            f"no server listens on port {port} of this memory network",
            hint="is the server started, and on this network?",
        )

    def forget(self, place: MemoryListening) -> None:
        """By the place: it is closed."""
        with self._lock:
            if self._places.get(place.address[1]) is place:
                del self._places[place.address[1]]
