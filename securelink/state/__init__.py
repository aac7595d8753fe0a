"""
Where sessions outlive a process: those of a server in a store, with its rows and the key that they are sealed under;
that of a client in a file.

    store.py          the interface of a store
    sqlite.py         one in a SQLite file
    rows.py           what it keeps of a session
    vault.py, ring.py  its rows are sealed, and under which keys
    lock.py           one process for each file
    session_file.py   a client's file
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
