"""
What a socket can do without a library: no packets, no encoding, no bounds; plain, or encrypted by the module `ssl`.

The first byte of a connection says what it is for. ECHO: what comes goes back. SINK: 8 bytes say how many follow; when
all are there, one byte answers. LISTEN: one byte answers, and from then on it gets what is cast. CAST: for each byte
that comes, every listener gets one packet. A thread serves each connection, as `socketserver` does.
"""

from __future__ import annotations

import json
import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from ..keys import Identity
from ..limits import BACKLOG, CONNECT_SECONDS
from ..streams.reach import connect
from ..streams.sockets import listen, prepare
from .certificate import self_signed
from .workloads import ACTION, CHUNK, DATA, HOST, Connection

if TYPE_CHECKING:
    from socket import socket

ECHO, SINK, LISTEN, CAST = b"e", b"s", b"l", b"c"
PACKET = json.dumps({"action": ACTION, "data": DATA}).encode()
CERTIFICATE = "certificate.pem"
_READ = 64 * 1024


class Floor:
    """
    The two servers.

    Args:
        folder: Has `server_private.pem`; a certificate for it is put there.
    """

    def __init__(self, folder: Path) -> None:
        private_path = folder / "server_private.pem"
        certificate = folder / CERTIFICATE
        certificate.write_bytes(self_signed(Identity.load(private_path), HOST))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._context.num_tickets = 0  # nobody resumes here: spare it the work
        self._context.load_cert_chain(certificate, private_path)
        self._listeners: dict[bool, list[socket]] = {False: [], True: []}

    def start(self) -> tuple[int, int]:
        """Serve until the process ends. Returns the ports: plain, TLS."""
        ports = []
        for encrypted in (False, True):
            (listening,) = listen(HOST, 0, BACKLOG)
            listening.setblocking(True)
            ports.append(int(listening.getsockname()[1]))
            threading.Thread(target=self._accept, args=(listening, encrypted), daemon=True).start()
        return ports[0], ports[1]

    def _accept(self, listening: socket, encrypted: bool) -> None:
        while True:
            sock, _ = listening.accept()
            threading.Thread(target=self._serve, args=(sock, encrypted), daemon=True).start()

    def _serve(self, sock: socket, encrypted: bool) -> None:
        try:
            prepare(sock)
            sock.setblocking(True)
            if encrypted:
                sock = self._context.wrap_socket(sock, server_side=True)
            self._work(sock, self._listeners[encrypted])
        except OSError:
            pass  # the client left; that is how each connection ends
        finally:
            sock.close()

    @staticmethod
    def _work(sock: socket, listeners: list[socket]) -> None:
        match sock.recv(1):
            case b"e":
                while data := sock.recv(_READ):
                    sock.sendall(data)
            case b"s":
                while size := sock.recv(8):
                    _read(sock, int.from_bytes(size))
                    sock.sendall(b"k")
            case b"l":
                listeners.append(sock)
                sock.sendall(b"k")
                sock.recv(1)
                listeners.remove(sock)
            case b"c":
                while casts := sock.recv(_READ):
                    for _ in casts:
                        for listener in listeners:
                            listener.sendall(PACKET)


def _read(sock: socket, size: int) -> None:
    """Read exactly so many bytes."""
    while size:
        data = sock.recv(min(size, _READ))
        if not data:
            raise ConnectionResetError("the other side left")
        size -= len(data)


class Bare:
    """
    Clients of a `Floor`.

    Args:
        name: For the table.
        port: Of one of the two servers.
        folder: Where the certificate is; None for the plain server.
    """

    def __init__(self, name: str, port: int, folder: Path | None) -> None:
        self.name = name
        self._port = port
        self._context: ssl.SSLContext | None = None
        if folder is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._context.load_verify_locations(folder / CERTIFICATE)

    def open(self) -> Connection:
        """A connection that the other side echoes."""
        return BareConnection(self._connect(), ECHO)

    def open_sink(self) -> Connection:
        """One for bulk data."""
        return BareConnection(self._connect(), SINK)

    def open_audience(self, size: int) -> tuple[Connection, list[Connection]]:
        """One that casts, and those who hear it."""
        listeners: list[Connection] = []
        for _ in range(size):
            listener = BareConnection(self._connect(), LISTEN)
            listener.acknowledged()
            listeners.append(listener)
        return BareConnection(self._connect(), CAST), listeners

    def _connect(self) -> socket:
        sock = connect(HOST, self._port, CONNECT_SECONDS)
        sock.setblocking(True)
        if self._context is None:
            return sock
        try:
            return self._context.wrap_socket(sock, server_hostname=HOST)
        except OSError:
            sock.close()
            raise


class BareConnection:
    """A socket that speaks of packets."""

    def __init__(self, sock: socket, purpose: bytes) -> None:
        self._sock = sock
        self._chunk = bytes(CHUNK)
        sock.sendall(purpose)

    def send(self, count: int = 1) -> None:
        """Send packets, each by a call of its own, as programs do that have only a socket."""
        for _ in range(count):
            self._sock.sendall(PACKET)

    def receive(self, count: int = 1) -> None:
        """Wait for packets."""
        _read(self._sock, count * len(PACKET))

    def bulk(self, chunks: int) -> None:
        """Send chunks and wait until the other side has them."""
        self._sock.sendall((chunks * CHUNK).to_bytes(8))
        for _ in range(chunks):
            self._sock.sendall(self._chunk)
        self.acknowledged()

    def cast(self) -> None:
        """Have one packet sent to the whole audience."""
        self._sock.sendall(b"x")

    def acknowledged(self) -> None:
        """Wait for the byte that says that it is done."""
        _read(self._sock, 1)

    def close(self) -> None:
        """Leave."""
        self._sock.close()
