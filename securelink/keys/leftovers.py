"""New keys that were never put in their place, because the process was killed before."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from functools import partial
from pathlib import Path

from .files import POSIX

_LEFTOVER_SECONDS = 3600.0  # a new file is put in its place within seconds


def remove_leftovers(folder: Path, name: str) -> list[Path]:
    """
    Remove the new keys that a process which was killed has left (see `files.write_temporary`).

    Only files of ours, of that name, that are older than an hour: another process may be at work on younger ones.

    Args:
        folder: Of the keys.
        name: What the names of the keys begin with.

    Returns:
        What was removed. What cannot be stays: it does no harm but to be a private key that nobody uses.
    """
    ours = re.compile(
        rf"\.[0-9a-f]{{16}}-{re.escape(name)}(-old-[0-9a-f]{{8}})?_(private|public)\.pem"
    )
    removed = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in filter(partial(_is_leftover, ours), entries):
            with contextlib.suppress(OSError):
                os.unlink(entry.path)
                removed.append(Path(entry.path))
    return removed


def _is_leftover(ours: re.Pattern[str], entry: os.DirEntry[str]) -> bool:
    if not ours.fullmatch(entry.name):
        return False
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError:
        return False
    mine = not POSIX or found.st_uid == os.geteuid()
    return mine and stat.S_ISREG(found.st_mode) and time.time() - found.st_mtime > _LEFTOVER_SECONDS
