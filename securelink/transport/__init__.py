"""
Threads and sockets: everything below this package is sans-I/O, everything above never touches a socket.

    sockets.py    connecting, listening, error texts
    jobs.py       the queue of expensive work, which takes addresses in rotation
    poller.py     which sockets are ready
    loop.py       the leader, its spare threads, timers
    channel.py    what is durable of a session: inbox, outbox, limits
    link.py       one TCP connection that carries a channel
    listener.py   accepting, half-open connections, budgets
"""
