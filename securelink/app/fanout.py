"""Sends one packet to many sessions: it is encoded once and put into each session's channel."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Generic, Protocol, TypeVar, cast

from ..errors import ConfigError, ConnectionClosed, LimitExceeded
from ..limits import RECORD_ROOM
from ..options import key
from ..protocol.bounds import Bounds, encode_for
from ..wire.packets import Packet
from .context import ServerContext
from .handlers import STATE, checked_action
from .registry import Registered, Registry

Member = TypeVar("Member", bound=Registered)


class Outlet(Protocol):
    """A session's channel, as sending needs it."""

    def post(
        self, encoded: bytes, *, timeout: float | None, latest: str | None = None, wait: bool = True
    ) -> None:
        """Queue one encoded packet. Raises `ConnectionClosed`."""


class Fanout(Generic[Member]):
    """
    Sends to many sessions. A server has one; a cluster replaces it.

    Args:
        registry: The sessions.
        context: Has the hook before sending, and the server's state.
        bounds: Bounds of packets.
        max_packet: Bytes of the largest packet.
        kind: The class of a session.
        outlet_of: Gives a session's channel; called for each receiver.
        hold_back: Makes a block that corks packets of the calling thread: they go out together at its end.
    """

    def __init__(
        self,
        registry: Registry[Member],
        context: ServerContext,
        bounds: Bounds,
        max_packet: int,
        *,
        kind: type[Member],
        outlet_of: Callable[[Member], Outlet],
        hold_back: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._registry = registry
        self._context = context
        self._bounds = bounds
        self._max_packet = max_packet
        self._kind = kind
        self._outlet_of = outlet_of
        self._hold_back = hold_back
        self._state: bytes | None = None

    def broadcast(
        self,
        action: str,
        data: Any = None,
        *,
        to: Iterable[Member | str] | Member | str | None = None,
        exclude: Iterable[Member | str] | Member | str = (),
        headers: dict[str, Any] | None = None,
        latest: str | None = None,
    ) -> int:
        """See `Server.broadcast`."""
        key("latest", latest)
        chosen, left_out = self._receivers(to, exclude)
        encoded = self._encoded(checked_action(action), data, headers)
        if left_out:
            chosen = [session for session in chosen if session.token not in left_out]
        return self._spread(chosen, encoded, latest)

    def set_state(self, value: Any) -> None:
        """See `Server.set_state`."""
        encoded = self._encoded(STATE, value, None)
        if len(encoded) > self._max_packet - RECORD_ROOM:  # checked now, not when a client connects
            raise LimitExceeded(
                f"a state of {len(encoded)} bytes is larger than max_packet allows",
                limit="max_packet",
            )
        self._state = encoded
        self._spread(self._registry.everybody(), encoded, STATE)

    def greet(self, outlet: Outlet) -> None:
        """Send the server's state, if there is one, to a new session."""
        if self._state is not None:
            outlet.post(self._state, timeout=None, latest=STATE, wait=False)

    def _encoded(self, action: str, data: Any, headers: dict[str, Any] | None) -> bytes:
        hook = self._context.before_send
        if hook is not None:
            data = hook(None, action, data)
        return encode_for(self._bounds, Packet(action, data, headers, time.time()))

    def _receivers(
        self,
        to: Iterable[Member | str] | Member | str | None,
        exclude: Iterable[Member | str] | Member | str,
    ) -> tuple[Iterable[Member], set[str]]:
        """The sessions of `to`, and the tokens of `exclude`."""
        left_out = {
            item if isinstance(item, str) else item.token
            for item in self._listed("exclude", exclude)
        }
        if to is None:
            return self._registry.everybody(), left_out
        get = self._registry.get
        found = (get(item) if isinstance(item, str) else item for item in self._listed("to", to))
        return [session for session in found if session is not None], left_out

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
                f"{name}= is a {type(sessions).__name__}", hint="give sessions or their tokens"
            ) from None
        for item in listed:
            if not isinstance(item, kinds):
                raise ConfigError(
                    f"{name}= has a {type(item).__name__} in it",
                    hint="give sessions or their tokens",
                )
        return listed

    def _spread(self, sessions: Iterable[Member], encoded: bytes, latest: str | None) -> int:
        count = 0
        with self._hold_back():
            for outlet in map(self._outlet_of, sessions):
                try:
                    outlet.post(encoded, timeout=None, latest=latest, wait=False)
                except ConnectionClosed:
                    continue  # it left meanwhile
                count += 1
        return count
