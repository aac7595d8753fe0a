"""ZeroMQ with CURVE: I/O and encryption in libzmq's C++ thread. ROUTER/DEALER, and PUB/SUB for casts."""

from __future__ import annotations

import hmac
from typing import Any

import msgpack
import zmq

from ..target import HOST, Target

_WELCOME = msgpack.packb({"action": "welcome", "data": None})


class _Server:
    """One thread, one poll; libzmq queues are unlimited on both sides."""

    def __init__(self, target: Target) -> None:
        self._token = target.token
        self._known: set[bytes] = set()
        self._wanted: dict[bytes, int] = {}
        self.public, self._secret = zmq.curve_keypair()
        self._context = zmq.Context()
        self._router, self.port = self._bind(zmq.ROUTER)
        # XPUB is PUB that tells of subscriptions: a cast before they have all arrived would miss somebody.
        self._publisher, self.publisher_port = self._bind(zmq.XPUB, verbose=True)
        self._audience = 0

    def _bind(self, kind: int, *, verbose: bool = False) -> tuple[Any, int]:
        socket = self._context.socket(kind)
        if verbose:
            socket.xpub_verboser = True
        socket.curve_server = True
        socket.curve_publickey, socket.curve_secretkey = self.public, self._secret
        socket.set_hwm(0)
        socket.backlog = 1024
        return socket, socket.bind_to_random_port(f"tcp://{HOST}")

    def run(self) -> None:
        while True:
            who, body = self._router.recv_multipart()
            if who in self._wanted:
                self._count(who, body)
            elif who in self._known:
                self._take(who, body)
            elif hmac.compare_digest(str(msgpack.unpackb(body)["data"]["token"]), self._token):
                self._known.add(who)
                self._router.send_multipart((who, _WELCOME))

    def _count(self, who: bytes, body: bytes) -> None:
        self._wanted[who] -= len(body)
        if self._wanted[who] <= 0:
            del self._wanted[who]
            self._router.send_multipart((who, _WELCOME))

    def _take(self, who: bytes, body: bytes) -> None:
        packet = msgpack.unpackb(body)
        data = packet["data"]
        if packet["action"] == "cast":
            for _ in range(data["times"]):
                self._publisher.send(msgpack.packb({"action": "move", "data": data["move"]}))
        elif packet["action"] == "audience":
            while self._audience < data["size"]:
                self._audience += 1 if self._publisher.recv()[0] else -1
            self._router.send_multipart((who, _WELCOME))
        elif packet["action"] == "bulk":
            self._wanted[who] = data["bytes"]
        else:
            self._router.send_multipart((who, msgpack.packb(packet)))


def serve(target: Target, ready: Any) -> None:
    """Run a server until the process ends."""
    server = _Server(target)
    ready(
        {
            "port": server.port,
            "publisher": server.publisher_port,
            "public": server.public.decode(),
        }
    )
    server.run()


class Connection:
    """A client that sends and receives."""

    def __init__(self, target: Target) -> None:
        self._socket = _open(target, zmq.DEALER, target.port)
        self.send({"action": "login", "data": {"token": target.token}})
        self._socket.recv()

    def send(self, packet: dict[str, Any]) -> None:
        """Send one packet."""
        self._socket.send(msgpack.packb(packet))

    def receive(self) -> Any:
        """Data of the next packet."""
        return msgpack.unpackb(self._socket.recv())["data"]

    def send_blob(self, blob: bytes) -> None:
        """Send one packet of the bulk workload."""
        self._socket.send(blob)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close(linger=0)


class Receiver(Connection):
    """A client that only receives casts."""

    def __init__(self, target: Target) -> None:
        self._socket = _open(target, zmq.SUB, target.server["publisher"])
        self._socket.subscribe(b"")


def _open(target: Target, kind: int, port: int) -> Any:
    socket = _context().socket(kind)
    socket.curve_serverkey = target.server["public"].encode()
    socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
    socket.set_hwm(0)
    socket.rcvtimeo = 60_000
    socket.connect(f"tcp://{HOST}:{port}")
    return socket


def _context() -> Any:
    context: Any = zmq.Context.instance()
    context.set(zmq.MAX_SOCKETS, 20_000)
    return context


connect = Connection
#: Its sockets are not for two threads.
DRIVER_OPTIONS = {"receiver": Receiver, "sends_all": True}
