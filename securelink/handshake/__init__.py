"""
The handshake: RSA identities, an ephemeral hybrid key exchange, and what both sides derive from it.

"SIGMA-I in TLS 1.3 dress": key schedule, Finished and key update are those of RFC 9846 section 7 with
labels of our own; docs/PROTOCOL.md has every byte. This package builds and checks messages; which message
may come when is the business of `protocol.py`.

    wire.py       codes, contents, fields
    messages.py   ClientHello, ServerHello, ServerAuth, ClientAuth, Welcome, Close
    schedule.py   key schedule
    client.py     the client's half of the computation
    server.py     the server's half
"""
