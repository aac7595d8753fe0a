"""Sending and receiving messages: what server and client have in common, and a client as the server sees it."""

from __future__ import annotations

from typing import Any

from ...errors import SecureLinkError
from ...received import Received
from ...server import Session
from .networking import NetworkMessage

MESSAGE, RAW = "simpleserver message", "simpleserver bytes"  # the packets' names

Result = tuple[bool, str]


def send(peer: Any, message: NetworkMessage | bytes | str) -> Result:
    """Send a message, or bytes or text that become the body of one; whether it went, and what to say."""
    try:
        if isinstance(message, NetworkMessage):
            peer.send(MESSAGE, message.encode())
        else:
            peer.send(RAW, message.encode() if isinstance(message, str) else bytes(message))
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


class ClientConnection:
    """
    One client on the server.

    Attributes:
        address: Its (ip, port).
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.address = session.address

    def send(self, message: NetworkMessage | bytes | str) -> Result:
        """Send to this client; (True, "Message sent") or (False, why)."""
        return send(self._session, message)

    @property
    def connected(self) -> bool:
        """Whether it is there."""
        return self._session.connected

    def close(self) -> None:
        """End its session."""
        self._session.kick()

    def __str__(self) -> str:
        return str(self.address)
