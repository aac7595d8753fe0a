"""
Bytes and values: no state, no keys.

    frames.py    type, length, body
    fields.py    codes and contents; the fields of handshake messages
    messages.py  ClientHello, ServerHello, ServerAuth, ClientAuth, Welcome, Close
    packets.py   packets as MessagePack
    scan.py      validates MessagePack before it is decoded
    steps.py     decodes a long record in steps
    sendable.py  which values may be sent
    weight.py    the memory of a decoded record, estimated
"""
