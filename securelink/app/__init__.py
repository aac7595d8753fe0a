"""
The application side of servers and clients, independent of threads, which belong to the shell.

    actions.py     names of actions, ours and an application's
    handlers.py    the functions that take packets
    hooks.py       events and their listeners; their failures
    pending.py     coroutines among them, in a shell that runs those
    received.py    a packet, as a handler sees it
    payloads.py    data of declared types
    crowds.py      bounds of sets and dicts in them
    collect.py     packets and errors, collected for the caller
    answers.py     the return type of handlers
    declared.py    the options of servers and clients, in one table
    policies.py    packets for which a session has no room
    rooms.py       named groups of sessions
    roll.py        their members, which senders read without a lock
    introduction.py  a client's server, and its key, trust and credentials
    admission.py   decides who may enter
    leases.py      ends sessions whose login is over
    session_events.py  the events of sessions
    session_manager.py  from an admitted client to a session, and to its end
    registry.py    the sessions of a server
    fanout.py      one packet to many sessions
    greed.py       the sessions that end when all keep too much
    saving.py      a session as bytes, for a store
    context.py     the shared data of the sessions of a server or client
    scheduling.py  the interface of the shell that runs jobs
    failure_budget.py  bounds the failures of strangers
    revocation.py  ends sessions whose key is revoked
    own_key.py     the server's key, and statements of earlier keys
    invitations.py  join tokens and invites of a server
    announcing.py  the lines that the log has of a server that is ready
    counts.py      counts of events
    statistics.py  the numbers of `stats()`
    ticker.py      the tick
"""
