"""Clients of this library, as a workload wants them."""

from __future__ import annotations

from pathlib import Path

from ..client import Client
from ..errors import LinkTimeout
from ..limits import CONNECT_SECONDS
from .results import PEERS
from .workloads import ACTION, CHUNK, DATA, HOST, Connection

_PATIENCE = 10.0  # seconds without an answer: something is broken


class Ours:
    """
    Clients of a server that `target.py` runs.

    Args:
        port: Its port.
        fingerprint: Of its key.
        folder: For what clients remember; nothing, for the key is pinned.
    """

    name = PEERS[0]

    def __init__(self, port: int, fingerprint: str, folder: Path) -> None:
        self._port = port
        self._fingerprint = fingerprint
        self._folder = folder

    def open(self) -> Connection:
        """A full handshake."""
        client = Client(
            HOST, self._port, pin=self._fingerprint, known_servers=self._folder / "known_servers"
        )
        return OurConnection(client.connect(CONNECT_SECONDS))

    def open_sink(self) -> Connection:
        """No different from others."""
        return self.open()

    def open_audience(self, size: int) -> tuple[Connection, list[Connection]]:
        """All sessions hear a broadcast; the first orders it."""
        audience = [self.open() for _ in range(size)]
        return audience[0], audience


class OurConnection:
    """A client."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._chunk = bytes(CHUNK)

    def send(self, count: int = 1) -> None:
        """Send packets; several go out together."""
        client = self._client
        if count == 1:
            client.send(ACTION, DATA)
            return
        with client.batch():
            for _ in range(count):
                client.send(ACTION, DATA)

    def receive(self, count: int = 1) -> None:
        """Wait for packets."""
        for _ in range(count):
            if self._client.receive(_PATIENCE) is None:
                raise LinkTimeout(
                    f"nothing came within {_PATIENCE:g} s",
                    hint="run it on a machine with less load",
                )

    def bulk(self, chunks: int) -> None:
        """Send chunks and wait until the server has handled them."""
        for _ in range(chunks):
            self._client.send("blob", self._chunk)
        self._client.request("taken", timeout=_PATIENCE)

    def cast(self) -> None:
        """Have the server broadcast one packet."""
        self._client.send("cast")

    def close(self) -> None:
        """Leave."""
        self._client.close()
