"""
Checks who could change a file: the rule for files of keys, trust, tokens, passwords and operators.

The rule is that of sshd's StrictModes, but it does not stop at the home folder. Every folder, every symbolic link and
the file itself, on the path from the root of the file system, must belong to root or to the user of this process.
Others must not be able to write into any folder on the path: they could put another file under the name of ours, or
remove ours and so turn a changed key into a first use. The sticky bit does not help: it only keeps others from
removing existing files, not from creating one first.

Two exceptions:

- A folder that its group may write passes if that is the private group of the folder's owner: it has his name, is the
  primary group of no other user, has no other member, and no access control list lets others in. Systems with umask
  002 make such folders. Root has no private group.
- The folders that the system has for temporary files (`/tmp`, `/var/tmp`, `/dev/shm`, `$TMPDIR`) pass if root owns them
  and they are sticky, but only on the way to a folder in them that is not writable by others and belongs to root or to
  us. The owner of that folder shows who made it, and others cannot rename it. A file directly in a temporary folder
  is refused.

On systems without such owners and mode bits (Windows), only links are followed.
"""

from __future__ import annotations

import errno
import functools
import os
import shlex
import stat
import time
from pathlib import Path
from typing import NamedTuple

from ..errors import KeyFileError

if os.name == "posix":
    import grp
    import pwd

POSIX = os.name == "posix"  # elsewhere the mode bits of a file do not tell who may read it

_MAX_LINKS = 40  # symbolic links on one path, as in Linux
_MAX_WALKED = 256  # paths that are remembered: a process asks for the same few again and again
_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm", "/private/tmp", "/private/var/tmp")  # noqa: S108  # only compared
_ELSEWHERE = "or keep your keys and trust files in a folder of your own"


def believed_path(path: Path) -> Path:
    """
    The real path of a file, after every folder and link on the way was checked.

    Args:
        path: Absolute. The file, and folders before it, need not exist.

    Raises:
        KeyFileError: Another user could change something on the way, or a link is dangling.
        OSError: The system does not let us check.
    """
    if not POSIX:
        return _without_checks(path)
    name = str(path)
    walked = _walked.get(name)
    if walked is not None and _looks_the_same(walked):
        return walked.real
    walk = _Walk(path)
    real = walk.run()
    if walk.by_looks:
        if len(_walked) >= _MAX_WALKED:
            _walked.clear()
        _walked[name] = _Walked(real, tuple(walk.seen), os.geteuid())
    return real


class _Walked(NamedTuple):
    """
    A path that was found in order.

    Attributes:
        real: Its real path.
        seen: What was looked at on the way, and how it looked: mode, owner and group; None: it was not there.
        user: Of this process.
    """

    real: Path
    seen: tuple[tuple[str, _Looks | None], ...]
    user: int


_Looks = tuple[int, int, int]
_walked: dict[str, _Walked] = {}  # by the path that was asked for


def _looks_the_same(walked: _Walked) -> bool:
    """Whether a walk would see what it saw: then it would find what it found."""
    if walked.user != os.geteuid():
        return False
    for name, looked in walked.seen:
        try:
            info = os.lstat(name)
        except FileNotFoundError:
            if looked is not None:
                return False
            continue
        if looked != (info.st_mode, info.st_uid, info.st_gid):
            return False
    return True


def check_owner(path: Path, info: os.stat_result) -> None:
    """
    Check the owner of an open file.

    Raises:
        KeyFileError: The owner is neither root nor the user of this process.
    """
    if POSIX and not _ours(info):
        raise KeyFileError(
            f"{path} belongs to another user (uid {info.st_uid}), who could change it",
            hint=f"if it is meant for you, run: sudo chown {os.geteuid()} {_quoted(path)}",
        )


def dangling(link: str | Path) -> KeyFileError:
    """The error for a symbolic link whose target does not exist."""
    return KeyFileError(
        f"{link} is a link that leads nowhere",
        hint="restore what it points to, or remove the link",
    )


