"""
The keys that a state file is sealed under: a ring of up to three in `keys/state.key`.

Each line is a role (`new`, `current` or `old`), an id and a key. What is written is sealed under the current one; what
was written under another one of the ring is read, and sealed anew at the next start.
"""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path

from ..errors import StateError
from ..keys.files import NewFile, absolute, create_files, exists, make_folder, read_file
from ..limits import MAX_KEY_FILE

NAME = "state.key"
KEY_SIZE = 32
ID_SIZE = 4
_ROLES = ("new", "current", "old")
_OTHERS = 0o077
_ABOUT = "# securelink: the keys of the state file. Without them it cannot be read: back both up.\n"


class StateKeys:
    """
    A ring of keys.

    Args:
        ring: Role -> (id, key); a current one at least.
        path: The file, for errors.

    Attributes:
        current: Id of the one to seal with.
    """

    def __init__(self, ring: dict[str, tuple[bytes, bytes]], path: Path) -> None:
        self.path = path
        self.current = ring["current"][0]
        self._keys = dict(ring.values())

    def __repr__(self) -> str:
        return f"<StateKeys of {self.path}>"

    def key(self, identity: bytes) -> bytes | None:
        """The key with this id, if it is here."""
        return self._keys.get(identity)

    @classmethod
    def load_or_make(cls, folder: Path) -> StateKeys:
        """
        The ring of a keys folder, made if there is none.

        Raises:
            KeyFileError: The file cannot be read or made, or others can read or change it.
            StateError: It is damaged.
        """
        path = absolute(folder) / NAME
        if not exists(path):
            make_folder(path.parent)
            line = _line("current", os.urandom(ID_SIZE), os.urandom(KEY_SIZE))
            create_files([NewFile(path, (_ABOUT + line).encode())])
        return cls(_parsed(read_file(path, MAX_KEY_FILE, forbidden=_OTHERS), path), path)


def _line(role: str, identity: bytes, key: bytes) -> str:
    return f"{role} {identity.hex()} {base64.b64encode(key).decode()}\n"


def _parsed(data: bytes, path: Path) -> dict[str, tuple[bytes, bytes]]:
    ring: dict[str, tuple[bytes, bytes]] = {}
    for number, line in enumerate(data.split(b"\n"), 1):
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        role = words[0].decode("ascii", "replace")
        try:
            _, identity, key = words
            entry = (binascii.unhexlify(identity), base64.b64decode(key, validate=True))
        except ValueError:
            entry = (b"", b"")
        if role not in _ROLES or role in ring or tuple(map(len, entry)) != (ID_SIZE, KEY_SIZE):
            raise StateError(  # without the line, which is a key
                f"line {number} of {path} is no key of a state file",
                hint="restore it from a backup: sessions that are sealed under a lost key are lost",
            )
        ring[role] = entry
    if "current" not in ring:
        raise StateError(
            f"{path} has no current key", hint="restore it from a backup, or name a new state file"
        )
    return ring
