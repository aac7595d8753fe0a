"""Binding handlers to packets, as an application does it: common to both sides, and typed for each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, overload

from .app.answers import Answer
from .app.collect import CaughtErrors
from .app.context import ClientContext, ServerContext
from .app.handlers import MISSING, Handlers
from .app.received import Received, Typed
from .session import Session
from .signatures import checked_or_none

Result = TypeVar("Result", bound=Answer)
Data = TypeVar("Data")


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


ServerBeforeSend = Callable[[Any, str, Any], Any]  # the first is the session, or None


class ServerHooks(Dispatching):
    """The hooks that a server has beside its handlers."""

    _context: ServerContext

    @property
    def before_send(self) -> ServerBeforeSend | None:
        """
        A hook: f(session or None, action, data) gives the data to send instead, of packets, requests and states. What a
        handler returns as its answer goes out as it is.
        """
        return self._context.before_send

    @before_send.setter
    def before_send(self, hook: ServerBeforeSend | None) -> None:
        self._context.before_send = checked_or_none(
            "before_send", hook, ("session", "action", "data")
        )

    @property
    def actions(self) -> list[str]:
        """The actions that have a handler."""
        return self._handlers.actions


class ServerRuns(Protocol):
    """An object whose `run` is a handler."""

    def run(self, session: Session, packet: Received, /) -> Answer:
        """Handle one packet."""


ServerBound = TypeVar("ServerBound", bound=Callable[[Session, Received], Answer] | ServerRuns)


class ServerBinder(Protocol[Data]):
    """What `on(action, type)` gives: a decorator."""

    def __call__(
        self, handler: Callable[[Session, Typed[Data]], Result], /
    ) -> Callable[[Session, Typed[Data]], Result]:
        """Bind the handler."""


class ServerDispatching(ServerHooks):
    """The handlers of a server: `f(session, packet)`."""

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
        """
        Bind a handler to the packets of one name: `f(session, packet)`. A later one replaces an earlier.

            @server.on("move")
            def move(session, packet): ...

            @server.on("jump", Jump)                        # a dataclass or msgspec.Struct
            def jump(session, packet): packet.data.height

        What it returns answers a `request()`. An object with a method `run(session, packet)` may be bound too.

        Args:
            action: 1 to 255 characters that do not begin with "~".
            data_type: What the data must be. Other packets never reach the handler: a request is answered with
                `RequestFailed`, which names the field; the session goes on, and the log has a line.
            handler: The handler, when this is no decorator.

        Raises:
            ConfigError: The name is not possible; or the handler cannot be called, takes other arguments, is
                `async def`, a generator or a class; or the type has parts that cannot be made out of data.
        """
        return self._handlers.on(action, data_type, handler)


ClientBeforeSend = Callable[[str, Any], Any]


class ClientHooks(Dispatching):
    """The hooks that a client has beside its handlers."""

    _hooks: ClientContext

    @property
    def before_send(self) -> ClientBeforeSend | None:
        """
        A hook: f(action, data) gives the data to send instead, of packets, requests and states. What a handler returns
        as its answer goes out as it is.
        """
        return self._hooks.before_send

    @before_send.setter
    def before_send(self, hook: ClientBeforeSend | None) -> None:
        self._hooks.before_send = checked_or_none("before_send", hook, ("action", "data"))


class ClientRuns(Protocol):
    """An object whose `run` is a handler."""

    def run(self, packet: Received, /) -> Answer:
        """Handle one packet."""


ClientBound = TypeVar("ClientBound", bound=Callable[[Received], Answer] | ClientRuns)


class ClientBinder(Protocol[Data]):
    """What `on(action, type)` gives: a decorator."""

    def __call__(
        self, handler: Callable[[Typed[Data]], Result], /
    ) -> Callable[[Typed[Data]], Result]:
        """Bind the handler."""


class ClientDispatching(ClientHooks):
    """The handlers of a client: `f(packet)`."""

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
        """
        Bind a handler to the packets of one name: `f(packet)`. A later one replaces an earlier.

            @client.on("said")
            def said(packet): print(packet.data)

            @client.on("moved", Moved)                      # a dataclass or msgspec.Struct
            def moved(packet): print(packet.data.x)

        What it returns answers a `request()` of the server. An object with a method `run(packet)` may be bound too.

        Args:
            action: As for `Server.on`.
            data_type: Likewise.
            handler: Likewise.

        Raises:
            ConfigError: As for `Server.on`.
        """
        return self._handlers.on(action, data_type, handler)
