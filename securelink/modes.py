"""What arguments that server and client share must look like."""

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


def check_place(host: object, port: object, example: str) -> None:
    """
    Look at `host` and `port` as somebody typed them.

    Raises:
        ConfigError: The host is no text, or the port no number. Whether it is one of TCP, the system says.
    """
    if not isinstance(host, str):
        raise ConfigError(f"host is a name or an address, not {host!r}", hint=f"write {example}")
    if not isinstance(port, int) or isinstance(port, bool):
        raise ConfigError(f"{port!r} is no TCP port", hint=f"write {example}")
