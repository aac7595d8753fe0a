"""From a packet to the code that wants it: the same for server and client."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from .codec import Packet
from .collect import CaughtErrors
from .errors import ConfigError, RequestFailed
from .events import EventHook, FailureLog
from .received import Received
from .text import escaped

log = logging.getLogger("securelink")

Handler = TypeVar("Handler", bound=Callable[..., Any])
Bound = TypeVar("Bound")  # a function, or an object with a method run()

RESERVED = "~"  # actions that begin so are ours
STATE = "~state"
_MAX_UNHANDLED = 64  # action names remembered for the warning about missing handlers


class Answering(Protocol):
    """A session, as far as a reply needs it."""

    def _answer(self, packet: Packet, data: Any = None, error: str | None = None) -> None: ...


class Handlers:
    """
    Handlers by action, listeners for every packet, and the hook after receiving.

    Attributes:
        on_message: Fires for every packet of the application.
        after_receive: None, or f(packet) that returns the data to use instead of `packet.data`.
        caught: What handlers raised.
    """

    def __init__(self) -> None:
        self.caught = CaughtErrors()
        self.on_message = EventHook("on_message", self.caught.add)
        self.after_receive: Callable[[Received], Any] | None = None
        self._by_action: dict[str, Callable[..., Any]] = {}
        self._unhandled: set[str] = set()
        self._failures = FailureLog()

    def on(self, action: str, handler: Callable[..., Any] | None = None) -> Any:
        """
        Bind a handler to an action, as a decorator or at once. A later one replaces an earlier.

        An object with a method `run` may be bound too: its `run` is the handler.

        Raises:
            ConfigError: The action's name is ours, or the handler cannot be called.
        """
        if not isinstance(action, str) or not action or action.startswith(RESERVED):
            raise ConfigError(
                f"{action!r} cannot be the name of an action",
                hint=f"use a text that does not begin with {RESERVED!r}",
            )

        def bind(handler: Handler) -> Handler:
            function = handler if callable(handler) else getattr(handler, "run", None)
            if not callable(function):
                raise ConfigError(f"the handler of {action!r} is no function and has no run()")
            self._by_action[action] = function
            return handler

        return bind if handler is None else bind(handler)

    def off(self, action: str) -> bool:
        """Remove the handler of an action; False when there was none."""
        return self._by_action.pop(action, None) is not None

    def bind_reserved(self, action: str, handler: Callable[..., Any]) -> None:
        """Bind one of our own actions."""
        self._by_action[action] = handler

    @property
    def any(self) -> bool:
        """Whether there is anything that packets go to by themselves. State alone is looked at, not waited for."""
        return bool(self.on_message.listeners) or any(action != STATE for action in self._by_action)

    @property
    def actions(self) -> list[str]:
        """The actions that have a handler."""
        return sorted(name for name in self._by_action if not name.startswith(RESERVED))

    def run(self, session: Answering, packet: Packet, received: Received, *arguments: Any) -> bool:
        """
        Give one packet to its listeners and its handler, and answer it if it is a request.

        Returns:
            False when nobody wanted it.
        """
        if self.after_receive is not None:
            self._rewrite(packet, received)
        handler = self._by_action.get(packet.action)
        listeners = self.on_message._listeners
        if listeners and not packet.action.startswith(RESERVED):
            self.on_message.fire(*arguments)
        if handler is None:
            answered = packet.id is not None and self._unanswered(session, packet, received)
            return answered or bool(listeners)
        try:
            result = handler(*arguments)
            if packet.id is not None and not received._answered:
                session._answer(packet, result)  # fails for what cannot be encoded
        except Exception as error:
            self._failed(session, packet, received, error)
        return True

    def _rewrite(self, packet: Packet, received: Received) -> None:
        assert self.after_receive is not None
        try:
            packet.data = self.after_receive(received)
        except Exception as error:
            log.exception("after_receive raised an error; the packet is used as it came")
            self.caught.add("after_receive", error)

    def _failed(
        self, session: Answering, packet: Packet, received: Received, error: Exception
    ) -> None:
        waits = packet.id is not None and not received._answered
        if isinstance(error, RequestFailed) and waits:
            session._answer(packet, error.text, "refused")
            return
        self._failures.log(
            error,
            "the handler of '%s' raised an error; the session goes on",
            escaped(packet.action),
        )
        self.caught.add(packet.action, error)
        if waits:
            # The peer learns that it failed, not why: the reason may be nobody else's business.
            session._answer(packet, None, "error")

    def _unanswered(self, session: Answering, packet: Packet, received: Received) -> bool:
        if received._answered:
            return False
        session._answer(packet, None, "no handler")
        return True

    def warn_unhandled(self, action: str, where: str) -> None:
        """Say once for each action that nobody handles it."""
        if action not in self._unhandled and len(self._unhandled) < _MAX_UNHANDLED:
            self._unhandled.add(action)
            log.warning("nobody handles packets named '%s'; add %s", escaped(action), where)
