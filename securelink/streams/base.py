"""
The interfaces of transports: a stream of bytes to a peer, and a listener that accepts streams.

A link, the handshake and the listener only know these protocols, no sockets. `tcp.py` implements them for the
network, `memory.py` without one; another transport is one more file here.
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

# For `Stream.shutdown`. After END_SENDING the peer reads an end of stream after the data; after STOP_READING further
# data is dropped; BREAK is both, and threads that wait in `recv` or `wait` wake up.
END_SENDING = socket.SHUT_WR
STOP_READING = socket.SHUT_RD
BREAK = socket.SHUT_RDWR


class Source(Protocol):
    """An object that a poller can watch."""

    def fileno(self) -> int:
        """The number of its descriptor; -1 once it is closed, and for a `Told`."""


class Stream(Source, Protocol):
    """
    An ordered stream of bytes to one peer; its calls do not wait, unless `patience` says otherwise.

    One thread may read while another one writes. All methods except `patience` raise OSError if the stream is broken.

    Attributes:
        peer: Host and port of the peer; ("", 0) if it was gone already.
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
        """Up to `size` bytes that have come; b"" is the end. Raises BlockingIOError if there are none."""

    def send(self, data: bytes | memoryview, flags: int, /) -> int:
        """Send bytes; returns how many were taken. Raises BlockingIOError if there is no room."""

    def shutdown(self, how: int, /) -> None:
        """END_SENDING, STOP_READING or BREAK."""

    def close(self, *, reset: bool = False) -> None:
        """Release it. With `reset` the peer meets a ConnectionResetError. May be called again."""

    def wait(self, *, read: bool, write: bool, timeout: float | None) -> bool:
        """Wait until it can be read or written, as requested; False after `timeout` seconds."""

    def patience(self, seconds: float) -> bool:
        """Set how long `recv` with flags 0 waits. False if that is not supported: then it never waits."""


class Listening(Source, Protocol):
    """
    A listener, which accepts streams.

    Attributes:
        address: Host and port.
    """

    @property
    def address(self) -> Address: ...

    def accept(self) -> Stream:
        """The next stream. Raises BlockingIOError if none waits, ConnectionError if it is gone already."""

    def wait(self, timeout: float) -> bool:
        """Wait for a stream; False after `timeout` seconds."""

    def close(self) -> None:
        """Accept no more streams."""


class Told:
    """
    A source without a descriptor, which reports its changes itself.

    Attributes:
        on_change: Called, in any thread, when `ready()` may have changed. None while it is not watched.
    """

    on_change: Callable[[], None] | None = None

    def fileno(self) -> int:
        """As `Source.fileno`: it has none."""
        return -1

    def ready(self) -> int:
        """The current mask of READ, WRITE and HANGUP."""
        raise NotImplementedError

    def tell(self) -> None:
        """Tell the watcher; do not call it under a lock."""
        told = self.on_change
        if told is not None:
            told()


class Opening(Source, Protocol):
    """A stream that is being opened: its descriptor can be written when that is decided."""

    def wait(self, *, read: bool, write: bool, timeout: float) -> bool:
        """Wait until it is decided, whatever is asked for; False after `timeout` seconds."""

    def done(self) -> Stream | None:
        """
        The stream, once; None while it is not decided.

        Raises:
            ConnectFailed: There is none.
        """

    def close(self) -> None:
        """Give it up. May be called again."""


class Carrier(Protocol):
    """A transport, with which a server listens and a client connects: TCP, or another one."""

    def listen(self, host: str, port: int, backlog: int) -> Sequence[Listening]:
        """
        Listen.

        Raises:
            ConnectFailed: The address cannot be used.
        """

    def local_address(self) -> str:
        """This machine's address as others see it, for a server that listens on all of them."""

    def connect(self, host: str, port: int, timeout: float) -> Stream:
        """
        Connect.

        Raises:
            ConnectFailed: No server listens there.
            LinkTimeout: There was no answer in `timeout` seconds.
        """


class Beginning(Protocol):
    """What a carrier may have, too: then nobody waits in `connect`."""

    def begin(self, host: str, port: int) -> Opening | None:
        """
        Begin to connect; None: this one would have to wait.

        Raises:
            ConnectFailed: The host is none.
        """
