"""
Somebody in the middle: a TCP relay that sees every byte and may change it.

It knows nothing of the protocol and has no keys; whatever it achieves, anybody on the path can. The demonstration
attacks with it, and the tests break connections with it.

    with Relay("127.0.0.1", server_port) as relay:
        client = Client("127.0.0.1", relay.port)
        relay.to_server.hook = lambda chunk: chunk.replace(b"north", b"south")
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ..limits import MAX_FRAME_BODY
from ..wire.frames import FrameBuffer

Hook = Callable[[bytes], bytes]

_CHUNK = 64 * 1024  # bytes of one read
_TICK = 0.1  # seconds; how soon a thread that waits to accept notices stop()
_CONNECT_SECONDS = 5.0
_MAX_CAPTURED = 64 * 1024 * 1024  # bytes kept of each direction; what comes later is only passed on


class Flow:
    """
    One direction, over all connections of a relay.

    Attributes:
        hook: Called with each chunk as it arrived; what it returns goes on, b"" drops the chunk. None passes all.
            Chunks are cut anywhere: `by_frame` makes a hook that sees whole frames.
        delay: Seconds that each chunk is held back.
    """

    def __init__(self) -> None:
        self.hook: Hook | None = None
        self.delay = 0.0
        self._lock = threading.Lock()  # guards _captured and _outlets
        self._captured = bytearray()
        self._outlets: list[_Outlet] = []

    @property
    def captured(self) -> bytes:
        """All that came so far, as the sender sent it."""
        with self._lock:
            return bytes(self._captured)

    def forget(self) -> None:
        """Begin to capture anew."""
        with self._lock:
            self._captured.clear()

    def inject(self, data: bytes) -> None:
        """
        Send bytes of our own into the newest connection, after what was passed on so far.

        Raises:
            OSError: There is no connection, or its receiver is gone.
        """
        with self._lock:
            outlet = self._outlets[-1] if self._outlets else None
        if outlet is None:
            raise ConnectionError("the relay has no connection to inject into")
        outlet.write(data)

    def _pass(self, chunk: bytes, outlet: _Outlet) -> None:
        with self._lock:
            room = _MAX_CAPTURED - len(self._captured)
            self._captured += chunk[: max(0, room)]
        if self.delay:
            time.sleep(self.delay)
        hook = self.hook
        outlet.write(hook(chunk) if hook is not None else chunk)

    def _opened(self, outlet: _Outlet) -> None:
        with self._lock:
            self._outlets.append(outlet)

    def _ended(self, outlet: _Outlet) -> None:
        with self._lock, contextlib.suppress(ValueError):
            self._outlets.remove(outlet)


class Relay:
    """
    Listens on a port of this machine and connects every client on to a server.

    Args:
        host: Where the server is.
        port: Its port. Both may be changed (`target`); that holds for connections from then on.
        listen_port: 0 lets the system choose; see `port`.

    Attributes:
        target: (host, port) that new connections are passed on to.
        to_server: What clients send.
        to_client: What the server sends.
        connections: How many clients have connected so far.
    """

    def __init__(self, host: str, port: int, *, listen_port: int = 0) -> None:
        self.target = (host, port)
        self.to_server = Flow()
        self.to_client = Flow()
        self.connections = 0
        self._listen_port = listen_port
        self._listening: socket.socket | None = None
        self._stopping = False
        self._lock = threading.Lock()  # guards _threads and _pairs
        self._threads: list[threading.Thread] = []
        self._pairs: set[_Pair] = set()

    def start(self) -> Self:
        """Listen. Returns when clients can connect."""
        if self._listening is not None:
            raise RuntimeError("the relay is started already")
        self._stopping = False
        self._listening = socket.create_server(("127.0.0.1", self._listen_port))
        self._listening.settimeout(_TICK)
        self._spawn("accept", self._accept, self._listening)
        return self

    @property
    def port(self) -> int:
        """The port that it listens on."""
        if self._listening is None:
            raise RuntimeError("the relay is not started")
        port: int = self._listening.getsockname()[1]
        return port

    @property
    def open(self) -> int:
        """How many connections are open on at least one side."""
        with self._lock:
            return len(self._pairs)

    def cut(self, *, reset: bool = False) -> None:
        """
        Break all connections there are, as a cable that is pulled out; new ones are passed on.

        Args:
            reset: Both sides get a TCP reset instead of an end of stream.
        """
        with self._lock:
            pairs = tuple(self._pairs)
        for pair in pairs:
            pair.cut(reset)

    def stop(self) -> None:
        """Close everything and wait for the threads. May be called again."""
        self._stopping = True
        while True:
            self.cut()
            with self._lock:
                threads, self._threads = self._threads, []
            if not threads:
                break
            for thread in threads:
                thread.join(_TICK)
                while thread.is_alive():
                    self.cut()  # a connection may have come in between
                    thread.join(_TICK)
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    def __enter__(self) -> Self:
        return self if self._listening is not None else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _spawn(self, name: str, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, name=f"relay {name}", daemon=True)
        with self._lock:
            self._threads = [other for other in self._threads if other.is_alive()]
            # Started under the lock: stop() must not join a thread that has not begun.
            thread.start()
            self._threads.append(thread)

    def _accept(self, listening: socket.socket) -> None:
        while not self._stopping:
            try:
                client, _ = listening.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self.connections += 1
            pair = _Pair()
            pair.add(client)
            with self._lock:
                self._pairs.add(pair)
            self._spawn("to server", self._connect, client, pair)

    def _connect(self, client: socket.socket, pair: _Pair) -> None:
        try:
            server = socket.create_connection(self.target, timeout=_CONNECT_SECONDS)
        except OSError:
            # The client sees what it would see without us: nobody answers.
            self._pairs_without(pair)
            client.close()
            return
        pair.add(server)
        self._spawn("to client", self._pump, self.to_client, server, client, pair)
        self._pump(self.to_server, client, server, pair)

    def _pairs_without(self, pair: _Pair) -> None:
        with self._lock:
            self._pairs.discard(pair)

    def _pump(self, flow: Flow, source: socket.socket, sink: socket.socket, pair: _Pair) -> None:
        outlet = _Outlet(sink)
        flow._opened(outlet)
        try:
            while not self._stopping:
                chunk = source.recv(_CHUNK)
                if not chunk:
                    break
                flow._pass(chunk, outlet)
        except OSError:
            pass  # one side is gone; the other is told by what follows
        finally:
            flow._ended(outlet)
            if pair.direction_ended(sink):
                self._pairs_without(pair)


class _Outlet:
    """The receiving end of one direction of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()  # so that what is injected lies between chunks, never inside

    def write(self, data: bytes) -> None:
        if data:
            with self._lock:
                self._sock.sendall(data)


