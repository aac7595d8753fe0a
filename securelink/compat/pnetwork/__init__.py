"""
The names of pnetwork, over securelink: `coreserver`, `coreclient`, `core`, `coretools`, `onlineUtilities`.

Where its document and its code differ, or had to change:

- The handshake is securelink's own. Then the server registers the client and sends it its token, before anything else.
- A client's token goes to nobody else, and into no log: packets carry none. Who gets one finds in it the token of the
  connection that it came over, so nobody can claim another's.
- `start()` is enough for a client, as the document says. It tries, twice a second, until the server is up; a server
  that has another key than before is an error. `connect()`, which old programs called too, is the same.
- `Bind.run` may take (data, packet, socket) as in the code, or fewer, as in the document. `socket` is the Connection.
- `startlisten` and `startListen` do nothing: a connection is listened to from the beginning, for all its packets.
- `encryptPacket(packet, publicKey)` seals the data to a key (python-rsa's or ours) and signs it with the own key: a
  sealed packet as base64 text, so any packet fits and survives JSON. The action stays readable; the token is taken
  out. It changes a dict in place and gives what it got, dict or bytes; `decryptPacket` gives a dict, or raises
  `UnsealError`. `createEncryptKeys()` keeps a 3072-bit key in the keys folder; it is made when first needed.
- `stop()`, of server, client and console, is new: the process ends.
- New, for all that the document does not have: `core` of a server or client and `session` of a Connection are
  securelink's own. What the old code offered beside its document is theirs; docs/migrating/pnetwork.md has the calls.
- Messages are log lines, on standard error.
"""
