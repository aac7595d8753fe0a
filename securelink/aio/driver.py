"""
Turns of a loop of ours, in an event loop of asyncio.

The descriptor of our poller is itself one that can be polled: the event loop watches it, and a timer for what is due
next. A turn reads, runs handlers and writes what was sent; it waits for nothing, and takes about a millisecond at most
before others have their turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from threading import get_ident
from types import AsyncGeneratorType
from typing import cast

from ..threads.shell_loop import ShellLoop
from .running import current, identity


class Driver:
    """
    Drives one loop of ours from the event loop that runs; see `Shell`.

    Attributes:
        ended: Set when our loop is over.
        turns: How many there were.
    """

    def __init__(self) -> None:
        self.events = asyncio.get_running_loop()
        self.ended = asyncio.Event()
        self.turns = 0
        self._thread = get_ident()
        self._context = contextvars.copy_context()
        self._context.run(current.set, None)
        self._loop: ShellLoop | None = None
        self._number = -1
        self._soon = self._watching = self._over = False
        self._due = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._guard: AsyncGeneratorType[None, None] | None = None

    async def attach(self, loop: ShellLoop, abandoned: Callable[[], Awaitable[object]]) -> None:
        """
        Drive this loop from now on.

        Args:
            loop: A new one, with this as its shell.
            abandoned: Called when the event loop ends before our loop does.
        """
        self._loop = loop
        loop.thread = self._thread
        self._number = loop.fileno()
        self._context.run(self._watch, True)
        self._guard = cast("AsyncGeneratorType[None, None]", self._guarded(abandoned))
        await anext(self._guard)
        self._wake()

    async def _guarded(
        self, abandoned: Callable[[], Awaitable[object]]
    ) -> AsyncGenerator[None, None]:
        # Event loops end the asynchronous generators that have begun in them (PEP 525): all tasks are through then.
        try:
            yield
        finally:
            if not self.ended.is_set():
                await abandoned()

    # As a shell.

    def identity(self) -> int:
        """See `Shell`."""
        return identity()

    def knock(self) -> None:
        """See `Shell`."""
        if get_ident() == self._thread:
            self._wake()
            return
        with contextlib.suppress(RuntimeError):  # it is closed: there is nobody to wake
            self.events.call_soon_threadsafe(self._turn, context=self._context)

    def over(self) -> None:
        """See `Shell`."""
        self._over = True
        if self._loop is not None and not self.events.is_closed():
            self._watch(False)
        if self._timer is not None:
            self._timer.cancel()
        self.ended.set()
        if self._guard is not None and not self._guard.ag_running:
            closing = self._guard.aclose()
            with contextlib.suppress(StopIteration):
                closing.send(None)  # it awaits nothing now

    # In the event loop.

    def _wake(self) -> None:
        if not self._soon and not self.events.is_closed():
            self._soon = True
            self.events.call_soon(self._turn, context=self._context)

    def _watch(self, watches: bool) -> None:
        self._watching = watches
        if watches:  # the event loop calls it in a copy of the context that is the present one
            self.events.add_reader(self._number, self._turn)
        else:
            self.events.remove_reader(self._number)

    def _turn(self) -> None:
        loop = self._loop
        self._soon = False
        if loop is None or self._over:
            return
        self.turns += 1
        try:
            loop.turn()
        finally:
            if not self._over:
                due = loop.rest()
                if loop.away is self._watching:
                    self._watch(not loop.away)
                if due < self._due:
                    self._sleep(due)

    def _sleep(self, due: float) -> None:
        if due == 0.0:
            self._wake()
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self.events.call_later(
            max(0.0, due - time.monotonic()), self._time, context=self._context
        )

    def _time(self) -> None:
        self._due, self._timer = math.inf, None
        self._turn()
