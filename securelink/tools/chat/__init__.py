"""
Chat for people, on the public API.

    server.py   names, rooms, history
    client.py   typed lines become requests, packets become lines
"""

from .client import ChatClient
from .server import ChatServer

__all__ = ["ChatClient", "ChatServer"]
