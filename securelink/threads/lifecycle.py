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

from ..app.declared import SERVER as OPTIONS
from ..app.ticker import Ticker
from ..errors import ConfigError, StateError
from ..interrupts import Sign
from ..limits import (
    CLOSE_SECONDS,
    END_SECONDS,
    HANDOVER_SECONDS,
    STOP_GRACE_SECONDS,
)
from ..logs.default import make_visible
from ..logs.floods import flood_filter
from ..streams.base import Told
from . import driven
from .book import Book
from .descriptors import fitted
from .farewell import STOPPING, VANISHING, Farewell, returning
from .giving_way import hand_over, worker_threads
from .listener import Listener
from .looking import looks_later
from .loop import Loop
from .patched import check_not_patched
from .shell_loop import ShellLoop
from .start import Calls
from .tasks import Shell

log = logging.getLogger("securelink.server")

_running: weakref.WeakSet[Lifecycle] = weakref.WeakSet()


def _forget_parent() -> None:
    """In a child of fork(): the servers of the parent are not running here."""
    for server in tuple(_running):
        server.orphaned()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)


def _end_of_program() -> None:
    """The main thread is through, and a server that `start()` has started would vanish without a word."""
    for server in tuple(_running):
        if server.loop is not None:
            server.end_with_program()


atexit.register(_end_of_program)


