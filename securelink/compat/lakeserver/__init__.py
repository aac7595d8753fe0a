"""
Lakeserver over securelink: each side has one value and sees the peer's latest.

    from securelink.compat.lakeserver import *

    server = Server(5050)                    client = Client("192.168.1.40", 5050)
    server.start()                           client.connect()

A value that is set goes out with the next round, 20 ms later; of several only the last is sent. Where document and old
code differ, or a defect had to go:

- A program of those three lines serves until `shutdown()` or Ctrl-C; a client's program ends where it ends.
- The server listens on all addresses of the machine, and shows the one in its network.
- `get_client_data()` gives a copy, for iterating while clients come and go.
- A server value that is no Python literal, or a large one (64 KiB), reaches clients as text. A value may be as large as
  a packet, 16 MiB.
- Hooks run when something is sent or read; a pre-send hook also at every round, so that it may set the data.
- Clients that are quiet, vanish or send nonsense cost a warning each, not the server; after `shutdown()` it waits 3 s
  at most for them.
- `header` and `format` change nothing: the wire is securelink's. Why something failed is said in its words.
- Gone: direct mode and what belonged to the old wire, `start(start=False)` with `accept_clients`, `eval_message`,
  `server_addr_avalible`, and attributes beside `active`. No document has them.
"""

from .sides import Client, Server, SockStreamConnection

__all__ = ["Client", "Server", "SockStreamConnection"]
