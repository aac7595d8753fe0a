"""
From a host and a port to a connected socket, and back to an address.

    sockets.py    addresses, listening, error texts
    names.py      from a name to addresses, in bounded time
    reach.py      connecting: all addresses of a name
    proxy.py      whom a load balancer speaks for
    addresses.py  what kind of address it is, and what counts as one
"""
