"""
What both shells share of a server's and a client's application side. Threads belong to the shells.

    handlers.py    which function takes which packet
    hooks.py       functions of the application that are asked or told; their failures
    received.py    a packet as a handler sees it
    payloads.py    data of declared types
    crowds.py      how many members a set may get out of them
    collect.py     packets and errors, collected for the caller
    answers.py     what a handler may return
    modes.py       the word for encryption
    rooms.py       named groups of sessions
    destination.py where a client goes, and how
    admission.py   who may enter
    session_manager.py  from an admitted client to a session, and to its end
    registry.py    which sessions there are
    fanout.py      one packet to many sessions
    context.py     what the sessions of a server or client share
    scheduling.py  what runs jobs, as the others know it
    budget.py      how often a stranger may fail
    revocation.py  whose key is revoked does not stay
    own_key.py     the server's key, and what earlier keys said of it
    counts.py      what has happened, for `stats()`
    ticker.py      the tick
"""
