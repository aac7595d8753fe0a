"""
The server's public API.

    server.py     options, handlers, sending
    lifecycle.py  starting, driving, stopping
    session.py    one client on the server
    reception.py  who may enter; from a verified client to a session and to its end
    own_key.py    its key, and what earlier keys said of it
    revocation.py whose key is revoked does not stay
    counts.py     what has happened, for `stats()`
    rooms.py      named groups of sessions
    ticker.py     the tick
"""

from .rooms import Room
from .server import Server
from .session import Session

__all__ = ["Room", "Server", "Session"]
