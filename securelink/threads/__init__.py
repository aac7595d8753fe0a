"""
The shell with threads, which wait, read, write and run handlers.

    patched.py         whether gevent or eventlet has patched the process
    tasks.py, carried.py, asking.py, host.py   the interfaces between the others

The loop of a server, or of all clients that no thread drives:

    loop.py            the leader's turns
    shell_loop.py      the same in another event loop, which does its turns
    lead.py            the leader token: which thread leads
    watchdog.py        takes the lead from a thread whose handler is slow
    bursts.py          packets that are sent in a row, and go out together
    switching.py       the interpreter's switch interval while a handler computes
    pool.py            the other threads
    jobs.py            the queue of expensive work, which takes addresses in rotation
    waits.py           handlers that wait for another side
    giving_way.py      threads that are about to wait give way to others
    crowding.py        the warning that all places for handlers are taken
    ready.py           inboxes that wait to be run
    fair_queue.py      a queue in which networks take turns
    chores.py          long work, a little in each turn
    poller.py          epoll, or the selectors of other systems
    waker.py           wakes the leader
    timers.py          what is due at a time
    jitter.py          chance, so that not all comes at one instant
    sweeper.py         the keepalive check of all connections, some at a time

A session, and the connections that carry it:

    channel.py         a session: core, inbox, outbox and link
    outcome.py         how and why it ended
    inbox.py           runs arrived records
    looking.py         looks into large records for replies, in steps
    outbox.py          sends
    back_pressure.py   waits for room, and ends a session that takes too little
    casting.py         one packet for many sessions
    batch.py           corks the packets of one thread
    requesting.py      requests and PINGs whose sender waits
    later.py           requests whose answer is a future
    link.py            one connection that carries a channel
    writing.py         its sending half: seals and writes
    write_buffer.py    what the kernel has not taken yet
    send_right.py      the right to write, and to close the stream
    reading.py         its receiving half: reads and opens
    ends.py            the states of its end

A server:

    lifecycle.py       a server that starts, runs and stops
    serving.py         it runs until the program is asked to end
    driven.py          servers that a thread drives by `update()`
    start.py           what its start needs
    settings.py        its settings of handshakes
    listener.py        accepting connections
    descriptors.py     how many files may be open
    admission_queue.py  connections that wait for a place among the half-open ones
    gate.py            bounds before there is a session
    server_link.py     a connection that a client opened
    server_handshake.py  its handshake: the expensive steps, and what a failed one costs
    errand.py          a step of it that waits for a worker
    holdings.py        the memory of all sessions together
    standing.py        how near it is to its limits
    succeeding.py      a session begins behind the last one of its client
    suspensions.py     sessions without a connection
    taking_over.py     a session goes on over another link
    farewell.py        what clients hear when it stops
    book.py            with a store: the commit comes before the network
    turns.py           a turn of a session is kept as a whole
    durable_channel.py  a session that a store keeps
    unkept.py          what differs in one that none keeps

A client:

    connecting.py      attempts to connect
    attempts.py        their threads
    dial.py            the handshake
    client_channel.py  a session: the thread that waits drives
    client_link.py     a connection
    client_inbox.py    which threads may run its inbox
    mailbox.py         packets, for handlers or `receive`
    receiving.py       how a program takes them
    reconnecting.py    a session that has lost its connection gets another one
    passing_on.py      a session goes on in another process
    caretaker.py       the background reactor of clients that no thread drives
"""
