"""A server whose sessions are served in an event loop of asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from threading import current_thread, get_ident, main_thread
from types import FrameType, TracebackType
from typing import Any, Self, cast

from ..app.received import Received
from ..errors import ConfigError
from ..hosting import BaseServer
from ..limits import CLOSE_SECONDS, END_SECONDS, STOP_GRACE_SECONDS, WORKERS
from ..options import seconds
from ..threads.attempts import attempts
from ..threads.farewell import STOPPING, Farewell, returning
from ..threads.patched import check_not_patched
from ..threads.shell_loop import ShellLoop
from .binding import ServerBinding
from .driver import Driver
from .running import Event, Running, in_handler
from .session import Room, Session
from .waiting import elsewhere, through

log = logging.getLogger("securelink.server")


class Server(BaseServer[Session], ServerBinding):
    """
    A server.

        async with aio.Server(port=5050) as server:

            @server.on("say")
            async def say(session, packet):
                server.broadcast("said", packet.data, exclude=[session])

            await server.serve_forever()

    Options, attributes and events are those of `securelink.Server`, but for `workers` and `overlap`: there are no
    threads that run handlers. Handlers, listeners and `authenticate` are coroutines or plain functions. Plain ones run
    in the event loop and must not block it; a plain `authenticate` runs in another thread, and may.

    Handlers of one session never overlap, so a coroutine handles its packet to the end before the session's next packet
    has its turn; those of different sessions do overlap at each `await`.
    """

    _session_kind, _room_kind = Session, Room
    _runner: Running
    on_connect: Event[[Session]]
    on_disconnect: Event[[Session]]
    on_suspend: Event[[Session]]
    on_resume: Event[[Session, int]]
    on_restore: Event[[Session]]
    on_hangup: Event[[Session]]
    on_message: Event[[Session, Received]]
    on_state: Event[[Session, Any]]
    on_tick: Event[[]]
    on_start: Event[[]]
    on_stop: Event[[]]
    _driver: Driver | None = None

    def _new_runner(self) -> Running:
        options = self._options
        if options.workers != WORKERS or not options.overlap:
            raise ConfigError(
                "an asyncio server has no threads for handlers, so workers= and overlap= say nothing here",
                hint="leave them out; a handler that has to block calls asyncio.to_thread()",
            )
        return Running()

    def room(self, name: str) -> Room:
        """A room; sessions enter by `session.join(name)`."""
        return cast(Room, self._rooms.get(name))

    # --- running ------------------------------------------------------------------------------------------------

    async def start(self) -> Self:
        """As `securelink.Server.start`: in the event loop that runs. Returns when clients can connect."""
        check_not_patched()  # before a thread is waited for, which may not be one
        driver = Driver()
        begin = partial(self._lifecycle.begin, manual=True, shell=driver)
        await elsewhere(attempts.run, begin, call_off=lambda: None, undo=lambda _: self._vanish())
        self._driver = driver
        self._lifecycle.led_by(get_ident())
        try:
            await driver.attach(cast(ShellLoop, self._lifecycle.loop), self._abandoned)
            await through(self.on_start.fire())
        except BaseException:  # cancelled: nobody will stop it
            await self._stop(0.0, STOPPING)
            raise
        return self

    def _vanish(self) -> None:
        """It has started, and nobody wants it any more."""
        self._lifecycle.stop(0.0)

    async def _abandoned(self) -> None:
        log.warning("the event loop has ended, and the server ends with it: stop() it before")
        await self._stop(END_SECONDS, self._lifecycle.parting)

    async def stop(self, timeout: float = CLOSE_SECONDS) -> bool:
        """As `securelink.Server.stop`. Handlers that still run then are cancelled."""
        return await self._stop(seconds("timeout", timeout), STOPPING)

    async def _stop(self, timeout: float | None, farewell: Farewell) -> bool:
        driver = self._driver
        asked = self._lifecycle.ask_stop(timeout, farewell)
        if driver is None or (asked is None and driver.ended.is_set()):
            return True
        if in_handler():
            return False
        end = time.monotonic() + (asked[1] if asked else CLOSE_SECONDS) + STOP_GRACE_SECONDS + 0.5
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(end - time.monotonic()):
                await driver.ended.wait()
        left = await self._runner.end(max(0.0, end - time.monotonic()))
        while asked is not None and asked[0].thread_names() and time.monotonic() < end:
            await asyncio.sleep(0.002)
        return left and driver.ended.is_set()

    async def drain(self, timeout: float = 0.0, *, back_in: float = 0.0) -> bool:
        """As `securelink.Server.drain`."""
        timeout, back_in = seconds("timeout", timeout), seconds("back_in", back_in)
        left = await self._let_leave(timeout)
        await self._stop(None, returning(back_in))
        return left

    async def _let_leave(self, timeout: float) -> bool:
        lifecycle, deadline = self._lifecycle, time.monotonic() + timeout
        lifecycle.stop_listening()
        while not lifecycle.is_empty and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        return lifecycle.is_empty

    async def serve_forever(self, *, drain: float = 0.0) -> None:
        """
        As `securelink.Server.serve_forever`: start, unless the server runs, and wait for `stop()`, Ctrl-C or a signal.

        It returns then, in the main thread; a second Ctrl-C ends sessions that `drain` would let go on. If the task is
        cancelled the server stops, likewise, before `CancelledError` goes on.
        """
        drain = seconds("drain", drain)
        asked: asyncio.Queue[int] = asyncio.Queue()
        with _signals(asked.put_nowait):
            farewell = STOPPING
            try:
                if not self.running:
                    await self.start()
                assert self._driver is not None
                if (number := await _first(self._driver.ended.wait(), asked.get())) is not None:
                    log.info("%s; shutting down", signal.Signals(number).name)
                    restart = number == getattr(signal, "SIGTERM", None)
                    farewell = returning(0.0) if restart else self._lifecycle.parting
                    if drain:
                        await _first(self._let_leave(drain), asked.get())
            finally:
                await asyncio.shield(self._stop(None, farewell))
        if self._lifecycle.failure is not None:
            raise self._lifecycle.failure

    async def __aenter__(self) -> Self:
        return self if self.running else await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()


async def _first(over: Awaitable[object], asked: Awaitable[int]) -> int | None:
    """Wait for one of the two: the signal that came, or None."""
    tasks = [asyncio.ensure_future(over), asyncio.ensure_future(asked)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return cast(int, tasks[1].result()) if tasks[1].done() else None
    finally:
        for task in tasks:
            task.cancel()


@contextlib.contextmanager
def _signals(came: Callable[[int], None]) -> Iterator[None]:
    """Take signals that end the program, in the main thread, unless it has handlers of its own for them."""
    taken: dict[int, Any] = {}
    events = asyncio.get_running_loop()
    try:
        if current_thread() is main_thread():
            _take_signals(events, came, taken)
        yield
    finally:
        for number, before in taken.items():
            events.remove_signal_handler(number)
            signal.signal(number, before)


def _take_signals(
    events: asyncio.AbstractEventLoop, came: Callable[[int], None], taken: dict[int, Any]
) -> None:
    """Apart, because Ctrl-C at the end of a loop inside of `try` may leave it without its `finally` (issue 130279)."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and _is_free(before := signal.getsignal(number)):
            with contextlib.suppress(NotImplementedError):  # Windows
                events.add_signal_handler(number, came, number)
                taken[number] = before


def _is_free(handler: Callable[[int, FrameType | None], Any] | int | None) -> bool:
    """Whether it is no handler of the program's, but the system's, Python's or that of `asyncio.run`."""
    owner = getattr(getattr(handler, "func", None), "__self__", None)
    return handler in (signal.SIG_DFL, signal.default_int_handler) or isinstance(
        owner, asyncio.Runner
    )
