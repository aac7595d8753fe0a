"""Sockets and the addresses they have: IPv4, IPv6 and names; system errors become sentences."""

from __future__ import annotations

import errno
import functools
import os
import socket
from pathlib import Path
from typing import Any

from ..errors import ConnectFailed, SecureLinkError
from ..limits import CONNECT_SECONDS
from .addresses import shown
from .base import Address
from .names import Place, resolve

_PORT_TRIES = 16  # for a port that is free on all addresses of a name
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)


def peer_address(sock: socket.socket) -> Address:
    """Host and port of the peer; ("", 0) when it is gone already."""
    try:
        return plain_address(sock.getpeername())
    except OSError:
        return ("", 0)


def plain_address(name: tuple[Any, ...]) -> Address:
    """Host and port of an address of the socket module; an IPv4 address within IPv6 as IPv4."""
    return (str(name[0]).removeprefix("::ffff:"), int(name[1]))


def with_zone_name(host: str) -> str:
    """`fe80::1%2` as `fe80::1%eth0`: the number of a network card may change at each start, its name does not."""
    address, percent, zone = host.rpartition("%")
    if not percent or ":" not in address or not (zone.isascii() and zone.isdigit()):
        return host
    try:
        return f"{address}%{socket.if_indextoname(int(zone))}"
    except (OSError, OverflowError):
        return host


def is_chosen_by_system(port: int) -> bool:
    """Whether a port is in the range that the system uses for port 0."""
    low, high = _chosen_ports()
    return low <= port <= high


@functools.cache
def _chosen_ports() -> tuple[int, int]:
    try:
        words = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
        return int(words[0]), int(words[1])
    except (OSError, ValueError, IndexError):
        return 49_152, 65_535  # RFC 6335, and the practice of other systems


def local_address() -> str:
    """This machine's address as others in its network see it; 127.0.0.1 without a network. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            # RFC 5737: an unused address; connecting UDP only looks up the route.
            sock.connect(("192.0.2.1", 9))
            return str(sock.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def prepare(sock: socket.socket) -> None:
    """Non-blocking on every platform (accepted sockets inherit it only on some), and no Nagle delay."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def reason(error: OSError | None) -> str:
    """The system's text for an error."""
    if error is None:
        return "no address"
    # create_server() adds the address in its own form; ours precedes it already.
    return (error.strerror or str(error)).partition(" (while ")[0].lower()


def listen(host: str, port: int, backlog: int) -> list[socket.socket]:
    """
    Listening sockets, restartable at once on the same port: one for each address of `host`.

    "" listens on all addresses, IPv6 and IPv4. Of a name with several addresses, those that this machine cannot
    listen on are left out, unless none remains.

    Raises:
        ConnectFailed: The port is in use, the address does not belong to this machine, or permission is missing.
        LinkTimeout: The name was not found in CONNECT_SECONDS.
    """
    where = shown(host or "*", port)
    if not 0 <= port <= 65535:
        raise ConnectFailed(f"{port} is not a TCP port", hint="use 0 to 65535")
    try:
        if not host:
            found = [_listen_everywhere(port, backlog)]
        else:
            found = _listen_on(resolve(host, port, CONNECT_SECONDS), port, backlog)
    except ConnectFailed as error:
        raise ConnectFailed(
            f"cannot listen on {where}: {error.message}",
            hint="give an address of this machine, or leave host= out to listen on all",
        ) from None
    except SecureLinkError:
        raise
    except OSError as error:
        hint = {
            errno.EACCES: "ports below 1024 need privileges; choose a higher one",
            errno.EADDRNOTAVAIL: "that is no address of this machine; leave host= out to listen on all",
        }.get(error.errno or 0, "")
        if error.errno == errno.EADDRINUSE:
            hint = _who_has(port)
        raise ConnectFailed(f"cannot listen on {where}: {reason(error)}", hint=hint) from error
    for sock in found:
        sock.setblocking(False)
    return found


def _listen_everywhere(port: int, backlog: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(
            ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=backlog
        )
    return socket.create_server(("", port), family=socket.AF_INET, backlog=backlog)


def _listen_on(places: list[Place], port: int, backlog: int) -> list[socket.socket]:
    """A socket for each place, all on the same port, though the system chooses it."""
    for _ in range(_PORT_TRIES if port == 0 else 1):
        found: list[socket.socket] = []
        failure: OSError | None = None
        for family, address in places:
            chosen = found[0].getsockname()[1] if found else port
            address = (address[0], chosen, *address[2:])
            try:
                found.append(socket.create_server(address, family=family, backlog=backlog))
            except OSError as error:
                failure = error
                if error.errno not in _NOT_HERE:
                    break  # the requested address or port is not available
        if found and (failure is None or failure.errno in _NOT_HERE):
            return found
        for sock in found:
            sock.close()
    assert failure is not None
    raise failure


def _who_has(port: int) -> str:
    """The hint for a port in use, which depends on the program that uses it."""
    if _is_ours(port):
        return (
            "this very program has the port: a server that was not stopped, or one of its own; "
            "call stop() first, or choose another port"
        )
    return "another program has this port; stop it, or choose another port"


def _is_ours(port: int) -> bool:
    """Whether a socket of this process has the port. Checks all descriptors of the process."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            descriptors = [int(name) for name in os.listdir(folder)]
        except (OSError, ValueError):
            continue
        return any(_is_bound_to(descriptor, port) for descriptor in descriptors)
    return False


def _is_bound_to(descriptor: int, port: int) -> bool:
    """Whether it is a TCP socket that listens, or could listen, on the port. Accepted connections have it too."""
    try:
        copy = os.dup(descriptor)
    except OSError:
        return False  # it was that of the list itself
    try:
        sock = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return False
    with sock:
        try:
            name = sock.getsockname()
            if sock.type != socket.SOCK_STREAM or not isinstance(name, tuple) or name[1] != port:
                return False
            sock.getpeername()
        except OSError as error:
            return error.errno == errno.ENOTCONN
    return False
