"""The client: connect, send, read."""

from __future__ import annotations

import time
from collections import deque

from ...client import Client
from ...errors import SecureLinkError
from ...logs.default import show_status
from ..settings import make_client, own_words
from .networking import NetworkMessage, Result, received, send

BREATH_SECONDS = 0.01  # what a loop around read() waits between two looks at nothing


class SimpleClient:
    """A client; nothing runs by itself, call `read` for what has come."""

    def __init__(self) -> None:
        self._core: Client | None = None
        self._messages: deque[NetworkMessage] = deque()
        self._nothing_at = 0.0

    def connect(self, host: str, port: int) -> Result:
        """Connect; (True, "Connection successful") or (False, why)."""
        show_status(info=False)
        if self.connected:
            return False, "this client is connected; call close() first"
        self._messages.clear()
        try:
            with own_words():
                self._core = make_client(host, port).connect()
        except SecureLinkError as error:
            return False, str(error)
        return True, "Connection successful"

    def send(self, message: NetworkMessage | bytes | str) -> Result:
        """Send to the server; (True, "Message sent") or (False, why)."""
        if self._core is None:
            return False, "this client is not connected; call connect() first"
        return send(self._core, message)

    def read(self) -> NetworkMessage | None:
        """The next message, or None when there is none. Whether the connection has ended, `connected` tells."""
        again = time.monotonic() - self._nothing_at < BREATH_SECONDS / 10
        self._look()
        if again and not self._messages:
            time.sleep(BREATH_SECONDS)
            self._look()
        if self._messages:
            return self._messages.popleft()
        self._nothing_at = time.monotonic()
        return None

    def _look(self) -> None:
        try:
            packets = self._core.poll() if self._core is not None and not self._messages else []
        except SecureLinkError:
            packets = []  # it has ended
        self._messages.extend(message for packet in packets if (message := received(packet)))

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._core is not None and self._core.connected

    def close(self) -> None:
        """End the connection; what was sent goes out first."""
        if self._core is not None:
            self._core.close()
