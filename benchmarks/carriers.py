"""A carrier of clients that shows what they do with the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from securelink.streams.base import BREAK, Listening, Stream
from securelink.streams.tcp import TCP

if TYPE_CHECKING:
    from securelink.streams.base import Opening


class Counting:
    """TCP that counts attempts, and keeps the stream of the last one."""

    def __init__(self) -> None:
        self.attempts = 0
        self.stream: Stream | None = None

    def listen(self, host: str, port: int, backlog: int) -> list[Listening]:
        """As `Carrier.listen`."""
        return list(TCP.listen(host, port, backlog))

    def local_address(self) -> str:
        """As `Carrier.local_address`."""
        return TCP.local_address()

    def connect(self, host: str, port: int, timeout: float) -> Stream:
        """As `Carrier.connect`."""
        self.attempts += 1
        self.stream = TCP.connect(host, port, timeout)
        return self.stream

    def begin(self, host: str, port: int) -> Opening | None:
        """As `Beginning.begin`."""
        opening = TCP.begin(
            host, port
        )  # an earlier state of the source neither has this nor asks for it
        if opening is None:
            return None
        self.attempts += 1
        return _Noting(opening, self)

    def cut(self) -> None:
        """Break the connection; its client does not know why."""
        if self.stream is not None:
            self.stream.shutdown(BREAK)


class _Noting:
    """A connection that is being opened, and whose stream is kept."""

    def __init__(self, opening: Opening, carrier: Counting) -> None:
        self._opening, self._carrier = opening, carrier
        self.fileno, self.wait, self.close = opening.fileno, opening.wait, opening.close

    def done(self) -> Stream | None:
        """As `Opening.done`."""
        stream = self._opening.done()
        if stream is not None:
            self._carrier.stream = stream
        return stream
