"""
The PROXY protocol, version 2: the address of a client behind a load balancer (haproxy.org, "The PROXY protocol", 2.2).

A header precedes the first byte of a connection. It is accepted only from addresses that the operator has named, and
they must send it: otherwise a client that reaches the balancer's machine could choose its own address.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import ConfigError, ProtocolError
from ..limits import MAX_PROXIES, MAX_PROXY_HEADER
from ..text import quoted
from .base import Address, Stream

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED = 16  # signature 12, version and command, family and transport, length u16
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6 = 0x00, 0x11, 0x21
_SIZES = {_TCP4: 12, _TCP6: 36}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def proxy_networks(proxies: Any) -> tuple[Network, ...]:
    """
    The networks of `trusted_proxies=`.

    Raises:
        ConfigError: One of them is neither an address nor a network, or there are too many.
    """
    if isinstance(proxies, str) or not isinstance(proxies, Iterable):
        raise ConfigError(
            f"trusted_proxies={quoted(proxies)} is not possible",
            hint="it is a list of addresses or networks, such as ['10.0.0.7', '192.168.4.0/24']",
        )
    found: list[Network] = []
    for proxy in proxies:
        try:
            if not isinstance(proxy, str):
                raise ValueError
            found.append(ipaddress.ip_network(proxy))
        except ValueError:
            raise ConfigError(
                f"{quoted(proxy)} in trusted_proxies is no address and no network",
                hint="write '10.0.0.7', or '10.0.0.0/24' with no bits behind the prefix",
            ) from None
    if len(found) > MAX_PROXIES:
        raise ConfigError(
            f"trusted_proxies has {len(found)} entries", hint=f"{MAX_PROXIES} are possible"
        )
    return tuple(found)


def is_trusted(host: str, proxies: tuple[Network, ...]) -> bool:
    """Whether a connection from this address must begin with a header."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return any(address in network for network in proxies)


class HeaderReader:
    """
    Collects one header, however it is split, and no byte after it.

    Attributes:
        wanted: The number of bytes that may be read now; 0 when it is complete.
    """

    def __init__(self) -> None:
        self._data = b""
        self._size = _FIXED
        self.wanted = _FIXED

    def feed(self, data: bytes) -> None:
        """
        Take bytes, at most `wanted`.

        Raises:
            ProtocolError: This is not a header of version 2, or it is too long.
        """
        self._data += data
        start = self._data[: len(SIGNATURE)]
        if start != SIGNATURE[: len(start)]:
            raise ProtocolError(
                "no PROXY header of version 2 came from a trusted proxy",
                hint="switch it on there (send-proxy-v2, proxy_protocol), or take it out of trusted_proxies",
            )
        if len(self._data) >= _FIXED:
            self._size = _FIXED + int.from_bytes(self._data[14:16])
            if self._size > MAX_PROXY_HEADER:
                raise ProtocolError(f"a PROXY header of {self._size} bytes is too long")
        self.wanted = self._size - len(self._data)

    def address(self) -> Address | None:
        """
        The client's address; None if the proxy speaks for itself (LOCAL) or does not say. Further fields are skipped.

        Raises:
            ProtocolError: The header breaks a rule.
        """
        command, kind = self._data[12], self._data[13]
        if command == _LOCAL:
            return None
        if command != _PROXY:
            raise ProtocolError(f"a PROXY header has version and command {command:#04x}")
        if kind == _UNSPECIFIED:
            return None
        body = self._data[_FIXED:]
        if kind not in _SIZES:
            raise ProtocolError(f"a PROXY header is for {kind:#04x}, which is not TCP")
        if len(body) < _SIZES[kind]:
            raise ProtocolError("a PROXY header is shorter than its addresses")
        if kind == _TCP4:
            return str(ipaddress.IPv4Address(body[:4])), int.from_bytes(body[8:10])
        source = ipaddress.IPv6Address(body[:16])
        return str(source.ipv4_mapped or source), int.from_bytes(body[32:34])


class Preamble:
    """
    A connection from a trusted proxy before its header is complete. Used by the leader only.

    Args:
        stream: The stream from the proxy.
        done: Called once, at the end: with the client's address, or with the error.
    """

    def __init__(
        self,
        stream: Stream,
        done: Callable[[Preamble, Address | ProtocolError | None], None],
    ) -> None:
        self.stream = stream
        self.peer = stream.peer
        self._done = done
        self._reader = HeaderReader()

    def on_io(self, mask: int) -> None:
        """Bytes have come, or the end."""
        try:
            if not self._read():
                self._done(self, None)
                return
            address = self._reader.address()
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._done(self, None)
        except ProtocolError as error:
            self._done(self, error)
        else:
            self._done(self, address or self.peer)

    def _read(self) -> bool:
        """Read the header; False at the end of the stream."""
        while self._reader.wanted:
            data = self.stream.recv(self._reader.wanted, self.stream.at_once)
            if not data:
                return False
            self._reader.feed(data)
        return True

    def on_error(self) -> None:
        """An internal error: close."""
        self._done(self, None)
