"""Twisted's Int32StringReceiver over TLS (by pyOpenSSL): epoll reactor as server, asyncio reactor as client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet import endpoints, protocol, ssl
from twisted.internet.interfaces import IPushProducer
from twisted.protocols.basic import Int32StringReceiver
from zope.interface import implementer

from .. import frames
from ..credentials import server_certificate
from ..target import CHUNK, HOST, Target

_LONGEST = 2 * CHUNK


def _reactor() -> Any:
    """Importing it installs one, so that happens in functions only."""
    from twisted.internet import reactor

    return reactor


def _body(packet: dict[str, Any]) -> bytes:
    return json.dumps(packet).encode()  # the protocol adds the length


class _Attendant(Int32StringReceiver):
    """One client on the server."""

    MAX_LENGTH = _LONGEST
    transport: Any
    sendString: Any  # noqa: N815  # untyped in the library
    factory: Any
    known = False
    wanted = 0

    def connectionMade(self) -> None:  # noqa: N802  # Twisted's names
        self.transport.setTcpNoDelay(True)

    def stringReceived(self, body: bytes) -> None:  # noqa: N802
        if self.wanted:
            self._count(body)
        elif self.known:
            self._take(frames.decode(body))
        elif frames.accepts(self.factory.target, frames.decode(body)):
            self.known = True
            self.factory.members.add(self)
            self.sendString(frames.WELCOME[4:])
        else:
            self.transport.loseConnection()

    def _count(self, body: bytes) -> None:
        self.wanted -= len(body)
        if self.wanted <= 0:
            self.wanted = 0
            self.sendString(_body({"action": "bulk", "data": None}))

    def _take(self, packet: dict[str, Any]) -> None:
        action, data = packet["action"], packet["data"]
        if action == "cast":
            for _ in range(data["times"]):
                body = _body({"action": "move", "data": data["move"]})
                for member in self.factory.members:
                    member.sendString(body)
        elif action == "bulk":
            self.wanted = data["bytes"]
        else:
            self.sendString(_body(packet))

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802
        self.factory.members.discard(self)


class _Server(protocol.Factory):
    noisy = False
    protocol = _Attendant

    def __init__(self, target: Target) -> None:
        self.target = target
        self.members: set[_Attendant] = set()


def serve(target: Target, ready: Any) -> None:
    """Run a server until the process ends."""
    reactor = _reactor()
    name = server_certificate(target)
    pem = target.path(f"{name}.key").read_bytes() + target.path(f"{name}.crt").read_bytes()
    certificate: Any = ssl.PrivateCertificate
    options = certificate.loadPEM(pem).options()
    listening = reactor.listenSSL(0, _Server(target), options, backlog=1024, interface=HOST)
    ready({"port": listening.getHost().port})
    reactor.run()


def run(main: Callable[[], Awaitable[Any]], target: Target) -> Any:
    """Run a coroutine on the asyncio reactor."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    from twisted.internet import asyncioreactor

    asyncioreactor.install(loop)  # type: ignore[no-untyped-call]
    reactor = _reactor()

    async def begin() -> Any:
        try:
            return await main()
        finally:
            reactor.callLater(0, reactor.stop)

    task = loop.create_task(begin())
    reactor.run()
    return task.result()


@implementer(IPushProducer)
class Connection(Int32StringReceiver):
    """A client."""

    MAX_LENGTH = _LONGEST
    transport: Any
    sendString: Any  # noqa: N815  # untyped in the library
    on_packet: Callable[[Any], None]

    def __init__(self) -> None:
        self._room = asyncio.Event()
        self._room.set()
        self._closed = asyncio.Event()

    def connectionMade(self) -> None:  # noqa: N802
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)

    def stringReceived(self, body: bytes) -> None:  # noqa: N802
        self.on_packet(frames.decode(body)["data"])

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802
        self._closed.set()
        self._room.set()

    def pauseProducing(self) -> None:  # noqa: N802
        self._room.clear()

    def resumeProducing(self) -> None:  # noqa: N802
        self._room.set()

    def stopProducing(self) -> None:  # noqa: N802
        self._room.set()

    def send(self, packet: dict[str, Any]) -> None:
        """Send one packet."""
        self.sendString(_body(packet))

    async def send_blob(self, blob: bytes) -> None:
        """Send one packet of the bulk workload."""
        self.sendString(blob)
        if not self._room.is_set():
            await self._room.wait()

    async def close(self) -> None:
        """Close the connection."""
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        await self._closed.wait()


async def connect(target: Target) -> Connection:
    """An authenticated client."""
    tcp: Any = endpoints.HostnameEndpoint(_reactor(), HOST, target.port)
    endpoint: Any = endpoints.wrapClientTLS(_trust(target), tcp)
    connection = Connection()
    welcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    connection.on_packet = welcome.set_result
    factory = protocol.Factory.forProtocol(lambda: connection)
    factory.noisy = False
    await endpoint.connect(factory).asFuture(asyncio.get_running_loop())
    connection.sendString(frames.login(target)[4:])
    await welcome
    return connection


_trusted: dict[str, Any] = {}


def _trust(target: Target) -> Any:
    """TLS options that trust this server's certificate alone; made once, as a program would."""
    name = server_certificate(target)
    if name not in _trusted:
        pem = target.path(f"{name}.crt").read_bytes()
        _trusted[name] = ssl.optionsForClientTLS("localhost", ssl.Certificate.loadPEM(pem))
    return _trusted[name]
