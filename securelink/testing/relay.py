"""
A relay in the middle, which sees every byte, and may record, hold back, change and cut.

It only knows where a frame ends, and has no keys: every attacker on the path can do the same.

    with Network() as network:                       # without a port
        relay = network.relay(network.serve(server))
        relay.to_server.cut_after = 2000
        client = network.client(relay)

    with Relay("127.0.0.1", server_port) as relay:   # over TCP, on a port of this machine
        client = Client("127.0.0.1", relay.port)
        relay.to_server.hook = lambda chunk: chunk.replace(b"north", b"south")
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from ..errors import SecureLinkError
from ..limits import MAX_FRAME_BODY
from ..streams.base import Carrier, Listening, Stream
from ..streams.tcp import TCP
from ..wire.frames import FrameBuffer
from .flow import Flow, Hook
from .pairs import Outlet, Pair, read

_TICK = 0.1  # seconds until a thread that waits to accept notices stop()
_CONNECT_SECONDS = 5.0
_BACKLOG = 128  # connections that wait to be accepted
_MAX_CAPTURED = 64 * 1024 * 1024  # bytes kept of each direction; later ones are only passed on


@dataclass(frozen=True)
class Recorded:
    """
    A frame that the relay received.

    Attributes:
        connection: The number of the connection: 1 is the first of the relay.
        direction: "to server" or "to client".
        frame: Header and body, as the sender sent them.
    """

    connection: int
    direction: str
    frame: bytes = field(repr=False)

    @property
    def kind(self) -> int:
        """The first byte of the frame: its kind (docs/PROTOCOL.md, section 3)."""
        return self.frame[0]


class Relay:
    """
    Listens at one address and connects every client to a server.

    Args:
        host: The server's host.
        port: Its port. Both may be changed (`target`) for later connections.
        listen_port: 0 chooses one; see `port`.
        carrier: TCP, on a port of this machine, unless it is a network in memory (`Network.relay` says so).

    Attributes:
        target: (host, port) that new connections are passed on to.
        to_server: The direction from clients to the server.
        to_client: The direction from the server to clients.
        connections: The number of clients that have connected so far.
    """

    def __init__(
        self, host: str, port: int, *, listen_port: int = 0, carrier: Carrier = TCP
    ) -> None:
        self.target = (host, port)
        self.to_server = Flow("to server")
        self.to_client = Flow("to client")
        self.connections = 0
        self._listen_port = listen_port
        self._carrier = carrier
        self._listening: Listening | None = None
        self._stopping = False
        self._lock = threading.Lock()  # guards _threads, _pairs, _record and _recorded_bytes
        self._record: list[Recorded] = []
        self._recorded_bytes = 0
        self._seed: int | None = None  # of random cuts,
        self._within = 0  # after at most so many bytes
        self._threads: list[threading.Thread] = []
        self._pairs: set[Pair] = set()

    def start(self) -> Self:
        """Listen. Returns when clients can connect."""
        if self._listening is not None:
            raise RuntimeError("the relay is started already")
        self._stopping = False
        [self._listening] = self._carrier.listen("127.0.0.1", self._listen_port, _BACKLOG)
        self._spawn("accept", self._accept, self._listening)
        return self

    @property
    def port(self) -> int:
        """The port that it listens on."""
        if self._listening is None:
            raise RuntimeError("the relay is not started")
        return self._listening.address[1]

    @property
    def frames(self) -> list[Recorded]:
        """
        Every frame that came so far, of all connections and both directions, in the order of their arrival.

        A frame is recorded as it was sent, before hooks, delays and cuts. Incomplete frames are left out.
        """
        with self._lock:
            return list(self._record)

    def forget(self) -> None:
        """Clear the record: `frames` and the captured bytes of both directions."""
        self.to_server.forget()
        self.to_client.forget()
        with self._lock:
            self._record.clear()
            self._recorded_bytes = 0

    @property
    def open(self) -> int:
        """The number of connections that are open on at least one side."""
        with self._lock:
            return len(self._pairs)

    def cut(self, *, reset: bool = False) -> None:
        """
        Break all present connections, as if a cable were pulled out; new ones are passed on.

        What was on its way may still meet the hooks; when `open` is 0 nothing does.

        Args:
            reset: Both sides get a reset instead of an end of stream.
        """
        with self._lock:
            pairs = tuple(self._pairs)
        for pair in pairs:
            pair.cut(reset)

    def lose(self) -> None:
        """
        Lose all present connections without a word; new ones are passed on.

        Neither side is told, as when a router forgets them: both think that they are open, what they send vanishes,
        and also the end of one side does not reach the other.
        """
        with self._lock:
            for pair in self._pairs:
                pair.lost = True

    def cut_randomly(self, seed: int | None, within: int = 40_000) -> None:
        """
        Cut each new connection in the middle of something.

        Args:
            seed: The direction and the byte depend on it and on the number of the connection, and on nothing else. None
                ends it.
            within: The most bytes that pass in the direction that is cut.
        """
        self._seed, self._within = seed, within

    def _cut_of(self, flow: Flow, pair: Pair) -> int | None:
        """After how many bytes this connection is cut in this direction."""
        if self._seed is None:
            return None
        dice = random.Random(f"{self._seed}/{pair.number}")  # noqa: S311  # no secret
        chosen, after = dice.choice((self.to_server, self.to_client)), dice.randrange(self._within)
        return after if flow is chosen else None

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
            self._threads = list(filter(threading.Thread.is_alive, self._threads))
            # Started under the lock: stop() must not join a thread that has not begun.
            thread.start()
            self._threads.append(thread)

    def _accept(self, listening: Listening) -> None:
        while not self._stopping:
            try:
                if not listening.wait(_TICK):
                    continue
                client = listening.accept()
            except (BlockingIOError, ConnectionError):
                continue
            except OSError:
                return
            self.connections += 1
            pair = Pair(self.connections)
            pair.add(client)
            with self._lock:
                self._pairs.add(pair)
            self._spawn("to server", self._connect, client, pair)

    def _connect(self, client: Stream, pair: Pair) -> None:
        try:
            server = self._carrier.connect(*self.target, _CONNECT_SECONDS)
        except SecureLinkError:
            # The client sees the same as without us: no answer.
            self._pairs_without(pair)
            client.close()
            return
        pair.add(server)
        self._spawn("to client", self._pump, self.to_client, server, client, pair)
        self._pump(self.to_server, client, server, pair)

    def _pairs_without(self, pair: Pair) -> None:
        with self._lock:
            self._pairs.discard(pair)

    def _pump(self, flow: Flow, source: Stream, sink: Stream, pair: Pair) -> None:
        outlet = Outlet(sink, pair, self._cut_of(flow, pair))
        frames = FrameBuffer(MAX_FRAME_BODY)
        flow.opened(outlet)
        try:
            while True:
                if self._stopping or not (chunk := read(source)):
                    break
                self._note(flow, pair, frames, chunk)
                if not flow.passes(chunk, outlet):
                    pair.cut(False)
                    break
        except OSError:
            pass  # one side is gone; the other one is closed below
        finally:
            flow.ended(outlet)
            if pair.direction_ended(sink):
                self._pairs_without(pair)

    def _note(self, flow: Flow, pair: Pair, frames: FrameBuffer, chunk: bytes) -> None:
        frames.feed(chunk)
        while (found := frames.next_frame()) is not None:
            frame = bytes(found[0]) + bytes(found[1])
            with self._lock:
                if self._recorded_bytes + len(frame) <= _MAX_CAPTURED:
                    self._recorded_bytes += len(frame)
                    self._record.append(Recorded(pair.number, flow.name, frame))


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


__all__ = ["Flow", "Hook", "Recorded", "Relay", "by_frame", "split_frames"]
