"""
Invites: one line of text that says where a server is, how to know its key, and how to enter.

    securelink://game.example:5050/?key=SHA256:<43 characters>[&token=<uuid4>]

Whoever uses an invite trusts no first answer: the key is pinned and encryption is required. A link
cannot ask for less, so nothing in it could be edited to weaken a check; what this module does not
know, it refuses. The key is the fingerprint that `ssh-keygen -lf` prints, in the alphabet of links
(base64url: `-` and `_` instead of `+` and `/`, no padding).
"""

from __future__ import annotations

import ipaddress
import re
import uuid
from dataclasses import dataclass

from .errors import ConfigError
from .keys import fingerprint_digest, fingerprint_text
from .limits import MAX_INVITE

SCHEME = "securelink"

_ASK = "ask for the invite again and paste all of it"
_PORT = re.compile(r"[1-9][0-9]{0,4}")
# Letters that a name server knows; underscores exist in names of home networks.
_NAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
    r"(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*"
)


@dataclass(frozen=True, slots=True)
class Invite:
    """
    All that a client needs to enter one server. `str()` gives the link, `Invite.parse()` reads it.

    The link of an invite with a token admits whoever holds it, so `repr()` leaves the token out.

    Attributes:
        host: A name, an IPv4 address or an IPv6 address without brackets; kept in lower case.
        port: 1 to 65535.
        fingerprint: Of the server's key, `SHA256:...` as `ssh-keygen -lf` prints it.
        token: A join token (uuid4), or None.

    Raises:
        ConfigError: One of them is not what it should be.
    """

    host: str
    port: int
    fingerprint: str
    token: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "host", _check_host(self.host))
        if type(self.port) is not int or not 1 <= self.port <= 65535:
            raise ConfigError(
                f"an invite needs a port from 1 to 65535, not {self.port!r}",
                hint="give the port that the server listens on",
            )
        fingerprint_digest(self.fingerprint)
        if self.token is not None:
            _check_token(self.token)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        key = self.fingerprint.translate(str.maketrans("+/", "-_"))
        token = f"&token={self.token}" if self.token is not None else ""
        return f"{SCHEME}://{host}:{self.port}/?key={key}{token}"

    def __repr__(self) -> str:
        token = None if self.token is None else "hidden"
        return (
            f"Invite(host={self.host!r}, port={self.port}, "
            f"fingerprint={self.fingerprint!r}, token={token})"
        )

    @classmethod
    def parse(cls, text: str) -> Invite:
        """
        Read a link.

        Args:
            text: As somebody pasted it; white space around it is ignored, inside it is an error.

        Raises:
            ConfigError: It is no invite, or not a whole one. The message never quotes a token.
        """
        host, port, query = _split_link(text.strip())
        parameters = _split_query(query)
        if "key" not in parameters:
            raise ConfigError("the invite has no key", hint=_ASK)
        return cls(host, port, _read_key(parameters["key"]), parameters.get("token"))


def is_invite(text: str) -> bool:
    """
    Tell an invite from a host name.

    True for anything written as a link, so that a link of another kind meets the errors of
    `Invite.parse()` and is not looked up as a name.
    """
    return "://" in text


def _split_link(link: str) -> tuple[str, int, str]:
    """Take scheme, host and port off a link; returns host, port and query."""
    if len(link) > MAX_INVITE:
        raise ConfigError(f"an invite has at most {MAX_INVITE} characters", hint=_ASK)
    if not link.isascii() or not link.isprintable() or " " in link:
        raise ConfigError("the invite holds a space, a line break or a foreign letter", hint=_ASK)
    scheme, separator, rest = link.partition("://")
    if not separator or scheme.lower() != SCHEME:
        raise ConfigError(f"an invite begins with {SCHEME}://", hint=_ASK)
    if "#" in rest or "%" in rest:
        raise ConfigError("an invite holds no '#' and no '%'", hint=_ASK)
    place, separator, query = rest.partition("?")
    if not separator:
        raise ConfigError("the invite has no key", hint=_ASK)
    host, port = _split_place(place.removesuffix("/"))
    return host, port, query


def _split_place(place: str) -> tuple[str, int]:
    if "/" in place or "@" in place:
        raise ConfigError("an invite holds no path and no user name", hint=_ASK)
    host, separator, port = place.rpartition(":")
    if not separator or not _PORT.fullmatch(port):
        raise ConfigError("an invite needs a port from 1 to 65535 after the host", hint=_ASK)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise ConfigError("only an IPv6 address stands in brackets", hint=_ASK)
    elif ":" in host:
        raise ConfigError("an IPv6 address stands in brackets: [::1]:5050", hint=_ASK)
    return host, int(port)


def _split_query(query: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name not in ("key", "token"):
            # The name is not quoted: in a torn link it may be a piece of the token.
            raise ConfigError("the invite has a parameter other than key and token", hint=_ASK)
        if name in parameters:
            raise ConfigError(f"the invite has more than one {name}", hint=_ASK)
        parameters[name] = value
    return parameters


def _read_key(value: str) -> str:
    """The fingerprint that a `key` parameter stands for."""
    if "+" in value or "/" in value:
        raise ConfigError("the key of an invite is written with '-' and '_'", hint=_ASK)
    try:
        return fingerprint_text(fingerprint_digest(value.translate(str.maketrans("-_", "+/"))))
    except ConfigError:
        raise ConfigError("the key of the invite is not a whole one", hint=_ASK) from None


def _check_host(host: str) -> str:
    """Return a host as an invite spells it, or refuse it."""
    hint = "give a name, an IPv4 address, or an IPv6 address without brackets"
    if ":" in host:
        try:
            address = ipaddress.IPv6Address(host)
        except ValueError:
            raise ConfigError(f"{host!r} is not an IPv6 address", hint=hint) from None
        if address.scope_id is not None:
            # The zone is the name of a network card of one machine: of no use on another.
            raise ConfigError(f"{host!r} has a zone, which means nothing elsewhere", hint=hint)
        return str(address)
    if not _NAME.fullmatch(host):
        raise ConfigError(f"{host!r} is not a host", hint=hint)
    if host.rpartition(".")[2].isdigit():
        # Name services read 127.1 and 2130706433 as addresses; people do not.
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise ConfigError(f"{host!r} is not an IPv4 address", hint=hint) from None
    return host.lower()


def _check_token(token: str) -> None:
    try:
        parsed = uuid.UUID(token)
    except (ValueError, AttributeError, TypeError):
        parsed = None
    # UUID() also takes braces, a urn and missing hyphens: one spelling only, as it is hashed.
    if parsed is None or parsed.version != 4 or str(parsed) != token:
        raise ConfigError("the token of the invite is not a uuid4", hint=_ASK)
