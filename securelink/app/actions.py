"""
The names of actions: which are ours, and which an application may use.

This module is not compiled: a name of a wrong type gets an error of the library, and no TypeError of the compiler.
"""

from __future__ import annotations

from ..errors import ConfigError
from ..text import escaped

RESERVED = "~"  # actions with this prefix are ours
STATE = "~state"


class OwnAction(str):
    """The name of one of our own actions, which begins with "~", so that applications cannot use it by mistake."""

    __slots__ = ()


def checked_action(action: str) -> str:
    """
    Check the name of an action that an application, or one of our tools, uses.

    Raises:
        ConfigError: It begins with "~", which only an `OwnAction` may.
    """
    if isinstance(action, str) and action.startswith(RESERVED):  # the codec refuses other types
        if isinstance(action, OwnAction):
            return str(action)
        raise ConfigError(
            f"{escaped(repr(action))} cannot be the name of an action",
            hint=f"use a text that does not begin with {RESERVED!r}",
        )
    return action
