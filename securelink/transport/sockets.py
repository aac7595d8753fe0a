"""Opening sockets: IPv4, IPv6 and names; system errors become sentences."""

from __future__ import annotations

import errno
import functools
import ipaddress
import socket
import time
from pathlib import Path

from ..errors import ConnectFailed, LinkTimeout

Address = tuple[str, int]


def peer_address(sock: socket.socket) -> Address:
    """Host and port of the other side; ("", 0) when it is gone already."""
    try:
        host, port = sock.getpeername()[:2]
    except OSError:
        return ("", 0)
    return (str(host).removeprefix("::ffff:"), int(port))


def shown(host: str, port: int) -> str:
    """`host:port`, an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(sock: socket.socket) -> bool:
    """Whether the other side is on this machine."""
    return is_loopback_host(peer_address(sock)[0])


def is_loopback_host(host: str) -> bool:
    """Whether an address, as `peer_address` gives it, is of this machine."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def is_chosen_by_system(port: int) -> bool:
    """Whether a port is one of those that the system gives to a server that asks for port 0."""
    low, high = _chosen_ports()
    return low <= port <= high


@functools.cache
def _chosen_ports() -> tuple[int, int]:
    try:
        words = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
        return int(words[0]), int(words[1])
    except (OSError, ValueError, IndexError):
        return 49_152, 65_535  # RFC 6335, and what other systems do


def network(host: str) -> str:
    """What counts as one address where strangers are counted: who has one of IPv6 has all 2^64 of its /64."""
    if ":" not in host:
        return host
    return str(ipaddress.ip_network((host.partition("%")[0], 64), strict=False))


def local_address() -> str:
    """This machine's address as others in its network see it; 127.0.0.1 without a network. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(
                ("192.0.2.1", 9)
            )  # RFC 5737: nobody has it; connecting UDP only looks up the route
            return str(sock.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def prepare(sock: socket.socket) -> None:
    """Non-blocking on every platform (accepted sockets inherit it only on some), and no Nagle delay."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def connect(host: str, port: int, timeout: float) -> socket.socket:
    """
    Connect to the first address of `host` that answers.

    Raises:
        ConnectFailed: With a sentence for each common cause.
        LinkTimeout: Nothing answered in `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    where = shown(host, port)
    try:
        candidates = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise ConnectFailed(
            f"the name {host!r} is not known here", hint="check the spelling, or use the IP address"
        ) from None
    except OverflowError:
        raise ConnectFailed(f"{port} is no TCP port", hint="use 1 to 65535") from None
    failure: OSError | None = None
    for family, kind, protocol, _, address in candidates:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(left)
            sock.connect(address)
            prepare(sock)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    if failure is None or isinstance(failure, TimeoutError):
        raise LinkTimeout(
            f"{where} did not answer within {timeout:.3g} s",
            hint="check host and port, and that no firewall is between",
        ) from failure
    raise ConnectFailed(
        f"cannot connect to {where}: {_reason(failure)}", hint=_hint(failure)
    ) from (failure)


def _reason(error: OSError) -> str:
    # create_server() adds the address in its own words; ours are in front already.
    return (error.strerror or str(error)).partition(" (while ")[0].lower()


def _hint(error: OSError) -> str:
    if error.errno == errno.ECONNREFUSED:
        return "nothing listens there: is the server started, and the port right?"
    if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return "there is no route to that network: check the address and your connection"
    return ""


def listen(host: str, port: int, backlog: int) -> socket.socket:
    """
    A listening socket, restartable at once on the same port. "" listens on all addresses, IPv6 and IPv4.

    Raises:
        ConnectFailed: Port in use, address not of this machine, no permission.
    """
    where = shown(host or "*", port)
    if not 0 <= port <= 65535:
        raise ConnectFailed(f"{port} is no TCP port", hint="use 0 to 65535")
    try:
        if not host and socket.has_dualstack_ipv6():
            sock = socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=backlog
            )
        else:
            family = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM)[0][0]  # noqa: S104
            sock = socket.create_server((host, port), family=family, backlog=backlog)
    except (socket.gaierror, UnicodeError):
        raise ConnectFailed(
            f"cannot listen on {where}: the name is not known here",
            hint="give an address of this machine, or leave host= out to listen on all",
        ) from None
    except OSError as error:
        hint = {
            errno.EADDRINUSE: "another program has this port; stop it, or choose another port",
            errno.EACCES: "ports below 1024 need privileges; choose a higher one",
            errno.EADDRNOTAVAIL: "that is no address of this machine; leave host= out to listen on all",
        }.get(error.errno or 0, "")
        raise ConnectFailed(f"cannot listen on {where}: {_reason(error)}", hint=hint) from error
    sock.setblocking(False)
    return sock
