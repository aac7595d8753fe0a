"""The client."""

from __future__ import annotations

import threading
from operator import attrgetter
from typing import Any, ClassVar

from ...errors import ConfigError, ConnectFailed, LinkTimeout, SecureLinkError
from ...transport.sockets import local_address
from ..settings import make_client
from .side import (
    CONNECT,
    DIRECT,
    DISCONNECT,
    UNASKED,
    Message,
    SockStreamConnection,
    getter,
    value_of,
)


class Client(SockStreamConnection):
    """A client: `connect`, `set_data`, `get_server_data`, `disconnect`."""

    _goodbyes: ClassVar = (
        threading.Lock()
    )  # clients of one program leave one by one, as the document shows

    def __init__(self, server_ip: str, port: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(port, *args, **kwargs)
        self.SERVER_IP, self.CLIENT_IP, self.ADDR = server_ip, local_address(), (server_ip, port)
        self.server_data: Any = {}
        self._asked = False
        self._core = core = make_client(server_ip, port)
        core.on(DIRECT, lambda frame: self._take(self._read_frame(None, frame.data)))
        core.on(DISCONNECT, lambda _: self._leave())
        core.on_state.add_listener(lambda value: self._take(self._read(value)))
        core.on_disconnect.add_listener(self._lost)
        self.info("Status: Ready")

    def connect(self) -> None:
        """Connect; what is wrong is shown as a warning."""
        if self.do_disconnect:
            self._thread.join()
        if self.active:
            self.warn("Error: Cannot initiate a connection because client already connected")
            return
        self._reset()
        self.server_data, self._asked = {}, False
        try:
            self._core.connect()
            self.active = True
            self.info("Status: Connected")
            self._core.request(CONNECT)
        except SecureLinkError as error:
            self.active = False
            self._core.close()
            self.warn(f"Error: Could not connect to server{_reason(error)}")
        else:
            self._begin_rounds(daemon=True)

    def disconnect(self) -> None:
        """Disconnect with the next round."""
        if self.active and not self._leaving:
            self.info("Status: Disconnecting")
            self._leaving = True
            self._changed.set()

    def _finish(self) -> None:
        with self._goodbyes:
            if self._asked:  # the server says that we have left before we do
                self._try(self._core.request, DISCONNECT)
            if self.active:
                self.info("Status: Disconnected")
                self._try(self._core.send, DISCONNECT)
        self._core.close()

    def _lost(self) -> None:
        if self.active and not self._leaving:
            self.warn(f"Error: Server {UNASKED}")
            self.info("Status: Disconnected")
            self.active = False
            self._changed.set()

    def _take(self, message: Message | None) -> None:
        if message is None:
            return
        self.server_data = value_of(message["data"])
        if "disconnect" in message["commands"]:
            self._leave()

    def _leave(self) -> None:
        self._asked = True
        self.disconnect()

    def direct_send(self, message: Any) -> None:
        """Send one value to the server."""
        self._try(self._core.send, DIRECT, {**self.data, "data": str(message)})

    do_disconnect = property(attrgetter("_leaving"))
    get_server_data = getter("server_data")
    get_address = getter("ADDR")
    get_ip = getter("CLIENT_IP")
    get_server_ip = getter("SERVER_IP")
    get_server_port = getter("PORT")


def _reason(error: SecureLinkError) -> str:
    if isinstance(error.__cause__, ConnectionRefusedError):
        return " as it is not accepting clients"
    if isinstance(error, ConfigError | ConnectFailed) and error.__cause__ is None:
        return " as address supplied is not valid"
    return (
        " as it does not exist" if isinstance(error, ConnectFailed | LinkTimeout) else f": {error}"
    )
