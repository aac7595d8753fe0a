"""The loop of all clients in one event loop: it begins with the first, and ends with the last."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable
from threading import get_ident
from typing import cast

from ..errors import ConnectionClosed
from ..threads.caretaker import CARETAKER_WORKERS, SETTLE_SECONDS, Caretaker, Ward
from ..threads.client_link import ClientLink
from ..threads.loop import Loop
from ..threads.shell_loop import ShellLoop
from .driver import Driver


class Home(Caretaker):
    """As the caretaker of clients that threads drive; here none does, so all connections are its own."""

    def __init__(self) -> None:
        super().__init__()
        self._driver: Driver | None = None
        self._thread = get_ident()

    def _make_loop(self) -> Loop:
        driver = self._driver
        if driver is None or get_ident() != self._thread:
            # By the thread of an attempt that nobody waits for any more: no loop that it makes would ever turn.
            raise ConnectionClosed("connecting was cancelled")
        return ShellLoop("clients", driver, workers=CARETAKER_WORKERS)

    def _schedule(self, loop: Loop) -> None:
        self._sweep(loop)

    def _take_in(self, link: Ward) -> None:
        if isinstance(link, ClientLink):
            link.background = True
            link.update_interest()

    def read(self, link: Ward) -> None:
        """As `Caretaker.read`: it is."""

    def driven(self, link: Ward) -> None:
        """As `Caretaker.driven`: what is bound later has its inbox run, see `Client`."""

    def bring(self, arrived: Callable[[], None]) -> None:
        """As `Caretaker.bring`."""
        loop = self._loop
        if loop is None or loop.stopped:
            arrived()
        else:
            loop.call(arrived)

    async def enter(self, user: object) -> None:
        """In the event loop: there is a loop for this user from now on, until it leaves."""
        if self._loop is not None:
            self.loop(user)
            return
        self._driver = driver = Driver()
        loop = self.loop(user)
        await driver.attach(cast(ShellLoop, loop), self._abandoned)

    async def _abandoned(self) -> None:
        """The event loop ends: servers shall not think that connections broke."""
        self.say_goodbye()
        loop, deadline = self._loop, time.monotonic() + SETTLE_SECONDS
        if loop is None:
            return
        for link in tuple(self._links):
            if isinstance(link, ClientLink):
                loop.call(link.give_up)
        while self._links and time.monotonic() < deadline:
            await asyncio.sleep(0)
        self._loop = None
        loop.stop(lambda: None)

    async def settled(self) -> None:
        """Behind a client that was closed: if it was the last, the loop ends."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while self._is_emptying() and time.monotonic() < deadline:
            await asyncio.sleep(0.001)


_homes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Home] = weakref.WeakKeyDictionary()


def home() -> Home:
    """That of the event loop that runs."""
    events = asyncio.get_running_loop()
    found = _homes.get(events)
    if found is None:
        found = _homes[events] = Home()
    return found
