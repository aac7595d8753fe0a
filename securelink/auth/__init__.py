"""
Who may enter: what an `authenticate` hook sees, and two ready-made ones, join tokens and passwords.

A hook is called when the handshake has proved the keys and before there is a session. It returns
the user, or refuses. The ready-made ones keep nothing that a thief of their file could use at once:
of a join token only the SHA-256 (it is 122 random bits: nothing to guess), of a password a salted
scrypt. Another process, such as the command line tool, may change the file while a server uses it.
"""

from .combine import first_of
from .hello import Authenticate, Hello, ReadyMade
from .hold import Hold
from .hook import NoAnswer, ask, checked_hook
from .passwords import Passwords
from .tokens import JoinToken, JoinTokens

__all__ = [
    "Authenticate",
    "Hello",
    "Hold",
    "JoinToken",
    "JoinTokens",
    "NoAnswer",
    "Passwords",
    "ReadyMade",
    "ask",
    "checked_hook",
    "first_of",
]
