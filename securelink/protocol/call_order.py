"""Checks that a result of an earlier step of a handshake exists: otherwise the call is out of order."""

from __future__ import annotations

from typing import TypeVar

from ..errors import ConfigError

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
