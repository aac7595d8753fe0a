"""
Every option of a server and of a client, in one table: what it must be, in which bounds and unit. Both, and the
commands, take them from here.

An option that only makes sense with another one (a host and its port, a pin without encryption) is looked at again
where both are known.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..keys import Identity
from ..keys.private import Passphrase
from ..limits import (
    MAX_BACKLOG,
    MAX_FRAME_BODY,
    MAX_HEARTBEAT,
    MAX_PER_ADDRESS,
    MAX_RESUME_SECONDS,
    MAX_TICK_RATE,
    MAX_TOTAL_UNSENT,
    MAX_WAITING_CONNECTIONS,
    MAX_WORKERS,
    MIN_ELEMENTS,
    MIN_HEARTBEAT,
    MIN_PACKET,
    MIN_PER_ADDRESS,
    MIN_UNACKED,
    MIN_WORKERS,
)
from ..options import flag, number, path, secret, text, whole, word
from ..protocol.bounds import Bounds
from ..signatures import checked
from ..state import SYNC
from ..streams.proxy import Network, proxy_networks
from ..wire.fields import Mode
from ..wire.messages import Wanted

Check = Callable[[str, Any], Any]  # (name, value) -> the value to use; raises ConfigError

MOST_RATE = 2**62  # anything faster is no limit

CLIENT_KEYS = {"welcome": Wanted.WELCOME, "required": Wanted.REQUIRED, "known": Wanted.REQUIRED}
ENCRYPTION = {"required": Mode.REQUIRED, "optional": Mode.OPTIONAL, "off": Mode.OFF}


def _whole(low: int, high: int | None = None, unit: str = "") -> Check:
    return partial(_ranged, whole, low, high, unit)


def _number(low: float, high: float, unit: str) -> Check:
    return partial(_ranged, number, low, high, unit)


def _ranged(
    check: Callable[..., Any], low: Any, high: Any, unit: str, name: str, value: Any
) -> Any:
    return check(name, value, low, high, unit=unit)


def _word(words: Collection[str]) -> Check:
    return lambda name, value: word(name, value, words)


def _or_none(check: Check) -> Check:
    return lambda name, value: None if value is None else check(name, value)


def _secret(name: str, value: Any) -> Any:
    secret(name, value)
    return value


def _keys(name: str, value: Any) -> Path | Identity:
    return value if isinstance(value, Identity) else path(name, value)


def _credentials(name: str, value: Any) -> Any:
    if callable(value):
        checked(name, value, ("binding", "fingerprint"))
    return value


BOTH: dict[str, Check] = {
    "application": text,
    "encryption": lambda name, value: ENCRYPTION[word(name, value, ENCRYPTION)],
    "max_elements": _whole(MIN_ELEMENTS, MAX_FRAME_BODY),
    "max_packet": _whole(MIN_PACKET, MAX_FRAME_BODY, "bytes"),
    "max_requests": _whole(1),
    "max_unhandled": _whole(1, MAX_TOTAL_UNSENT, "bytes"),
    "max_unacked": _whole(MIN_UNACKED, MAX_TOTAL_UNSENT, "bytes"),
    "max_unsent": _whole(1, MAX_TOTAL_UNSENT, "bytes"),
    "passphrase": _secret,
    "strict_types": flag,
    "version": text,
}
SERVER: dict[str, Check] = BOTH | {
    "backlog": _whole(1, MAX_BACKLOG),
    "client_keys": _word(CLIENT_KEYS),
    "heartbeat": _number(MIN_HEARTBEAT, MAX_HEARTBEAT, "seconds"),
    "keys": _keys,
    "max_byte_rate": _whole(1, MOST_RATE, "bytes a second"),
    "max_connections": _whole(1),
    "max_failures": _whole(1),
    "max_half_open": _whole(1, MAX_WAITING_CONNECTIONS),
    "max_memory": _whole(1, unit="bytes"),
    "max_per_address": _or_none(_whole(1)),
    "max_rate": _whole(1, MOST_RATE, "packets a second"),
    "max_rooms": _whole(1),
    "max_rooms_per_session": _whole(1),
    "max_suspended": _whole(1),
    "max_suspended_per_address": _whole(1),
    "overlap": flag,
    "resume": _whole(0, MAX_RESUME_SECONDS, "seconds"),
    "room_capacity": _or_none(_whole(1)),
    "state": _or_none(path),
    "state_sync": _word(SYNC),
    "tick_rate": _or_none(_number(0, MAX_TICK_RATE, "per second")),
    "trusted_proxies": lambda _, value: proxy_networks(value),
    "workers": _whole(MIN_WORKERS, MAX_WORKERS),
}
CLIENT: dict[str, Check] = BOTH | {
    "credentials": _credentials,
    "handlers": _word(("background", "update")),
    "keys": _or_none(_keys),
    "known_servers": _or_none(path),
    "plaintext_credentials": flag,
    "reconnect": flag,
    "session": _or_none(path),
    "token": _secret,
    "trust": _or_none(_word(("known", "first-use"))),
}


@dataclass(frozen=True, kw_only=True, repr=False)  # there are secrets in it
class ServerOptions:
    """The options of a server, as they are used."""

    application: str
    backlog: int
    client_keys: str
    encryption: Mode
    heartbeat: float
    keys: Path | Identity
    max_byte_rate: int
    max_connections: int
    max_elements: int
    max_failures: int
    max_half_open: int
    max_memory: int
    max_packet: int
    max_per_address: int
    max_rate: int
    max_requests: int
    max_rooms: int
    max_rooms_per_session: int
    max_suspended: int
    max_suspended_per_address: int
    max_unacked: int
    max_unhandled: int
    max_unsent: int
    overlap: bool
    passphrase: Passphrase
    resume: int
    room_capacity: int | None
    state: Path | None
    state_sync: str
    strict_types: bool
    tick_rate: float | None
    trusted_proxies: tuple[Network, ...]
    version: str
    workers: int

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> ServerOptions:
        """
        Look at what was given.

        Args:
            given: Each option by its name. What else is there is passed over.

        Raises:
            ConfigError: An option is not possible, or not together with another one.
        """
        found = _checked(SERVER, given)
        if found["max_per_address"] is None:
            most = max(MIN_PER_ADDRESS, found["max_connections"] * 3 // 4)
            found["max_per_address"] = min(MAX_PER_ADDRESS, most)
        if found["client_keys"] != "welcome" and found["encryption"] == Mode.OFF:
            raise ConfigError(
                f"client_keys={found['client_keys']!r} needs encryption: plaintext proves no key",
                hint="drop encryption='off'",
            )
        if found["state"] is not None:
            if not found["resume"]:
                raise ConfigError(
                    "state= keeps sessions for clients that come back, and resume=0 lets none",
                    hint="give resume= the seconds in which they may",
                )
            if isinstance(found["keys"], Identity):
                raise ConfigError(
                    "state= needs a keys folder, for the key of its file",
                    hint="give keys= the folder instead of an Identity",
                )
        return cls(**found)

    @property
    def wanted(self) -> int:
        """What clients are told of keys."""
        return CLIENT_KEYS[self.client_keys]

    @property
    def folder(self) -> Path | None:
        """Of the keys; None when the key was given."""
        return None if isinstance(self.keys, Identity) else self.keys

    @property
    def bounds(self) -> Bounds:
        """Of sessions."""
        return _bounds(self, rate=self.max_rate, byte_rate=self.max_byte_rate)


@dataclass(frozen=True, kw_only=True, repr=False)  # there are secrets in it
class ClientOptions:
    """The options of a client, as they are used."""

    application: str
    credentials: Any
    encryption: Mode
    handlers: str
    keys: Path | Identity | None
    known_servers: Path | None
    max_elements: int
    max_packet: int
    max_requests: int
    max_unacked: int
    max_unhandled: int
    max_unsent: int
    passphrase: Passphrase
    plaintext_credentials: bool
    reconnect: bool
    session: Path | None
    strict_types: bool
    token: str | None
    trust: str | None
    version: str

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> ClientOptions:
        """
        Look at what was given.

        Args:
            given: As for a server.

        Raises:
            ConfigError: An option is not possible, or not together with another one.
        """
        found = _checked(CLIENT, given)
        if found["session"] is not None and not found["reconnect"]:
            raise ConfigError(
                "session= keeps a session for another process, and reconnect=False ends it with its connection",
                hint="drop one of the two",
            )
        return cls(**found)

    @property
    def bounds(self) -> Bounds:
        """Of sessions."""
        return _bounds(self)


def _bounds(options: ServerOptions | ClientOptions, **rates: int | None) -> Bounds:
    return Bounds.of_options(
        max_unsent=options.max_unsent,
        max_unacked=options.max_unacked,
        max_packet=options.max_packet,
        inbox_bytes=options.max_unhandled,
        requests=options.max_requests,
        strict=options.strict_types,
        elements=options.max_elements,
        **rates,
    )


def _checked(table: Mapping[str, Check], given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: check(name, given[name]) for name, check in table.items()}
