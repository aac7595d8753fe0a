"""A loop whose turns another event loop does: it sleeps there between them."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import get_ident

from ..errors import ConfigError
from . import bursts
from .loop import Loop
from .tasks import Flushable, Shell


class _Bursts(bursts.Bursts):
    """What is sent in a row between two turns goes out with the next."""

    def __init__(self, loop: ShellLoop) -> None:
        super().__init__(loop.lead, watched=False)
        self._loop = loop

    def add(self, writer: Flushable, thread: int) -> bool:
        """As `Bursts.add`; False in other threads."""
        if thread != self._loop.thread:
            return False
        if not writer.listed:
            writer.listed = True
            self._loop.flush_list.append(writer)
            self._loop.wake()
        return True


class ShellLoop(Loop):
    """
    A loop without threads that lead. Expensive work, such as RSA, is still done by threads of its pool.

    Args:
        name: See `Loop`.
        shell: Does its turns.
        workers: See `Loop`: as many threads may do expensive work as of that number.

    Attributes:
        thread: Does its turns.

    Raises:
        ConfigError: On this system there is no descriptor that tells that something is ready.
    """

    def __init__(self, name: str, shell: Shell, *, workers: int) -> None:
        super().__init__(name, workers=workers, manual=True)
        self._shell = shell
        self._helper: ThreadPoolExecutor | None = None
        self._under_way: tuple[Future[None], Flushable] | None = None
        self.thread = get_ident()
        self.bursts = _Bursts(self)
        self._waker.sleeps_elsewhere(shell.knock)
        self.identity = shell.identity
        if self.fileno() < 0:
            self.abandon()
            raise ConfigError(
                "on this system an event loop cannot watch the connections of another one",
                hint="use securelink.Server and securelink.Client here, with threads",
            )

    def wake(self) -> None:
        """There is something to do."""
        self._waker.wake()

    @property
    def paced(self) -> bool:
        """As `Loop.paced`."""
        return True

    def aside(self, work: Callable[[], None], target: Flushable) -> None:
        """
        By the leader, in a flush: another thread does what blocks, and behind it this target is flushed. Meanwhile no
        turn goes on, as none does while a leader is busy with it.
        """
        if self._helper is None:
            self._helper = ThreadPoolExecutor(1, f"securelink-{self.name}-aside")
        self.away = True
        done = self._helper.submit(work)
        self._under_way = done, target
        done.add_done_callback(lambda _: self._shell.knock())

    def turn(self, until: float = 0.0) -> None:
        """As `Loop.turn`, for one turn: it asks for nothing twice, for each packet of a ping-pong has one."""
        if self._under_way is not None:
            done, target = self._under_way
            if not done.done():
                return
            self._under_way, self.away = None, False
            target.listed = True
            self.flush_list.insert(0, target)
        if bursts.waiting:
            bursts.over()
        right, ready = self._turn_right, self.ready
        if self._stopping:
            return
        try:
            del right.free
        except AttributeError:
            return
        try:
            self.unread = False
            self.lead.thread = self.thread
            if self.flush_list:
                self._flush()
            if not self.away:
                self._poll(0.0)
                if ready.inboxes or ready.again.count:
                    ready.run()
                if self.flush_list:
                    self._flush()
        finally:
            self.lead.thread = 0
            right.free = True

    def fileno(self) -> int:
        """A descriptor that is readable when a turn has something to read."""
        return self._poller.fileno()

    def rest(self) -> float:
        """
        By the shell, behind a turn, before it sleeps: from now on it is knocked up.

        Returns:
            When the next turn is due, by `time.monotonic()`; 0.0: at once.
        """
        if self.away:
            return math.inf  # who has something aside knocks
        waker, timers = self._waker, self._timers.heap
        waker.wakes_at = due = timers[0][0] if timers else math.inf
        waker.sleeping = True
        # In this order: what comes after the look finds that we sleep.
        ready = self.ready.inboxes or self.ready.again.count or self._unfinished.count
        told = self._told
        if ready or self._commands or self.flush_list or (told.watched and told.are_ready()):
            waker.sleeping = False
            return 0.0
        return due

    def _finish(self) -> None:
        self._shell.over()
        super()._finish()
        if self._helper is not None:
            self._helper.shutdown(wait=False)
