"""
The shell with threads: who waits, which thread reads, writes and runs handlers.

    patched.py         whether gevent or eventlet has patched the process
    jobs.py            the queue of expensive work, which takes addresses in rotation
    poller.py          which streams are ready
    loop.py            the leader, its spare threads, timers
    ready.py           inboxes that wait to be run, and their turns
    rotation.py        a queue in which networks take turns
    switching.py       the interpreter's switch interval while a handler computes
    waits.py           handlers that wait for another side
    sweeper.py         looking at all connections, some at a time
    inbox.py           runs what has arrived
    looking.py         looks into large records for replies, in steps
    outbox.py          sends, and waits for room
    channel.py         a session: core, inbox, outbox, link, and its end
    link.py            one connection that carries a channel
    writing.py         what it seals and writes
    reading.py         what it reads and opens
    ends.py            how far it has come to its end
    later.py           requests that nobody waits for
    batch.py           holding back what one thread sends
    settings.py        how a server does handshakes
    mailbox.py         what arrives at a client
    listener.py        accepting connections
    gate.py            bounds before there is a session
    errand.py          a step of it that waits for a worker
    server_link.py     a connection that a client opened, and its handshake
    connecting.py      a client's attempts to connect
    dial.py            a client's handshake
    client_channel.py  a client's session: the thread that waits drives
    client_link.py     a client's connection
    lifecycle.py       a server that starts, runs and stops
    driven.py          servers that a thread drives by `update()`
    caretaker.py       the loop of the clients that nobody drives
"""
