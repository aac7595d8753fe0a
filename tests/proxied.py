"""What the tests behind a load balancer share: clients from whatever address a test likes."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from helpers import Hostile

from securelink import Identity, Server
from securelink.streams.proxy import SIGNATURE


def header(
    source: str = "203.0.113.9", port: int = 4711, *, command: int = 0x21, more: bytes = b""
) -> bytes:
    """A header of version 2, with further fields."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    ours = "::1" if ":" in source else "127.0.0.1"
    body = socket.inet_pton(family, source) + socket.inet_pton(family, ours)
    body += struct.pack("!HH", port, 5050) + more
    kind = 0x21 if ":" in source else 0x11
    return SIGNATURE + bytes((command, kind)) + struct.pack("!H", len(body)) + body


def through(server: Server, *pieces: bytes, **auth: Any) -> Hostile:
    """A client whose connection begins with these bytes."""
    client = Hostile(server.address[1], **auth)
    for piece in pieces:
        client.sock.sendall(piece)
    return client


@contextmanager
def behind(identity: Identity, **options: Any) -> Iterator[tuple[Server, list[Any]]]:
    """A server that believes this machine's headers, and the sessions that it has had."""
    came: list[Any] = []
    options = {"trusted_proxies": ["127.0.0.0/8"], **options}
    with Server("127.0.0.1", 0, keys=identity, **options) as server:
        server.on_connect(came.append)
        yield server, came
