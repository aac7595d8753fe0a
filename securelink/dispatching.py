"""Methods that `Server` and `Client` share for handlers, except `on`, which each types for its own handlers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .app.collect import CaughtErrors
from .app.handlers import Handlers
from .app.received import Received
from .signatures import checked_or_none


class Dispatching:
    """An object that binds handlers to packets: a facade of its `Handlers`."""

    _handlers: Handlers

    def off(self, action: str) -> bool:
        """Remove the handler of an action; False if there was none."""
        return self._handlers.off(action)

    @property
    def after_receive(self) -> Callable[[Received], Any] | None:
        """A hook: f(packet) gives the data that handlers see instead of `packet.data`."""
        return self._handlers.after_receive

    @after_receive.setter
    def after_receive(self, hook: Callable[[Received], Any] | None) -> None:
        self._handlers.after_receive = checked_or_none("after_receive", hook, ("packet",))

    @property
    def caught(self) -> CaughtErrors:
        """Exceptions of handlers and listeners, until they are taken."""
        return self._handlers.caught
