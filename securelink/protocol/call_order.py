"""What is said of calls that are out of order: the steps of a handshake are taken one after the other."""

from __future__ import annotations

from typing import TypeVar

from ..errors import ConfigError
from .states import MOVES, Input, State

T = TypeVar("T")


def made_before(value: T | None, step: str) -> T:
    """
    Return a value that an earlier step has made. `assert` is not enough, because `python -O` removes it.

    Args:
        value: None if that step was not taken.
        step: The method that needs it.

    Raises:
        ConfigError: The step was not taken.
    """
    if value is None:
        raise ConfigError(
            f"{step}() comes too early: the step before it was not taken",
            hint="take the steps of a handshake in their order; each event says which one is next",
        )
    return value


def misplaced(step: str, state: State, given: Input) -> ConfigError:
    """
    The error of a step that this state does not have.

    Args:
        step: The method that was called.
        state: The state of the connection.
        given: The input that the step is.
    """
    states = " or ".join(known.value for known, move in MOVES if move is given)
    return ConfigError(
        f"{step}() does not belong here: the connection is {state.value}",
        hint=f"call it once, when the connection is {states}",
    )
