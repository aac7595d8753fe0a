"""
Chat for people, on the public API.

    server.py   rooms and messages
    names.py    names of people
    history.py  the messages of the rooms, within bounds
    client.py   typed lines become requests, packets become lines
    wrapping.py  long lines in a terminal
"""

from .client import ChatClient
from .server import ChatServer

__all__ = ["ChatClient", "ChatServer"]
