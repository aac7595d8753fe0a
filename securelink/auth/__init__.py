"""
Login: the information for an `authenticate` hook, and two ready-made hooks, join tokens and passwords.

A hook is called when the handshake has proved the keys and before there is a session. It returns
the user, or refuses. A thief of a file of the ready-made hooks cannot use it at once: it has only the SHA-256 of a
join token (122 random bits, which cannot be guessed) and a salted scrypt hash of a password. Another process, such as
the command line tool, may change the file while a server uses it.
"""

from typing import TYPE_CHECKING, Any

from .combine import first_of
from .hello import Authenticate, Hello, ReadyMade
from .hold import Hold
from .hook import NoAnswer, ask, checked_hook
from .lease import Lease
from .passwords import Passwords
from .tokens import JoinToken, JoinTokens

__all__ = [
    "JWT",
    "Authenticate",
    "BoundToken",
    "Hello",
    "Hold",
    "JoinToken",
    "JoinTokens",
    "Lease",
    "NoAnswer",
    "Passwords",
    "ReadyMade",
    "ask",
    "checked_hook",
    "first_of",
]

if TYPE_CHECKING:
    from .jwt import JWT, BoundToken
else:

    def __getattr__(name: str) -> Any:
        """Those that need the extra `jwt`, which is imported when it is used."""
        if name in ("JWT", "BoundToken"):
            from . import jwt

            return getattr(jwt, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
