"""A session of an `aio.Server`, and the rooms that it may be in."""

from __future__ import annotations

from typing import cast

from ..app.rooms import Group
from ..session import BaseSession
from .peer import AsyncPeer


class Session(BaseSession, AsyncPeer):
    """One client on the server, as `securelink.Session` is; what waits there is a coroutine here."""

    __slots__ = ()

    def join(self, room: str) -> Room:
        """Enter a room; see `Rooms.join` for what it raises."""
        return cast(Room, self._context.rooms.join(self, room))


class Room(Group[Session]):
    """As `securelink.Room`: its broadcasts never wait, so they are plain methods."""

    __slots__ = ()
