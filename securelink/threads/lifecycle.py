"""Starting, driving and stopping a server."""

from __future__ import annotations

import atexit
import logging
import math
import os
import threading
import time
import weakref
from threading import get_ident
from types import TracebackType
from typing import Self

from ..app.hooks import EventHook
from ..app.ticker import Ticker, checked_rate
from ..codes import Code
from ..errors import ConfigError
from ..interrupts import Sign
from ..limits import (
    CLOSE_SECONDS,
    END_SECONDS,
    MAX_BACKLOG,
    MAX_WORKERS,
    MIN_WORKERS,
    STOP_GRACE_SECONDS,
)
from ..logs.default import make_visible
from ..logs.floods import flood_filter
from ..options import flag, place, seconds, whole
from ..protocol.bounds import Bounds
from ..signals import ends_like_interrupts
from ..streams.base import Carrier
from ..streams.tcp import TCP
from . import driven
from .listener import Host, Listener
from .loop import Loop, hand_over, worker_threads
from .patched import check_not_patched
from .settings import HandshakeSettings

log = logging.getLogger("securelink.server")

_running: weakref.WeakSet[Lifecycle] = weakref.WeakSet()


def _forget_parent() -> None:
    """In a child of fork(): the servers of the parent are not running here."""
    for server in tuple(_running):
        server._orphaned()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)


def _end_of_program() -> None:
    """The main thread is through, and a server that `start()` has started would vanish without a word."""
    for server in tuple(_running):
        if server.running:
            server._end_with_program()


atexit.register(_end_of_program)


