"""
The chat programs of another project over securelink, call by call; our own chat is `securelink chat`.

    python -m securelink.compat.chat.server2 [HOST [PORT]]
    python -m securelink.compat.chat.client [SERVER_IP [SERVER_PORT]]

The document prints the client's program and describes the server's. Either, and what somebody made of it, runs after
`import socket` became `from securelink.compat.chat import socket`, which has as much of a socket as these programs use.
Where the document and the old code differ, or a defect had to go:

- The client's port is 8000 as in its code: with the document's 8080 it never meets the server. Both may be given.
- `broadcast(message, sender_socket)` may be called with `ender_socket=` too.
- `exit` ends the program, of the server as well, and the peer notices at once.
- One message is one packet, of any length; the end of a connection is told once.
- `handle_client` returns at once: the server calls it for each client, and what the client says is relayed by the
  server's own threads. The operator types in the main thread. `clients` holds sessions, not sockets.
- What others typed is shown with its control characters escaped. An empty line is not sent.
- When the operator's input ends without `exit`, as in the background, the server goes on; a client leaves.
"""

from . import sockets as socket

__all__ = ["socket"]
