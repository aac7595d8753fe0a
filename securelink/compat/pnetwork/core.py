"""What server and client share: actions, connections, handshakes."""
# ruff: noqa: N802, N803  # the names are pnetwork's

from __future__ import annotations

import inspect
import logging
import random
import threading
import time
from typing import Any

from ...errors import CodecError, ConnectionClosed, SecureLinkError
from ...received import Received
from ...server import Session
from ...text import escaped
from ...transport.sockets import shown
from .onlineUtilities import Utilities

log = logging.getLogger("securelink")

HANDSHAKE = "handShake"
_MAX_UNKNOWN = 64


class Bind:
    """What is done with the packets of one name: subclasses have a `run`."""

    def __init__(self, name: str, *args: Any) -> None:
        self.name = name
        self.args = args

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Called with the packet's data, the full packet and the Connection, or as many of these as it takes."""
        raise NotImplementedError


def run_bind(bind: Any, *arguments: Any) -> None:
    """Call `run` with as many of the arguments as it takes."""
    parameters = inspect.signature(bind.run).parameters.values()
    if all(parameter.kind != parameter.VAR_POSITIONAL for parameter in parameters):
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        arguments = arguments[: sum(parameter.kind in positional for parameter in parameters)]
    bind.run(*arguments)


def full_packet(received: Received) -> dict[str, Any]:
    """A packet as pnetwork's programs see it."""
    headers = received.headers
    return {
        "action": received.action,
        "data": received.data,
        "packet-created": headers.get("packet-created", received.created),
        "token": headers.get("token"),
    }


class Connection:
    """The other side: a client on the server, the server on a client. `socket` is itself, with `send` and `close`."""

    def __init__(
        self,
        onlineUtilities: Utilities,
        uuid: str,
        address: tuple[str, int],
        username: str | None,
        socket: Any,
    ) -> None:
        self._core = onlineUtilities
        # securelink's Session or Client; a program's own handshake stores a Connection once more.
        self._session: Any = socket._session if isinstance(socket, Connection) else socket
        self.socket = self
        self.uuid = uuid
        self.ip, self.port = address[:2]
        self.username = username
        self.firstConnected = time.time()
        self.suspended = False

    def sendPacket(self, packet: Any) -> bool:
        """Send a packet, bytes or dict, unless the connection is suspended; False when it is, or has ended."""
        full = self._core.decodePacket(packet)
        if not full:
            raise CodecError("this is no packet", hint="use createPacket()")
        headers = {
            "packet-created": full.get("packet-created"),
            "token": self._core._token_for(full),
        }
        try:
            if not self.suspended:
                self._session.send(full["action"], full.get("data"), headers=headers)
        except ConnectionClosed:
            return False
        return not self.suspended

    send = sendall = sendPacket

    def handShake(self, remoteToken: str | None = None) -> bool:
        """Tell a client its token, and ours."""
        data = {"status": "success", "uuid": self.uuid, "remoteToken": remoteToken}
        return self.sendPacket(self._core.createPacket(HANDSHAKE, data))

    def startListen(self) -> None:
        """Does nothing: packets are taken from the beginning."""

    startlisten = listen = startListen

    def isAlive(self) -> bool:
        """Ask the other side, and wait for its answer, 10 seconds at most."""
        try:
            self._session.ping()
        except SecureLinkError:
            return False
        return True

    def disconnect(self, reason: str = "disconnected") -> bool:
        """Say why, and end the connection."""
        self.suspended = False
        self.sendPacket(self._core.createPacket("disconnect", {"reason": reason}))
        if isinstance(self._session, Session):
            self._session.kick(reason)
        else:
            self._session.close()
        return True

    close = disconnect

    def GetRepersentation(self) -> dict[str, Any]:
        """What is known of it."""
        return {
            "uuid": self.uuid, "ip": self.ip, "port": self.port, "socket": self, "connected": self.firstConnected,
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"<Connection {shown(self.ip, self.port)}>"


class ComCore(Utilities):
    """
    Base of `Server` and `Client`.

    Attributes:
        clients: Connections by token; replaced, not changed, when somebody comes or goes.
        actions: Binds by packet name.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 25565, bufferSize: int = 1024) -> None:
        super().__init__()
        self.host, self.port, self.bufferSize = host, port, bufferSize
        self.clients: dict[str, Connection] = {}
        self.actions: dict[str, Any] = {}
        self._unknown = {HANDSHAKE, "PING", "BROADCAST", "disconnect"}  # actions not to warn of
        self._clients_lock = threading.Lock()

    def bindAction(self, name: str, bind: Any) -> None:
        """Let packets of a name go to `bind.run`."""
        self.actions[name] = bind

    def GetActions(self) -> dict[str, Any]:
        """The Binds by packet name."""
        return self.actions

    def processPacket(self, packet: dict[str, Any], client: Any, address: Any = None) -> None:
        """Run what is bound to a packet's name."""
        bind = self.actions.get(packet["action"])
        if bind is not None:
            run_bind(bind, packet.get("data"), packet, client)
        elif packet["action"] not in self._unknown and len(self._unknown) < _MAX_UNKNOWN:
            self._unknown.add(packet["action"])
            log.warning("Action not found: %s", escaped(packet["action"]))

    def storeConnection(
        self, uuid: str, address: tuple[str, int], username: Any, socket: Any
    ) -> Connection:
        """Keep a connection in `clients`."""
        connection = Connection(self, uuid, address, username, socket)
        with self._clients_lock:
            self.clients = {**self.clients, uuid: connection}
        log.info(
            "New connection stored | %s | Connections: %d",
            escaped(str(username)),
            len(self.clients),
        )
        return connection

    def _forget(self, connection: Connection | None) -> None:
        with self._clients_lock:
            self.clients = {
                key: kept for key, kept in self.clients.items() if kept is not connection
            }

    def SendPacket(self, uuid: str, packet: Any) -> bool:
        """Send to one; False when it is not there."""
        connection = self.clients.get(uuid)
        return connection is not None and connection.sendPacket(packet)

    def SendPacketForAll(self, packet: Any) -> None:
        """Send to all."""
        for connection in self.clients.values():
            connection.sendPacket(packet)

    def GetConnection(self, uuid: str) -> Connection | None:
        """The connection with this token."""
        return self.clients.get(uuid)

    def GetAllConnections(self) -> dict[str, Connection]:
        """Connections by token."""
        return self.clients

    def GetRandomConnection(self) -> Any:
        """Any connection; False when there is none."""
        return random.choice(list(self.clients.values()) or [False])  # noqa: S311

    def GetLatestConnection(self) -> str:
        """The token of the newest connection. Raises `IndexError` when there is none."""
        return list(self.clients)[-1]

    def DisconnectConnection(self, uuid: str) -> bool:
        """Disconnect one; False when it is not there."""
        connection = self.clients.get(uuid)
        return connection is not None and connection.disconnect()

    def GetThreadInfo(self) -> dict[str, Any]:
        """The threads of this process."""
        names = [thread.name for thread in threading.enumerate()]
        return {"count": len(names), "names": names}