class Lifecycle:
    """
    Base of `Server`: everything about running it. What is said to whom is in `server.py`.

    Attributes:
        carrier: How it listens from the next start on: TCP, or something in its place, as `securelink.testing` has it.

    Args:
        host, port: Where to listen.
        workers, overlap: Of the loop.
        tick_rate: Of `on_tick`, or None.
        backlog: Of the listening socket.

    Raises:
        ConfigError: One of them is not possible.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        workers: int,
        overlap: bool,
        tick_rate: float | None,
        backlog: int,
    ) -> None:
        self.host, self.port = place(
            host, port, low=0, example="Server(port=5050), or Server('127.0.0.1', 5050)"
        )
        self.carrier: Carrier = TCP
        self._workers = whole("workers", workers, MIN_WORKERS, MAX_WORKERS)
        self._overlap = flag("overlap", overlap)
        self._backlog = whole("backlog", backlog, 1, MAX_BACKLOG)
        self._rate = checked_rate(tick_rate)
        self._bounds = Bounds()
        self._state_lock = threading.Lock()  # guards starting and stopping
        self._loop: Loop | None = None
        self._listener: Listener | None = None
        self._ticker: Ticker | None = None
        self._driver = 0
        self._paused = False
        self._stopped = Sign()
        self._stopped.set()

    # What `Server` adds.

    on_tick: EventHook[[]]
    on_start: EventHook[[]]
    on_stop: EventHook[[]]

    def _settings(self) -> HandshakeSettings:
        """The settings of a start; loads the key."""
        raise NotImplementedError

    def _host(self) -> Host:
        raise NotImplementedError

    def _started(self, loop: Loop) -> None:
        """By the leader, at every start."""

    def _is_empty(self) -> bool:
        """Whether there is no session."""
        raise NotImplementedError

    def _announce(self) -> None:
        raise NotImplementedError

    # --- starting and stopping ------------------------------------------------------------------------

    def start(self) -> Self:
        """
        Listen, in the background. Returns when clients can connect.

        The server ends with the program: one that has nothing else to do calls `serve_forever()`.

        Raises:
            ConfigError: It is started already.
            ConnectFailed: The port is in use, or the address is not of this machine.
            KeyFileError: The key cannot be used as it is.
        """
        return self._start(manual=False)

    def _start(self, *, manual: bool) -> Self:
        make_visible()
        flood_filter.forget()
        check_not_patched()
        with self._state_lock:
            if self._loop is not None:
                raise ConfigError(
                    "the server is running", hint="call stop() before you start again"
                )
            settings = self._settings()
            listening = self.carrier.listen(self.host, self.port, self._backlog)
            loop = Loop(
                f"server-{listening[0].address[1]}",
                workers=self._workers,
                overlap=self._overlap,
                manual=manual,
            )
            listener = Listener(loop, listening, settings, self._host())
            ticker = Ticker(loop, self.on_tick, self._rate)
            self._loop, self._listener, self._ticker = loop, listener, ticker
            self._stopped.clear()
            _running.add(self)
            if manual:
                driven.add(self)
            loop.call(listener.start)
            if self._paused:
                loop.call(lambda: listener.set_paused(True))
            loop.call(ticker.start)
            loop.call(lambda: self._started(loop))
        try:
            self._announce()
            loop.start()
        except BaseException:
            # Ctrl-C, or no threads: nobody will ever lead.
            if loop.stopped or not loop.thread_names():
                self._loop = self._listener = self._ticker = None
                for place in listening:
                    place.close()
                if not loop.stopped:
                    loop.abandon()
                _running.discard(self)
                self._stopped.set()
            raise
        self.on_start.fire()
        return self

    def _end_with_program(self) -> None:
        log.warning(
            "the program has ended, and the server ends with it: "
            "let its last line be server.serve_forever(), or stop() the server"
        )
        self.stop(END_SECONDS)

    def _orphaned(self) -> None:
        loop, listener = self._loop, self._listener
        self._state_lock = threading.Lock()  # the old one may be held by a thread that is not here
        self._loop = self._listener = self._ticker = None
        self._stopped.set()
        if loop is not None and listener is not None:
            loop.orphaned()
            listener.orphaned()

    def serve_forever(self, *, drain: float = 0.0) -> None:
        """
        `start()`, unless it was, and wait for `stop()`, Ctrl-C or the system's wish to end the program.

        In the main thread SIGTERM and SIGHUP do what Ctrl-C does, unless the program has handlers of its own for them:
        clients are told, hooks run, and this returns. The old handlers are back then.

        Args:
            drain: Seconds that sessions may go on after that, while nobody new gets in. A second Ctrl-C or signal ends
                them at once.

        Raises:
            ConfigError: `update()` drives this server, or `drain` is no number.
            ConnectFailed: As for `start()`.
            KeyFileError: As for `start()`.
        """
        drain = seconds("drain", drain)
        with ends_like_interrupts():
            self._serve(drain)

    def _serve(self, drain: float) -> None:
        if self._loop is not None and self._loop.manual:
            raise ConfigError(
                "serve_forever() would wait for a server that update() drives",
                hint="use one of the two",
            )
        loop, ours = self._loop, self._loop is not None
        try:
            if loop is None:
                self.start()
                loop, ours = self._loop, True
            # Slices: a wait without end would keep Ctrl-C from being seen on some platforms.
            while not self._stopped.wait(0.5):
                pass
        except KeyboardInterrupt as interrupt:
            ours = True  # also inside start(): it may serve clients before it comes back
            log.info("%s; shutting down", str(interrupt) or "interrupted")
            self._drain_once(drain)
        finally:
            if ours:
                self.stop()
            if loop is not None:
                loop.join(STOP_GRACE_SECONDS)  # another thread's stop() may not be through yet

    def _drain_once(self, timeout: float) -> None:
        """Let sessions come to their end, unless there is no time for it, or somebody loses patience."""
        if timeout <= 0 or not self.running:
            return
        try:
            self.drain(timeout)
        except KeyboardInterrupt:
            log.info("interrupted again; sessions are ended now")

    def update(self) -> None:
        """
        One turn in the caller's thread, for game loops: read, call handlers, write; never waits.

        The first call starts the server. Handlers then run only inside `update()`.
        """
        if self._loop is None:
            self._start(manual=True)
        loop = self._loop
        assert loop is not None
        if not loop.manual:
            raise ConfigError(
                "update() drives a server that start() has not started",
                hint="use one of the two",
            )
        self._driver = get_ident()
        loop.turn()
        self.on_tick.fire()

    def stop(self, timeout: float = CLOSE_SECONDS) -> bool:
        """
        End all sessions and stop. May be called again, from any thread, and before `start()`.

        Clients are told; what was sent before goes out. In a handler it only asks, and returns at once.

        Args:
            timeout: Seconds to wait for clients and handlers.

        Returns:
            True when everything has ended, False when a handler still runs.

        Raises:
            ConfigError: `timeout` is no number.
        """
        timeout = seconds("timeout", timeout)
        with self._state_lock:
            loop, listener = self._loop, self._listener
        if loop is None or listener is None:
            return True
        loop.call(lambda: self._begin_stop(loop, listener, time.monotonic() + timeout))
        if loop.manual:
            return self._stop_manually(loop, timeout)
        if worker_threads.get(get_ident()) is loop:
            return False
        hand_over()
        return loop.join(timeout + STOP_GRACE_SECONDS + 0.5)

    def _stop_manually(self, loop: Loop, timeout: float) -> bool:
        deadline = time.monotonic() + timeout + 1.0
        if loop.turn_thread == get_ident():
            return False  # inside update(): the next calls of update() finish it
        while not loop.stopped and time.monotonic() < deadline:
            loop.turn()
            time.sleep(0.005)
        return loop.join(1.0)

    def _begin_stop(self, loop: Loop, listener: Listener, deadline: float) -> None:
        """By the leader: no new connections, CLOSE to all, then wait until all are gone."""
        if listener.closed:
            return  # somebody else stops it already
        log.info("Status: Starting Shutdown")
        listener.close()
        if self._ticker is not None:
            self._ticker.stop()
        for link in tuple(listener.links):
            if link.channel is None:
                link.lost()
            else:
                link.channel.end(Code.SHUTDOWN)
        self._continue_stop(loop, listener, deadline, deadline + STOP_GRACE_SECONDS)

    def _continue_stop(self, loop: Loop, listener: Listener, deadline: float, end: float) -> None:
        now = time.monotonic()
        if now >= deadline and listener.links:
            # They did not answer; their on_disconnect still has to run.
            loop.each(listener.links, lambda link: link.lost())
            deadline, end = math.inf, now + STOP_GRACE_SECONDS  # once, however late this is
        if (listener.links or not loop.idle) and now < end:
            loop.call_later(0.01, lambda: self._continue_stop(loop, listener, deadline, end))
            return
        loop.stop(lambda: self._finish_stop(loop, listener))

    def _finish_stop(self, loop: Loop, listener: Listener) -> None:
        loop.each(listener.links, lambda link: link.lost())
        with self._state_lock:
            if self._loop is loop:
                self._loop = self._listener = self._ticker = None
        log.info("Status: Shutdown")
        try:
            self.on_stop.fire()
        finally:
            self._stopped.set()

    def pause(self) -> None:
        """Accept no new connections; they wait in the system's backlog. Sessions go on. Also before `start`."""
        self._set_paused(True)

    def resume(self) -> None:
        """Accept connections again."""
        self._set_paused(False)

    def _set_paused(self, paused: bool) -> None:
        self._paused = paused
        loop, listener = self._loop, self._listener
        if loop is None or listener is None:
            return
        done = Sign()

        def apply() -> None:
            listener.set_paused(paused)
            done.set()

        loop.call(apply)
        # Nobody gets in once pause() has returned; a handler cannot wait for what may be its own thread to do.
        if not loop.manual and get_ident() not in worker_threads:
            done.wait(1.0)

    def drain(self, timeout: float) -> bool:
        """
        Stop gently: accept nobody, wait until all sessions have ended, then stop.

        Args:
            timeout: Seconds to wait; those who stay longer are ended by `stop`.

        Returns:
            True when all had left by themselves.

        Raises:
            ConfigError: `timeout` is no number.
        """
        timeout = seconds("timeout", timeout)
        self.pause()
        deadline = time.monotonic() + timeout
        while self.running and not self._is_empty() and time.monotonic() < deadline:
            self._stopped.wait(0.05)
        left = self._is_empty()
        self.stop()
        return left

    @property
    def paused(self) -> bool:
        """Whether new connections wait."""
        return self._paused

    @property
    def tick_rate(self) -> float | None:
        """How often a second `on_tick` fires; None: never. May be set while it runs."""
        return self._rate

    @tick_rate.setter
    def tick_rate(self, rate: float | None) -> None:
        self._rate = checked_rate(rate)
        if self._ticker is not None:
            self._ticker.set_rate(self._rate)

    @property
    def running(self) -> bool:
        """Whether it listens."""
        return self._loop is not None

    @property
    def address(self) -> tuple[str, int]:
        """(host, port) that it listens on; the port is the real one when 0 was asked for."""
        listener = self._listener
        if listener is None or listener.closed:
            return (self.host, self.port)
        return (self.host, listener.addresses[0][1])

    @property
    def driver(self) -> int:
        """Identity of the thread that called `update()` last; 0 when it does not run, or by itself."""
        return self._driver if self._loop is not None and self._loop.manual else 0

    @property
    def places(self) -> list[tuple[str, int]]:
        """(address, port) of each listening socket; none when it does not run."""
        listener = self._listener
        return [] if listener is None or listener.closed else list(listener.addresses)

    @property
    def lan_address(self) -> str:
        """This machine's address in its network, for telling friends; 127.0.0.1 without a network."""
        return self.host or self.carrier.local_address()

    @property
    def threads(self) -> list[str]:
        """Names of the server's threads."""
        loop = self._loop
        return loop.thread_names() if loop is not None else []

    def __enter__(self) -> Self:
        return self if self._loop is not None else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
