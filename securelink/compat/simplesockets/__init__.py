"""
The names of simplesockets, over securelink: `TCPServer` and `TCPClient` for messages of raw bytes.

Where its document and its code differ:

- Modules `simplesockets` and `simple_sockets`, `new_data_recved` and `event.new_data`, `killed` and `killed()`,
  `disconnect(address)` and `disconnect(client_socket)`, `reset_exception=` and `reset_exceptions=`: both work. So do
  the client's `start()` and `listen=`, which the code never had; they do nothing.
- `setup()` listens; nobody is accepted before `start()`, as the document says. The default `ip` was the host name in
  the document, 127.0.0.1 in the code; here it is all addresses, so both reach it.
- `max_connections` counts: one more is refused, and its `connect()` gives False.
- A message arrives as it was sent, up to 16 MiB, whatever `recv_buffer` is. Messages that nobody takes slow their
  sender down; a client whose messages are not taken for 30 seconds is disconnected.
- The document's sockets are small objects with `send`, `recv` and `close`; the attribute `socket` is the
  `securelink.Server` or `Client`. Connections that come while accepting is stopped wait; `close()` ends a server.
"""

from .simplesockets import ClientSocket, SetupError, TCPClient, TCPServer

__all__ = ["ClientSocket", "SetupError", "TCPClient", "TCPServer"]
