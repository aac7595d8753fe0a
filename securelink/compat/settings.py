"""
What the adapters share: two environment variables, and a server and a client made with them.

The old programs have no argument for either, so they are read from the environment, and only here: the library itself
never looks at it.

SECURELINK_ENCRYPTION: "required" (the default), "optional" or "off". Off is plaintext; both sides say so loudly.
SECURELINK_KEYS: folder of the server's key and of the keys of servers met before; "keys" by default.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..client import Client
from ..errors import ConfigError
from ..limits import MAX_FRAME_BODY
from ..modes import encryption_mode
from ..server import Server


def encryption() -> str:
    """
    The value of SECURELINK_ENCRYPTION.

    Raises:
        ConfigError: It is none of the three words.
    """
    word = os.environ.get("SECURELINK_ENCRYPTION", "required").strip().lower()
    try:
        encryption_mode(word)
    except ConfigError:
        raise ConfigError(
            f"the environment variable SECURELINK_ENCRYPTION is {word!r}",
            hint="use 'required', 'optional' or 'off', or unset it",
        ) from None
    return word


def keys_folder() -> Path:
    """The value of SECURELINK_KEYS, or "keys" in the current folder."""
    return Path(os.environ.get("SECURELINK_KEYS") or "keys")


def make_server(host: str, port: int, **options: Any) -> Server:
    """A server with these settings, for packets of any size; `options` are those of `Server`."""
    options.setdefault("max_packet", MAX_FRAME_BODY)
    return Server(host, port, keys=keys_folder(), encryption=encryption(), **options)


def make_client(host: str, port: int, **options: Any) -> Client:
    """
    A client with these settings; `options` are those of `Client`.

    The old programs know no fingerprints: a server is trusted on first use and must show the same key ever after.
    """
    options.setdefault("trust", "first-use")
    options.setdefault("known_servers", keys_folder() / "known_servers")
    return Client(host, port, encryption=encryption(), **options)
