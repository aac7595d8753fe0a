"""What tasks wait for: a change of a session, an answer, or work that another thread does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from threading import get_ident
from typing import Any, TypeVar

from ..app.pending import Pending
from ..interrupts import Sign
from ..threads.pool import no_thread

Result = TypeVar("Result")


class Woken(Sign):
    """A sign for one task, which looks for itself when it wakes: one that is cancelled takes nothing along."""

    __slots__ = ("_events", "_future", "_thread")

    def __init__(self) -> None:  # not that of `Sign`: it has what threads wait for
        self._events = events = asyncio.get_running_loop()
        self._thread = get_ident()
        self._future: asyncio.Future[bool] = asyncio.Future(loop=events)

    def set(self) -> None:
        """As `Sign.set`: any thread."""
        if get_ident() == self._thread:
            if not self._future.done():
                self._future.set_result(True)
        else:
            try:
                self._events.call_soon_threadsafe(self._wake, True)
            except RuntimeError:
                pass  # the event loop is closed, and the task gone with it

    def is_set(self) -> bool:
        """As `Sign.is_set`; not because its time was over."""
        future = self._future
        return future.done() and not future.cancelled() and future.result()

    def clear(self) -> None:
        """As `Sign.clear`. By its task."""
        if self._future.done():
            self._future = asyncio.Future(loop=self._events)

    def _wake(self, in_time: bool) -> None:
        if not self._future.done():
            self._future.set_result(in_time)

    def __await__(self) -> Generator[Any, None, bool]:
        """Wait until it is set."""
        return self._future.__await__()

    async def within(self, timeout: float) -> bool:
        """Wait until it is set; False after `timeout` seconds."""
        timer = self._events.call_later(max(0.0, timeout), self._wake, False)
        try:
            return await self._future
        finally:
            timer.cancel()


async def through(pending: Pending | None) -> None:
    """Wait until a part of the application is done."""
    if pending is not None and pending.active:
        woken = Woken()
        pending.then(lambda _: woken.set())
        await woken


async def elsewhere(
    run: Callable[[Callable[[], None]], object],
    work: Callable[[], Result],
    *,
    call_off: Callable[[], None],
    undo: Callable[[Result], None],
) -> Result:
    """
    Have something done by another thread.

    Args:
        run: Runs a job in one.
        work: What is to be done.
        call_off: Called when the task is cancelled, for the work to end soon.
        undo: Called, here, with what the work gives then nevertheless; or there, when the event loop is closed.

    Raises:
        LimitExceeded: The system starts no more threads. Nothing is done then.
    """
    events = asyncio.get_running_loop()
    future: asyncio.Future[Result] = events.create_future()

    def done(result: list[Result], error: BaseException | None) -> None:
        if future.done():
            for one in result:
                undo(one)
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(result[0])

    def job() -> None:
        nonlocal work
        result: list[Result] = []
        error: BaseException | None = None
        try:
            result.append(work())
        except BaseException as caught:
            error = caught
        del work  # the thread still has this job for a moment, and a client may be forgotten now
        try:
            events.call_soon_threadsafe(done, result, error)
        except RuntimeError:
            for one in result:
                undo(one)

    try:
        run(job)
    except RuntimeError as error:
        raise no_thread(error) from error
    try:
        return await future
    except asyncio.CancelledError:
        call_off()
        if future.done() and not future.cancelled() and future.exception() is None:
            undo(future.result())
        raise
