"""
The shell for asyncio: clients and servers whose methods are coroutines.

    from securelink import aio                     from securelink import aio
    async with aio.Server(port=5050) as server:    async with aio.Client("192.168.1.40", 5050) as client:
        await server.serve_forever()                   await client.send("say", "hello")

It drives the loops of `threads/` from an event loop, so that nothing of the protocol, of resuming or of the bounds is
written twice. docs/ASYNCIO.md says what differs for the application.

    driver.py      turns of a loop of ours, in the event loop
    running.py     coroutines of the application: handlers and listeners
    waiting.py     futures for what is waited for, and work in other threads
    asking.py      packets and requests of a session, with back-pressure
    peer.py        the methods that a session and a client share
    binding.py     binding handlers, for type checkers
    session.py     a session of a server
    server.py      a server
    home.py        the loop of all clients in one event loop
    client.py      a client
"""

from .client import Client
from .running import Event
from .server import Server
from .session import Room, Session

__all__ = ["Client", "Event", "Room", "Server", "Session"]