class Lifecycle:
    """
    Runs a server: starts it, drives it, stops it.

    Args:
        calls: What it calls.
        workers: Of the loop, as `overlap` is.
        tick_rate: Of `on_tick`, or None.
        backlog: Of the listening socket.

    Attributes:
        loop, listener: None when it does not run.
        failure: Why the last run ended, if it could not keep its sessions.
    """

    def __init__(
        self, calls: Calls, *, workers: int, overlap: bool, tick_rate: float | None, backlog: int
    ) -> None:
        self._calls = calls
        self._workers = workers
        self._overlap = overlap
        self._backlog = backlog
        self._rate = tick_rate
        self._state_lock = threading.Lock()  # guards starting and stopping
        self.loop: Loop | None = None
        self.listener: Listener | None = None
        self._ticker: Ticker | None = None
        self.failure: StateError | None = None
        self._driver = 0
        self._paused = False
        self._stopped = Sign()
        self._stopped.set()

    # --- starting and stopping ------------------------------------------------------------------------

    def start(self, *, manual: bool) -> None:
        """See `Server.start`; `manual`: for `Server.update`."""
        self.begin(manual=manual)
        self._calls.on_start.fire()

    def begin(self, *, manual: bool, shell: Shell | None = None) -> None:
        """The same without the event; `shell`: who drives it, manually."""
        make_visible()
        flood_filter.forget()
        check_not_patched()
        with self._state_lock:
            if self.loop is not None:
                raise ConfigError(
                    "the server is running", hint="call stop() before you start again"
                )
            start = self._calls.prepare()
            kept = start.take_over()
            listening = start.listen(self._backlog)
            try:
                loop = self._make_loop(f"server-{listening[0].address[1]}", shell, manual=manual)
            except BaseException:
                for place in listening:
                    place.close()
                start.give_up()
                raise
            loop.look_later = looks_later(loop.make_unfinished)
            settings = start.settings
            if not isinstance(listening[0], Told):  # whose streams have no descriptors
                settings = fitted(settings)
            book = None
            if start.store is not None:
                aside = loop.aside if isinstance(loop, ShellLoop) else None
                book = Book(loop, start.store, self._fail, aside)
            listener = Listener(loop, listening, settings, start.sessions, book)
            self.failure = None
            ticker = Ticker(loop, self._calls.on_tick, self._rate)
            self.loop, self.listener, self._ticker = loop, listener, ticker
            self._stopped.clear()
            _running.add(self)
            if manual:
                driven.add(self)
            loop.call(listener.start)
            if self._paused:
                loop.call(lambda: listener.set_paused(True))
            loop.call(ticker.start)
            loop.call(lambda: self._calls.started(loop))
        try:
            listener.restore(*kept)
            self._calls.announce()
            loop.start()
        except BaseException:
            # Ctrl-C, or no threads: no thread will ever lead.
            if loop.stopped or not loop.thread_names():
                self.loop = self.listener = self._ticker = None
                for place in listening:
                    place.close()
                start.give_up()
                if not loop.stopped:
                    loop.abandon()
                _running.discard(self)
                self._stopped.set()
            raise

    def _make_loop(self, name: str, shell: Shell | None, *, manual: bool) -> Loop:
        if shell is not None:
            return ShellLoop(name, shell, workers=self._workers)
        return Loop(name, workers=self._workers, overlap=self._overlap, manual=manual)

    def _fail(self, error: StateError) -> None:
        """By the leader: sessions can be kept no more, so nothing may be told to anybody."""
        loop, listener = self.loop, self.listener
        self.failure = error
        if loop is not None and listener is not None:
            loop.call(lambda: self._begin_stop(loop, listener, time.monotonic(), VANISHING))

    def end_with_program(self) -> None:
        """The main thread is through."""
        log.warning(
            "the program has ended, and the server ends with it: "
            "let its last line be server.serve_forever(), or stop() the server"
        )
        self.stop(END_SECONDS, self.parting)

    def orphaned(self) -> None:
        """In a child of fork(): it runs in the parent."""
        self._calls.orphaned()
        loop, listener = self.loop, self.listener
        self._state_lock = threading.Lock()  # the old one may be held by a thread that is not here
        self.loop = self.listener = self._ticker = None
        self._stopped.set()
        if loop is not None and listener is not None:
            loop.orphaned()
            listener.orphaned()

    @property
    def parting(self) -> Farewell:
        """What clients hear when the process ends and nobody has called `stop()`: kept sessions are handed over."""
        listener = self.listener
        keeps = listener is not None and listener.book is not None
        return returning(0.0) if keeps else STOPPING

    def wait(self, timeout: float) -> bool:
        """Wait until it does not run any more; False after `timeout` seconds."""
        return self._stopped.wait(timeout)

    def update(self, budget: float) -> None:
        """See `Server.update`."""
        if self.loop is None:
            self.start(manual=True)
        loop = self.loop
        assert loop is not None
        if not loop.manual:
            raise ConfigError(
                "update() drives a server that start() has not started",
                hint="use one of the two",
            )
        self._driver = get_ident()
        loop.turn(time.monotonic() + budget)
        self._calls.on_tick.fire()

    def led_by(self, thread: int) -> None:
        """This thread drives it, and must not wait for it."""
        self._driver = thread

    def stop(self, timeout: float | None = None, farewell: Farewell = STOPPING) -> bool:
        """See `Server.stop`; `farewell`: what the clients hear."""
        asked = self.ask_stop(timeout, farewell)
        if asked is None:
            return True
        loop, timeout = asked
        if loop.manual:
            return self._stop_manually(loop, timeout)
        if worker_threads.get(get_ident()) is loop:
            return False
        hand_over()
        return loop.join(timeout + STOP_GRACE_SECONDS + 0.5)

    def ask_stop(self, timeout: float | None, farewell: Farewell) -> tuple[Loop, float] | None:
        """Let the leader begin to stop; returns its loop, and how long that may take. None: it does not run."""
        with self._state_lock:
            loop, listener = self.loop, self.listener
        if loop is None or listener is None:
            return None
        if timeout is None:
            hands_over = listener.book is not None and farewell.hands_over
            timeout = HANDOVER_SECONDS if hands_over else CLOSE_SECONDS
        end = time.monotonic() + timeout
        loop.call(lambda: self._begin_stop(loop, listener, end, farewell))
        return loop, timeout

    def _stop_manually(self, loop: Loop, timeout: float) -> bool:
        deadline = time.monotonic() + timeout + 1.0
        if loop.lead.thread == get_ident():
            return False  # inside update(): the next calls of update() finish it
        while not loop.stopped and time.monotonic() < deadline:
            loop.turn()
            time.sleep(0.005)
        return loop.join(1.0)

    def _begin_stop(
        self, loop: Loop, listener: Listener, deadline: float, farewell: Farewell
    ) -> None:
        """By the leader: no new connections, CLOSE to all, then wait until all are gone."""
        if listener.closed:
            return  # another thread stops it already
        log.info("Status: Starting Shutdown")
        listener.close(hands_over=farewell.hands_over)
        if self._ticker is not None:
            self._ticker.stop()
        listener.say_farewell(farewell)
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
        listener.chores.finish()
        listener.let_go()
        listener.host.stopped()
        with self._state_lock:
            if self.loop is loop:
                self.loop = self.listener = self._ticker = None
        log.info("Status: Shutdown")
        pending = None
        try:
            pending = self._calls.on_stop.fire()
        finally:
            if pending is None:
                self._stopped.set()
        if pending is not None:
            pending.then(lambda _: self._stopped.set())

    def set_paused(self, paused: bool) -> None:
        """See `Server.pause` and `Server.resume`."""
        self._paused = paused
        loop, listener = self.loop, self.listener
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

    def drain(self, timeout: float, back_in: float) -> bool:
        """See `Server.drain`."""
        left = self.let_leave(timeout)
        self.stop(farewell=returning(back_in))
        return left

    def stop_listening(self) -> None:
        """Let the leader accept no more connections."""
        if self.loop is not None and self.listener is not None:
            self.loop.call(self.listener.stop_listening)

    @property
    def is_empty(self) -> bool:
        """Whether all sessions have left."""
        return self.loop is None or self._calls.is_empty()

    def let_leave(self, timeout: float) -> bool:
        """Accept no more connections, and wait until all have left; False when some are still there in the end."""
        loop, listener = self.loop, self.listener
        if loop is None or listener is None:
            return True
        loop.call(listener.stop_listening)
        deadline = time.monotonic() + timeout
        while self.loop is not None and not self._calls.is_empty() and time.monotonic() < deadline:
            if loop.manual and loop.lead.thread != get_ident():
                loop.turn()
            self._stopped.wait(0.05)
        return self._calls.is_empty()

    @property
    def paused(self) -> bool:
        """Whether new connections wait, or are refused because the server is about to stop."""
        listener = self.listener
        return self._paused or (listener is not None and listener.deaf)

    @property
    def tick_rate(self) -> float | None:
        """How often a second `on_tick` fires; None: never. May be set while it runs."""
        return self._rate

    @tick_rate.setter
    def tick_rate(self, rate: float | None) -> None:
        self._rate = OPTIONS["tick_rate"]("tick_rate", rate)
        if self._ticker is not None:
            self._ticker.set_rate(self._rate)

    @property
    def driver(self) -> int:
        """Identity of the thread that called `update()` last; 0 when it does not run, or by itself."""
        return self._driver if self.loop is not None and self.loop.manual else 0

    @property
    def places(self) -> list[tuple[str, int]]:
        """(address, port) of each listening socket; none when it does not run."""
        listener = self.listener
        return [] if listener is None or listener.closed else list(listener.addresses)
