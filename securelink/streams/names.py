"""
Look-ups of names, in bounded time.

The system's look-up may take any time and cannot be interrupted, so it runs in a separate thread, and waiting threads
give up in time. Concurrent requests for the same name share one look-up.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import socket
import threading
from typing import Any

from ..errors import ConnectFailed, LimitExceeded, LinkTimeout
from ..interrupts import Sign, start_thread
from ..limits import MAX_LOOKUPS, MAX_NAME
from ..text import quoted

_REMEMBERED = 64  # hosts: a client comes back to its own

#: (family, socket address) of one place to connect to or to listen on.
Place = tuple[int, Any]


class _Lookup:
    """One look-up in progress."""

    def __init__(self) -> None:
        self.done = Sign()
        self.found: list[Place] = []
        self.failure: Exception | None = None

    def run(self, host: str, port: int) -> None:
        """Runs in a separate thread."""
        try:
            self.found = _ask(host, port)
        except Exception as error:
            self.failure = error.with_traceback(None)
        finally:
            _names.over(host, port, self)
            self.done.set()


class _Names:
    """The look-ups in progress."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # guards the dict
        self.asked: dict[tuple[str, int], _Lookup] = {}

    def over(self, host: str, port: int, lookup: _Lookup) -> None:
        """Forget a look-up that no thread waits for any more."""
        with self.lock:
            if self.asked.get((host, port)) is lookup:
                del self.asked[host, port]

    def forget(self) -> None:
        """In a child of fork(): their threads are the parent's."""
        self.lock = threading.Lock()
        self.asked = {}


_names = _Names()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_names.forget)


def resolve(host: str, port: int, timeout: float) -> list[Place]:
    """
    The addresses of a host, in the order in which the system prefers them (RFC 6724).

    Args:
        timeout: In seconds.

    Raises:
        ConnectFailed: The name is not known, or not a name.
        LimitExceeded: MAX_LOOKUPS look-ups are unanswered.
        LinkTimeout: No answer in time.
    """
    try:
        if is_address(host):
            return list(_places(host, port) if "%" not in host else _ask(host, port))
        lookup = _begin(host, port)
        if not lookup.done.wait(max(0.0, timeout)):
            raise LinkTimeout(
                f"the name {quoted(host, 2 * MAX_NAME)} was not found within {timeout:.3g} s",
                hint="the name server does not answer: check the network, or use the IP address",
            )
        if lookup.failure is not None:
            raise lookup.failure
        return lookup.found
    except (socket.gaierror, ValueError):  # UnicodeError: it cannot be a name at all
        raise ConnectFailed(
            f"the name {quoted(host, 2 * MAX_NAME)} is not known here", hint=_advice(host)
        ) from None


@functools.lru_cache(_REMEMBERED)
def _places(host: str, port: int) -> tuple[Place, ...]:
    """Those of an address without a zone: always the same."""
    return tuple(_ask(host, port))


@functools.lru_cache(_REMEMBERED)
def is_address(host: str) -> bool:
    """Whether a host is an address, and need not be looked up."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _ask(host: str, port: int) -> list[Place]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def _begin(host: str, port: int) -> _Lookup:
    """The look-up of this name: the one in progress, or a new one."""
    lookup = _Lookup()
    try:
        with _names.lock:
            under_way = _names.asked.get((host, port))
            if under_way is not None:
                return under_way
            if len(_names.asked) >= MAX_LOOKUPS:
                raise LimitExceeded(
                    f"{MAX_LOOKUPS} names are being looked up, and the name server does not answer",
                    limit="MAX_LOOKUPS",
                    hint="check the network, or use IP addresses",
                )
            _names.asked[host, port] = lookup
        thread = threading.Thread(
            target=lookup.run, args=(host, port), name="securelink-lookup", daemon=True
        )
        start_thread(thread)
    except RuntimeError:
        _names.over(host, port, lookup)
        raise ConnectFailed(
            f"the name {quoted(host, 2 * MAX_NAME)} cannot be looked up: the system gives no more threads",
            hint="end some of them, or use the IP address",
        ) from None
    except BaseException:  # Ctrl-C: perhaps no thread runs this look-up
        _names.over(host, port, lookup)
        raise
    return lookup


def _advice(host: str) -> str:
    if "://" in host or "/" in host:
        return "write the name or address alone, without scheme and path"
    if host.startswith("["):
        return "write an IPv6 address without brackets"
    if host != host.strip():
        return "take the white space away"
    return "check the spelling, or use the IP address"
