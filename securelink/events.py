"""Events with any number of listeners."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from .errors import LimitExceeded
from .limits import MAX_LISTENERS

log = logging.getLogger("securelink")

Listener = TypeVar("Listener", bound=Callable[..., Any])


class EventHook:
    """
    One event. Use it as a decorator, or call `add_listener`:

        @server.on_connect
        def hello(session): ...

    Listeners run in the order in which they were added. One that raises is logged and stops nobody else.
    """

    __slots__ = ("_listeners", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        # A tuple that is replaced, never changed: firing needs no lock.
        self._listeners: tuple[Callable[..., Any], ...] = ()

    def __call__(self, listener: Listener) -> Listener:
        """Add a listener, as a decorator."""
        self.add_listener(listener)
        return listener

    def add_listener(self, listener: Callable[..., Any]) -> None:
        """
        Add a listener; one that is there already is not added again.

        Raises:
            LimitExceeded: MAX_LISTENERS are there already.
        """
        if listener in self._listeners:
            return
        if len(self._listeners) >= MAX_LISTENERS:
            raise LimitExceeded(
                f"{self.name} has {MAX_LISTENERS} listeners already", limit="MAX_LISTENERS"
            )
        self._listeners = (*self._listeners, listener)

    def remove_listener(self, listener: Callable[..., Any]) -> bool:
        """Remove a listener; False when it was not there."""
        kept = tuple(other for other in self._listeners if other != listener)
        removed = len(kept) != len(self._listeners)
        self._listeners = kept
        return removed

    @property
    def listeners(self) -> tuple[Callable[..., Any], ...]:
        """The listeners, in order."""
        return self._listeners

    def fire(self, *arguments: Any) -> None:
        """Call every listener."""
        for listener in self._listeners:
            guarded(self.name, listener, *arguments)


def guarded(what: str, handler: Callable[..., Any], *arguments: Any) -> None:
    """Call user code; what it raises is logged with its traceback and hurts nobody else."""
    try:
        handler(*arguments)
    except Exception:
        log.exception("the handler of %s raised an error; the session goes on", what)
