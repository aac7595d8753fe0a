"""The client."""

from __future__ import annotations

from typing import Any

from ...errors import ConfigError, ConnectFailed, LinkTimeout, SecureLinkError
from ...transport.sockets import local_address
from ..settings import make_client
from .side import CONNECT, DIRECT, DISCONNECT, UNASKED, SockStreamConnection, getter, value_of


class Client(SockStreamConnection):
    """A client: `connect`, `set_data`, `get_server_data`, `disconnect`."""

    def __init__(self, server_ip: str, port: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(port, *args, **kwargs)
        self.SERVER_IP, self.CLIENT_IP, self.ADDR = server_ip, local_address(), (server_ip, port)
        self.server_data: Any = {}
        self._asked = False
        # connect() warns of an impossible port; this must not raise.
        self._core = core = make_client(server_ip, port if port in range(65536) else 0)
        core.on(DIRECT, lambda frame: self._take(None, frame.data, direct=True))
        core.on(DISCONNECT, self._part)
        core.on_state.add_listener(lambda value: self._take(None, value))
        core.on_disconnect.add_listener(self._lost)
        self.info("Status: Ready")

    def connect(self) -> None:
        """Connect; what is wrong is shown as a warning."""
        if not self._may_begin("Cannot initiate a connection because client already connected"):
            return
        self.server_data, self._asked = {}, False
        try:
            if self.PORT not in range(65536):
                raise ConfigError("no TCP port")
            self._core.connect()
            self.active = True
            self.info("Status: Connected")
            self._core.request(CONNECT)
            self._thread.start()
        except SecureLinkError as error:
            self.active = False
            self._core.close()
            self.warn(f"Error: Could not connect to server{_reason(error)}")

    def disconnect(self) -> None:
        """Disconnect with the next round."""
        if self.active and not self._leaving:
            self.info("Status: Disconnecting")
            self._leaving = True

    def _finish(self) -> None:
        if self._asked:  # the server says that we have left before we do
            self._try(self._core.request, DISCONNECT)
        self.info("Status: Disconnected")
        self._core.close()

    def _lost(self) -> None:
        if self.active and not self._leaving:
            self.warn(f"Error: Server {UNASKED}")
            self._leaving = True

    def _keep(self, _: Any, data: Any) -> None:
        self.server_data = value_of(data)

    def _part(self, _: Any) -> None:
        self._asked = True
        self.disconnect()

    def direct_send(self, message: Any) -> None:
        """Send one value to the server."""
        self._try(self._core.send, DIRECT, {**self.data, "data": str(message)})

    do_disconnect = property(getter("_leaving"))
    get_server_data, get_address, get_ip, get_server_ip, get_server_port = map(
        getter, ("server_data", "ADDR", "CLIENT_IP", "SERVER_IP", "PORT")
    )


def _reason(error: SecureLinkError) -> str:
    if isinstance(error.__cause__, ConnectionRefusedError):
        return " as it is not accepting clients"
    if isinstance(error, ConfigError | ConnectFailed) and error.__cause__ is None:
        return " as address supplied is not valid"
    there = not isinstance(error, ConnectFailed | LinkTimeout)
    return f": {error}" if there else " as it does not exist"
