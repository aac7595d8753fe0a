"""
Threads and sockets: everything below this package is sans-I/O, everything above never touches a socket.

    sockets.py         connecting, listening, error texts
    jobs.py            the queue of expensive work, which takes addresses in rotation
    poller.py          which sockets are ready
    loop.py            the leader, its spare threads, timers
    bounds.py          how much one session may keep
    inbox.py           what arrived and waits for its handler
    outbox.py          what waits to be sent
    channel.py         what is durable of a session: both, who waits for an answer, the end
    link.py            one TCP connection that carries a channel
    batch.py           holding back what one thread sends
    admission.py       how a server lets clients in
    listener.py        accepting, half-open connections, budgets
    dial.py            a client's handshake
    client_channel.py  a client's session: who waits drives
    client_link.py     a client's connection
    caretaker.py       the loop of the clients that nobody drives
"""
