"""Binding handlers to packets, for type checkers: here they may be coroutines."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar, overload

from ..app.answers import Answer
from ..app.handlers import MISSING
from ..app.received import Received, Typed
from ..dispatching import ClientHooks, ServerHooks
from .session import Session

Handled = Answer | Awaitable[Answer]
Result = TypeVar("Result", bound=Answer | Awaitable[Answer])
Data = TypeVar("Data")


class ServerRuns(Protocol):
    """An object whose `run` is a handler."""

    def run(self, session: Session, packet: Received, /) -> Handled:
        """Handle one packet."""


ServerBound = TypeVar("ServerBound", bound=Callable[[Session, Received], Handled] | ServerRuns)


class ServerBinder(Protocol[Data]):
    """What `on(action, type)` gives: a decorator."""

    def __call__(
        self, handler: Callable[[Session, Typed[Data]], Result], /
    ) -> Callable[[Session, Typed[Data]], Result]:
        """Bind the handler."""


class ServerBinding(ServerHooks):
    """As `ServerDispatching`."""

    @overload
    def on(self, action: str) -> Callable[[ServerBound], ServerBound]: ...

    @overload  # a class can be called, too; the first that fits is meant
    def on(self, action: str, data_type: type[Data]) -> ServerBinder[Data]: ...  # type: ignore[overload-overlap]

    @overload
    def on(
        self, action: str, data_type: type[Data], handler: Callable[[Session, Typed[Data]], Result]
    ) -> Callable[[Session, Typed[Data]], Result]: ...

    @overload
    def on(self, action: str, handler: ServerBound, /) -> ServerBound: ...

    @overload
    def on(self, action: str, *, handler: ServerBound) -> ServerBound: ...

    def on(self, action: Any = MISSING, data_type: Any = MISSING, handler: Any = MISSING) -> Any:
        """Bind a handler, `f(session, packet)`, as `securelink.Server.on` does. It may be `async def`."""
        return self._handlers.on(action, data_type, handler)


class ClientRuns(Protocol):
    """An object whose `run` is a handler."""

    def run(self, packet: Received, /) -> Handled:
        """Handle one packet."""


ClientBound = TypeVar("ClientBound", bound=Callable[[Received], Handled] | ClientRuns)


class ClientBinder(Protocol[Data]):
    """What `on(action, type)` gives: a decorator."""

    def __call__(
        self, handler: Callable[[Typed[Data]], Result], /
    ) -> Callable[[Typed[Data]], Result]:
        """Bind the handler."""


class ClientBinding(ClientHooks):
    """As `ClientDispatching`."""

    @overload
    def on(self, action: str) -> Callable[[ClientBound], ClientBound]: ...

    @overload  # a class can be called, too; the first that fits is meant
    def on(self, action: str, data_type: type[Data]) -> ClientBinder[Data]: ...  # type: ignore[overload-overlap]

    @overload
    def on(
        self, action: str, data_type: type[Data], handler: Callable[[Typed[Data]], Result]
    ) -> Callable[[Typed[Data]], Result]: ...

    @overload
    def on(self, action: str, handler: ClientBound, /) -> ClientBound: ...

    @overload
    def on(self, action: str, *, handler: ClientBound) -> ClientBound: ...

    def on(self, action: Any = MISSING, data_type: Any = MISSING, handler: Any = MISSING) -> Any:
        """Bind a handler, `f(packet)`, as `securelink.Client.on` does. It may be `async def`."""
        return self._handlers.on(action, data_type, handler)
