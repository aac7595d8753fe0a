"""`socketserver` and `ssl` of the standard library: a thread for each connection."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from typing import Any

from .. import frames
from ..credentials import client_context, server_context
from ..target import HOST, Target


def serve(target: Target, ready: Any) -> None:
    """Run a server until the process ends."""
    context = server_context(target)
    members: set[Handler] = set()
    members_lock = threading.Lock()

    class Handler(socketserver.BaseRequestHandler):
        """One client. The handshake runs in its own thread."""

        def setup(self) -> None:
            self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.request = context.wrap_socket(self.request, server_side=True)
            self.reader = self.request.makefile("rb")
            self.lock = threading.Lock()

        def handle(self) -> None:
            if not frames.accepts(target, frames.decode(self.read())):
                return
            self.write(frames.WELCOME)
            with members_lock:
                members.add(self)
            while body := self.read():
                self.take(frames.decode(body))

        def take(self, packet: dict[str, Any]) -> None:
            action, data = packet["action"], packet["data"]
            if action == "cast":
                for _ in range(data["times"]):
                    self.broadcast(frames.encode({"action": "move", "data": data["move"]}))
                return
            if action == "bulk":
                self.count(data["bytes"])
            elif action == "compute":
                end = time.perf_counter() + data["seconds"]
                while time.perf_counter() < end:
                    sum(range(1000))
            elif action == "sleep":
                time.sleep(data["seconds"])
            self.write(frames.encode(packet))

        def broadcast(self, frame: bytes) -> None:
            with members_lock:
                present = tuple(members)
            for member in present:
                try:
                    member.write(frame)
                except OSError:
                    pass  # it left; its own thread takes it out

        def count(self, wanted: int) -> None:
            while wanted > 0:
                wanted -= len(self.read())

        def read(self) -> bytes:
            header = self.reader.read(4)
            return bytes(self.reader.read(int.from_bytes(header, "big"))) if header else b""

        def write(self, frame: bytes) -> None:
            with self.lock:
                self.request.sendall(frame)

        def finish(self) -> None:
            with members_lock:
                members.discard(self)
            self.reader.close()
            self.request.close()

    class Threads(socketserver.ThreadingTCPServer):
        """The server."""

        daemon_threads = True
        block_on_close = False  # else it keeps every thread object until the end
        request_queue_size = 1024

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that just closes is no error here."""

    with Threads((HOST, 0), Handler) as server:
        ready({"port": server.server_address[1]})
        server.serve_forever()


class Connection:
    """A blocking client."""

    def __init__(self, target: Target) -> None:
        sock = socket.create_connection((HOST, target.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = client_context(target).wrap_socket(sock, server_hostname="localhost")
        self._reader = self._sock.makefile("rb")
        self._sock.sendall(frames.login(target))
        self.receive()

    def send(self, packet: dict[str, Any]) -> None:
        """Send one packet."""
        self._sock.sendall(frames.encode(packet))

    def receive(self) -> Any:
        """Data of the next packet."""
        header = self._reader.read(4)
        if not header:
            raise EOFError("the server closed the connection")
        return frames.decode(self._reader.read(int.from_bytes(header, "big")))["data"]

    def send_blob(self, blob: bytes) -> None:
        """Send one packet of the bulk workload."""
        self._sock.sendall(frames.frame(blob))

    def close(self) -> None:
        """Close the socket."""
        self._reader.close()
        self._sock.close()


connect = Connection
