"""Rooms: named groups of sessions."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, ConnectionClosed, LimitExceeded
from ..limits import MAX_ACTION, MAX_ROOMS, MAX_ROOMS_PER_SESSION
from ..options import whole

if TYPE_CHECKING:
    from ..server import Server
    from ..session import Session


class Room:
    """
    A group of sessions under one name. It exists as long as it has members; iterating gives them.

    Attributes:
        name: Of the room.
        members: The sessions in it, in the order of joining.
    """

    __slots__ = ("_rooms", "members", "name")

    def __init__(self, rooms: Rooms, name: str) -> None:
        self._rooms = rooms
        self.name = name
        # A tuple that is replaced, never changed: sending takes no lock.
        self.members: tuple[Session, ...] = ()

    def broadcast(
        self,
        action: str,
        data: Any = None,
        *,
        exclude: Iterable[Session | str] = (),
        headers: dict[str, Any] | None = None,
        latest: str | None = None,
    ) -> int:
        """Send one packet to all members, as `Server.broadcast` does."""
        return self._rooms.server.broadcast(
            action, data, to=self.members, exclude=exclude, headers=headers, latest=latest
        )

    def __iter__(self) -> Iterator[Session]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    def __contains__(self, session: object) -> bool:
        return session in self.members

    def __repr__(self) -> str:
        return f"<Room {self.name!r}, {len(self.members)} members>"


class Rooms:
    """
    All rooms of a server.

    Args:
        server: Whose sessions join.
        capacity: Most members of one room; None for any number.
    """

    def __init__(self, server: Server, capacity: int | None) -> None:
        self.server = server
        self._capacity = None if capacity is None else whole("room_capacity", capacity, 1)
        self._lock = threading.Lock()
        self._by_name: dict[str, Room] = {}
        self._by_session: dict[str, tuple[Room, ...]] = {}

    def get(self, name: str) -> Room:
        """The room of that name; an empty one when nobody is in it."""
        _check_name(name)
        return self._by_name.get(name) or Room(self, name)

    def names(self) -> list[str]:
        """The names of all rooms that have members."""
        with self._lock:
            return sorted(self._by_name)

    def of(self, session: Session) -> tuple[Room, ...]:
        """The rooms that a session is in, in the order of joining."""
        return self._by_session.get(session.token, ())

    def join(self, session: Session, name: str) -> Room:
        """
        Put a session into a room; it may be there already.

        Raises:
            ConfigError: The name is empty or too long.
            ConnectionClosed: The session has ended.
            LimitExceeded: The room is full, or there are too many rooms, or the session is in too many.
        """
        _check_name(name)
        with self._lock:
            if not session.connected:
                raise ConnectionClosed("a session that has ended joins no room")
            room = self._by_name.get(name)
            mine = self._by_session.get(session.token, ())
            if room is not None and room in mine:
                return room
            self._check_room_for_one(name, room, mine)
            if room is None:
                room = self._by_name[name] = Room(self, name)
            room.members = (*room.members, session)
            self._by_session[session.token] = (*mine, room)
            return room

    def _check_room_for_one(self, name: str, room: Room | None, mine: tuple[Room, ...]) -> None:
        if len(mine) >= MAX_ROOMS_PER_SESSION:
            raise LimitExceeded(
                f"a session may be in {MAX_ROOMS_PER_SESSION} rooms", limit="MAX_ROOMS_PER_SESSION"
            )
        if room is None and len(self._by_name) >= MAX_ROOMS:
            raise LimitExceeded(f"there are {MAX_ROOMS} rooms already", limit="MAX_ROOMS")
        if room is not None and self._capacity is not None and len(room) >= self._capacity:
            raise LimitExceeded(
                f"the room {name!r} is full: {self._capacity} are in it", limit="room_capacity"
            )

    def leave(self, session: Session, name: str) -> bool:
        """Take a session out of a room; False when it was not there."""
        _check_name(name)
        with self._lock:
            room = self._by_name.get(name)
            if room is None or session not in room.members:
                return False
            self._remove(room, session)
            left = tuple(r for r in self._by_session.get(session.token, ()) if r is not room)
            if left:
                self._by_session[session.token] = left
            else:
                self._by_session.pop(session.token, None)
            return True

    def leave_all(self, session: Session) -> None:
        """The session has ended; it remembers where it was, for `on_disconnect`."""
        with self._lock:
            rooms = self._by_session.pop(session.token, ())
            session._left = tuple(room.name for room in rooms)
            for room in rooms:
                self._remove(room, session)

    def _remove(self, room: Room, session: Session) -> None:
        room.members = tuple(member for member in room.members if member is not session)
        if not room.members:
            self._by_name.pop(room.name, None)


def _check_name(name: object) -> None:
    """Raises `ConfigError` for what cannot be the name of a room."""
    if not isinstance(name, str) or not 0 < len(name) <= MAX_ACTION:
        raise ConfigError(f"a room's name is a text of 1 to {MAX_ACTION} characters")
