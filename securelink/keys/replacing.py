"""Files that are replaced in one step: readers see the old one or the new one, also after a power cut."""

from __future__ import annotations

import os
import time
from pathlib import Path

from .failures import mapped_errors
from .files import POSIX, NewFile, discard, sync_folder, write_temporary

_PAUSE = 0.01


def replace_file(path: Path, data: bytes, *, alone: bool = False) -> None:
    """
    Put new content in the place of a file, or make it. When this returns it is on the disk.

    Args:
        path: After symbolic links, in a folder that was checked.
        data: The content.
        alone: Whether nobody else writes it meanwhile, because the caller has its lock. Then a process that is killed
            here leaves `<path>.new`, which the next call removes.

    Raises:
        KeyFileError: It cannot be written. The old one is still there.
    """
    name = f"{path.name}.new" if alone else ""
    with mapped_errors("write", path):
        if name:
            discard(path.with_name(name))
        source = write_temporary(NewFile(path, data), name)
        try:
            _rename_over(source, path)
        except BaseException:
            discard(source)
            raise
    sync_folder(path.parent)


def _rename_over(source: Path, path: Path) -> None:
    # Windows refuses while another process reads the old file, which takes only a moment.
    for _ in range(0 if POSIX else 50):
        try:
            os.replace(source, path)
        except PermissionError:
            time.sleep(_PAUSE)
        else:
            return
    os.replace(source, path)
