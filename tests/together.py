"""What the tests of threads, servers and clients share: a server, clients of it, work done by several threads."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from typing import Any, overload

from helpers import WAIT, sock_of, until
from inside import loop_of

from securelink import Client, Identity, Server, Session
from securelink.threads.channel import Channel
from securelink.threads.client_channel import ClientChannel
from securelink.threads.client_link import ClientLink
from securelink.threads.link import Link
from securelink.threads.server_link import ServerLink

#: How often a test of a race is run. `SECURELINK_REPEATS=100` is the long way.
REPEATS = int(os.environ.get("SECURELINK_REPEATS", "3"))


# What the fixture `patient` makes of the time after which a waiting client looks up by itself.
PATIENCE = 40  # seconds
AT_ONCE = PATIENCE / 2  # on the busiest machine


@contextlib.contextmanager
def serving(identity: Identity, **options: Any) -> Iterator[Server]:
    """A server that echoes, on a port of its own; it must stop without having to wait for anybody."""
    server = Server("127.0.0.1", 0, keys=identity, **options)
    server.on("echo", lambda session, packet: session.send("echo", packet.data))
    server.start()
    try:
        yield server
    finally:
        stopped = server.stop()
    assert stopped


@contextlib.contextmanager
def joined(server: Server, count: int = 1, **options: Any) -> Iterator[list[Client]]:
    """So many connected clients of a server."""
    with contextlib.ExitStack() as stack:
        if server.fingerprint is not None:
            options.setdefault("pin", server.fingerprint)
        yield [
            stack.enter_context(Client("127.0.0.1", server.address[1], **options))
            for _ in range(count)
        ]


def take(client: Client, count: int = 1, timeout: float = WAIT) -> list[Any]:
    """The data of the next packets; fails when one does not come in time."""
    found: list[Any] = []
    for _ in range(count):
        packet = client.receive(timeout)
        assert packet is not None, f"only {len(found)} of {count} packets came"
        found.append(packet.data)
    return found


class Crew:
    """
    Threads that all must succeed.

        with Crew() as crew:
            crew.start(work, 1)
    """

    def __init__(self, timeout: float = 2 * WAIT) -> None:
        self._timeout = timeout
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def start(self, work: Callable[..., object], *arguments: Any) -> None:
        """Begin something in a thread of its own."""

        def run() -> None:
            try:
                work(*arguments)
            except BaseException as error:
                self._errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self) -> None:
        """
        Wait until all have ended.

        A `connect()` is over when it has returned: a client is connected a moment before.
        """
        for thread in self._threads:
            thread.join(self._timeout)
        if self._errors:
            raise self._errors[0]
        assert not any(thread.is_alive() for thread in self._threads), "a thread hangs"

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.join()


def recorded(server: Server) -> list[str]:
    """Grows by what the server tells of its sessions and of itself."""
    events: list[str] = []
    for name in ("on_start", "on_connect", "on_disconnect", "on_stop"):
        getattr(server, name)(lambda *_, name=name: events.append(name[3:]))
    return events


@overload
def channel_of(side: Client) -> ClientChannel: ...


@overload
def channel_of(side: Session) -> Channel: ...


def channel_of(side: Client | Session) -> Channel:
    """The channel of a client that had a session, or of a session."""
    channel = side._channel  # noqa: SLF001  # no program sees it
    assert channel is not None
    return channel


def arrived(channel: Channel) -> None:
    """Wait until the other side's kernel has all that this session has sent (SIOCOUTQ, tcp(7))."""
    link = channel.link
    assert link is not None
    sock = sock_of(link)

    def unacknowledged() -> int:
        return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)

    def is_writing() -> bool:  # a packet leaves the queue before it is written
        return link.writer._send_right.taken  # noqa: SLF001  # no program asks

    # In this order: what one look has missed, a later one sees.
    until(lambda: not (channel.unsent or is_writing() or channel.unsent or unacknowledged()))


def confirmed(client: Client) -> None:
    """
    Wait until the server has acknowledged all that this client has sent.

    An answer may come before: on a busy machine it does not wait for the end of its handler.
    """
    until(lambda: not channel_of(client).core.numbering.outgoing.unacked)


@contextlib.contextmanager
def unread(channel: ClientChannel) -> Iterator[None]:
    """Nobody reads for this session of a client until the block ends."""
    right = channel.drive_right

    def taken() -> bool:
        try:
            del right.free
        except AttributeError:
            return False
        return True

    until(taken)
    try:
        yield
    finally:
        right.free = True
        channel.wake_drivers()


@overload
def link_of(side: Client) -> ClientLink: ...


@overload
def link_of(side: Session) -> ServerLink: ...


def link_of(side: Client | Session) -> Link:
    """The connection of a connected client, or of a session."""
    link = channel_of(side).carrier if isinstance(side, Client) else channel_of(side).link
    assert link is not None
    return link


def session_of(server: Server, client: Client) -> Session:
    """The server's side of a client's session."""
    return server.sessions[client.token]


def shows(client: Client, state: str) -> None:
    """Wait until a client has this state of its server, and no packet."""
    until(lambda: client.poll() == [] and client.server_state == state)


def deafen(server: Server, session: Session) -> Callable[[], None]:
    """Let the server not read a session any more; what is returned ends its connection."""
    loop, link = loop_of(server), link_of(session)
    done = threading.Event()

    def stop_reading() -> None:
        link.reader.open = False  # as when a bound is reached
        link.update_interest()
        done.set()

    loop.call(stop_reading)
    assert done.wait(WAIT)
    return lambda: loop.call(link.lost)
