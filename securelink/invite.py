"""
Invites: one line of text with a server's address, the fingerprint of its key, and a token.

    securelink://game.example:5050/SHA256:<43 characters>[/<uuid4>]

A client with an invite does not trust on first use: the key is pinned and encryption is required. A link cannot ask
for less, so editing it cannot weaken a check; this module refuses unknown parts. The key is the fingerprint that
`ssh-keygen -lf` prints, in the alphabet of links (base64url: `-` and `_` instead of `+` and `/`, no padding). The
token is a join token.

It contains no character that is special to a shell, so it needs no quotes. The form of 0.1.0,
`securelink://host:port/?key=SHA256:...[&token=...]`, is still read.
"""

from __future__ import annotations

import ipaddress
import re
import uuid
from dataclasses import dataclass

from .errors import ConfigError
from .keys import fingerprint_digest, fingerprint_text
from .limits import MAX_INVITE
from .text import kind_of, quoted

SCHEME = "securelink"

_ASK = "ask for the invite again and paste all of it"
_PORT = re.compile(r"[1-9][0-9]{0,4}")
# Characters that mail, chat programs and word processors put into a link or around it. No invite contains them.
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f"
_QUOTES = (
    "\"'`\u00b4\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u2039\u203a\u00ab\u00bb"
    "\u2032\u2033\uff02\uff07\u300c\u300d"
)
_REMOVED = dict.fromkeys(map(ord, _INVISIBLE + _QUOTES))
_BEFORE = "<([{\u2329\u3008\u27e8\uff1c\uff08*"
_AFTER = ">)]}\u232a\u3009\u27e9\uff1e\uff09*.,;:!?\u2026\u3002"
# Letters of names in DNS; underscores exist in names of home networks.
_NAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
    r"(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*"
)


