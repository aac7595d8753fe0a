"""
Coroutines of the application: handlers and listeners.

Each runs as a task. Meanwhile the inbox of its session is parked, see `Inbox`: so those of one session never overlap,
and slow ones hold up no other session.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ..app.answers import Answer
from ..app.hooks import NOT_CHECKED, PLAIN, EventHook, unheard
from ..app.pending import Pending
from ..errors import LinkTimeout, Refused
from ..options import seconds
from ..signatures import checked, lazy_kind

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result", bound=Answer | Awaitable[Answer])

#: What the running code is a part of; also in tasks that this has begun.
current: contextvars.ContextVar[Pending | None] = contextvars.ContextVar(
    "securelink_current", default=None
)


def identity() -> int:
    """See `Loop.identity`: a handler that is a coroutine, or the thread."""
    pending = current.get()
    return pending.number if pending is not None and pending.active else get_ident()


def in_handler() -> bool:
    """Whether a coroutine handler, or what it has begun and has not outlived, calls."""
    pending = current.get()
    return pending is not None and pending.active


class Running:
    """
    The coroutines of one server or client; see `Runner`.

    Attributes:
        tasks: In which they run; with what is to be done about one that never begins.
    """

    def __init__(self) -> None:
        self.tasks: dict[asyncio.Task[None], Callable[[asyncio.Task[None]], None]] = {}
        self.event = partial(Event, self)

    def __call__(
        self,
        awaitable: Any,
        result: Callable[[Any], None] | None = None,
        failed: Callable[[BaseException], None] | None = None,
    ) -> Pending | None:
        """See `Runner`."""
        if not inspect.isawaitable(awaitable):
            return None
        outer = current.get()
        pending = Pending(outer.number if outer is not None else 0)
        context = contextvars.copy_context()
        context.run(current.set, pending)
        task = asyncio.get_running_loop().create_task(
            self._run(awaitable, pending, result, failed), context=context
        )
        pending.cancel = task.cancel
        self.tasks[task] = never = partial(self._never_began, awaitable, pending, failed)
        task.add_done_callback(never)
        return pending

    async def _run(
        self,
        awaitable: Awaitable[Any],
        pending: Pending,
        result: Callable[[Any], None] | None,
        failed: Callable[[BaseException], None] | None,
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.remove_done_callback(self.tasks[task])
        error: BaseException | None = None
        try:
            value = await awaitable
            if result is not None:
                result(value)
        except BaseException as caught:
            error = caught
            if failed is not None:
                failed(caught)
            if not isinstance(caught, Exception | asyncio.CancelledError):
                raise
        finally:
            self.tasks.pop(task, None)
            pending.done(error)

    def _never_began(
        self,
        awaitable: Any,
        pending: Pending,
        failed: Callable[[BaseException], None] | None,
        task: asyncio.Task[None],
    ) -> None:
        """It was cancelled before its first step."""
        self.tasks.pop(task, None)
        if inspect.iscoroutine(awaitable):
            awaitable.close()
        if failed is not None:
            failed(asyncio.CancelledError())
        pending.done(asyncio.CancelledError())

    async def end(self, timeout: float) -> bool:
        """Wait for those that run, and cancel them then. Returns whether all came to their end."""
        mine = asyncio.current_task()
        tasks = {task for task in self.tasks if task is not mine}
        if not tasks:
            return True
        _, late = await asyncio.wait(tasks, timeout=timeout)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=1.0)
        return not late


class Event(EventHook[Arguments]):
    """As `EventHook`; listeners may be coroutines, too. They run in their order, each when the one before is done."""

    __slots__ = ("_runner",)

    def __init__(
        self,
        runner: Running,
        name: str,
        caught: Callable[[str, BaseException], None] | None = None,
        takes: tuple[str, ...] | None = None,
        *,
        may_refuse: bool = False,
        changed: Callable[[], None] = unheard,
    ) -> None:
        super().__init__(name, caught, takes, may_refuse=may_refuse, changed=changed)
        self._runner = runner

    if TYPE_CHECKING:

        def __call__(self, listener: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
            """Add a listener, as a decorator."""

        def add_listener(self, listener: Callable[Arguments, Answer | Awaitable[Answer]]) -> None:
            """As `EventHook.add_listener`."""

    def _checked(
        self, name: str, listener: Callable[..., object], takes: tuple[str, ...] | None
    ) -> Callable[..., object]:
        return checked(name, listener, takes, runs=True)

    def fire(self, *arguments: Any) -> Pending | None:
        """As `EventHook.fire`; returns what is not done yet."""
        if not any(map(lazy_kind, self._listeners)):
            return super().fire(*arguments)
        return self._runner(self._fire(arguments))

    async def _fire(self, arguments: tuple[Any, ...]) -> None:
        for listener in self._listeners:
            try:
                result = listener(*arguments)
                if inspect.isawaitable(result):
                    result = await result
                if result is not None and type(result) not in PLAIN:
                    self._accept(result, arguments)
            except Exception as error:
                self._failed(error, arguments)
            except asyncio.CancelledError as error:
                self._failed(error, arguments)
                if self._may_refuse:
                    raise Refused(NOT_CHECKED) from None
                return

    async def wait(self, timeout: float) -> tuple[Any, ...]:  # type: ignore[override]  # here it is a coroutine
        """As `EventHook.wait`, without a thread that waits."""
        timeout = seconds("timeout", timeout)
        fired: asyncio.Future[tuple[Any, ...]] = asyncio.get_running_loop().create_future()

        def listener(*arguments: Any) -> None:
            if not fired.done():
                fired.set_result(arguments)

        self._add(listener)
        try:
            async with asyncio.timeout(timeout):
                return await fired
        except TimeoutError:
            raise LinkTimeout(
                f"{self.name} did not happen within {timeout:g} s",
                hint="give a longer timeout=, or add a listener, which need not wait",
            ) from None
        finally:
            self.remove_listener(listener)
