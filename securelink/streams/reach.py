"""
Opening a connection to a host with any number of addresses: Happy Eyeballs (RFC 8305).

The addresses are tried in turn, families alternating, each a quarter of a second after the one before or as soon as
that has failed; the first that answers is taken. So an address that drops packets, or a family that does not work
here, costs a moment and not the whole timeout.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections import deque
from collections.abc import Iterable

from ..errors import ConnectFailed, LinkTimeout
from ..limits import ATTEMPT_SECONDS
from .addresses import shown
from .awaited import Awaited
from .names import Place, resolve
from .sockets import prepare, reason


def connect(host: str, port: int, timeout: float) -> socket.socket:
    """
    Connect to the address of `host` that answers first.

    Args:
        timeout: Seconds for the look-up of the name and all attempts together.

    Raises:
        ConnectFailed: With a sentence for each common cause.
        LimitExceeded: Too many names are being looked up.
        LinkTimeout: Nothing answered in `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    places = resolve(host, port, timeout)
    with _Race(interleaved(places)) as race:
        sock = race.run(deadline)
        if sock is not None:
            return sock
        if race.failure is None or race.running or isinstance(race.failure, TimeoutError):
            raise LinkTimeout(
                f"{shown(host, port)} did not answer within {timeout:.3g} s",
                hint="check host and port, and that no firewall is between",
            ) from race.failure
    raise _unreachable(host, port, race.failure)


def _unreachable(host: str, port: int, failure: OSError | None) -> ConnectFailed:
    error = ConnectFailed(
        f"cannot connect to {shown(host, port)}: {reason(failure)}", hint=_hint(failure)
    )
    error.__cause__ = failure
    return error


class Attempt:
    """
    A connection to an address that is under way.

    Args:
        host: An address, no name.
        port: Its port.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._race = _Race(resolve(host, port, 0.0))
        self._sock = self._race.start()

    def fileno(self) -> int:
        """Of its socket; -1 once it is decided."""
        return next(iter(self._race.started), -1)

    def wait(self, *, read: bool, write: bool, timeout: float) -> bool:
        """Wait until it is decided; False after `timeout` seconds."""
        if self._sock is None:
            self._sock = self._race.decided(timeout)
        return self._sock is not None or not self._race.running

    def take(self) -> socket.socket | None:
        """
        The connection, once: it is the caller's; None while it is not decided.

        Raises:
            ConnectFailed: There is none.
        """
        if not self.wait(read=False, write=True, timeout=0.0):
            return None
        sock, self._sock = self._sock, None
        if sock is None:
            raise _unreachable(self._host, self._port, self._race.failure)
        return sock

    def close(self) -> None:
        """Give it up."""
        self._race.close()
        if self._sock is not None:
            self._sock.close()


def interleaved(places: Iterable[Place]) -> list[Place]:
    """The same places with their families alternating, each family in its order (RFC 8305, section 4)."""
    families: dict[int, deque[Place]] = {}
    for place in places:
        families.setdefault(place[0], deque()).append(place)
    order: list[Place] = []
    while families:
        for family in tuple(families):
            order.append(families[family].popleft())
            if not families[family]:
                del families[family]
    return order


class _Race:
    """
    The attempts for one connection.

    Attributes:
        started: Those of which it is not decided what comes of them, by their descriptors.
        failure: The most informative failure: the first refusal, otherwise the last failure.
    """

    def __init__(self, places: list[Place]) -> None:
        self._waiting = deque(places)
        self.started: dict[int, socket.socket] = {}
        self._awaited = Awaited()
        self._begun = False  # whether the last attempt was started
        self.failure: OSError | None = None

    def __enter__(self) -> _Race:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the attempts that are still in progress."""
        for sock in self.started.values():
            sock.close()
        self.started.clear()

    @property
    def running(self) -> bool:
        """Whether an attempt is still in progress."""
        return bool(self.started)

    def run(self, deadline: float) -> socket.socket | None:
        """The first established connection; None if there is none at the deadline, or all have failed."""
        next_at = now = time.monotonic()
        while (self._waiting or self.running) and now < deadline:
            if self._waiting and (now >= next_at or not self.running):
                sock = self.start()
                if sock is not None:
                    return sock
                next_at = now + ATTEMPT_SECONDS
                if not self._begun:
                    next_at = 0.0  # it has failed already
                    continue
            until = min(deadline, next_at) if self._waiting else deadline
            running = len(self.started)
            sock = self.decided(max(0.0, until - time.monotonic()))
            if sock is not None:
                return sock
            if len(self.started) < running:
                next_at = 0.0  # the next one need not wait
            now = time.monotonic()
        return None

    def decided(self, timeout: float) -> socket.socket | None:
        """Wait so long until one attempt, or several, have come to an end; returns an established connection."""
        for number in self._awaited.poll(timeout):
            sock = self.started.pop(number)
            if self._succeeded(sock):
                return sock
        return None

    def start(self) -> socket.socket | None:
        """Begin the next attempt; returns the connection if it is established at once."""
        family, address = self._waiting.popleft()
        self._begun = False
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            self._failed(error)  # a family that this system does not have
            return None
        try:
            prepare(sock)
            sock.connect(address)
        except BlockingIOError:
            number = sock.fileno()
            self._awaited.add(number, write=True)
            self.started[number] = sock
            self._begun = True
            return None
        except (OSError, TypeError, OverflowError) as error:
            sock.close()
            self._failed(error if isinstance(error, OSError) else OSError(str(error)))
            return None
        return sock if self._succeeded(sock) else None

    def _succeeded(self, sock: socket.socket) -> bool:
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == 0 and _to_itself(sock):
            code = errno.ECONNREFUSED
        if code == 0:
            return True
        sock.close()
        self._failed(OSError(code, os.strerror(code)))
        return False

    def _failed(self, error: OSError) -> None:
        if self.failure is None or self.failure.errno != errno.ECONNREFUSED:
            self.failure = error


def _to_itself(sock: socket.socket) -> bool:
    """
    Whether the socket is connected to itself.

    The system may pick an unused ephemeral port for the very connection that goes to it: TCP then connects the socket
    with itself.
    """
    try:
        return bool(sock.getsockname() == sock.getpeername())
    except OSError:
        return False  # gone already; the handshake will notice


def _hint(error: OSError | None) -> str:
    code = error.errno if error is not None else None
    if code == errno.ECONNREFUSED:
        return "nothing listens there: is the server started, and the port right?"
    if code in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return "there is no route to that network: check the address and your connection"
    return ""
