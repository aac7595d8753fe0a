"""Dispatches packets to handlers and listeners, for server and client alike."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from ..errors import CodecError, ConfigError, ConnectionClosed, RequestFailed
from ..limits import MAX_ACTION
from ..options import key
from ..signatures import checked, did_run
from ..text import escaped, kind_of
from ..wire.packets import Packet
from .actions import RESERVED, STATE, checked_action
from .collect import CaughtErrors
from .hooks import PLAIN, EventHook, FailureLog, unheard
from .payloads import converter, is_type
from .pending import Pending, Runner
from .received import Received, Typed

log = logging.getLogger("securelink")

MISSING: Any = object()  # an argument that was not given; None was
_MAX_UNHANDLED = 64  # action names remembered for the warning about missing handlers


class Misfit(Exception):  # never leaves this module
    """The data of a packet does not have the type of its handler."""


class Answering(Protocol):
    """A session's channel, as a reply needs it."""

    def answer(self, packet: Packet, data: Any = None, error: str | None = None) -> None:
        """Send the reply to a request."""

    def is_over(self) -> bool:
        """Whether nothing more can be sent."""


_QUIET = frozenset((STATE,))


class Handlers:
    """
    Handlers by action, listeners for every packet, and the hook after receiving.

    Attributes:
        on_message: Fires for every packet of the application.
        caught: Exceptions of handlers.
        bound: The handlers, by action; read-only for others.
        for_all: Whether something is to be done with every packet, whatever its action.

    Args:
        owner: Its name in examples: "server" or "client".
        takes: Names of a handler's arguments; the last one is the packet.
        changed: Called after a handler or listener was added or removed.
        runner: Runs handlers that are coroutines; None: there are none.
        event: What `on_message` is made of.
    """

    def __init__(
        self,
        owner: str,
        takes: tuple[str, ...],
        changed: Callable[[], None] = unheard,
        runner: Runner | None = None,
        event: Callable[..., EventHook[...]] = EventHook,
    ) -> None:
        self.caught = CaughtErrors()
        self._runner = runner
        self.on_message: EventHook[...] = event(
            "on_message", self.caught.add, takes, changed=self._listeners_changed
        )
        self._listeners: tuple[
            Callable[..., object], ...
        ] = ()  # of on_message: looked at per packet
        self._changed = changed
        self._after_receive: Callable[[Received], Any] | None = None
        self.for_all = False
        self._owner = owner
        self._takes = takes
        self.bound: dict[str, Callable[..., Any]] = {}
        self._unhandled: set[str] = set()
        self._failures = FailureLog()
        self._misfits = FailureLog()
        self._leavers = FailureLog()

    def _listeners_changed(self) -> None:
        self._listeners = self.on_message.listeners
        self.for_all = bool(self._listeners) or self._after_receive is not None
        self._changed()

    @property
    def after_receive(self) -> Callable[[Received], Any] | None:
        """None, or f(packet) that returns the data to use instead of `packet.data`."""
        return self._after_receive

    @after_receive.setter
    def after_receive(self, hook: Callable[[Received], Any] | None) -> None:
        self._after_receive = hook
        self.for_all = bool(self._listeners) or hook is not None

    def on(self, action: Any, kind: Any = MISSING, handler: Any = MISSING) -> Any:
        """
        Bind a handler to an action, as a decorator or at once. A later handler replaces an earlier one.

        An object with a method `run` may be bound too: its `run` is the handler.

        Args:
            action: The name of the packets.
            kind: The type of their data; or the handler, if they have none.
            handler: Called with the arguments that `takes` names.

        Raises:
            ConfigError: The action's name is reserved or missing, the type cannot be checked, or the handler is not
                valid.
        """
        if not isinstance(action, str) or not 0 < len(action) <= MAX_ACTION:
            raise self._bad_action(action)
        action = checked_action(action)
        convert = None
        if kind is not MISSING and is_type(kind):
            convert = converter(action, kind)
        elif kind is not MISSING and handler is MISSING:
            handler = kind
        elif kind is not MISSING:
            raise ConfigError(
                f"the data of {action!r} cannot be {kind_of(kind)}",
                hint=f"write {self._owner}.on({action!r}, a type, a handler)",
            )

        def bind(handler: Any) -> Any:
            self._bind(action, convert, handler)
            return handler

        return bind if handler is MISSING else bind(handler)

    def _bind(self, action: str, convert: Callable[[Any], Any] | None, handler: Any) -> None:
        function = handler if callable(handler) else getattr(handler, "run", handler)
        function = checked(
            f"the handler of {action!r}", function, self._takes, runs=self._runner is not None
        )
        if convert is not None:
            function = _typed(function, convert)
        self.bound[action] = function
        self._changed()

    def _bad_action(self, action: object) -> ConfigError:
        example = f'write @{self._owner}.on("name")'
        if action is MISSING:
            return ConfigError("the name of the action is missing", hint=example)
        if callable(action):
            name = getattr(action, "__name__", type(action).__name__)
            return ConfigError(
                f"on() needs the name of an action before the handler {name}",
                hint=f'write @{self._owner}.on("{name}")',
            )
        return ConfigError(
            f"the name of an action is a text of 1 to {MAX_ACTION} characters, "
            f"not {escaped(repr(action)[:60])}",
            hint=example,
        )

    def off(self, action: Any) -> bool:
        """Remove the handler of an action; False if there was none."""
        key("action", action)
        found = self.bound.pop(action, None) is not None
        self._changed()
        return found

    def bind_reserved(self, action: str, handler: Callable[..., Any]) -> None:
        """Bind one of our own actions."""
        self.bound[action] = handler

    @property
    def any(self) -> bool:
        """Whether any handler or listener is bound. State updates do not count."""
        return bool(self._listeners) or not self.bound.keys() <= _QUIET

    @property
    def actions(self) -> list[str]:
        """The actions that have a handler."""
        return sorted(name for name in self.bound if not name.startswith(RESERVED))

    def run(
        self, channel: Answering, packet: Packet, received: Received, arguments: tuple[Any, ...]
    ) -> Pending | bool:
        """
        Give one packet to its listeners and its handler, and answer it if it is a request.

        Args:
            channel: Of its session.
            packet: As it came.
            received: As handlers see it.
            arguments: Of handlers and listeners.

        Returns:
            False if neither a handler nor a listener wanted it. What is not done yet, if they are coroutines.

        Raises:
            BaseException: One that is not an `Exception`, such as SystemExit, after the packet was answered and all
                listeners were called. The caller decides whether it ends the program.
        """
        if self._after_receive is not None:
            self._rewrite(packet, received)
        handler = self.bound.get(packet.action)
        listeners = self._listeners
        if listeners and not packet.action.startswith(RESERVED):
            try:
                pending = self.on_message.fire(*arguments)
                if pending is not None:
                    return pending.before(
                        lambda: self._after(handler, channel, packet, received, arguments)
                    )
            except BaseException as error:
                if handler is None and packet.id is not None and not received.answered:
                    channel.answer(packet, None, "error")
                if handler is not None and not isinstance(error, KeyboardInterrupt):
                    self._handle(handler, channel, packet, received, arguments)
                raise
        if handler is None:
            answered = packet.id is not None and self._unanswered(channel, packet, received)
            return answered or bool(listeners)
        return self._handle(handler, channel, packet, received, arguments) or True

    def _handle(
        self,
        handler: Callable[..., Any],
        channel: Answering,
        packet: Packet,
        received: Received,
        arguments: tuple[Any, ...],
    ) -> Pending | None:
        try:
            result = handler(*arguments)
            if result is not None and type(result) not in PLAIN:
                if self._runner is not None:
                    pending = self._begun(self._runner, result, channel, packet, received)
                    if pending is not None:
                        return pending
                did_run(result)
            if packet.id is not None and not received.answered:
                channel.answer(packet, result)  # fails for data that cannot be encoded
        except Misfit as misfit:  # another name, because mypyc gives one name one type
            self._misfit(channel, packet, received, misfit)
        except Exception as error:
            self._failed(channel, packet, received, error)
        except KeyboardInterrupt:
            if packet.id is not None and not received.answered:
                channel.answer(packet, None, "error")
            raise
        except BaseException as error:
            # SystemExit, CancelledError, the outcome of a test framework.
            self._failed(channel, packet, received, error)
            raise
        return None

    def _after(
        self,
        handler: Callable[..., Any] | None,
        channel: Answering,
        packet: Packet,
        received: Received,
        arguments: tuple[Any, ...],
    ) -> Pending | None:
        """The listeners are through, which were coroutines."""
        if handler is not None:
            return self._handle(handler, channel, packet, received, arguments)
        if packet.id is not None:
            self._unanswered(channel, packet, received)
        return None

    def _begun(
        self, runner: Runner, result: Any, channel: Answering, packet: Packet, received: Received
    ) -> Pending | None:
        """The handler is a coroutine: what it gives answers the packet later. None: it is no coroutine."""
        if isinstance(result, Pending):
            return result

        def through(result: Any) -> None:
            if result is not None and type(result) not in PLAIN:
                did_run(result)
            if packet.id is not None and not received.answered:
                channel.answer(packet, result)

        def failed(error: BaseException) -> None:
            self._failed(channel, packet, received, error)

        return runner(result, through, failed)

    def _misfit(
        self, channel: Answering, packet: Packet, received: Received, error: Misfit
    ) -> None:
        """The peer is at fault, so there is no traceback; a request is told which field does not fit."""
        self._misfits.note(logging.WARNING, "%s; nobody saw the packet", error)
        if packet.id is not None and not received.answered:
            channel.answer(packet, str(error), "invalid")

    def _rewrite(self, packet: Packet, received: Received) -> None:
        hook = self._after_receive
        assert hook is not None
        try:
            data = hook(received)
            if data is not None and type(data) not in PLAIN:
                did_run(data)
            packet.data = data
        except Exception as error:
            self._failures.log(
                error, "after_receive raised an error; the packet is used as it came"
            )
            self.caught.add("after_receive", error)

    def _failed(
        self, channel: Answering, packet: Packet, received: Received, error: BaseException
    ) -> None:
        if isinstance(error, ConnectionClosed) and channel.is_over():
            self._leavers.note(
                logging.DEBUG,
                "the peer left while the handler of '%s' ran",
                escaped(packet.action),
            )
            return
        waits = packet.id is not None and not received.answered
        # One of another reason is no refusal: it came from a request that the handler itself has made.
        if isinstance(error, RequestFailed) and error.reason == "refused" and waits:
            try:
                channel.answer(packet, error.text, "refused")
                return
            except ConnectionClosed:
                raise
            except Exception as unfit:
                # the text cannot be sent: the requester must not wait for it
                error = unfit
        self._failures.log(
            error,
            "the handler of '%s' raised an error; the session goes on",
            escaped(packet.action),
        )
        self.caught.add(packet.action, error)
        if waits:
            # The peer learns that it failed, but not why: the reason may be confidential.
            channel.answer(packet, None, "error")

    def _unanswered(self, channel: Answering, packet: Packet, received: Received) -> bool:
        if received.answered:
            return False
        channel.answer(packet, None, "no handler")
        return True

    def warn_unhandled(self, action: str, where: str) -> None:
        """Warn once for each action without a handler."""
        if action not in self._unhandled and len(self._unhandled) < _MAX_UNHANDLED:
            self._unhandled.add(action)
            log.warning("nobody handles packets named '%s'; add %s", escaped(action), where)


def _typed(handler: Callable[..., Any], convert: Callable[[Any], Any]) -> Callable[..., Any]:
    """A handler that gets a packet with checked data."""

    def typed(*arguments: Any) -> Any:
        received: Received = arguments[-1]
        try:
            data = convert(received.data)
        except CodecError as error:
            raise Misfit(error.message) from None
        packet = Typed(received, data)
        try:
            return handler(*arguments[:-1], packet)
        finally:
            received.answered = packet.answered

    return typed
