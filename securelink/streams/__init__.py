"""
From a host and a port to a stream of bytes, and back to an address.

    base.py       what a link needs of a stream, and of a place where streams come in
    tcp.py        TCP as such a carrier
    memory.py     one without a network, for tests
    sockets.py    addresses, listening, error texts
    names.py      from a name to addresses, in bounded time
    reach.py      connecting: all addresses of a name
    proxy.py      whom a load balancer speaks for
    addresses.py  what kind of address it is, and what counts as one
"""
