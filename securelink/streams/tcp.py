"""TCP. Reading and writing are the socket's own methods: no Python call lies between a link and the system."""

from __future__ import annotations

import select
import socket
import struct

from .base import Address
from .names import is_address
from .reach import Attempt, connect
from .sockets import listen, local_address, peer_address, plain_address, prepare

DONT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)  # 0 where the system has no such flag (Windows)


class TcpStream:
    """
    A connected socket, see `Stream`.

    Args:
        sock: Connected, non-blocking. The stream closes it.
        peer: The peer's address, if it is known already.
    """

    __slots__ = ("at_once", "peer", "recv", "send", "sock")

    def __init__(self, sock: socket.socket, peer: Address | None = None) -> None:
        self.sock = sock
        self.peer: Address = peer or peer_address(sock)
        self.at_once: int = DONT_WAIT
        # Bound once: each call goes into the system without a function of ours.
        self.recv = sock.recv
        self.send = sock.send

    @property
    def local(self) -> Address:
        """As `Stream.local`; seldom asked for."""
        return _local_address(self.sock)

    def fileno(self) -> int:
        """As `Stream.fileno`."""
        return self.sock.fileno()

    def shutdown(self, how: int) -> None:
        """As `Stream.shutdown`."""
        self.sock.shutdown(how)

    def close(self, *, reset: bool = False) -> None:
        """As `Stream.close`."""
        if reset and self.sock.fileno() >= 0:
            # Lingering for 0 seconds turns a close into a reset.
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def wait(self, *, read: bool, write: bool, timeout: float | None) -> bool:
        """As `Stream.wait`."""
        return _wait_for(self.sock, read=read, write=write, timeout=timeout)

    def patience(self, seconds: float) -> bool:
        """As `Stream.patience`."""
        if not DONT_WAIT:
            return False
        whole = int(seconds)
        length = struct.pack("@ll", whole, int((seconds - whole) * 1_000_000))
        try:
            self.sock.settimeout(None)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, length)
        except OSError:
            return False  # closed meanwhile
        return True


class TcpListening:
    """
    A listening socket, see `Listening`.

    Args:
        sock: Listening, non-blocking.
    """

    __slots__ = ("address", "fileno", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        # Read now: other threads need it, also while the socket is being closed.
        self.address: Address = _local_address(sock)
        self.fileno = sock.fileno

    def accept(self) -> TcpStream:
        """As `Listening.accept`."""
        sock, name = self.sock.accept()
        try:
            prepare(sock)
        except OSError as error:
            sock.close()
            raise ConnectionAbortedError("it was reset while it waited") from error
        # As accept() says it: a connection that was reset meanwhile has no peer any more, but it had one.
        return TcpStream(sock, plain_address(name))

    def wait(self, timeout: float) -> bool:
        """As `Listening.wait`."""
        return _wait_for(self.sock, read=True, write=False, timeout=timeout)

    def close(self) -> None:
        """As `Listening.close`."""
        self.sock.close()


class TcpOpening(Attempt):
    """A connected socket, soon; see `Opening`."""

    def done(self) -> TcpStream | None:
        """As `Opening.done`."""
        sock = self.take()
        return None if sock is None else TcpStream(sock)


class TcpCarrier:
    """The network, see `Carrier`."""

    def listen(self, host: str, port: int, backlog: int) -> list[TcpListening]:
        """As `Carrier.listen`: one for each address of the host."""
        return [TcpListening(sock) for sock in listen(host, port, backlog)]

    def local_address(self) -> str:
        """As `Carrier.local_address`. Sends nothing."""
        return local_address()

    def connect(self, host: str, port: int, timeout: float) -> TcpStream:
        """As `Carrier.connect`: to the address of the host that answers first."""
        return TcpStream(connect(host, port, timeout))

    def begin(self, host: str, port: int) -> TcpOpening | None:
        """As `Beginning.begin`: a name has to be looked up first, and that waits."""
        return TcpOpening(host, port) if is_address(host) else None


TCP = TcpCarrier()


def _local_address(sock: socket.socket) -> Address:
    try:
        host, port = sock.getsockname()[:2]
    except OSError:
        return ("", 0)
    return (str(host), int(port))


def _wait_for(sock: socket.socket, *, read: bool, write: bool, timeout: float | None) -> bool:
    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(sock, (select.POLLIN if read else 0) | (select.POLLOUT if write else 0))
        # poll() rounds up, and a call that must not wait would wait a millisecond.
        milliseconds = None if timeout is None else timeout * 1000 + 0.5 if timeout > 0 else 0
        return bool(poller.poll(milliseconds))
    # Windows: one socket, so the bound of select() on numbers of sockets does not matter.
    readers, writers = [sock] if read else [], [sock] if write else []
    readable, writable, _ = select.select(readers, writers, [], timeout)
    return bool(readable or writable)