class _Walk:
    """
    One path from the root of the file system to a file.

    Attributes:
        seen: As in `_Walked`.
        by_looks: Whether what was seen alone has decided: no link, no list of groups, no setting.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._here = "/"
        self._rest = _parts(str(path))
        self._links: list[tuple[str, int]] = []  # each with the number of parts after it
        self._temporary: str | None = None  # the folder for temporary files that was just entered
        self.seen: list[tuple[str, _Looks | None]] = []
        self.by_looks = True

    def run(self) -> Path:
        self._check_folder("/", self._look("/"))
        while self._rest:
            name = self._rest.pop()
            if name == "..":
                self._here = os.path.dirname(self._here)
                self._check_folder(self._here, self._look(self._here))
                continue
            child = os.path.join(self._here, name)
            try:
                info = self._look(child)
            except FileNotFoundError:
                self.seen.append((child, None))
                return self._missing(child)
            if stat.S_ISLNK(info.st_mode):
                self._follow(child, info)
                continue
            if self._temporary is not None and not stat.S_ISDIR(info.st_mode):
                raise self._writable(self._temporary, os.lstat(self._temporary))
            if stat.S_ISDIR(info.st_mode):
                self._check_folder(child, info)
            self._here = child
        return Path(self._here)

    def _look(self, name: str) -> os.stat_result:
        info = os.lstat(name)
        self.seen.append((name, (info.st_mode, info.st_uid, info.st_gid)))
        return info

    def _missing(self, child: str) -> Path:
        for link, after in self._links:
            if len(self._rest) >= after:  # the missing part belongs to the target of the link
                raise dangling(link)
        if self._temporary is not None and not self._rest:
            raise self._writable(self._temporary, os.lstat(self._temporary))
        return Path(child, *reversed(self._rest))

    def _follow(self, link: str, info: os.stat_result) -> None:
        self.by_looks = False
        if not _ours(info):
            raise KeyFileError(
                f"the link {link}, on the way to {self._path}, belongs to another user (uid {info.st_uid})",
                hint=f"remove it, {_ELSEWHERE}",
            )
        if len(self._links) >= _MAX_LINKS:
            raise OSError(errno.ELOOP, "too many symbolic links")
        target = os.readlink(link)
        self._links.append((link, len(self._rest)))
        self._rest += _parts(target)
        if target.startswith("/"):
            self._here = "/"
            self._temporary = None

    def _check_folder(self, folder: str, info: os.stat_result) -> None:
        self._temporary = None
        if info.st_mode & stat.S_IWOTH:
            self.by_looks = self.by_looks and folder in _TEMPORARY
        elif info.st_mode & stat.S_IWGRP:
            self.by_looks = False
        if not _ours(info):
            raise KeyFileError(
                f"the folder {folder}, on the way to {self._path}, belongs to another user (uid {info.st_uid})",
                hint=f"if it is meant for you, run: sudo chown {os.geteuid()} {_quoted(folder)}; {_ELSEWHERE}",
            )
        if not _others_write(info, folder):
            return
        if not _is_temporary(folder, info):
            raise self._writable(folder, info)
        self._temporary = folder

    def _writable(self, folder: str, info: os.stat_result) -> KeyFileError:
        mode = stat.S_IMODE(info.st_mode)
        sticky = ", and the sticky bit does not help" if mode & stat.S_ISVTX else ""
        if _is_temporary(folder, info):
            hint = f"make a folder of your own in it (mkdir -m 700), {_ELSEWHERE}"
        else:
            hint = f"run: chmod go-w {_quoted(folder)}; {_ELSEWHERE}"
        return KeyFileError(
            f"other users can write in the folder {folder} (mode {mode:04o}), on the way to {self._path}{sticky}",
            hint=hint,
        )


def _parts(path: str) -> list[str]:
    """The names in a path, the last one first."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _ours(info: os.stat_result) -> bool:
    return info.st_uid in (0, os.geteuid())


def _others_write(info: os.stat_result, folder: str) -> bool:
    if info.st_mode & stat.S_IWOTH:
        return True
    if not info.st_mode & stat.S_IWGRP:
        return False
    return _has_acl(folder) or not _private_group(info.st_uid, info.st_gid)


def _private_group(uid: int, gid: int) -> bool:
    """Whether a group has no member but its owner (Debian's rule for sshd)."""
    if uid == 0 or gid == 0:
        return False
    try:
        user, group = pwd.getpwuid(uid), grp.getgrgid(gid)
    except (KeyError, OSError):
        return False
    if user.pw_gid != gid or user.pw_name != group.gr_name:
        return False
    # Primary groups are only listed with the users.
    return set(group.gr_mem) <= {user.pw_name} and _whose_primary(gid, _minute()) <= {uid}


def _minute() -> int:
    return int(time.monotonic() // 60)


@functools.lru_cache(maxsize=16)
def _whose_primary(gid: int, _minute: int) -> frozenset[int]:
    """Users with this primary group; looked up once a minute, because a system may have many users."""
    return frozenset(user.pw_uid for user in pwd.getpwall() if user.pw_gid == gid)


def _has_acl(path: str) -> bool:
    """Whether an access control list names others; the group's bits in the mode are then its mask, not the group's."""
    try:
        return "system.posix_acl_access" in os.listxattr(path)
    except (AttributeError, OSError):
        return False  # this system has no such lists


def _is_temporary(folder: str, info: os.stat_result) -> bool:
    named = folder in _TEMPORARY or folder == os.path.normpath(os.environ.get("TMPDIR") or "/")
    return named and folder != "/" and info.st_uid == 0 and bool(info.st_mode & stat.S_ISVTX)


def _without_checks(path: Path) -> Path:
    real = os.path.realpath(path)
    if os.path.islink(path) and not os.path.lexists(real):
        raise dangling(path)
    return Path(real)


def _quoted(path: str | Path) -> str:
    return shlex.quote(str(path))
