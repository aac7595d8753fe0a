"""
The server's public API.

    server.py     options, starting and stopping, handlers, sending
    session.py    one client on the server
    reception.py  who may enter; from a verified client to a session and to its end
"""

from .server import Server
from .session import Session

__all__ = ["Server", "Session"]
