"""A peer that was written from docs/PROTOCOL.md alone: in plaintext, which is enough for what is above the channel."""

from __future__ import annotations

import os
import socket
from typing import Any, Self

import msgspec
from helpers import WAIT
from page_client import fields, frame, listed

MAGIC = bytes.fromhex("5345434c494e4b1a")
CLIENT_HELLO, SERVER_HELLO, PLAIN, ALERT = 1, 2, 4, 5
CLIENT_AUTH, WELCOME, DATA, DATA_ACK, ACK, CLOSE = 2, 3, 4, 5, 6, 10
PROTOCOL, VERSION, INTERNAL, APPLICATION, REFUSED, TOO_SLOW, UNREADABLE = 1, 2, 8, 9, 16, 21, 23
NIL = b"\xc0"
TOKEN = "01234567-89ab-4def-8123-456789abcdef"


class Wire:
    """One connection: frames in and out, with a bound on waiting."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.token = bytes(16)
        self.sent = 0  # DATA and DATA_ACK records of this side
        sock.settimeout(WAIT)

    def frame(self) -> tuple[int, bytes]:
        """The next frame; (0, b"") at the end of the stream."""
        head = self._exactly(4)
        if not head:
            return 0, b""
        return head[0], self._exactly(int.from_bytes(head[1:]))

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.sock.recv(min(size - len(data), 1 << 20))
            if not more:
                return b""
            data += more
        return data

    def say(self, content: int, body: bytes) -> None:
        """Send one record."""
        self.sent += content in (DATA, DATA_ACK)
        self.sock.sendall(frame(PLAIN, self.token + bytes([content]) + body))

    def record(self) -> tuple[int, bytes]:
        """The next record that is no acknowledgement alone."""
        while True:
            kind, body = self.frame()
            assert kind == PLAIN, (kind, body)
            assert body[:16] == self.token
            if body[16] != ACK:
                return body[16], body[17:]

    def packets(self, *packets: Any) -> None:
        """Send one record of packets."""
        self.say(DATA, msgspec.msgpack.encode(list(packets)))

    def packet(self) -> list[Any]:
        """The one packet of the next record."""
        content, body = self.record()
        assert content in (DATA, DATA_ACK), (content, body)
        (packet,) = msgspec.msgpack.decode(body[8 * (content == DATA_ACK) :])
        return list(packet)

    def close(self) -> tuple[int, int, str]:
        """The CLOSE that comes next: code, count, text."""
        content, body = self.record()
        assert content == CLOSE, (content, body)
        return body[0], int.from_bytes(body[1:9]), body[9:].decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


class Peer(Wire):
    """
    A client.

    Args:
        auth: Fields of CLIENT_AUTH that replace the usual ones; None leaves one out.
    """

    def __init__(self, port: int, auth: dict[int, bytes | None] | None = None) -> None:
        super().__init__(socket.create_connection(("127.0.0.1", port)))
        hello = listed({1: b"\x00", 2: os.urandom(32)})
        self.sock.sendall(frame(CLIENT_HELLO, MAGIC + b"\x01" + hello))
        kind, body = self.frame()
        assert (kind, body[0]) == (SERVER_HELLO, 1)
        assert fields(body[1:])[1] == b"\x00"
        usual: dict[int, bytes | None] = {3: b"127.0.0.1", 4: b"", 5: b"", 7: NIL}
        chosen = {k: v for k, v in {**usual, **(auth or {})}.items() if v is not None}
        self.say(CLIENT_AUTH, listed(chosen))

    def welcomed(self) -> Self:
        """Take WELCOME."""
        content, body = self.record()
        assert content == WELCOME, (content, body)
        self.token = fields(body)[1]
        return self
