"""
Chat for people, on the public API.

    server.py   names, rooms, history
    client.py   what a line means, what an arriving packet looks like
"""

from .client import ChatClient
from .server import ChatServer

__all__ = ["ChatClient", "ChatServer"]
