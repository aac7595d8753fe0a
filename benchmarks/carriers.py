"""A carrier of clients that shows what they do with the network."""

from __future__ import annotations

from securelink.streams.base import BREAK, Listening, Stream
from securelink.streams.tcp import TCP


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

    def cut(self) -> None:
        """Break the connection; its client does not know why."""
        if self.stream is not None:
            self.stream.shutdown(BREAK)
