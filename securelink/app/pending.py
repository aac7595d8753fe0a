"""What an application has begun and not done: coroutines, in a shell that runs them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Protocol

_numbers = itertools.count(1)

After = Callable[[BaseException | None], None]


class Pending:
    """
    A part of the application that goes on by itself.

    Args:
        number: Of what it is a part of, if it is.

    Attributes:
        number: Names it, below 0, as the identity of a thread names that: see `Loop.identity`.
        active: It is not done.
        called_off: Nobody needs it, nor what comes behind it.
        cancel: Ends it soon; None: that is not possible now.
    """

    __slots__ = ("_afterwards", "_error", "active", "called_off", "cancel", "number")

    def __init__(self, number: int = 0) -> None:
        self.number = number or -next(_numbers)
        self.active = True
        self.cancel: Callable[[], object] | None = None
        self.called_off = False
        self._error: BaseException | None = None
        self._afterwards: list[After] = []

    def then(self, act: After) -> None:
        """Do this when it is done, behind what was to be done before; with its error, if it failed."""
        if self.active:
            self._afterwards.append(act)
        else:
            act(self._error)

    def before(self, act: Callable[[], Pending | None]) -> Pending:
        """The whole of this and of what comes behind it, which may go on by itself likewise."""
        whole = Pending(self.number)
        whole.cancel = self.call_off

        def go_on(error: BaseException | None) -> None:
            more = None
            try:
                if not whole.called_off:
                    more = act()
            finally:
                if more is None:
                    whole.done(error)
            if more is not None:
                whole.cancel = more.call_off
                more.then(whole.done)

        self.then(go_on)
        return whole

    def call_off(self) -> None:
        """Nobody needs it any more, nor what comes behind it. In the thread that runs it."""
        self.called_off = True
        if self.active and self.cancel is not None:
            self.cancel()

    def done(self, error: BaseException | None = None) -> None:
        """By who runs it, once."""
        self.active = False
        self.cancel = None
        self._error = error
        afterwards, self._afterwards = self._afterwards, []
        for act in afterwards:
            act(error)


class Runner(Protocol):
    """Runs coroutines of the application; a shell with threads has none."""

    @property
    def event(self) -> Callable[..., Any]:
        """Makes an event whose listeners may be coroutines, as `EventHook` makes others."""

    def __call__(
        self,
        awaitable: Any,
        result: Callable[[Any], None] | None = None,
        failed: Callable[[BaseException], None] | None = None,
    ) -> Pending | None:
        """
        Begin one.

        Args:
            awaitable: What a function of the application has returned.
            result: Called with what it gives.
            failed: Called when it, or that, has failed.

        Returns:
            None if it is nothing to be awaited.
        """
