"""A client's server, and its key, trust and credentials: made of its options once, the same in each attempt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..errors import CodecError, ConfigError
from ..invite import Invite, is_invite
from ..keys import Identity, fingerprint_digest, load_or_create
from ..limits import MAX_CREDENTIALS, MAX_CREDENTIALS_DEPTH
from ..options import place
from ..protocol import PlaintextServer, VerifiedServer
from ..protocol.bounds import Bounds
from ..signatures import did_run
from ..trust import KnownServers
from ..trust.home import KNOWN_SERVERS, user_known_servers
from ..trust.policy import Belief
from ..wire.fields import Mode
from ..wire.packets import encode_value
from .declared import ClientOptions


@dataclass(frozen=True, kw_only=True)
class Introduction:
    """
    How a client introduces itself: the same in each attempt.

    Attributes:
        mode: Its encryption policy.
        identity: The key that it shows to servers that want one.
        credentials: What it gives the server's `authenticate`, or a function of (channel binding, server
            fingerprint) that returns that.
        application, version: Of the application.
        max_packet: The largest packet limit that the server may announce, in bytes.
        bounds: Of a new session.
        forget_soon: Whether the key of a server on this machine, on a port of the system's choice, is forgotten soon.
        lasting: The credentials are no object of the program's, which it could change: they are encoded once.
    """

    mode: Mode
    identity: Identity | None
    credentials: Any = field(repr=False)
    application: str
    version: str
    max_packet: int
    bounds: Bounds
    forget_soon: bool
    lasting: bool = False
    _encoded: bytes | None = field(default=None, init=False, repr=False)

    @property
    def has_credentials(self) -> bool:
        """Whether there is something that not everybody may get."""
        return self.credentials is not None

    def encoded_credentials(self, server: VerifiedServer | PlaintextServer) -> bytes:
        """
        The credentials for this server, as they go over the wire.

        Raises:
            ConfigError: They cannot be sent.
        """
        if self._encoded is not None:
            return self._encoded
        credentials = self.credentials
        if callable(credentials):
            if isinstance(server, VerifiedServer):
                credentials = credentials(server.binding, server.key.fingerprint)
            else:
                credentials = credentials(None, None)
            did_run(credentials)
        try:
            encoded = encode_value(credentials)
        except CodecError as error:
            raise ConfigError(
                f"these credentials cannot be sent: {error.message}",
                hint="None, bool, int, float, str, bytes, lists and dicts of these: "
                f"{MAX_CREDENTIALS:,} bytes, nested up to {MAX_CREDENTIALS_DEPTH} levels",
            ) from None
        if self.lasting:
            object.__setattr__(self, "_encoded", encoded)
        return encoded


def introduce(
    host: str, port: int | None, pin: str | None, options: ClientOptions
) -> tuple[str, int, Introduction, Belief]:
    """
    Prepare connecting, from arguments.

    Args:
        host: Or an invite, which says the rest.
        pin: The fingerprint that the server must have, or None.

    Returns:
        Host and port, how the client introduces itself, and what it believes of the server.

    Raises:
        ConfigError: They are not possible, or not together.
        KeyFileError: The client's key can neither be loaded nor made.
    """
    host, port, pin, token = destination(host, port, pin, options.token)
    mode = mode_for(options.encryption, pin, options.trust)
    if token is not None and options.credentials is not None:
        raise ConfigError("give credentials= or token=, not both")
    identity, known, forget_soon = load_files(options, mode)
    introduction = Introduction(
        mode=mode,
        identity=identity,
        credentials={"token": token} if token is not None else options.credentials,
        application=options.application,
        version=options.version,
        max_packet=options.max_packet,
        bounds=options.bounds,
        forget_soon=forget_soon,
        lasting=token is not None or options.credentials is None,
    )
    exposed = options.plaintext_credentials
    belief = Belief(host, port, pin, options.trust, known, plaintext_credentials=exposed)
    return host, port, introduction, belief


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


def load_files(options: ClientOptions, mode: Mode) -> tuple[Identity | None, KnownServers, bool]:
    """
    The files of a client.

    Returns:
        Its own key, made if the folder has none; the known servers; and whether servers on ephemeral loopback ports
        are forgotten soon: such a port soon belongs to another server, but a file that the user named keeps it.

    Raises:
        KeyFileError: The key can neither be loaded nor made.
    """
    keys, named = options.keys, options.known_servers
    identity, folder = (keys, None) if isinstance(keys, Identity) else (None, keys)
    if folder is not None and mode != Mode.OFF:
        identity, _ = load_or_create(folder, "client", options.passphrase)
    file = named or (user_known_servers() if folder is None else folder / KNOWN_SERVERS)
    return identity, KnownServers(file), named is None and folder is None
