"""Where the sessions of a server outlive its process: a store, its rows, and the key that they are sealed under."""

from __future__ import annotations

from .ring import StateKeys
from .rows import Change, Counts, Loaded, Saved, SavedTicket
from .sqlite import SYNC, SqliteStore
from .store import Store

__all__ = [
    "SYNC",
    "Change",
    "Counts",
    "Loaded",
    "Saved",
    "SavedTicket",
    "SqliteStore",
    "StateKeys",
    "Store",
]
