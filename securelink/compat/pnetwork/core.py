"""What server and client share: actions, connections, handshakes."""
# ruff: noqa: N802, N803  # the names are pnetwork's

from __future__ import annotations

import inspect
import logging
import threading
import time
from typing import Any

from ... import crypto
from ...dispatch import Handlers
from ...errors import CodecError, ConnectionClosed, SecureLinkError
from ...server import Session
from ...text import escaped
from .onlineUtilities import Utilities

log = logging.getLogger("securelink")

HANDSHAKE = "handShake"
FIELDS = ("action", "data", "packet-created", "token")


class Bind:
    """What is done with the packets of one name: subclasses have a `run`."""

    def __init__(self, name: str, *args: Any) -> None:
        self.name, self.args = name, args

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Called with the packet's data, the full packet and the Connection, or as many of these as it takes."""
        raise NotImplementedError


class Connection:
    """The other side: a client on the server, the server on a client. `socket` is itself, with `send` and `close`."""

    def __init__(
        self, onlineUtilities: Any, uuid: str, address: Any, username: Any, socket: Any
    ) -> None:
        self._core = onlineUtilities
        # securelink's Session or Client; a program's own handshake stores a Connection once more.
        self._session: Any = getattr(socket, "_session", socket)
        self.socket, self.uuid, self.username = self, uuid, username
        self.ip, self.port = address[:2]
        self.firstConnected = time.time()
        self.suspended = False

    def sendPacket(self, packet: Any) -> bool:
        """Send a packet, bytes or dict, unless the connection is suspended; False when it is, or has ended."""
        full = self._core.decodePacket(packet)
        if not full:
            raise CodecError("this is no packet", hint="use createPacket()")
        created = full.get("packet-created", time.time())
        headers = {"packet-created": created, "token": self._core.token}
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
        return self.sendPacket({"action": HANDSHAKE, "data": data})

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
        self.sendPacket({"action": "disconnect", "data": {"reason": reason}})
        if isinstance(self._session, Session):
            self._session.kick(reason)
        else:
            self._session.close()
        return True

    close = disconnect

    def GetRepersentation(self) -> dict[str, Any]:
        """What is known of it."""
        known = {name: getattr(self, name) for name in ("uuid", "ip", "port", "socket")}
        return {**known, "connected": self.firstConnected}


class ComCore(Utilities):
    """Base of `Server` and `Client`: `clients` are Connections by token, `actions` are Binds by packet name."""

    def __init__(self, host: str = "127.0.0.1", port: int = 25565, bufferSize: int = 1024) -> None:
        self.host, self.port, self.bufferSize = host, port, bufferSize
        self.actions: dict[str, Any] = {}
        self._peers: dict[Any, Connection] = {}  # by securelink's Session or Client
        self._handlers = Handlers()

    @property
    def clients(self) -> dict[str, Connection]:
        """Connections by token: a picture of this moment."""
        return {one.uuid: one for one in tuple(self._peers.values())}

    def bindAction(self, name: str, bind: Any) -> None:
        """Let packets of a name go to `bind.run`."""
        self.actions[name] = bind

    def GetActions(self) -> dict[str, Any]:
        """The Binds by packet name."""
        return self.actions

    def processPacket(self, packet: dict[str, Any], client: Any, address: Any = None) -> None:
        """Run what is bound to a packet's name."""
        action, arguments = packet["action"], (packet.get("data"), packet, client)
        if action in self.actions:
            run = self.actions[action].run
            kinds = [each.kind.name for each in inspect.signature(run).parameters.values()]
            takes = sum(kind.startswith("POSITIONAL") for kind in kinds)
            run(*arguments[: 3 if "VAR_POSITIONAL" in kinds else takes])
        elif action not in (HANDSHAKE, "PING", "BROADCAST", "disconnect"):
            self._handlers.warn_unhandled(action, "bindAction()")

    def _received(self, *arguments: Any) -> None:
        received = arguments[-1]  # the server's listeners get the session before it
        session, given = received.session, {"action": received.action, "data": received.data}
        packet = dict.fromkeys(FIELDS) | received.headers | given
        peer = self._peers.get(session)
        if peer is None and received.action == HANDSHAKE:
            peer = self._shake_hands(session, received.data)
        elif peer is None or not crypto.equal(str(packet["token"]).encode(), peer.uuid.encode()):
            refuse = session.kick if isinstance(session, Session) else log.warning
            refuse("a packet did not carry the token of its connection")
            return
        self.processPacket(packet, peer, (peer.ip, peer.port))

    def _shake_hands(self, session: Any, data: Any) -> Connection:
        raise NotImplementedError

    def storeConnection(self, uuid: str, address: Any, username: Any, socket: Any) -> Connection:
        """Keep a connection in `clients`."""
        connection = Connection(self, uuid, address, username, socket)
        self._peers[connection._session] = connection
        name, count = escaped(str(username)), len(self._peers)
        log.info("New connection stored | %s | Connections: %d", name, count)
        return connection

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
