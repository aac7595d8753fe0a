"""
Threads of the library that are about to wait give way to others.

Code that a loop's thread runs is a handler or a hook. While it waits it must not keep the lead, nor the place of a
handler that computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Protocol

from .waits import Wait


class Employer(Protocol):
    """A loop, as its own threads see it."""

    @property
    def manual(self) -> bool:
        """Whether it has no threads."""

    def hand_over(self) -> None:
        """Let another thread lead, if the caller does."""

    def begin_wait(self, wake: Callable[[], object], key: str = "") -> Wait | None:
        """A handler waits from now on; None in a job, which has a place of another kind."""

    def end_wait(self, wait: Wait) -> None:
        """Its handler goes on."""


#: Threads of all loops of this process. Code that they run is a handler or a hook, and must not block.
worker_threads: dict[int, Employer] = {}


def hand_over() -> None:
    """Call this before waiting: if the caller leads a loop, inside a handler, a spare thread takes the lead."""
    loop = worker_threads.get(get_ident())
    if loop is not None:
        loop.hand_over()


@contextmanager
def waiting(wake: Callable[[], object], key: str = "") -> Iterator[Wait | None]:
    """
    Use this around a wait for a peer: other sessions continue, and the waiting handler occupies no handler's place.

    Args:
        wake: Called by another thread to end the wait early, when too many handlers wait; see `Wait.ended_early`.

    Returns:
        The place; None outside of handlers.
    """
    loop = worker_threads.get(get_ident())
    if loop is None or loop.manual:
        yield None
        return
    loop.hand_over()
    wait = loop.begin_wait(wake, key)
    try:
        yield wait
    finally:
        if wait is not None:
            loop.end_wait(wait)
