"""What kind of address it is, and what counts as one where strangers are counted."""

from __future__ import annotations

import ipaddress


def is_loopback_host(host: str) -> bool:
    """Whether an address is of this machine."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def network(host: str) -> str:
    """What counts as one address: whoever has one of IPv6 has all 2^64 of its /64."""
    return networks(host)[0]


def networks(host: str) -> tuple[str, ...]:
    """The address; of IPv6 its /64, and the /56 and the /48 around it, one of which a customer usually gets."""
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
