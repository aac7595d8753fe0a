"""
Secure sessions for games, chat and small networked tools.

    from securelink import Server          from securelink import Client
    server = Server(port=5050)             client = Client("192.168.1.40", 5050)
    server.serve_forever()                 client.connect()

Unless encryption is switched off, every session is encrypted and authenticated with RSA keys; a uuid4 token names it.
See README.md, and SECURITY.md for the promises and their limits.
"""

from .app.collect import CaughtError, Collector
from .app.hooks import EventHook
from .app.received import Received, Typed
from .auth import Hello, JoinTokens, Passwords, first_of
from .client import Client
from .codes import Code
from .errors import (
    CodecError,
    ConfigError,
    ConnectFailed,
    ConnectionClosed,
    HandshakeError,
    KeyFileError,
    LimitExceeded,
    LinkTimeout,
    NotTrusted,
    PeerIncompatible,
    ProtocolError,
    RecordError,
    Refused,
    RequestFailed,
    SecureLinkError,
    StateError,
    UnsealError,
)
from .invite import Invite
from .keys import Identity, PublicKey, createEncryptKeys
from .logs.default import show_status
from .sealed import ANYONE, Unsealed, seal, unseal
from .server import Server
from .session import Room, Session
from .text import escaped
from .trust import AuthorizedClients, KnownServers
from .wire.packets import Packet
from .wire.sendable import payload

__version__ = "0.1.0"

__all__ = [
    "ANYONE",
    "AuthorizedClients",
    "CaughtError",
    "Client",
    "Code",
    "CodecError",
    "Collector",
    "ConfigError",
    "ConnectFailed",
    "ConnectionClosed",
    "EventHook",
    "HandshakeError",
    "Hello",
    "Identity",
    "Invite",
    "JoinTokens",
    "KeyFileError",
    "KnownServers",
    "LimitExceeded",
    "LinkTimeout",
    "NotTrusted",
    "Packet",
    "Passwords",
    "PeerIncompatible",
    "ProtocolError",
    "PublicKey",
    "Received",
    "RecordError",
    "Refused",
    "RequestFailed",
    "Room",
    "SecureLinkError",
    "Server",
    "Session",
    "StateError",
    "Typed",
    "UnsealError",
    "Unsealed",
    "__version__",
    "createEncryptKeys",
    "escaped",
    "first_of",
    "payload",
    "seal",
    "show_status",
    "unseal",
]
