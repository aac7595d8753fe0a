"""A session as bytes, for a store: what an application has made of it, as far as that can be sent."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from ..errors import CodecError
from ..limits import STATE_WAIT_SECONDS
from ..state import Saved, SavedTicket, SqliteStore, StateKeys
from ..state.rows import encode
from ..text import quoted
from ..wire.sendable import check_sendable
from .declared import ServerOptions

log = logging.getLogger("securelink.server")

_decode = msgspec.msgpack.Decoder().decode
_FAILED = (CodecError, TypeError, ValueError, OverflowError, RecursionError)
_named: set[str] = set()  # keys of which the log has been told
_MOST_NAMED = 100


def store_of(options: ServerOptions) -> SqliteStore | None:
    """
    Where the sessions of a server outlive its process, if they do. Waits for a process that is handing them over.

    Raises:
        StateError: The file is in use, or cannot be used.
        KeyFileError: It, or that of its key, cannot be read or made.
    """
    if options.state is None or options.folder is None:
        return None
    keys = StateKeys.load_or_make(options.folder)
    return SqliteStore(options.state, keys, options.state_sync, wait=STATE_WAIT_SECONDS)


class Described(Protocol):
    """A session."""

    token: str
    user: Any
    operator: bool
    address: tuple[str, int]
    fingerprint: str | None
    connected_at: float
    encrypted: bool
    dialled: str
    data: dict[str, Any]

    @property
    def muted(self) -> bool:
        """Whether nothing is sent to it."""

    @property
    def grace(self) -> int:
        """For how many seconds it waits for its client."""

    @property
    def rooms(self) -> list[str]:
        """Names of the rooms that it is in."""


def saved_user(user: Any) -> bytes | None:
    """A user as bytes; None if it would come back as another one."""
    try:
        encoded = _plain(user)
        return encoded if _decode(encoded) == user else None
    except _FAILED:
        return None


def value_of(encoded: bytes) -> Any:
    """What such bytes stand for."""
    return _decode(encoded)


def saved_session(
    session: Described,
    user: bytes,
    token: bytes,
    tickets: list[SavedTicket],
    *,
    lost_at: float | None,
    greeted: bool,
    state: bytes | None,
    until: float | None,
) -> bytes:
    """All that is kept of a session beside its packets and counts."""
    host, port = session.address
    return encode(
        Saved(
            token=token,
            user=user,
            operator=session.operator,
            address=(host, port),
            fingerprint=session.fingerprint,
            connected_at=session.connected_at,
            encrypted=session.encrypted,
            dialled=session.dialled,
            tickets=tickets,
            lost_at=lost_at,
            greeted=greeted,
            muted=session.muted,
            rooms=session.rooms,
            data=_saved_data(session.data),
            state=state,
            grace=session.grace,
            until=until,
        )
    )


def _plain(value: Any) -> bytes:
    check_sendable(value)
    return encode(value)


def _saved_data(data: Any) -> bytes:
    """Of `session.data` what can be sent; the log names what cannot, once."""
    try:
        return _plain(data)
    except _FAILED:
        pass
    items: Iterable[Any] = tuple(data.items()) if isinstance(data, dict) else ()
    kept = {}
    for key, value in items:
        try:
            _plain({key: value})
        except _FAILED:
            name = quoted(key)
            if name not in _named and len(_named) < _MOST_NAMED:
                _named.add(name)
                log.warning(
                    "session.data[%s] is a %s, which cannot be kept: it ends with this process",
                    name,
                    type(value).__name__,
                )
        else:
            kept[key] = value
    return encode(kept)
