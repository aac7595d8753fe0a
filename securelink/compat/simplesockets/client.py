"""`TCPClient`: over a `securelink.Client`."""

from __future__ import annotations

from ...client import Client
from ...errors import SecureLinkError
from ...received import Received
from ..settings import make_client
from .endpoint import MESSAGE, Bytes, Callback, Endpoint

_MAX_NEWS = 10


class TCPClient(Endpoint):
    """A client of raw bytes."""

    EVENT_DISCONNECT = "--DISCONNECT--"
    EVENT_CONNECTED = "--CONNECTED--"

    def __init__(self) -> None:
        super().__init__()
        self._auto = False
        self.event.connected = self.event.is_connected = self.event.disconnected = False

    def setup(
        self, target_ip: str, target_port: int = 25567, recv_buffer: int = 2048, on_connect: Callback = None,
        on_disconnect: Callback = None, on_receive: Callback = None, listen: int = 5, handle_client: Callback = None,
    ) -> None:  # fmt: skip
        """Say where to connect."""
        self.close()
        self._set_callbacks(on_connect, on_disconnect, on_receive)
        self.Address = (target_ip, target_port)
        client = self.socket = make_client(target_ip, target_port)
        client.on_connect(lambda: self._flag(True, self.EVENT_CONNECTED))
        client.on_disconnect(lambda: self._left(client))

    def _flag(self, connected: bool, news: str) -> None:
        with self._changed:
            self.event.connected = self.event.is_connected = connected
            self.event.disconnected = not connected
            self._news = [*self._news[1 - _MAX_NEWS :], news]
            self._changed.notify_all()

    def _left(self, client: Client) -> None:
        with self._changed:
            # disconnect() has told it already, or it comes from a connection before this one.
            if client is not self.socket or client.connected or not self.event.is_connected:
                return
            self._flag(False, self.EVENT_DISCONNECT)
        self._call(self.on_disconnect)

    def start(self) -> None:
        """Does nothing: `connect` starts."""

    def connect(self) -> bool:
        """Connect; False, and a caught exception, when that fails."""
        try:
            self._ready.connect()
        except SecureLinkError as error:
            self._record(error)
            return False
        self._call(self.on_connect)
        return True

    def reconnect(self) -> bool:
        """Connect again."""
        self.disconnect()
        return self.connect()

    def disconnect(self) -> bool:
        """End the connection; False when there was none."""
        client = self._ready
        was_connected = bool(client.connected)
        client.close()
        self._left(client)
        return was_connected

    def shutdown(self) -> None:
        """End automatic receiving and the connection."""
        if self._auto:
            self.autorecv()
        self.disconnect()

    def close(self) -> None:
        """As `shutdown`, also before `setup`."""
        if self.socket is not None:
            self.shutdown()
            self.socket = None

    def autorecv(self) -> bool:
        """Switch automatic receiving on or off; gives what it is now."""
        client, self._auto = self._ready, not self._auto
        if not self._auto:
            client.off(MESSAGE)
            return False
        try:
            for packet in client.poll():  # what came before
                self._received(packet)
        except SecureLinkError:
            pass  # not connected
        client.on(MESSAGE, self._received)
        return True

    def _received(self, packet: Received) -> None:
        if packet.action == MESSAGE and isinstance(packet.data, bytes):
            self._store(packet.data)
            self._call(self.on_receive, packet.data)

    def recv_data(self) -> bytes:
        """Wait for the next message; b"" when the connection has ended."""
        client = self._ready
        try:
            while (packet := client.receive()).action != MESSAGE:
                pass
        except SecureLinkError as error:
            if not getattr(error, "clean", False):
                self._record(error)
            return b""
        return bytes(packet.data)

    def send_data(self, data: Bytes) -> bool:
        """Send one message; False, and a caught exception, when that fails."""
        return self._send(self._ready, data)

    def __repr__(self) -> str:
        return f"<TCPClient {self.socket}>"
