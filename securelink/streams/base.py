"""
What a session needs of whatever carries it: a stream of bytes to a peer, and a place where streams come in.

A link, the handshake and the listener know these protocols and no socket. `tcp.py` has what the network gives,
`memory.py` what needs no network; a carrier of another kind is one more file here.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Sequence
from typing import Protocol

Address = tuple[str, int]

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE
HANGUP = 4  # the peer has sent its last byte

# For `Stream.shutdown`. After END_SENDING the peer reads an end of stream behind what was sent; after STOP_READING what
# still comes is not wanted; BREAK is both, and whoever waits in `recv` or `wait` wakes up.
END_SENDING = socket.SHUT_WR
STOP_READING = socket.SHUT_RD
BREAK = socket.SHUT_RDWR


class Source(Protocol):
    """What a poller can watch."""

    def fileno(self) -> int:
        """The number of its descriptor; -1 once it is closed, and for a `Told`."""


class Stream(Source, Protocol):
    """
    An ordered stream of bytes to one peer, without a wait of its own unless `patience` says otherwise.

    One thread may read while another one writes. All but `patience` raise OSError when the stream is broken.

    Attributes:
        peer: Host and port of the peer; ("", 0) when it was gone already.
        local: The same of this side.
        at_once: The flag with which `recv` and `send` never wait.
    """

    @property
    def peer(self) -> Address: ...

    @property
    def local(self) -> Address: ...

    @property
    def at_once(self) -> int: ...

    def recv(self, size: int, flags: int, /) -> bytes:
        """What has come, at most `size` bytes; b"" is the end. Raises BlockingIOError when nothing has."""

    def send(self, data: bytes | memoryview, flags: int, /) -> int:
        """How many of these bytes were taken. Raises BlockingIOError when there is room for none."""

    def shutdown(self, how: int, /) -> None:
        """END_SENDING, STOP_READING or BREAK."""

    def close(self, *, reset: bool = False) -> None:
        """Release it. With `reset` the peer meets a ConnectionResetError. May be called again."""

    def wait(self, *, read: bool, write: bool, timeout: float | None) -> bool:
        """Wait until it can be read or written, as asked; False after `timeout` seconds."""

    def patience(self, seconds: float) -> bool:
        """Let `recv` with flags 0 wait for so long. False where that is not possible: then it never waits."""


class Listening(Source, Protocol):
    """
    Where streams come in.

    Attributes:
        address: Host and port.
    """

    @property
    def address(self) -> Address: ...

    def accept(self) -> Stream:
        """The next one. Raises BlockingIOError when nobody waits, ConnectionError when one has gone already."""

    def wait(self, timeout: float) -> bool:
        """Wait until somebody comes; False after `timeout` seconds."""

    def close(self) -> None:
        """Let nobody in any more."""


class Told:
    """
    A source that no selector of the system knows: it tells by itself.

    Attributes:
        on_change: Called, in any thread, when `ready()` may have changed. None while nobody watches.
    """

    on_change: Callable[[], None] | None = None

    def fileno(self) -> int:
        """As `Source.fileno`: it has none."""
        return -1

    def ready(self) -> int:
        """READ, WRITE and HANGUP, as they hold now."""
        raise NotImplementedError

    def tell(self) -> None:
        """Tell whoever watches; not under a lock."""
        told = self.on_change
        if told is not None:
            told()


class Carrier(Protocol):
    """How a server listens and a client connects: TCP, or something in its place."""

    def listen(self, host: str, port: int, backlog: int) -> Sequence[Listening]:
        """
        Listen.

        Raises:
            ConnectFailed: That place is not to be had.
        """

    def local_address(self) -> str:
        """This machine's address as others see it, for a server that listens on all of them."""

    def connect(self, host: str, port: int, timeout: float) -> Stream:
        """
        Connect.

        Raises:
            ConnectFailed: Nobody listens there.
            LinkTimeout: Nothing answered in `timeout` seconds.
        """
