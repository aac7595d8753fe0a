"""The one place of a user for data without a project: `known_servers` of clients without keys."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from ..keys.files import absolute

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