class _Pair:
    """The two sockets of a connection; they are closed when both directions have ended."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()  # guards all fields
        self._open = 2
        self._cut = False
        self._reset = False

    def add(self, sock: socket.socket) -> None:
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._sockets.append(sock)
            cut = self._cut
        if cut:  # while the other side was being connected
            self.cut(self._reset)

    def cut(self, reset: bool) -> None:
        with self._lock:
            self._cut = True
            self._reset = self._reset or reset
            sockets = tuple(self._sockets)
        for sock in sockets:
            with contextlib.suppress(OSError):
                # Wakes the threads that read; the last of them closes, so no number is reused under the other.
                sock.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)

    def direction_ended(self, sink: socket.socket) -> bool:
        """Pass the end of stream on; True for the second direction, which closes both sockets."""
        with self._lock:
            self._open -= 1
            last = self._open == 0
        if not self._reset:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
        if last:
            for sock in self._sockets:
                if self._reset:
                    # Lingering for 0 seconds turns a close into a reset.
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
        return last


def by_frame(change: Hook) -> Hook:
    """
    A hook that calls `change` with whole frames (header and body), however the stream is cut.

    For one direction of one connection: a new connection needs a new one.
    """
    frames = FrameBuffer(MAX_FRAME_BODY)

    def hook(chunk: bytes) -> bytes:
        frames.feed(chunk)
        out = bytearray()
        while (frame := frames.next_frame()) is not None:
            header, body = frame
            out += change(bytes(header) + bytes(body))
        return bytes(out)

    return hook


def split_frames(stream: bytes) -> list[bytes]:
    """The whole frames at the beginning of a captured stream, each with its header."""
    found: list[bytes] = []

    def collect(frame: bytes) -> bytes:
        found.append(frame)
        return b""

    by_frame(collect)(stream)
    return found


__all__ = ["Flow", "Hook", "Relay", "by_frame", "split_frames"]
