"""Server, client, and the connections between them."""
# ruff: noqa: N802, N803  # the names are pnetwork's

from __future__ import annotations

import inspect
import logging
import threading
import time
import uuid
from typing import Any

from ... import client, server
from ...app.handlers import Handlers
from ...errors import CodecError, ConnectFailed, ConnectionClosed, LinkTimeout, SecureLinkError
from ...interrupts import Sign
from ...limits import CONNECT_SECONDS, MAX_WORKERS
from ...session import Session
from ..settings import make_client, make_server, own_words
from .onlineUtilities import Utilities

log = logging.getLogger("securelink")

HANDSHAKE, CREATED = "handShake", "packet-created"
RETRY_SECONDS = 0.5


class Bind:
    """What is done with the packets of one name: subclasses have a `run`."""

    def __init__(self, name: str, *args: Any) -> None:
        self.name, self.args = name, args

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Called with the packet's data, the full packet and the Connection, or as many of these as it takes."""
        raise NotImplementedError


class Connection:
    """
    The peer: a client on the server, the server on a client.

    Attributes:
        uuid: Its token.
        session: securelink's `Session`, or on a client `Client`, for all else that one may want of a connection.
        suspended: True sends it nothing.
    """

    def __init__(self, core: ComCore, session: Any, token: str) -> None:
        self._core, self.session, self.uuid = core, session, token
        self.suspended = False

    def sendPacket(self, packet: Any) -> bool:
        """Send a packet, bytes or dict; False when the connection is suspended or has ended."""
        action, data, headers = self._core.takenApart(packet)
        try:
            if not self.suspended:
                with own_words():
                    self.session.send(action, data, headers=headers)
        except ConnectionClosed:
            return False
        return not self.suspended

    def startListen(self) -> None:
        """Does nothing: packets are taken from the beginning."""

    startlisten = startListen

    def disconnect(self, reason: str = "disconnected") -> None:
        """Say why, and end the connection."""
        self._core.spread({"action": "disconnect", "data": {"reason": reason}}, [self])
        if isinstance(self.session, Session):
            self.session.kick(reason)
        else:
            self.session.close()


class ComCore(Utilities):
    """Base of `Server` and `Client`: `clients` are Connections by token, `actions` are Binds by packet name."""

    def __init__(self, host: str = "127.0.0.1", port: int = 25565, bufferSize: int = 1024) -> None:
        self.host, self.port = host, port
        self.actions: dict[str, Any] = {}
        self._peers: dict[Any, Connection] = {}  # by securelink's Session or Client
        self._handlers = Handlers("core", ("packet",))

    @property
    def clients(self) -> dict[str, Connection]:
        """Connections by token: a picture of this moment."""
        return {one.uuid: one for one in tuple(self._peers.values())}

    def bindAction(self, name: str, bind: Any) -> None:
        """Let packets of a name go to `bind.run`."""
        self.actions[name] = bind

    def SendPacketForAll(self, packet: Any) -> None:
        """Send to all. A server waits for nobody: it ends the connection of a client that does not read."""
        self.spread(packet, list(self.clients.values()))

    def spread(self, packet: Any, connections: list[Connection]) -> None:
        """Send to some."""
        for connection in connections:
            connection.sendPacket(packet)

    def takenApart(self, packet: Any) -> tuple[str, Any, dict[str, Any]]:
        """A packet's name, data and headers."""
        full = self.decodePacket(packet)
        if not full:
            raise CodecError("this is no packet", hint="use createPacket()")
        return full["action"], full.get("data"), {CREATED: full.get(CREATED)}

    def _store(self, session: Any, token: str) -> None:
        self._peers[session] = Connection(self, session, token)
        log.info("New connection stored | Connections: %d", len(self._peers))

    def _received(self, received: Any) -> None:
        if (bind := self.actions.get(received.action)) is None:
            self._handlers.warn_unhandled(received.action, "bindAction()")
            return
        peer = self._peers[received.session]
        packet = self.createPacket(received.action, received.data, asbytes=False)
        packet[CREATED] = received.headers.get(CREATED) or received.created
        packet["token"] = peer.uuid  # whatever the sender says: nobody can claim another's
        kinds = [each.kind.name for each in inspect.signature(bind.run).parameters.values()]
        takes = 3 if "VAR_POSITIONAL" in kinds else sum(k.startswith("POSITIONAL") for k in kinds)
        bind.run(*(received.data, packet, peer)[:takes])


