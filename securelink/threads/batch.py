"""Corks the packets that one thread sends, so that each session's packets go out together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident

from .loop import Loop
from .tasks import Flushable


@contextmanager
def held_back(loop: Loop | None) -> Iterator[None]:
    """
    Packets that the calling thread sends to links of this loop go out when the block ends.

    Inside a turn of the loop, and inside another such block, this has no further effect.
    """
    me = get_ident()
    if loop is None or loop.lead.thread == me or me in loop.batches:
        yield
        return
    held: list[Flushable] = []
    loop.batches[me] = held
    try:
        yield
    finally:
        del loop.batches[me]
        for link in dict.fromkeys(held):
            link.flush()
