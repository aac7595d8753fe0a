"""What is sent: a body and headers."""

from .message import Header, NetworkMessage

__all__ = ["Header", "NetworkMessage"]
