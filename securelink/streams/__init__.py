"""
Streams of bytes, and the addresses that they connect.

    base.py       the interfaces of streams and listeners
    tcp.py        TCP
    memory.py     streams without a network, for tests
    sockets.py    addresses, listening, error texts
    names.py      look-ups of names, in bounded time
    reach.py      connecting: all addresses of a name
    awaited.py    waiting for a few sockets at once
    proxy.py      PROXY headers of load balancers
    addresses.py  kinds of addresses, and their networks
"""
