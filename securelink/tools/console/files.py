"""Files of a person's own."""

from __future__ import annotations

import os
from pathlib import Path


def private_file(path: Path) -> None:
    """Make a file that only its owner can read, if it is missing: the lines of an operator are private."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
