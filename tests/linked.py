"""One link and its channel, driven by hand: no thread, and the test is the peer at the other end of the socket."""

from __future__ import annotations

import array
import contextlib
import fcntl
import math
import socket
import termios
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from engines import Pair
from helpers import WAIT

from securelink.protocol import Closed, Connection, Ended, Event, Failed, Item, Pinged, Ponged
from securelink.protocol.bounds import Bounds
from securelink.streams.tcp import TcpStream
from securelink.threads.channel import Channel
from securelink.threads.link import Link
from securelink.threads.loop import Loop
from securelink.wire.fields import Content, Mode
from securelink.wire.packets import Packet, decode_packets, encode_packet

STUCK_SECONDS = 0.05  # what has not arrived by then waits for room


class Counting(socket.socket):
    """A socket that counts its bytes."""

    sent = received = 0

    def sendall(self, data: Any, flags: int = 0) -> None:
        """As it is."""
        super().sendall(data, flags)
        self.sent += len(data)

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """As it is."""
        data = super().recv(bufsize, flags)
        self.received += len(data)
        return data


class ProbeLink(Link):
    """A link that remembers its end."""

    gone = False

    def _handshake_event(self, event: Event) -> None:
        raise AssertionError(f"{event} after the handshake")

    def _gone(self) -> None:
        self.gone = True


class ProbeChannel(Channel):
    """A channel that keeps what it is given; `handle` may be replaced."""

    def __init__(self, loop: Loop, bounds: Bounds) -> None:
        super().__init__(loop, bounds, ProbeOwner())
        self.data: list[Any] = []
        self.answers: deque[Any] = deque()

    def handle(self, data: Any) -> None:
        """What a handler would do."""


class ProbeOwner:
    """What the channel is of."""

    session = None
    name = "the probe"
    held = 0

    def handle(self, channel: ProbeChannel, packet: Packet) -> None:
        """Keep it."""
        channel.data.append(packet.data)
        channel.handle(packet.data)

    def throttled(self) -> None:
        """Not counted."""


class Bench:
    """
    A link of the server's kind over TCP, open, with a manual loop.

    Attributes:
        peer: The other side's engine; `read` and `send` use it.
    """

    def __init__(self, bounds: Bounds, buffer: int | None) -> None:
        pair = Pair(None, client_mode=Mode.OFF, server_mode=Mode.OFF).run()
        assert pair.is_open
        self.peer: Connection = pair.client
        with socket.create_server(("127.0.0.1", 0)) as listening:
            if buffer is not None:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
            self.sock = Counting()
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if buffer is not None:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            self.sock.connect(listening.getsockname())
            accepted, _ = listening.accept()
        self._ours = ours = Counting(fileno=accepted.detach())
        ours.setblocking(False)
        self.sock.settimeout(WAIT)
        self.loop = Loop("bench", manual=True)
        self.loop.start()
        self.link = ProbeLink(self.loop, TcpStream(ours), pair.server)
        self.channel = ProbeChannel(self.loop, bounds)
        self.channel.numbering = pair.server.numbering
        self.channel._link = self.link
        self.link.channel = self.channel
        assert pair.server.sender is not None
        self.link.max_packets = pair.server.sender.max_packets
        self.link.update_interest()

    def arrive(self) -> None:
        """Wait until what the peer has sent is there; on a busy machine the system may take its time with it."""
        here, size, deadline = -1, array.array("i", [0]), math.inf
        while self._ours.fileno() >= 0 and time.monotonic() < deadline:
            fcntl.ioctl(self._ours, termios.FIONREAD, size)
            before, here = here, self._ours.received + size[0]
            if here >= self.sock.sent:
                return
            if here != before:
                deadline = time.monotonic() + STUCK_SECONDS
            time.sleep(0.0005)

    def turn(self, times: int = 3) -> None:
        """A few turns of the loop, after what is under way has arrived."""
        self.arrive()
        for _ in range(times):
            time.sleep(0.001)
            self.loop.turn()

    def post(self, data: Any, **options: Any) -> None:
        """Send a packet from the link's side."""
        options.setdefault("timeout", 0.0)
        self.channel.post(encode_packet(Packet("x", data)), **options)

    def send(self, *data: Any) -> None:
        """The peer sends a record with these packets."""
        assert self.peer.sender is not None
        self.sock.sendall(self.peer.sender.packets([encode_packet(Packet("x", d)) for d in data]))

    def control(self, content: Content, payload: bytes = b"") -> None:
        """The peer sends a record of another kind."""
        assert self.peer.sender is not None
        self.sock.sendall(self.peer.sender.control(content, payload))

    def items(self) -> list[Item]:
        """What the peer gets from one read."""
        return self.peer.receive_data(self.sock.recv(1 << 20), time.monotonic())

    def read(self, count: int) -> list[Any]:
        """The data of so many packets at the peer; the loop turns meanwhile."""
        found: list[Any] = []
        self.sock.settimeout(0.01)
        deadline = time.monotonic() + WAIT
        while len(found) < count:
            assert time.monotonic() < deadline, f"only {len(found)} of {count} came"
            self.loop.turn()
            with contextlib.suppress(TimeoutError):
                for item in self.items():
                    assert not isinstance(item, Event), item
                    found += [packet.data for packet in decode_packets(item)]
        self.sock.settimeout(WAIT)
        return found

    def events(self) -> list[Event]:
        """Everything but packets that comes until the end of the stream."""
        found: list[Event] = []
        while not any(isinstance(event, Ended) for event in found):
            self.loop.turn()
            found += [item for item in self.items() if isinstance(item, Event)]
        return found

    def quiet(self) -> bool:
        """Whether nothing is on its way to the peer."""
        self.sock.settimeout(0.02)
        try:
            return not self.sock.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(WAIT)


@contextlib.contextmanager
def bench(bounds: Bounds | None = None, buffer: int | None = None) -> Iterator[Bench]:
    """
    A link to experiment with.

    Args:
        bounds: Of its channel.
        buffer: Bytes of the socket buffers; None leaves them.
    """
    stage = Bench(bounds or Bounds(), buffer)
    try:
        yield stage
    finally:
        stage.link.lost()
        stage.loop.stop(lambda: None)
        stage.sock.close()


__all__ = ["Bench", "Closed", "Failed", "Pinged", "Ponged", "bench"]
