"""
Opening a connection to a host with any number of addresses: Happy Eyeballs (RFC 8305).

The addresses are tried in turn, families alternating, each a quarter of a second after the one before or as soon as
that has failed; the first that answers is taken. So an address that drops packets, or a family that does not work
here, costs a moment and not the whole timeout.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterable

from ..errors import ConnectFailed, LinkTimeout
from ..limits import ATTEMPT_SECONDS
from .addresses import shown
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
    where = shown(host, port)
    with _Race(interleaved(places)) as race:
        sock = race.run(deadline)
        if sock is not None:
            return sock
        if race.failure is None or race.running or isinstance(race.failure, TimeoutError):
            raise LinkTimeout(
                f"{where} did not answer within {timeout:.3g} s",
                hint="check host and port, and that no firewall is between",
            ) from race.failure
    raise ConnectFailed(
        f"cannot connect to {where}: {reason(race.failure)}", hint=_hint(race.failure)
    ) from race.failure


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


# epoll would be a descriptor to open, to tell of each socket, and to close: more calls than there are sockets.
_FewSockets = getattr(selectors, "PollSelector", selectors.DefaultSelector)


class _Race:
    """
    The attempts for one connection.

    Attributes:
        failure: The most informative failure: the first refusal, otherwise the last failure.
    """

    def __init__(self, places: list[Place]) -> None:
        self._waiting = deque(places)
        self._selector = _FewSockets()
        self._begun = False  # whether the last attempt was started
        self.failure: OSError | None = None

    def __enter__(self) -> _Race:
        return self

    def __exit__(self, *_: object) -> None:
        for key in tuple(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()

    @property
    def running(self) -> bool:
        """Whether an attempt is still in progress."""
        return bool(self._selector.get_map())

    def run(self, deadline: float) -> socket.socket | None:
        """The first established connection; None if there is none at the deadline, or all have failed."""
        next_at = now = time.monotonic()
        while (self._waiting or self.running) and now < deadline:
            if self._waiting and (now >= next_at or not self.running):
                sock = self._start(self._waiting.popleft())
                if sock is not None:
                    return sock
                next_at = now + ATTEMPT_SECONDS
                if not self._begun:
                    next_at = 0.0  # it has failed already
                    continue
            until = min(deadline, next_at) if self._waiting else deadline
            for key, _ in self._selector.select(max(0.0, until - time.monotonic())):
                assert isinstance(key.fileobj, socket.socket)
                self._selector.unregister(key.fileobj)
                if self._succeeded(key.fileobj):
                    return key.fileobj
                next_at = 0.0  # the next one need not wait
            now = time.monotonic()
        return None

    def _start(self, place: Place) -> socket.socket | None:
        """Begin one attempt; returns the connection if it is established at once."""
        family, address = place
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
            self._selector.register(sock, selectors.EVENT_WRITE)
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
