"""
The names of pnetwork, over securelink: `coreserver`, `coreclient`, `core`, `coretools`, `onlineUtilities`.

Where its document and its code differ, or had to change:

- The server registers a client when its handshake packet arrives, as the document says, and answers with the token.
  Every further packet of the client must carry that token; one that does not ends the connection. A client's token goes
  to nobody else, and into no log: packets that the server sends or passes on carry the server's token.
- `start()` is enough for a client, as the document says, and `connect()` works too. It tries again,
  twice a second, until the server is up; a server that has another key than before is an error.
- `Bind.run` may take (data, packet, socket) as in the code, or fewer, as in the document. `socket` is the Connection.
- `startListen` and `startlisten` do nothing: a connection is listened to from the beginning, for all its packets.
- `encryptPacket(packet, publicKey)` seals the data to a key (python-rsa's or ours) and signs it with the own key: a
  sealed packet as base64 text, so any packet fits and survives JSON. The action stays readable; the token is taken
  out. It changes a dict in place and gives what it got, dict or bytes; `decryptPacket` gives a dict, or raises
  `UnsealError`. `createEncryptKeys()` keeps a 3072-bit key in the keys folder; it is made when first needed.
- `isAlive()` really asks, and gives True or False. `stop()`, of server, client and console, is new: the process ends.
  A handshake holds the client's `username` if it has one, never a password: for that, `securelink.Server` has
  `authenticate=`.
- Messages are log lines, on standard error. Gone, with no word in the document: `GetRandomConnection`,
  `checkNetworkError`, `keystrength`, `getMethods`, `test`, `loadCoreActions`, `NetworkErrorNotDefined`, and the
  console's `mode`.
"""
