"""One spelling for the many ways to write where a server is."""

from __future__ import annotations

import ipaddress

from ..errors import ConfigError
from ..limits import MAX_NAME
from ..text import quoted

# All of them reach a server that listens on this machine, and none of them any other.
_THIS_MACHINE = "127.0.0.1"
_LOCAL_NAMES = frozenset(
    ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "::1", "0.0.0.0", "::")  # noqa: S104
)


def spelled(host: str) -> str:
    """
    A host as an invite spells it, so that one server is not met for the first time under each spelling.

    Lower case, no full stop at the end, foreign letters as name servers have them (IDNA), `127.1` and `0x7f000001` as
    `127.0.0.1`, IPv6 in its short form, an IPv4 address within IPv6 as IPv4. A zone (`fe80::1%eth0`) stays: the same
    address in two networks is two servers.

    Raises:
        ConfigError: It cannot be the name or address of a host.
    """
    if not isinstance(host, str):
        raise ConfigError(f"a host is a text, not a {type(host).__name__}")
    if len(host) > MAX_NAME:
        raise ConfigError(f"the name of a host has at most {MAX_NAME} characters")
    if not host or "#" in host or " " in host or not host.isprintable():
        raise ConfigError(f"{quoted(host)} is not the name or address of a host")
    host = host.lower()
    if not host.isascii():
        try:
            # Each letter alone: a name service takes full-width digits, dots and colons for ordinary ones.
            plain = host.encode("idna").decode().lower()
        except UnicodeError:
            return host  # no name service finds it either
        if not plain.isprintable() or set(plain) & set("# "):
            return host  # compatibility forms of signs that would not fit on a line
        host = plain
    if ":" in host:
        return _spelled_ipv6(host)
    host = host.removesuffix(".") or host
    return _spelled_ipv4(host) or host


def same_server(host: str) -> str:
    """What two spellings of one server have in common: `spelled()`, and one name for this machine."""
    host = spelled(host)
    return _THIS_MACHINE if host in _LOCAL_NAMES else host


def _spelled_ipv6(host: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return host
    if address.scope_id is not None and not (address.is_link_local or address.is_multicast):
        address = ipaddress.IPv6Address(
            int(address)
        )  # there is no choice of networks: the system passes over it
    return str(address) if address.ipv4_mapped is None else str(address.ipv4_mapped)


def _spelled_ipv4(host: str) -> str | None:
    """The address that C's inet_aton() reads, as name services do; None if it reads none."""
    parts = host.split(".")
    if len(parts) > 4:
        return None
    numbers = [_number(part) for part in parts]
    value = 0
    for place, number in enumerate(numbers):
        last = place == len(numbers) - 1
        room = 8 * (5 - len(numbers)) if last else 8  # the last number fills what is left
        if number is None or number >> room:
            return None
        value |= number << (0 if last else 24 - 8 * place)
    return str(ipaddress.IPv4Address(value))


def _number(text: str) -> int | None:
    """A number as C writes it: decimal, 0 and octal, 0x and hexadecimal."""
    if not text or not text.isascii() or not text.isalnum():
        return None
    base = 16 if text.startswith("0x") else 8 if text.startswith("0") and len(text) > 1 else 10
    digits = text.removeprefix("0x")
    digits = digits.lstrip("0") or digits[:1]  # inet_aton() reads any number of zeros in front
    try:
        return int(digits, base) if len(digits) <= 16 else None
    except ValueError:
        return None
