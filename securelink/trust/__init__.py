"""
Trust: the servers that a client knows, and the clients that a server admits.

Both are text files that people may edit, one entry a line, `#` begins a comment:

    known_servers         host port SHA256:...  # added 2026-01-31
    authorized_clients    SHA256:... name  # added 2026-01-31

A file that cannot be read completely is an error that names the line, never a shorter list: an unreadable entry that
counted as missing would turn a changed key into a first use.
"""

from .clients import AuthorizedClient, AuthorizedClients
from .locking import LockedFile, locked_update, read_trust_file
from .servers import KnownServer, KnownServers

__all__ = [
    "AuthorizedClient",
    "AuthorizedClients",
    "KnownServer",
    "KnownServers",
    "LockedFile",
    "locked_update",
    "read_trust_file",
]
