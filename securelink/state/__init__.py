"""
Where sessions outlive a process: those of a server in a store, with its rows and the key that they are sealed under;
that of a client in a file.
"""

from __future__ import annotations

from .ring import StateKeys
from .rows import Change, Counts, Loaded, Saved, SavedTicket
from .session_file import Kept, SessionFile
from .sqlite import SYNC, SqliteStore
from .store import Store

__all__ = [
    "SYNC",
    "Change",
    "Counts",
    "Kept",
    "Loaded",
    "Saved",
    "SavedTicket",
    "SessionFile",
    "SqliteStore",
    "StateKeys",
    "Store",
]
