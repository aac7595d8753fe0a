"""Rooms: named groups of sessions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, Protocol, TypeVar

from ..errors import ConfigError, ConnectionClosed, LimitExceeded
from ..limits import MAX_ACTION, MAX_ROOMS, MAX_ROOMS_PER_SESSION
from .roll import Roll


class Visitor(Protocol):
    """A session, as rooms know it."""

    token: str

    @property
    def ended(self) -> bool:
        """Whether it is over, and can no longer enter a room."""


Member = TypeVar("Member", bound=Visitor)


class Broadcast(Protocol):
    """`Server.broadcast`."""

    def __call__(
        self,
        action: str,
        data: Any = None,
        *,
        to: Iterable[Any] | None = None,
        exclude: Iterable[Any] = (),
        headers: dict[str, Any] | None = None,
        latest: str | None = None,
        full: str | None = None,
    ) -> int:
        """Send to those in `to`."""


class Group(Generic[Member]):
    """
    A group of sessions under one name. It exists while it has members; iterating returns them.

    Attributes:
        name: The name of the room.
    """

    __slots__ = ("_rooms", "name")

    def __init__(self, rooms: Rooms[Member], name: str) -> None:
        self._rooms = rooms
        self.name = name

    @property
    def members(self) -> tuple[Member, ...]:
        """The sessions in it, in the order of joining. A tuple that is replaced, never changed."""
        return self._rooms.members(self.name)

    def broadcast(
        self,
        action: str,
        data: Any = None,
        *,
        exclude: Iterable[Member | str] = (),
        headers: dict[str, Any] | None = None,
        latest: str | None = None,
        full: str | None = None,
    ) -> int:
        """Send one packet to all members, as `Server.broadcast` does."""
        return self._rooms.broadcast(
            action,
            data,
            to=self,
            exclude=exclude,
            headers=headers,
            latest=latest,
            full=full,
        )

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    def __contains__(self, session: object) -> bool:
        return session in self.members

    def __repr__(self) -> str:
        return f"<Room {self.name!r}, {len(self.members)} members>"


class Rooms(Generic[Member]):
    """
    All rooms of a server.

    Args:
        broadcast: Sends to the members of a room.
        capacity: Most members of one room; None for any number.
        kind: The class of a room.
        most: Rooms.
        most_per_session: Rooms that one session may be in.
    """

    def __init__(
        self,
        broadcast: Broadcast,
        capacity: int | None,
        kind: Callable[[Rooms[Member], str], Group[Member]],
        *,
        most: int = MAX_ROOMS,
        most_per_session: int = MAX_ROOMS_PER_SESSION,
    ) -> None:
        self.broadcast = broadcast
        self._kind = kind
        self._capacity = capacity
        self._most = most
        self._most_per_session = most_per_session
        self._lock = threading.Lock()
        self._by_name: dict[str, Group[Member]] = {}
        self._rolls: dict[str, Roll[Member]] = {}  # their members
        self._by_session: dict[str, tuple[Group[Member], ...]] = {}

    def get(self, name: str) -> Group[Member]:
        """The room of that name; an empty one if it has no members."""
        _check_name(name)
        room = self._by_name.get(name)
        return self._kind(self, name) if room is None else room

    def members(self, name: str) -> tuple[Member, ...]:
        """The members of the room of that name. Takes no lock, because senders call it."""
        roll = self._rolls.get(name)
        return () if roll is None else roll.everybody()

    def names(self) -> list[str]:
        """The names of all rooms that have members."""
        with self._lock:
            return sorted(self._by_name)

    @property
    def sizes(self) -> list[int]:
        """Members of each room."""
        with self._lock:
            return [len(roll) for roll in self._rolls.values()]

    @property
    def most_of_session(self) -> int:
        """Rooms of the session that is in most."""
        with self._lock:
            return max(map(len, self._by_session.values()), default=0)

    def of(self, session: Member) -> tuple[Group[Member], ...]:
        """The rooms that a session is in, in the order of joining."""
        return self._by_session.get(session.token, ())

    def join(self, session: Member, name: str) -> Group[Member]:
        """
        Put a session into a room; it may be there already.

        Raises:
            ConfigError: The name is empty or too long.
            ConnectionClosed: The session has ended.
            LimitExceeded: The room is full, or there are too many rooms, or the session is in too many.
        """
        _check_name(name)
        with self._lock:
            if session.ended:
                raise ConnectionClosed("a session that has ended joins no room")
            room = self._by_name.get(name)
            mine = self._by_session.get(session.token, ())
            if room is not None and room in mine:
                return room
            self._check_room_for_one(name, room, mine)
            if room is None:
                room = self._by_name[name] = self._kind(self, name)
                self._rolls[name] = Roll()
            self._rolls[name].add(session)
            self._by_session[session.token] = (*mine, room)
            return room

    def _check_room_for_one(
        self, name: str, room: Group[Member] | None, mine: tuple[Group[Member], ...]
    ) -> None:
        if len(mine) >= self._most_per_session:
            raise LimitExceeded(
                f"a session may be in {self._most_per_session} rooms", limit="max_rooms_per_session"
            )
        if room is None and len(self._by_name) >= self._most:
            raise LimitExceeded(f"there are {self._most} rooms already", limit="max_rooms")
        if (
            room is not None
            and self._capacity is not None
            and len(self._rolls[name]) >= self._capacity
        ):
            raise LimitExceeded(
                f"the room {name!r} is full: {self._capacity} are in it", limit="room_capacity"
            )

    def leave(self, session: Member, name: str) -> bool:
        """Remove a session from a room; False if it was not in it."""
        _check_name(name)
        with self._lock:
            if not self._remove(name, session):
                return False
            left = tuple(r for r in self._by_session.get(session.token, ()) if r.name != name)
            if left:
                self._by_session[session.token] = left
            else:
                self._by_session.pop(session.token, None)
            return True

    def leave_all(self, session: Member) -> tuple[str, ...]:
        """The session has ended. Returns the names of the rooms that it was in."""
        with self._lock:
            rooms = self._by_session.pop(session.token, ())
            for room in rooms:
                self._remove(room.name, session)
        return tuple(room.name for room in rooms)

    def _remove(self, name: str, session: Member) -> bool:
        roll = self._rolls.get(name)
        if roll is None or not roll.remove(session):
            return False
        if not roll:
            del self._by_name[name], self._rolls[name]
        return True


def _check_name(name: object) -> None:
    """Raise `ConfigError` if this cannot be the name of a room."""
    if not isinstance(name, str) or not 0 < len(name) <= MAX_ACTION:
        raise ConfigError(f"a room's name is a text of 1 to {MAX_ACTION} characters")
