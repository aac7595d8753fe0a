"""One spelling for the many ways to write a server's address."""

from __future__ import annotations

import functools
import ipaddress
import re
from unicodedata import ucd_3_2_0  # the version that IDNA names (RFC 3491)

from ..errors import ConfigError
from ..limits import MAX_NAME
from ..text import kind_of, quoted

# All of them reach only a server that listens on this machine.
_THIS_MACHINE = "127.0.0.1"
_LOCAL_NAMES = frozenset(
    ("localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "::1", "0.0.0.0", "::")  # noqa: S104
)

_DOTS = re.compile("[.\u3002\uff0e\uff61]")  # separators of labels (RFC 3490, 3.1)

_PERCENT = frozenset("%\uff05\ufe6a")  # begins a zone, whose letters do not count

# Characters that IDNA ignores (RFC 3454, B.1): soft hyphen, joiners, variation selectors.
_NOTHING = dict.fromkeys(
    (
        *(0xAD, 0x34F, 0x1806, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF),
        *range(0x180B, 0x180E),
        *range(0xFE00, 0xFE10),
    )
)


def checked_host(host: str) -> str:
    """
    A host in lower case.

    Raises:
        ConfigError: It cannot be the name or address of a host.
    """
    if not isinstance(host, str):
        raise ConfigError(f"a host is a text, not {kind_of(host)}")
    if len(host) > MAX_NAME:
        raise ConfigError(f"the name of a host has at most {MAX_NAME} characters")
    if not host or "#" in host or " " in host or not host.isprintable():
        raise ConfigError(f"{quoted(host)} is not the name or address of a host")
    return host.lower()


def spelled(host: str) -> str:
    """
    A host as an invite spells it, so that each spelling of a server does not cause another first use.

    Lower case, no final dot, foreign letters as in DNS (IDNA), `127.1` and `0x7f000001` as
    `127.0.0.1`, IPv6 in its short form, an IPv4 address within IPv6 as IPv4. A zone (`fe80::1%eth0`) stays: the same
    address in two networks is two servers.

    Raises:
        ConfigError: It cannot be the name or address of a host.
    """
    host = checked_host(host)
    if not host.isascii():
        try:
            # Each letter by itself: a name service treats full-width digits, dots and colons as ordinary ones.
            plain = host.encode("idna").decode().lower()
        except UnicodeError:
            return host  # no name service finds it either
        if not plain.isprintable() or set(plain) & set("# "):
            return host  # compatibility forms of signs that would not fit on a line
        if "xn--" in plain and plain.count(".") != len(_DOTS.findall(host)):
            return host  # characters that contain a full stop, among foreign letters: not a name
        host = plain
    if ":" in host:
        return _spelled_ipv6(host)
    host = host.removesuffix(".") or host
    return _spelled_ipv4(host) or host


def same_server(host: str) -> str:
    """A form that is equal for all spellings of one server: `spelled()`, and one name for this machine."""
    host = spelled(host)
    return _THIS_MACHINE if host in _LOCAL_NAMES else host


class Place:
    """
    A server's address, to be compared with the spellings in a file: converting foreign letters costs ten times as
    much as comparing texts, and is done only for similar lines.

    Args:
        host: In any spelling.

    Raises:
        ConfigError: It cannot be the name or address of a host.
    """

    def __init__(self, host: str) -> None:
        self.host = same_server(host)
        self._similar = _readable(self.host)
        self._letters = frozenset(ucd_3_2_0.normalize("NFKD", self._similar))

    def may_be(self, host: str) -> bool:
        """
        Whether a host in a line is worth a closer look, which may take a millisecond for foreign letters: a file of
        them must not hold up who looks for another name. All foreign letters of a name are in each of its spellings.
        """
        if host.isascii() or not _PERCENT.isdisjoint(host):
            return True
        return all(_foreign(character) <= self._letters for character in set(host))

    def means(self, host: str, similar: str) -> bool:
        """
        Whether a host is the same server.

        Args:
            host: As spelled in the line.
            similar: The result of `similar()` for it.
        """
        if host.isascii():
            return similar == self.host
        return similar == self._similar and same_server(host) == self.host


def similar(host: str) -> str:
    """
    A cheap form that is equal for all spellings of a server with foreign letters, and for all spellings without: two
    hosts with different forms are different servers.

    Raises:
        ConfigError: It cannot be the name or address of a host.
    """
    return same_server(host) if host.isascii() else _readable(checked_host(host))


def _readable(host: str) -> str:
    """A host with its foreign letters folded as IDNA folds them, or further."""
    text = _folded(host)
    if "xn--" in text:
        text = _folded(".".join(map(_decoded, text.split("."))))
    text = text.rstrip(".")
    if ":" in text:
        text = text.strip("[]").partition("%")[0].rstrip(".")  # a zone may have foreign letters
    return same_server(text) if _is_host(text) else text


def _folded(text: str) -> str:
    folded = text.translate(_NOTHING).casefold()
    text = ucd_3_2_0.normalize("NFKC", folded)
    again = text.casefold().translate(_NOTHING)
    if again != text:  # some characters are composed of characters that fold
        text = ucd_3_2_0.normalize("NFKC", again)
    return text.replace("\u3002", ".")


@functools.lru_cache(4096)
def _foreign(character: str) -> frozenset[str]:
    """The foreign letters and marks that a character is composed of, folded."""
    return frozenset(c for c in ucd_3_2_0.normalize("NFKD", _folded(character)) if not c.isascii())


def _decoded(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        return label[4:].encode("ascii").decode("punycode")
    except UnicodeError:
        return label


def _is_host(text: str) -> bool:
    return (
        text.isascii()
        and text.isprintable()
        and 0 < len(text) <= MAX_NAME
        and not set(text) & set("# ")
    )


def _spelled_ipv6(host: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return host
    if address.scope_id is not None and not (address.is_link_local or address.is_multicast):
        # There is no choice of networks, so the system ignores it.
        address = ipaddress.IPv6Address(int(address))
    return str(address) if address.ipv4_mapped is None else str(address.ipv4_mapped)


def _spelled_ipv4(host: str) -> str | None:
    """The address that C's inet_aton() reads, as name services do; None if it is not an address."""
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
