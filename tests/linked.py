"""One link and its channel, driven by hand: no thread, no port, and the test is the peer at the other end."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from engines import Pair
from helpers import WAIT

from securelink.protocol import (
    Closed,
    Connection,
    Ended,
    Event,
    Failed,
    Item,
    Pinged,
    Ponged,
    SessionCore,
)
from securelink.protocol.bounds import Bounds
from securelink.streams.base import READ
from securelink.streams.memory import MemoryStream, memory_pair
from securelink.threads.channel import Channel
from securelink.threads.link import Link
from securelink.threads.loop import Loop
from securelink.threads.outcome import Outcome
from securelink.wire.fields import Content, Mode
from securelink.wire.packets import Packet, decode_packets, encode_packet

SMALL = 4096  # bytes of socket buffers that are soon full
ROOM = 16 * 1024 * 1024  # bytes of a direction: what a test sends at once, though nobody reads


class Far:
    """The far end as a test uses it: a stream whose calls wait, as those of a socket do."""

    def __init__(self, stream: MemoryStream) -> None:
        self.stream = stream
        self._timeout = WAIT

    def settimeout(self, seconds: float) -> None:
        """From now on calls wait for so long."""
        self._timeout = seconds

    def sendall(self, data: bytes) -> None:
        """Send all of it."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.stream.send(rest) :]
            except BlockingIOError:
                if not self.stream.wait(read=False, write=True, timeout=self._timeout):
                    raise TimeoutError from None

    def recv(self, size: int) -> bytes:
        """What has come, b"" at the end."""
        if not self.stream.wait(read=True, write=False, timeout=self._timeout):
            raise TimeoutError
        return self.stream.recv(size)

    def shutdown(self, how: int) -> None:
        """As `Stream.shutdown`."""
        self.stream.shutdown(how)

    def close(self) -> None:
        """As `Stream.close`."""
        self.stream.close()


class ProbeLink(Link):
    """A link that remembers its end."""

    gone = False

    def _handshake_event(self, event: Event) -> None:
        raise AssertionError(f"{event} after the handshake")

    def _gone(self) -> None:
        self.gone = True

    def leave_tail(self, data: bytes) -> None:
        """Another thread had bytes to write that the stream did not take."""
        self.writer.buffer.tail = memoryview(data)
        self.writer._ask_writable()  # noqa: SLF001  # as that thread does

    def seem_to_have(self, tail: Any) -> None:
        """Something to be written is waited with, whatever it is."""
        self.writer._want_write = True  # noqa: SLF001  # it was asked for
        self.writer.buffer.tail = tail

    @property
    def has_tail(self) -> bool:
        """Whether bytes wait that the stream did not take."""
        return bool(self.writer.buffer.tail)

    def fail_to_write(self) -> None:
        """The stream takes nothing any more."""
        self.writer._write_failed(OSError("on purpose"))  # noqa: SLF001  # as send() raises it

    def watch_tail(self) -> None:
        """What the sweep does about bytes that wait."""
        assert self.connection.liveness is not None
        self.writer.buffer.watch(self.connection.liveness, choked=self.writer.choked)

    @property
    def is_stalled(self) -> bool:
        """Whether they have waited for too long."""
        return self.writer.buffer.is_stalled

    def next_second(self) -> None:
        """What the sweep does when a second is over."""
        if self.reader.next_second(self.loop.now + 1.0):
            self.update_interest()


class ProbeChannel(Channel):
    """A channel that keeps what it is given; `handle` may be replaced."""

    def __init__(self, loop: Loop, core: SessionCore) -> None:
        super().__init__(loop, core, ProbeOwner())
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
    A link of the server's kind, open, over a stream in memory, with a manual loop.

    Attributes:
        peer: The peer's engine; `read` and `send` use it.
    """

    def __init__(self, bounds: Bounds, buffer: int | None) -> None:
        core = SessionCore(bounds)
        pair = Pair(None, client_mode=Mode.OFF, server_mode=Mode.OFF)
        core.attach(pair.server)
        assert pair.run().is_open
        self.peer: Connection = pair.client
        far, near = memory_pair(buffer or ROOM)
        self.sock = Far(far)
        self.loop = Loop("bench", manual=True)
        self.loop.start()
        self.link = ProbeLink(self.loop, near, pair.server)
        self.channel = ProbeChannel(self.loop, core)
        self.channel.carried_by(self.link)
        self.link.update_interest()

    @property
    def outcome(self) -> Outcome:
        """How the session ended."""
        assert self.channel.outcome is not None
        return self.channel.outcome

    def turn(self, times: int = 3) -> None:
        """A few turns of the loop. What was sent is there: nothing is under way in memory."""
        for _ in range(times):
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
        return not self.sock.stream.ready() & READ


@contextlib.contextmanager
def bench(bounds: Bounds | None = None, buffer: int | None = None) -> Iterator[Bench]:
    """
    A link to experiment with.

    Args:
        bounds: Of its channel.
        buffer: Bytes that each direction holds; None: as many as a test sends.
    """
    stage = Bench(bounds or Bounds(), buffer)
    try:
        yield stage
    finally:
        stage.link.lost()
        stage.loop.stop(lambda: None)
        stage.sock.close()


def choked(stage: Bench) -> None:
    """Send until the kernel takes no more."""
    while not stage.link.writer.buffer.tail:
        stage.post(bytes(30_000))


__all__ = ["SMALL", "Bench", "Closed", "Failed", "Pinged", "Ponged", "bench", "choked"]
