"""
SimpleServer over securelink: messages with headers and a body, events with listeners, a client that is polled.

    from securelink.compat.simpleserver import SimpleServer, SimpleClient

    server = SimpleServer("localhost", 1234)              client = SimpleClient()
    server.on_message.add_listener(on_message)            success, message = client.connect("localhost", 1234)
    server.start()                                        data = client.read()

Where the document and the old code differ, or a defect had to go:

- `Server` is `SimpleServer`, `ConnectionClient` is `ClientConnection`, `message_clients` is `messsage_clients`.
- Errors and warnings are shown always, as the document says; the code showed errors only.
- Headers without value, headers of a received message, `$ : | %` in any text, bytes and long bodies work.
- One message is one packet: none is cut at 1,024 bytes, merged or split.
- Listeners run one at a time; one that raises is logged as an error, and the others go on.
- A value, message or client that is broken harms nobody else. `stop()` stops, and the server can be started again.
- `read()` waits up to 10 ms when it is called again at once after it gave None, so that a loop around it is no spin.
- New: `client.connected`, `client.close()`. Gone with the old wire: `socket`, `ClientConnection.read`.
"""

from .client import SimpleClient
from .networking import Header, NetworkMessage
from .server import ClientConnection, ServerCallback, SimpleServer

Server = SimpleServer
ConnectionClient = ClientConnection

__all__ = [
    "ClientConnection",
    "ConnectionClient",
    "Header",
    "NetworkMessage",
    "Server",
    "ServerCallback",
    "SimpleClient",
    "SimpleServer",
]
