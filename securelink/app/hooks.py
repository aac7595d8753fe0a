"""Events with any number of listeners."""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from ..errors import ConfigError, ConnectionClosed, LimitExceeded, LinkTimeout, Refused
from ..interrupts import Sign
from ..limits import LOGGED_FAILURES, MAX_LISTENERS
from ..options import seconds
from ..signatures import checked, did_run
from .answers import Answer
from .pending import Pending

log = logging.getLogger("securelink")

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result", bound=Answer)
Given = TypeVar("Given")

NOT_CHECKED = "the server could not check this session"

#: Types of results that are certainly not coroutines: checked first, because that is quick.
PLAIN = frozenset((bool, int, float, str, bytes, list, dict, tuple))


def unheard() -> None:
    """Ignore the failure."""


class FailureLog:
    """
    Logs exceptions of user code with their traceback, but only a few each second.

    A peer that makes a handler fail must not make us write tracebacks instead of serving. `floods.py` bounds all lines.
    """

    __slots__ = ("_count", "_since")

    def __init__(self) -> None:
        self._count = 0
        self._since = 0.0

    def log(self, error: BaseException, text: str, *arguments: Any) -> None:
        """Log one failure with its traceback, or only count it."""
        if self._may(logging.ERROR):
            log.error(text, *arguments, exc_info=error)

    def note(self, level: int, text: str, *arguments: Any) -> None:
        """Log an action of a peer on one line, or only count it."""
        if self._may(level):
            log.log(level, text, *arguments)

    def _may(self, level: int) -> bool:
        now = time.monotonic()
        if now - self._since >= 1.0:
            if self._count > LOGGED_FAILURES:
                log.log(level, "%d more such lines were not shown", self._count - LOGGED_FAILURES)
            self._since, self._count = now, 0
        self._count += 1
        return self._count <= LOGGED_FAILURES


def _refuse_if_returned(result: object) -> None:
    """`return Refused(...)` means the same as `raise Refused(...)`: it is never returned to let a client in."""
    if isinstance(result, Refused):
        raise result
    if isinstance(result, type) and issubclass(result, Refused):
        raise result()


def _refusal_in(error: BaseException) -> Refused | None:
    """The refusal that this is, or that one of the tasks has raised whose group this is of (`asyncio.TaskGroup`)."""
    while isinstance(error, BaseExceptionGroup):
        group = error.subgroup(Refused)
        if group is None:
            return None
        error = group.exceptions[0]
    return error if isinstance(error, Refused) else None


class Decision:
    """
    An event of a session whose listeners may refuse it. Ctrl-C amid it, in `update()`, refuses too: the check has not
    run, or not to its end.

    Args:
        act: Calls the listeners.
        refuse: Ends the session.
    """

    __slots__ = ("_act", "_refuse")

    def __init__(
        self, act: Callable[[], Pending | None], refuse: Callable[[Refused], None]
    ) -> None:
        self._act = act
        self._refuse = refuse

    def __call__(self) -> Pending | None:
        """Call the listeners. By who runs the session's inbox."""
        try:
            pending = self._act()
        except Refused as refusal:
            self._refuse(refusal)
            return None
        if pending is not None:
            pending.then(self._judge)
        return pending

    def _judge(self, error: BaseException | None) -> None:
        if isinstance(error, Refused):
            self._refuse(error)
        elif error is not None and not isinstance(error, Exception):
            self.interrupted()  # cancelled, perhaps before its first step

    def interrupted(self) -> None:
        """Refuse: Ctrl-C came out of the call, or it was cancelled."""
        self._refuse(Refused(NOT_CHECKED))


