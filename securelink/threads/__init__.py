"""
The shell with threads, which wait, read, write and run handlers.

    patched.py         whether gevent or eventlet has patched the process
    jobs.py            the queue of expensive work, which takes addresses in rotation
    lead.py            the leader token: which thread leads
    watchdog.py        takes the lead from a thread whose handler is slow
    pool.py            the other threads
    ready.py           inboxes that wait to be run
    poller.py          epoll, or the selectors of other systems
    loop.py            the leader's turns
    rotation.py        a queue in which networks take turns
    switching.py       the interpreter's switch interval while a handler computes
    waits.py           handlers that wait for another side
    sweeper.py         the keepalive check of all connections, some at a time
    inbox.py           runs arrived records
    looking.py         looks into large records for replies, in steps
    outbox.py          sends, and waits for room
    channel.py         a session: core, inbox, outbox and link
    outcome.py         how and why it ended
    link.py            one connection that carries a channel
    writing.py         its sending half: seals and writes
    write_buffer.py    what the kernel has not taken yet
    reading.py         its receiving half: reads and opens
    ends.py            the states of its end
    later.py           requests whose answer is a future
    batch.py           corks the packets of one thread
    settings.py        a server's settings of handshakes
    mailbox.py         a client's packets, for handlers or `receive`
    listener.py        accepting connections
    gate.py            bounds before there is a session
    server_link.py     a connection that a client opened
    server_handshake.py  its handshake: the expensive steps, and what a failed one costs
    errand.py          a step of it that waits for a worker
    connecting.py      a client's attempts to connect
    dial.py            a client's handshake
    client_channel.py  a client's session: the thread that waits drives
    client_link.py     a client's connection
    lifecycle.py       a server that starts, runs and stops
    driven.py          servers that a thread drives by `update()`
    caretaker.py       the background reactor of clients that no thread drives
"""
