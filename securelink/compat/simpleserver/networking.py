"""
What is sent: a message with headers and a body, as text.

    $name:value|name|%body

As the old wire had it, unless a name or value holds one of its signs: these are written with a backslash, which the old
code had forgotten. The body begins after the first `%` and is not changed.
"""

from __future__ import annotations

import re
from typing import Any

from ...app.received import Received
from ...errors import SecureLinkError
from ..settings import own_words

MESSAGE, RAW = "simpleserver message", "simpleserver bytes"  # the packets' names

Result = tuple[bool, str]

_ESCAPES = {"\\": "\\\\", "$": "\\d", ":": "\\c", "|": "\\p", "%": "\\s"}
_ORIGINALS = {escape: character for character, escape in _ESCAPES.items()}


def _escaped(text: str) -> str:
    return re.sub(r"[\\$:|%]", lambda found: _ESCAPES[found[0]], text)


def _original(text: str) -> str:
    return re.sub(r"\\.", lambda found: _ORIGINALS.get(found[0], found[0]), text, flags=re.DOTALL)


_MAX_HEADERS = 100  # of a message; one with more is a message without headers
_MAX_HEADERS_SIZE = 64 * 1024  # characters of all of them


class Header:
    """A name and, perhaps, a value; None for a header without one."""

    def __init__(self, name: str, value: str | None = "") -> None:
        self.name = name
        self.value = value

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}:{self.value}"


class NetworkMessage:
    """
    A message.

    Attributes:
        headers: In the order in which they were added.
        body: Text; "" for none.
    """

    def __init__(self) -> None:
        self.headers: list[Header] = []
        self.body = ""

    def add_header(self, header_name: str, value: str | None = None) -> None:
        """Add a header, with or without a value."""
        self.headers.append(Header(header_name, value))

    def has_header(self, header_name: str) -> bool:
        """Whether there is a header of that name."""
        return self.get_header(header_name) is not None

    def get_header(self, header_name: str) -> Header | None:
        """The first header of that name, or None."""
        return next((header for header in self.headers if header.name == header_name), None)

    def set_body(self, body: object) -> None:
        """Set the body; what is no text becomes text."""
        self.body = body.decode(errors="replace") if isinstance(body, bytes) else str(body)

    def encode(self) -> bytes:
        """The message as bytes, for `decode`."""
        parts = [_escaped(str(header.name)) for header in self.headers]
        for index, header in enumerate(self.headers):
            if header.value is not None:
                parts[index] += ":" + _escaped(str(header.value))
        return f"${''.join(part + '|' for part in parts)}%{self.body}".encode()

    @staticmethod
    def decode(data: bytes) -> NetworkMessage:
        """The message that was encoded so; other bytes become a message without headers. No bytes make it raise."""
        message = NetworkMessage()
        text = bytes(memoryview(data)).decode(errors="replace")
        headers, end, body = text.removeprefix("$").partition("%")
        many = len(headers) > _MAX_HEADERS_SIZE or headers.count("|") > _MAX_HEADERS
        if not text.startswith("$") or not end or many or (headers and not headers.endswith("|")):
            message.body = text
            return message
        for header in headers.split("|")[:-1]:
            name, colon, value = header.partition(":")
            message.add_header(_original(name), _original(value) if colon else None)
        message.body = body
        return message


def encoded(message: NetworkMessage | bytes | str) -> tuple[str, bytes]:
    """
    The name and the data of the packet for a message, or for bytes or text that become the body of one.

    Raises:
        TypeError: It is nothing that can be sent. (`bytes(5)` would be five zeros.)
        ValueError: It has text that cannot be encoded.
    """
    if isinstance(message, NetworkMessage):
        return MESSAGE, message.encode()
    if isinstance(message, str):
        return RAW, message.encode()
    try:
        return RAW, bytes(memoryview(message))
    except TypeError:
        kind = type(message).__name__
        raise TypeError(f"a message is a NetworkMessage, bytes or text, not {kind}") from None


def send(peer: Any, message: NetworkMessage | bytes | str) -> Result:
    """Send a message, or bytes or text that become the body of one; whether it went, and what to say."""
    try:
        with own_words():
            peer.send(*encoded(message))
    except (SecureLinkError, TypeError, ValueError) as error:
        return False, str(error)
    return True, "Message sent"


def received(packet: Received) -> NetworkMessage | None:
    """The message that a packet carries; None when it carries none."""
    if not isinstance(packet.data, bytes) or packet.action not in (MESSAGE, RAW):
        return None
    if packet.action == MESSAGE:
        return NetworkMessage.decode(packet.data)
    message = NetworkMessage()
    message.set_body(packet.data)
    return message