class Server(ComCore):
    """A server; `start()` keeps the program running until `stop()`. `core` is securelink's own."""

    core: server.Server | None = None

    def __init__(self, host: str = "127.0.0.1", port: int = 25565, bufferSize: int = 1024) -> None:
        super().__init__(host, port)
        self.token = str(uuid.uuid4())

    @property
    def connected(self) -> bool:
        """Whether it runs."""
        return self.core is not None and self.core.running

    def start(self, useThreading: bool = True) -> None:
        """Serve, in a thread or here. Raises `ConnectFailed`, an `OSError`, when the port is in use."""
        if self.connected:
            return
        core = self.core = make_server(self.host, self.port, workers=MAX_WORKERS)
        core.on_connect(self._shake_hands)
        core.on_message(lambda session, received: self._received(received))
        core.on_disconnect(self._forget)
        with own_words():
            core.start()
        if useThreading:
            # No daemon: it keeps alive a program that ends with start(), as most do.
            threading.Thread(target=core.serve_forever, name="RegisterNewConnections").start()
        else:
            core.serve_forever()

    def spread(self, packet: Any, connections: list[Connection]) -> None:
        """Send to some."""
        action, data, headers = self.takenApart(packet)
        to = [connection.session for connection in connections if not connection.suspended]
        if self.core is not None:
            with own_words():
                self.core.broadcast(action, data, to=to, headers=headers)

    def stop(self) -> None:
        """Disconnect everybody and stop."""
        if self.core is not None:
            self.core.stop()

    def _forget(self, session: Session) -> None:
        self._peers.pop(session, None)

    def _shake_hands(self, session: Session) -> None:
        token = str(uuid.uuid4())  # not session.token, which is no secret and stands in the log
        session.send(HANDSHAKE, {"status": "success", "uuid": token, "remoteToken": self.token})
        self._store(session, token)  # from now on others may send to it


class Client(ComCore):
    """A client: the server's Connection is the one in `clients`. `core` is securelink's own."""

    _key_name = "client"
    core: client.Client | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self.core is not None and self.core.connected

    def start(self, useThreading: bool = True) -> None:
        """Connect, as soon as the server is up, and listen, in a thread or here."""
        if self.connected:
            return
        core = self.core = make_client(self.host, self.port)
        core.on_connect(lambda: log.info("Connected to server"))
        core.on_message(self._received)
        self._ready = Sign()
        while self.core is core:
            try:
                with own_words():
                    core.connect()
                break  # also when the server has ended it already: no attempt is repeated for that
            except (ConnectFailed, LinkTimeout) as error:
                log.warning("Could not connect: %s", error)
                time.sleep(RETRY_SECONDS)
        if self.core is not core:  # stopped meanwhile
            core.close()
            return
        if useThreading:
            threading.Thread(target=self._listen, args=[core], name="listen").start()
            self._ready.wait(CONNECT_SECONDS)
        else:
            self._listen(core)

    connect = start

    def stop(self) -> None:
        """End the connection, or the attempts."""
        core, self.core = self.core, None
        if core is not None:
            core.close()

    def _listen(self, core: client.Client) -> None:
        try:
            for _ in core:  # all packets go to _received
                pass
        except SecureLinkError as error:
            log.warning("%s", error)
        self._peers.pop(core, None)
        self._ready.set()

    def _received(self, received: Any) -> None:
        if received.session in self._peers:
            super()._received(received)
        else:  # the first packet of the server
            self.token = received.data["uuid"]
            self._store(received.session, received.data["remoteToken"])
            self._ready.set()
