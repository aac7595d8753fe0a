"""A client's server, and its key and trust: from an invite, or from arguments."""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError
from ..invite import Invite, is_invite
from ..keys import Identity, fingerprint_digest, load_or_create
from ..keys.private import Passphrase
from ..options import path, place
from ..trust import KnownServers
from ..trust.home import KNOWN_SERVERS, user_known_servers
from ..wire.fields import Mode


def destination(
    host: str, port: int | None, pin: str | None, token: str | None
) -> tuple[str, int, str | None, str | None]:
    """Host, port, pin and token, from an invite or from arguments."""
    if isinstance(host, str) and is_invite(host):
        invite = Invite.parse(host)
        if port is not None or pin is not None:
            raise ConfigError("an invite already says port and key", hint="give the invite alone")
        host, port, pin = invite.host, invite.port, invite.fingerprint
        token = token or invite.token
    example = "Client('example.org', 5050)"
    if port is None and isinstance(host, str) and ":" not in host:
        raise ConfigError("a port is missing", hint=f"write {example}")
    return *place(host, port, low=1, example=example), pin, token


def mode_for(mode: Mode, pin: str | None, trust: str | None) -> Mode:
    """The mode that a pin and `trust=` allow."""
    if trust == "known" and mode == Mode.OFF:
        raise ConfigError(
            "trust='known' cannot be checked without encryption",
            hint="drop encryption='off', or trust='known'",
        )
    if pin is None:
        return mode
    fingerprint_digest(pin)
    if mode == Mode.OFF:
        raise ConfigError(
            "a pin or an invite cannot be checked without encryption",
            hint="drop encryption='off', or the pin",
        )
    return Mode.REQUIRED


def load_files(
    keys: str | Path | Identity | None,
    known_servers: str | Path | None,
    mode: Mode,
    passphrase: Passphrase,
) -> tuple[Identity | None, KnownServers, bool]:
    """
    The files of a client.

    Returns:
        Its own key, made if the folder has none; the known servers; and whether servers on ephemeral loopback ports
        are forgotten soon: such a port soon belongs to another server, but a file that the user named keeps it.

    Raises:
        ConfigError: A path is not valid.
        KeyFileError: The key can neither be loaded nor made.
    """
    identity = keys if isinstance(keys, Identity) else None
    folder = None if keys is None or isinstance(keys, Identity) else path("keys", keys)
    named = None if known_servers is None else path("known_servers", known_servers)
    if folder is not None and mode != Mode.OFF:
        identity, _ = load_or_create(folder, "client", passphrase)
    file = named or (user_known_servers() if folder is None else folder / KNOWN_SERVERS)
    return identity, KnownServers(file), named is None and folder is None
