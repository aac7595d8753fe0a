"""What an earlier step of a handshake has made: without that step the call is out of order."""

from __future__ import annotations

from typing import TypeVar

from ..errors import ConfigError

T = TypeVar("T")


def made_before(value: T | None, step: str) -> T:
    """
    The value, which a step before this one has made. `assert` would not do: `python -O` drops it.

    Args:
        value: None when that step was not taken.
        step: The method that needs it.

    Raises:
        ConfigError: It was not taken.
    """
    if value is None:
        raise ConfigError(
            f"{step}() comes too early: the step before it was not taken",
            hint="take the steps of a handshake in their order; each event says which one is next",
        )
    return value
