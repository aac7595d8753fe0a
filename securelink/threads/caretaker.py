"""The background reactor: one loop for all clients of a process, which reads clients that no thread drives."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable
from threading import get_ident
from typing import Protocol

from .._mypyc import mypyc_attr
from ..streams.base import Stream
from .giving_way import worker_threads
from .loop import Loop
from .sweeper import Sweeper

TICK_SECONDS = 0.05  # how long a client must be left alone before the caretaker reads it
LINGER_SECONDS = 0.0  # the caretaker stays this long after the last client
SETTLE_SECONDS = 0.25  # close() of the last client waits this long for its threads
CARETAKER_WORKERS = 8


class Ward(Protocol):
    """A client's connection, as the caretaker needs it."""

    @property
    def stream(self) -> Stream:
        """To the server."""

    @property
    def leaving(self) -> bool:
        """Whether its session is over, and only the stream is left to be closed."""

    def say_goodbye(self) -> None:
        """The program ends."""

    def tick(self, *, at_once: bool = False) -> bool:
        """Take it over if no thread drives it; True if it needs no tick until a thread does."""

    def sweep(self, now: float) -> None:
        """Once a second."""

    def on_io(self, mask: int) -> None:
        """The selector reports it."""

    def on_error(self) -> None:
        """An internal error: close it."""

    def orphaned(self) -> None:
        """This process is a fork of the one that opened it."""


_all: weakref.WeakSet[Caretaker] = weakref.WeakSet()


class Away(Protocol):
    """A client's session that has no connection."""

    def orphaned(self) -> None:
        """This process is a fork of the one that it belongs to."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Caretaker:
    """The one loop of all clients of a process, or of a shell's; started with the first, stopped after the last."""

    def __init__(self) -> None:
        self._reset()
        _all.add(self)

    def _make_loop(self) -> Loop:
        return Loop("clients", workers=CARETAKER_WORKERS)

    def bring(self, arrived: Callable[[], None]) -> None:
        """By a thread that has another connection for a session: let that be given it."""
        arrived()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._loop: Loop | None = None
        self._ending: Loop | None = None  # the last one, which was no longer needed
        self._links: set[Ward] = set()  # the leader's
        # Those of them that the loop does not read itself; the leader's.
        self._driven: set[Ward] = set()
        self._everyone: set[Ward] = set()  # the same, at once, for fork(); guarded by _lock
        # Attempts and links, each by its stream; sessions that are away.
        self._users: set[object] = set()
        self._away: set[Away] = set()  # for fork(); guarded by _lock

    def loop(self, user: object) -> Loop:
        """
        The running loop, for one connection attempt or link; pair with `leave`, also when this raises.

        Raises:
            LimitExceeded: The system starts no more threads. The next call tries again.
        """
        with self._lock:
            if self._loop is None:
                loop = self._make_loop()
                try:
                    loop.start()
                    self._schedule(loop)
                except BaseException:  # Ctrl-C
                    loop.discard()
                    raise
                self._loop = loop
            self._users.add(user)
            return self._loop

    def keep(self, session: Away) -> None:
        """A session has lost its connection: the loop stays for it until it is let go."""
        with self._lock:
            self._users.add(session)
            self._away.add(session)

    def let_go(self, session: Away, *, unless: Callable[[], bool] = lambda: False) -> None:
        """It has another one, or is over; nothing happens if it has lost that as well, which `unless` says."""
        with self._lock:
            if unless():
                return
            self._away.discard(session)
            self._leave(session)

    def leave(self, user: object) -> None:
        """An attempt or a link is over."""
        with self._lock:
            self._leave(user)

    def _leave(self, user: object) -> None:
        self._users.discard(user)
        if not self._users and self._loop is not None:
            loop = self._ending = self._loop
            loop.call_later(LINGER_SECONDS, lambda: self._stop_if_unused(loop))

    def settle(self, timeout: float) -> None:
        """
        Called after closing a client: if it was the last one, wait until the threads have ended.

        Args:
            timeout: In seconds; also for the sockets of clients that are being closed.
        """
        if LINGER_SECONDS or get_ident() in worker_threads:
            return
        deadline = time.monotonic() + timeout
        while self._is_emptying() and time.monotonic() < deadline:
            time.sleep(0.0005)
        ending = self._ending
        if ending is not None and ending.stopping:
            ending.join(max(0.0, deadline - time.monotonic()))

    def _is_emptying(self) -> bool:
        """Whether the loop will end as soon as the sockets of sessions that are over are closed."""
        with self._lock:
            over = all(link.leaving for link in self._everyone)
            return self._loop is not None and over and len(self._users) <= len(self._everyone)

    def _stop_if_unused(self, loop: Loop) -> None:
        with self._lock:
            if self._users or self._loop is not loop:
                return
            if not loop.idle:  # an on_disconnect of the last client is still to run
                loop.call_later(0.005, lambda: self._stop_if_unused(loop))
                return
            self._loop = None
        loop.stop(lambda: None)

    def adopt(self, link: Ward) -> None:
        """Care for a link from now on."""
        with self._lock:
            self._everyone.add(link)
        # At once, not by the leader: a program may end right after connect(), and CLOSE is sent then.
        self._links.add(link)
        self._take_in(link)

    def _take_in(self, link: Ward) -> None:
        self._driven.add(link)

    def read(self, link: Ward) -> None:
        """Read a link that no thread is about to drive: from now on, not when it has been left alone for a tick."""
        loop = self._loop
        if loop is not None:
            loop.call(lambda: self._tick(link, at_once=True))

    def say_goodbye(self) -> None:
        """The program ends without close(): servers shall not think that the connection broke."""
        for link in tuple(self._links):
            link.say_goodbye()

    def release(self, link: Ward) -> None:
        """By the leader: this link's socket is closed."""
        self._links.discard(link)
        self._driven.discard(link)
        with self._lock:
            self._everyone.discard(link)
        self.leave(link.stream)

    def forget_all(self) -> None:
        """In a child of fork(): threads and connections belong to the parent."""
        for link in self._everyone:
            link.orphaned()
        for session in self._away:
            session.orphaned()
        if self._loop is not None:
            self._loop.orphaned()
        self._reset()

    def _schedule(self, loop: Loop) -> None:
        def tick() -> None:
            if not loop.stopping:
                loop.call_later(TICK_SECONDS, tick)
            loop.each(self._driven, self._tick)

        loop.call_later(TICK_SECONDS, tick)
        self._sweep(loop)

    def _sweep(self, loop: Loop) -> None:
        Sweeper(loop, self._links, lambda link: link.sweep(loop.now))

    def _tick(self, link: Ward, *, at_once: bool = False) -> None:
        if link.tick(at_once=at_once):
            self._driven.discard(link)

    def driven(self, link: Ward) -> None:
        """By the leader: a thread drives this link again."""
        if link in self._links:
            self._driven.add(link)


def _say_goodbye() -> None:
    for one in tuple(_all):
        one.say_goodbye()


def _forget_all() -> None:
    for one in tuple(_all):
        one.forget_all()


caretaker = Caretaker()
atexit.register(_say_goodbye)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
