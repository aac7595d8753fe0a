"""Several ready-made hooks as one."""

from __future__ import annotations

from typing import Any

from ..errors import ConfigError, Refused
from .hello import Authenticate, Hello, ReadyMade, please
from .hook import NoAnswer, ask, checked_hook


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
        checked_hook(hook, "a hook of first_of()")
        checked_hook(getattr(hook, "accepts", None), "accepts() of a hook of first_of()")

    def authenticate(hello: Hello) -> Any:
        refusals = []
        for hook in hooks:
            if hook.accepts(hello.credentials):
                try:
                    return ask(hook, hello)
                except NoAnswer:
                    raise  # a mistake in the program, which no other hook may hide
                except Refused as refusal:
                    refusals.append(refusal.text)
        raise Refused(refusals[0] if refusals else please(*hooks))

    return authenticate