@dataclass(frozen=True, slots=True)
class Invite:
    """
    Everything that a client needs to enter one server. `str()` gives the link, `Invite.parse()` reads it.

    The link of an invite with a token admits its bearer, so `repr()` leaves the token out.

    Attributes:
        host: A name, an IPv4 address or an IPv6 address without brackets; kept in lower case.
        port: 1 to 65535.
        fingerprint: The fingerprint of the server's key, `SHA256:...` as `ssh-keygen -lf` prints it.
        token: A join token (uuid4), or None.

    Raises:
        ConfigError: One of them is not valid.
    """

    host: str
    port: int
    fingerprint: str
    token: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "host", _check_host(self.host))
        if type(self.port) is not int or not 1 <= self.port <= 65535:
            raise ConfigError(
                f"an invite needs a port from 1 to 65535, not {quoted(self.port)}",
                hint="give the port that the server listens on",
            )
        fingerprint_digest(self.fingerprint)
        if self.token is not None:
            _check_token(self.token)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        key = self.fingerprint.translate(str.maketrans("+/", "-_"))
        token = f"/{self.token}" if self.token is not None else ""
        return f"{SCHEME}://{host}:{self.port}/{key}{token}"

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
            text: The pasted text. White space, line breaks, quotes and invisible characters are removed, and so are
                brackets and punctuation around it.

        Raises:
            ConfigError: It is not an invite, or not a whole one. The message never quotes a token.
        """
        if not isinstance(text, str):
            raise ConfigError(f"an invite is a str, not {kind_of(text)}", hint=_ASK)
        host, port, key, token = _split_link(_cleaned(text))
        return cls(host, port, _read_key(key), token)


def is_invite(text: str) -> bool:
    """
    Tell an invite from a host name.

    True for every text that is written as a link, so that a link of another kind gets the errors of `Invite.parse()`
    and is not looked up as a name. This also holds for a link that lost its beginning.
    """
    cleaned = _cleaned(text)
    return "://" in cleaned or "/sha256:" in cleaned.lower()


def _cleaned(text: str) -> str:
    """A link without the characters that were pasted with it. Letters that look alike stay, and are refused."""
    if len(text) > 4 * MAX_INVITE:
        return text  # it is refused for its length anyway
    return "".join(text.split()).translate(_REMOVED).lstrip(_BEFORE).rstrip(_AFTER)


def _split_link(link: str) -> tuple[str, int, str, str | None]:
    """Take a link apart: host, port, key and token."""
    if len(link) > MAX_INVITE:
        raise ConfigError(f"an invite has at most {MAX_INVITE} characters", hint=_ASK)
    if not link.isascii() or not link.isprintable():
        raise ConfigError("the invite contains a foreign letter or a control character", hint=_ASK)
    scheme, separator, rest = link.partition("://")
    if not separator or scheme.lower() != SCHEME:
        raise ConfigError(f"an invite begins with {SCHEME}://", hint=_ASK)
    if "#" in rest or "%" in rest:
        raise ConfigError("an invite contains no '#' and no '%'", hint=_ASK)
    place, separator, query = rest.partition("?")
    if separator:
        parameters = _split_query(query)
        host, port = _split_place(place.removesuffix("/"))
        if "key" not in parameters:
            raise ConfigError("the invite has no key", hint=_ASK)
        return host, port, parameters["key"], parameters.get("token")
    place, *parts = rest.split("/")
    host, port = _split_place(place)
    if not parts or not parts[0]:
        raise ConfigError("the invite has no key", hint=_ASK)
    if len(parts) > 2:
        raise ConfigError("an invite contains nothing after its token", hint=_ASK)
    return host, port, parts[0], parts[1] if len(parts) == 2 else None


def _split_place(place: str) -> tuple[str, int]:
    if "/" in place or "@" in place:
        raise ConfigError("an invite contains no path and no user name", hint=_ASK)
    host, separator, port = place.rpartition(":")
    if not separator or not _PORT.fullmatch(port):
        raise ConfigError("an invite needs a port from 1 to 65535 after the host", hint=_ASK)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise ConfigError("only an IPv6 address is written in brackets", hint=_ASK)
    elif ":" in host:
        raise ConfigError("an IPv6 address is written in brackets: [::1]:5050", hint=_ASK)
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
    """The fingerprint that a `key` parameter contains."""
    if "+" in value or "/" in value:
        raise ConfigError("the key of an invite is written with '-' and '_'", hint=_ASK)
    try:
        return fingerprint_text(fingerprint_digest(value.translate(str.maketrans("-_", "+/"))))
    except ConfigError:
        raise ConfigError("the key of the invite is not a whole one", hint=_ASK) from None


def _check_host(host: str) -> str:
    """Return a host as an invite spells it, or refuse it."""
    hint = "give a name, an IPv4 address, or an IPv6 address without brackets"
    if not isinstance(host, str):
        raise ConfigError(f"a host is a text, not {kind_of(host)}", hint=hint)
    if ":" in host:
        try:
            address = ipaddress.IPv6Address(host)
        except ValueError:
            raise ConfigError(f"{quoted(host)} is not an IPv6 address", hint=hint) from None
        if address.scope_id is not None:
            # The zone is the name of a network card of one machine, which is useless on another.
            raise ConfigError(
                f"{quoted(host)} has a zone, which means nothing elsewhere", hint=hint
            )
        return str(address)
    if not _NAME.fullmatch(host):
        raise ConfigError(f"{quoted(host)} is not a host", hint=hint)
    if host.rpartition(".")[2].isdigit():
        # Name services read 127.1 and 2130706433 as addresses; people do not.
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise ConfigError(f"{quoted(host)} is not an IPv4 address", hint=hint) from None
    return host.lower()


def _check_token(token: str) -> None:
    try:
        parsed = uuid.UUID(token)
    except (ValueError, AttributeError, TypeError):
        parsed = None
    # UUID() also takes braces, a urn and missing hyphens: one spelling only, as it is hashed.
    if parsed is None or parsed.version != 4 or str(parsed) != token:
        raise ConfigError("the token of the invite is not a uuid4", hint=_ASK)
