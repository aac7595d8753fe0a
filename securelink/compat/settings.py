"""
The common part of the adapters: two environment variables, and a server and a client made with them.

The old programs have no argument for either, so they are read from the environment, and only here: the library itself
never looks at it.

SECURELINK_ENCRYPTION: "required" (the default), "optional" or "off". Off is plaintext; both sides say so loudly.
SECURELINK_KEYS: folder of the server's key and of the keys of servers met before; "keys" by default.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..app.declared import ENCRYPTION
from ..client import Client
from ..errors import ConfigError, SecureLinkError
from ..limits import MAX_FRAME_BODY
from ..server import Server


def encryption() -> str:
    """
    The value of SECURELINK_ENCRYPTION.

    Raises:
        ConfigError: It is none of the three words.
    """
    word = os.environ.get("SECURELINK_ENCRYPTION", "required").strip().lower()
    if word not in ENCRYPTION:
        raise ConfigError(
            f"the environment variable SECURELINK_ENCRYPTION is {word!r}",
            hint="use 'required', 'optional' or 'off', or unset it",
        )
    return word


def keys_folder() -> Path:
    """The value of SECURELINK_KEYS, or "keys" in the current folder."""
    return Path(os.environ.get("SECURELINK_KEYS") or "keys")


#: Options in the library's hints, and the replacement for users of an adapter; the first match counts.
_OWN_WORDS = [
    (re.compile(pattern), words)
    for pattern, words in (
        (r"encryption=", "set the environment variable SECURELINK_ENCRYPTION to the same on both sides"),
        (r"max_packet|MAX_FRAME", "send it in several pieces"),
        (r"timeout=", "is the peer reading? send less"),
        (r"keys=|KeyStore|known_servers=", "set the environment variable SECURELINK_KEYS to another folder"),
        (r"host=", "give an address of this machine, or one for all: 0.0.0.0"),
        (r"\bserve\(|\bstart\(\)|\bupdate\(\)", "one program starts it once"),
    )
]  # fmt: skip


def own_hint(hint: str) -> str:
    """
    A hint for a user of an adapter, who does not have the library's calls.

    Args:
        hint: The library's, which may name an option that adapters do not have.

    Returns:
        The same if it names none; otherwise what can be done here, or "" when that is nothing.
    """
    for pattern, words in _OWN_WORDS:
        if pattern.search(hint):
            return words
    return "" if re.search(r"\b\w+=|\b[A-Z]\w+[.(]", hint) else hint


@contextmanager
def own_words() -> Iterator[None]:
    """Errors that leave this block have hints in the words of the adapters."""
    try:
        yield
    except SecureLinkError as error:
        error.hint = own_hint(error.hint)
        raise


def make_server(host: str, port: int, **options: Any) -> Server:
    """
    A server with these settings, for packets of any size; `options` are those of `Server`.

    A session ends with its connection, as it did in the old programs: they are told of an end, and of no pause.
    """
    options.setdefault("max_packet", MAX_FRAME_BODY)
    options.setdefault("resume", 0)
    return Server(host, port, keys=keys_folder(), encryption=encryption(), **options)


class ForgettableClient(Client):
    """A client that is left without a warning when its program forgets it: the old ones had no call to close one."""

    def __del__(self, warn: Callable[..., None] = lambda *_, **__: None) -> None:
        super().__del__(warn)


def make_client(host: str, port: int, **options: Any) -> Client:
    """
    A client with these settings; `options` are those of `Client`.

    The old programs know no fingerprints: a server is trusted on first use and must show the same key ever after.
    """
    options.setdefault("trust", "first-use")
    options.setdefault("known_servers", keys_folder() / "known_servers")
    options.setdefault("reconnect", False)
    return ForgettableClient(host, port, encryption=encryption(), **options)
