"""As much of the module `socket` as the documented client uses, over securelink; nothing here is a real socket."""

from __future__ import annotations

from ...client import Client
from ...errors import SecureLinkError
from ...text import escaped
from ..settings import make_client

AF_INET = "AF_INET"
SOCK_STREAM = "SOCK_STREAM"
SAID = "chat said"  # the packets' name


def shown(data: object) -> str:
    """What somebody typed, safe for a terminal."""
    return escaped(data.decode(errors="replace")) if isinstance(data, bytes) else ""


class socket:  # noqa: N801  # its old name
    """A connection to the chat."""

    def __init__(self, family: str = AF_INET, type: str = SOCK_STREAM) -> None:  # noqa: A002  # its old name
        self._core: Client | None = None

    def connect(self, address: tuple[str, int]) -> None:
        """Connect. Raises what `Client.connect` raises, in words for the user."""
        self._core = make_client(*address).connect()

    def send(self, data: bytes) -> int:
        """Send one message; nothing when it is empty. Raises `ConnectionError`."""
        try:
            if data:
                self._connected().send(SAID, bytes(data))
        except SecureLinkError as error:
            raise ConnectionError(str(error)) from error
        return len(data)

    def recv(self, bufsize: int = 0) -> bytes:
        """
        Wait for one message; it is given whole, with control characters escaped.

        Raises:
            ConnectionError: There is no connection any more. (A socket would give b"" again and again.)
        """
        try:
            while not ((packet := self._connected().receive()) and shown(packet.data)):
                pass
        except SecureLinkError as error:
            raise ConnectionError(str(error)) from error
        return shown(packet.data).encode()

    def close(self) -> None:
        """Disconnect; what was sent goes out first."""
        if self._core is not None:
            self._core.close()

    def _connected(self) -> Client:
        if self._core is None:
            raise ConnectionError("not connected")
        return self._core
