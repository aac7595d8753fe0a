"""Kinds of addresses, and the networks that count as one address."""

from __future__ import annotations

import functools
import ipaddress

_REMEMBERED = 1024  # addresses whose kind is known: a handshake asks several times


@functools.lru_cache(_REMEMBERED)
def is_loopback_host(host: str) -> bool:
    """Whether an address belongs to this machine."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def network(host: str) -> str:
    """The unit that counts as one address: the owner of an IPv6 address has all 2^64 of its /64."""
    return networks(host)[0]


@functools.lru_cache(_REMEMBERED)
def networks(host: str) -> tuple[str, ...]:
    """The address; for IPv6 its /64, and the /56 and the /48 around it, one of which a customer usually gets."""
    if ":" not in host:
        return (host,)
    plain = host.partition("%")[0]
    try:
        return tuple(
            str(ipaddress.ip_network((plain, size), strict=False)) for size in (64, 56, 48)
        )
    except ValueError:
        return (host,)


def shown(host: str, port: int) -> str:
    """`host:port`, an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
