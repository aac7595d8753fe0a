"""Several ready-made hooks as one."""

from __future__ import annotations

from typing import Any

from ..errors import ConfigError, Refused
from ..signatures import checked
from .hello import Authenticate, Hello, ReadyMade, please
from .hook import CallsBack, NoAnswer, ask


class _FirstOf(CallsBack):
    """See `first_of`."""

    def __init__(self, hooks: tuple[ReadyMade, ...]) -> None:
        self._hooks = hooks

    def check_functions(self, *, runs: bool) -> None:
        """See `CallsBack`."""
        for hook in self._hooks:
            if isinstance(hook, CallsBack):
                hook.check_functions(runs=runs)

    def __call__(self, hello: Hello) -> Any:
        """Return the user, or raise `Refused`."""
        refusals = []
        for hook in self._hooks:
            if hook.accepts(hello.credentials):
                try:
                    return ask(hook, hello)
                except NoAnswer:
                    raise  # a mistake in the program, which no other hook may hide
                except Refused as refusal:
                    refusals.append(refusal.text)
        raise Refused(refusals[0] if refusals else please(*self._hooks))


def first_of(*hooks: ReadyMade) -> Authenticate:
    """
    Combine ready-made hooks: those that accept the kind of credentials are called, in this order.

    Args:
        hooks: Such as `JoinTokens` and `Passwords`.

    Returns:
        A hook that returns the first user, or raises the first refusal if there is none.

    Raises:
        ConfigError: There are no hooks, or one of them is not valid.
    """
    if not hooks:
        raise ConfigError("first_of() needs at least one hook")
    for hook in hooks:
        checked("a hook of first_of()", hook, ("hello",))
        checked("accepts() of a hook of first_of()", getattr(hook, "accepts", None), ("hello",))
    return _FirstOf(hooks)
