"""The argument `encryption=` of server and client."""

from __future__ import annotations

from ..options import word
from ..wire.fields import Mode

_MODES = {"off": Mode.OFF, "optional": Mode.OPTIONAL, "required": Mode.REQUIRED}


def encryption_mode(encryption: str) -> Mode:
    """
    The mode of an `encryption=` argument.

    Raises:
        ConfigError: It is not one of the three words.
    """
    return _MODES[word("encryption", encryption, _MODES)]
