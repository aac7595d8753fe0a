"""A loop that runs, and work for it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from threading import get_ident
from typing import Any

import pytest
from helpers import WAIT, until
from together import REPEATS

from securelink.interrupts import Sign
from securelink.threads.giving_way import worker_threads
from securelink.threads.loop import Loop

again = pytest.mark.parametrize("attempt", range(REPEATS))


class Work:
    """An inbox with one thing to do."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act
        self.thread = 0
        self.done = threading.Event()

    def run(self) -> bool:
        """Do it."""
        self.thread = get_ident()
        try:
            self._act()
        finally:
            self.done.set()
        return False


@contextlib.contextmanager
def running(*, watched: bool = True, **options: Any) -> Iterator[Loop]:
    """
    A started loop; afterwards it must be gone with all its threads.

    Args:
        watched: False: the watchdog sleeps on: on a busy machine it may think the shortest handler a slow one.
        options: Of the loop.
    """
    loop = Loop("test", **options)
    loop.start()
    if not watched:
        wanted, unheard = loop.lead.watch_wanted, Sign()
        loop.lead.watch_wanted = unheard
        until(lambda: loop.lead.watch_dormant)
    try:
        yield loop
    finally:
        if not watched:
            loop.lead.watch_wanted = wanted
            wanted.set()
            unheard.set()  # it may have fallen asleep after the exchange
        loop.stop(lambda: None)
        ended = loop.join(WAIT)
    assert ended, loop.thread_names()
    assert not worker_threads.keys() & {thread.ident for thread in loop.pool.threads}


def in_the_loop(loop: Loop, act: Callable[[], object]) -> Work:
    """Run something as a handler and wait until it is through."""
    work = Work(act)
    loop.schedule(work)
    assert work.done.wait(WAIT)
    return work


def led(loop: Loop) -> int:
    """Which thread leads now."""
    found: list[int] = []
    event = threading.Event()

    def look() -> None:
        found.append(get_ident())
        event.set()

    loop.call(look)
    assert event.wait(WAIT)
    return found[0]
