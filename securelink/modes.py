"""The switch: what `encryption=` means."""

from __future__ import annotations

from .errors import ConfigError
from .handshake.wire import Mode

_MODES = {"off": Mode.OFF, "optional": Mode.OPTIONAL, "required": Mode.REQUIRED}


def encryption_mode(encryption: str) -> Mode:
    """
    The mode of an `encryption=` argument.

    Raises:
        ConfigError: It is none of the three words.
    """
    try:
        return _MODES[encryption]
    except (KeyError, TypeError):
        raise ConfigError(
            f"encryption={encryption!r} is not possible", hint="use 'required', 'optional' or 'off'"
        ) from None