class EventHook(Generic[Arguments]):
    """
    One event. Use it as a decorator, or call `add_listener`:

        @server.on_connect
        def hello(session): ...

    Listeners run in the order in which they were added. If one raises, the error is logged and the others are called.
    In `on_connect` of a server a listener that raises `Refused`, or returns it, ends the session, and later listeners
    are not called; so does one that returns a coroutine or a generator, because its check has not run.

    Args:
        name: The name of the event.
        caught: Called with the exceptions of listeners.
        takes: Names of a listener's arguments; None skips the check of arguments.
        may_refuse: Whether `Refused` of a listener is passed on to the caller of `fire`.
        changed: Called after a listener was added or removed.
    """

    __slots__ = ("_caught", "_changed", "_failures", "_listeners", "_may_refuse", "_takes", "name")

    def __init__(
        self,
        name: str,
        caught: Callable[[str, BaseException], None] | None = None,
        takes: tuple[str, ...] | None = None,
        *,
        may_refuse: bool = False,
        changed: Callable[[], None] = unheard,
    ) -> None:
        self.name = name
        self._changed = changed
        self._takes = takes
        self._may_refuse = may_refuse
        self._caught = caught
        self._failures = FailureLog()
        # A tuple that is replaced, never changed: firing needs no lock.
        self._listeners: tuple[Callable[..., object], ...] = ()

    if TYPE_CHECKING:

        def __call__(self, listener: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
            """Add a listener, as a decorator."""

    else:

        def __call__(self, *listeners):
            """Add a listener, as a decorator."""
            if len(listeners) != 1:
                raise ConfigError(
                    f"{self.name} is called with one listener, not {len(listeners)}",
                    hint=f"write @….{self.name} without parentheses",
                )
            self.add_listener(*listeners)
            return listeners[0]

    def add_listener(self, listener: Callable[Arguments, Answer]) -> None:
        """
        Add a listener, unless it was added before.

        Raises:
            ConfigError: It is not a function that can run here: it takes other arguments, or is `async def`, a
                generator or a class.
            LimitExceeded: There are MAX_LISTENERS already.
        """
        if listener in self._listeners:
            return
        self._add(self._checked(f"the listener of {self.name}", listener, self._takes))

    def _checked(
        self, name: str, listener: Callable[..., object], takes: tuple[str, ...] | None
    ) -> Callable[..., object]:
        return checked(name, listener, takes)

    def _add(self, listener: Callable[..., object]) -> None:
        if len(self._listeners) >= MAX_LISTENERS:
            raise LimitExceeded(
                f"{self.name} has {MAX_LISTENERS} listeners already", limit="MAX_LISTENERS"
            )
        self._listeners = (*self._listeners, listener)
        self._changed()

    def remove_listener(self, listener: Callable[..., object]) -> bool:
        """Remove a listener; False if it was not added."""
        kept = tuple(other for other in self._listeners if other != listener)
        removed = len(kept) != len(self._listeners)
        self._listeners = kept
        self._changed()
        return removed

    @property
    def listeners(self) -> tuple[Callable[..., object], ...]:
        """The listeners, in order."""
        return self._listeners

    def fire(self, *arguments: Any) -> Pending | None:
        """
        Call every listener.

        Returns:
            What is not done yet; None in a shell with threads.

        Raises:
            Refused: This event may refuse, and a listener raised or returned it, or returned a coroutine or another
                thing that has not run.
            BaseException: One that is not an `Exception`, such as SystemExit, after the others were called;
                KeyboardInterrupt at once.
        """
        last_word: BaseException | None = None
        for listener in self._listeners:
            try:
                result = listener(*arguments)
                if result is not None and type(result) not in PLAIN:
                    self._accept(result, arguments)
            except Exception as error:
                self._failed(error, arguments)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                self._failed(error, arguments)
                last_word = last_word or error
        if last_word is not None:
            raise last_word
        return None

    def _accept(self, result: object, arguments: tuple[Any, ...]) -> None:
        """What a listener gave in the end. Raises an error for what has not run, and `Refused` if that counts."""
        if not self._may_refuse:
            did_run(result)
            return
        _refuse_if_returned(result)
        try:
            did_run(result)
        except ConfigError as error:
            self._failed(error, arguments)
            # The check of this session has not run: the client must not get in for that reason.
            raise Refused(NOT_CHECKED) from None

    def _failed(self, error: BaseException, arguments: tuple[Any, ...]) -> None:
        """In an `except` block: a listener has raised this. The others go on, unless it refuses the session."""
        if self._may_refuse and (refusal := _refusal_in(error)) is not None:
            raise refusal
        if self._peer_left(error, arguments):
            self._failures.note(
                logging.DEBUG, "the peer left while a listener of %s ran", self.name
            )
            return
        self._failures.log(error, "a listener of %s raised an error; the others go on", self.name)
        if self._caught is not None:
            self._caught(self.name, error)

    def _peer_left(self, error: BaseException, arguments: tuple[Any, ...]) -> bool:
        """Whether it failed only because the session that the event is about has ended meanwhile."""
        return (
            isinstance(error, ConnectionClosed)
            and self.name != "on_disconnect"  # it knows that the session is over
            and bool(arguments)
            and not getattr(arguments[0], "connected", True)
        )

    def wait(self, timeout: float) -> tuple[Any, ...]:
        """
        Wait until the event fires. Do not call it in a handler: an event of its own session would wait for the handler.

        Returns:
            The arguments of the event.

        Raises:
            ConfigError: `timeout` is not a number.
            LinkTimeout: It did not fire in `timeout` seconds.
        """
        timeout = seconds("timeout", timeout)
        fired = Sign()
        seen: list[tuple[Any, ...]] = []

        def listener(*arguments: Any) -> None:
            seen.append(arguments)
            fired.set()

        try:
            self._add(listener)
            if not fired.wait(timeout):
                raise LinkTimeout(
                    f"{self.name} did not happen within {timeout:g} s",
                    hint="give a longer timeout=, or add a listener, which need not wait",
                )
        finally:
            self.remove_listener(listener)
        return seen[0]


def weakly(method: Callable[..., Given]) -> Callable[..., Given | None]:
    """The same call, which does nothing once the object of the method is gone."""
    weak = weakref.WeakMethod(method)

    def call(*arguments: Any) -> Given | None:
        strong = weak()
        return strong(*arguments) if strong is not None else None

    return call
