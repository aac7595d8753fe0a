"""The server's own key: loaded or made when it starts, with what its earlier keys said of it."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

from ..errors import KeyFileError
from ..keys import Identity, load_or_create
from ..keys.leftovers import remove_leftovers
from ..keys.private import Passphrase
from ..keys.succession import Statement, encode_succession
from ..limits import EXPIRY_WARNING_SECONDS, KEY_AGE_SECONDS
from ..trust.rotation import load_statements, restore_public_file
from ..wire.fields import Mode
from .declared import ServerOptions

log = logging.getLogger("securelink.server")

NAME = "server"


class OwnKey:
    """
    The key of a server: the one that it was given, or the one in its keys folder, which is loaded when it is needed.

    Attributes:
        identity: The key; None before it is loaded, and without encryption.
    """

    def __init__(self, options: ServerOptions) -> None:
        self._folder = options.folder
        self._passphrase = options.passphrase
        self.identity = options.keys if isinstance(options.keys, Identity) else None
        self._needed = options.encryption != Mode.OFF

    def load(self) -> None:
        """
        Load the key, unless that is done.

        Raises:
            KeyFileError: It can neither be loaded nor made.
        """
        if self._needed and self.identity is None and self._folder is not None:
            self.identity = load_own_key(self._folder, self._passphrase)

    def load_again(self) -> None:
        """At each start: the key in the folder may have been rotated since the last one. Raises as `load`."""
        if self._folder is not None:
            self.identity = None
        self.load()

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the key, which is loaded for it; None in plaintext."""
        self.load()
        return self.identity.fingerprint if self._needed and self.identity is not None else None

    def succession(self) -> bytes:
        """The statements of earlier keys of this server about the key that is loaded."""
        if self._folder is None or self.identity is None:
            return b""
        return load_succession(self._folder, self.identity)


def load_own_key(folder: Path, passphrase: Passphrase) -> Identity:
    """
    The key in a folder, made if there is none; the log says so, and warns of a key that is old.

    A public file that shows another key, as a rotation that was interrupted may leave it, is put right, with a warning.

    Raises:
        KeyFileError: It can neither be loaded nor made.
    """
    identity, created = load_or_create(folder, NAME, passphrase)
    if created:
        log.warning(
            "made a new server key in %s: clients that know another one refuse it; "
            "if this server ran in another folder before, its key lies in the keys folder there",
            identity.path,
        )
    elif identity.path is not None:
        _check_public_file(folder, passphrase, identity)
        left = remove_leftovers(folder, NAME)
        if left:
            log.warning(
                "removed %d files of keys in %s that a program which was killed had left there unused",
                len(left),
                folder,
            )
        age = time.time() - os.stat(identity.path).st_mtime
        if age > KEY_AGE_SECONDS:
            log.warning(
                "the server's key is %d days old; 'securelink keys rotate' replaces it, and clients follow",
                age // 86_400,
            )
    return identity


def _check_public_file(folder: Path, passphrase: Passphrase, identity: Identity) -> None:
    try:
        restored = restore_public_file(folder, NAME, passphrase)
    except KeyFileError as error:
        log.warning(
            "this server's key is %s, which its public key file does not say: %s",
            identity.fingerprint,
            error,
        )
    else:
        if restored:
            log.warning(
                "the public key file in %s showed another key than the private one, as after a rotation that was "
                "interrupted; it shows %s again, the key in force. 'securelink keys rotate' may be run again",
                folder,
                identity.fingerprint,
            )


def load_succession(folder: Path, identity: Identity) -> bytes:
    """
    What earlier keys said of this one, as it goes over the wire; the log warns when it soon holds no longer.

    Raises:
        KeyFileError: The file with it is damaged, or could be changed by others.
    """
    statements = load_statements(folder, NAME, identity.public)
    if statements:
        _warn_of_end(statements[0])
    return encode_succession(statements)


def _warn_of_end(last: Statement) -> None:
    if last.expires - time.time() < EXPIRY_WARNING_SECONDS:
        log.warning(
            "clients that know only the server's former key can follow to the new one until %s; "
            "those that come later must be told its fingerprint",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(last.expires)),
        )
