"""Sends one packet to many sessions: it is encoded once and put into each session's channel."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar, cast

from ..errors import ConfigError, ConnectionClosed
from ..text import kind_of
from .actions import STATE
from .registry import Registered, Registry
from .rooms import Group, Rooms

Member = TypeVar("Member", bound=Registered)


class Inlet(Protocol):
    """A session's channel, as greeting needs it."""

    def post(
        self, encoded: bytes, timeout: float | None, latest: str | None = None, wait: bool = True
    ) -> None:
        """Queue one encoded packet. Raises `ConnectionClosed`."""


class Outlet(Inlet, Protocol):
    """A session's channel, as sending needs it."""

    def offer(
        self, encoded: bytes, timeout: float | None, latest: str | None, wait: bool, full: str
    ) -> bool:
        """The same where there is room; otherwise what `full` says. Whether it was queued."""


class Fanout(Generic[Member]):
    """
    Sends to many sessions. A server is given one, with the registry in it; a cluster of servers gives another one.

    Args:
        registry: The sessions.
        kind: The class of a session.
        outlet_of: Gives a session's channel; called for each receiver.
        post_all: Does for all of these what `Inlet.post` does for one, without waiting; returns how many took it.

    Attributes:
        registry: As given.
        rooms: Of the server that was given it, which sets it.
    """

    rooms: Rooms[Any]

    def __init__(
        self,
        registry: Registry[Member],
        *,
        kind: type[Member],
        outlet_of: Callable[[Member], Outlet],
        post_all: Callable[[Iterable[Member], bytes, str | None], int],
    ) -> None:
        self.registry = registry
        self._kind = kind
        self._outlet_of = outlet_of
        self._post_all = post_all
        self._state: bytes | None = None

    def send(
        self,
        encoded: bytes,
        *,
        to: Iterable[Member | str] | Member | str | None = None,
        exclude: Iterable[Member | str] | Member | str = (),
        latest: str | None = None,
        full: str | None = None,
    ) -> int:
        """
        Queue one encoded packet for many sessions. Never waits.

        Args:
            to: As in `Server.broadcast`. A room is given as such, not as its members.
            exclude: Likewise.
            latest: Likewise.
            full: Likewise.

        Returns:
            How many sessions it was queued for.

        Raises:
            ConfigError: There is something else than sessions and tokens in `to` or `exclude`.
        """
        left_out = {
            item if isinstance(item, str) else item.token
            for item in self._listed("exclude", exclude)
        }
        chosen = self._chosen(to)
        if left_out:
            chosen = [session for session in chosen if session.token not in left_out]
        return self._spread(chosen, encoded, latest, full)

    def set_state(self, encoded: bytes) -> None:
        """Send the server's state to all sessions, and from now on to each new one."""
        self._state = encoded
        self._spread(self.registry.everybody(), encoded, STATE)

    def greet(self, outlet: Inlet) -> None:
        """Send the server's state, if there is one, to a new session."""
        if self._state is not None:
            outlet.post(self._state, timeout=None, latest=STATE, wait=False)

    def _chosen(self, to: Iterable[Member | str] | Member | str | None) -> Iterable[Member]:
        if to is None:
            return self.registry.everybody()
        if isinstance(to, Group):
            return to.members  # sessions only, so nothing is to be checked
        get = self.registry.get
        found = (get(item) if isinstance(item, str) else item for item in self._listed("to", to))
        return [session for session in found if session is not None]

    def _listed(
        self, name: str, sessions: Iterable[Member | str] | Member | str
    ) -> list[Member | str]:
        """Sessions or tokens as a list. Raises `ConfigError` for anything else."""
        kinds = (str, self._kind)
        if isinstance(sessions, kinds):
            return [sessions]
        try:
            listed = list(cast("Iterable[Member | str]", sessions))
        except TypeError:
            raise ConfigError(
                f"{name}= is {kind_of(sessions)}", hint="give sessions or their tokens"
            ) from None
        for item in listed:
            if not isinstance(item, kinds):
                raise ConfigError(
                    f"{name}= has {kind_of(item)} in it",
                    hint="give sessions or their tokens",
                )
        return listed

    def _spread(
        self,
        sessions: Iterable[Member],
        encoded: bytes,
        latest: str | None,
        full: str | None = None,
    ) -> int:
        if full is None:
            return self._post_all(sessions, encoded, latest)
        count = 0
        for outlet in map(self._outlet_of, sessions):
            try:
                count += outlet.offer(encoded, None, latest, False, full)
            except ConnectionClosed:
                continue  # it left meanwhile
        return count
