"""A cache of private keys from files: reading one takes a tenth of a second."""

from __future__ import annotations

import os
from pathlib import Path

from .. import crypto
from ..limits import MAX_KEY_FILE, MAX_LOADED_KEYS
from .private import Passphrase, private_key
from .remembered import Remembered

_OTHERS = 0o077  # any permission of group and others
_MISSING = "check the path, or make a key with createEncryptKeys()"
# Makes the marks of passphrases useless outside this process.
_SALT = os.urandom(32)


class _KeyFile:
    """
    One state of a private key file, and its key once it was read.

    A key is returned without a passphrase only if the file has none.
    """

    __slots__ = ("_data", "_open", "_unlocked")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._open: crypto.RSAPrivateKey | None = None  # the key of a file without passphrase
        self._unlocked: tuple[bytes, crypto.RSAPrivateKey] | None = None  # mark of the passphrase

    def key(self, passphrase: Passphrase, source: str) -> crypto.RSAPrivateKey:
        if self._open is not None:
            return self._open
        if not isinstance(passphrase, str | bytes):
            key = private_key(self._data, passphrase, source)
            self._open = key
            return key
        secret = (
            passphrase.encode("utf-8", "surrogatepass")
            if isinstance(passphrase, str)
            else passphrase
        )
        mark = crypto.hmac_sha256(_SALT, secret)
        if self._unlocked is not None and crypto.equal(self._unlocked[0], mark):
            return self._unlocked[1]
        key = private_key(self._data, passphrase, source)
        self._unlocked = (mark, key)
        return key


_files: dict[Path, Remembered[_KeyFile]] = {}


def load_private_key(path: Path, passphrase: Passphrase) -> crypto.RSAPrivateKey:
    """
    The key in a private key file; read once for each state of the file and passphrase. The file's owner and
    permissions are checked each time. Safe to call from any thread and after a fork: no lock is used, and two
    concurrent threads may both read.

    Args:
        path: Absolute.
        passphrase: Needed only if the file is encrypted.

    Raises:
        KeyFileError: As `Identity.load`.
        ConfigError: The passphrase cannot be one.
    """
    file = _files.get(path)
    if file is None:
        if len(_files) >= MAX_LOADED_KEYS:
            _files.clear()
        file = Remembered(path, _KeyFile, limit=MAX_KEY_FILE, forbidden=_OTHERS, missing=_MISSING)
        _files[path] = file
    return file.get().key(passphrase, str(path))
