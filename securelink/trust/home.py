"""The one place of a user for data without a project: `known_servers` of clients without keys."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

import platformdirs

from ..errors import SecureLinkError
from ..keys.files import absolute
from .servers import KnownServers

HOME_VARIABLE = "SECURELINK_HOME"
KNOWN_SERVERS = "known_servers"


def user_folder() -> Path:
    """
    The folder, which may not exist yet: `$SECURELINK_HOME`, or the system's place for a user's data.

    That is `~/.local/share/securelink` (or `$XDG_DATA_HOME/securelink`) on Linux,
    `~/Library/Application Support/securelink` on macOS and `%LOCALAPPDATA%\\securelink` on Windows.

    Raises:
        ConfigError: The variable does not contain a path.
    """
    folder = os.environ.get(HOME_VARIABLE) or platformdirs.user_data_dir("securelink", False)
    return absolute(folder)


def user_known_servers() -> Path:
    """The file of the servers that this user has met with clients that have no keys folder of their own."""
    return user_folder() / KNOWN_SERVERS


def forget_last_holders(places: Iterable[tuple[str, int]]) -> None:
    """
    A server of this user has got its port from the system: what the user's file says of an earlier one there is over.

    Otherwise the user's clients would take the new server for an impostor until the entry expires. Only this user (and
    root) can change the file, so a server that somebody else has put there is still refused. A file that cannot be read
    or written stays: clients say what is wrong with it, and a server needs nothing of it.
    """
    for host, port in places:
        with contextlib.suppress(SecureLinkError):
            KnownServers(user_known_servers()).forget_expiring(host, port)
