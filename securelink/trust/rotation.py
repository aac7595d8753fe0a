"""
Rotation of a server's key on disk: a new key in the place of the old one, and what the old one said of it.

Which key is in force is decided by the private file alone, and that is replaced last, in one step. A rotation that was
interrupted before leaves the old key in force, perhaps beside the public file of the new one; `restore_public_file()`
mends that at the next start. Statements are written first: they are about a key that nobody shows until then.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ..errors import ConfigError, KeyFileError, ProtocolError
from ..keys import Identity, PublicKey, fingerprint_digest
from ..keys.failures import mapped_errors
from ..keys.files import (
    PUBLIC_MODE,
    AnyPath,
    NewFile,
    create_files,
    discard,
    exists,
    read_file,
    sync_folder,
    write_temporary,
)
from ..keys.identity import key_paths
from ..keys.leftovers import remove_leftovers
from ..keys.private import Passphrase
from ..keys.succession import Statement
from ..limits import (
    DEFAULT_RSA_BITS,
    MAX_KEY_FILE,
    MAX_ROTATION_SECONDS,
    MAX_ROTATIONS,
    ROTATION_SECONDS,
)
from ..text import quoted
from .locking import locked_update, read_trust_file

_Stored = msgspec.json.Decoder(list[Statement])


@dataclass(frozen=True, slots=True)
class Rotated:
    """
    What a rotation did.

    Attributes:
        old, new: The keys.
        kept: Where the old private key is now.
        expires: Until when clients may follow, in seconds since 1970.
    """

    old: PublicKey
    new: PublicKey
    kept: Path
    expires: int


def rotate(
    directory: AnyPath = "keys",
    name: str = "server",
    *,
    bits: int = DEFAULT_RSA_BITS,
    passphrase: Passphrase = None,
    lifetime: float = ROTATION_SECONDS,
) -> Rotated:
    """
    Put a new key in the place of a server's old one, which signs it.

    The server shows the new key and the statement of the old one from its next start on. Clients that have the old key
    in `known_servers` follow once; pins and invites do not. The old key pair stays in the folder under another name. A
    key that was stolen must not be rotated: its thief could sign another one.

    Args:
        directory: The folder of the key.
        name: What its file names begin with.
        bits: Size of the new key.
        passphrase: Of the old private key; protects the new one, too.
        lifetime: Seconds in which clients may follow, at most a year.

    Raises:
        ConfigError: One of the arguments is not possible.
        KeyFileError: The key cannot be loaded or replaced, or a file of the pair is a symbolic link. The old pair stays
            then.
    """
    if not 1 <= lifetime <= MAX_ROTATION_SECONDS:
        raise ConfigError(
            f"clients may follow for 1 to {MAX_ROTATION_SECONDS:.0f} seconds, not {quoted(lifetime)}"
        )
    private_path, public_path = key_paths(directory, name)
    _refuse_links(private_path, public_path)
    old = Identity.load(private_path, passphrase)
    new = Identity.generate(bits)
    now = time.time()
    expires = int(now + lifetime)
    kept = f"{name}-old-{fingerprint_digest(old.fingerprint)[:4].hex()}"
    with locked_update(statements_path(directory, name)) as file:
        _check_current(private_path, passphrase, old)
        statements = [Statement.sign(old, new.public, expires)]
        statements += _valid(_decode(file.data, file.path), now)
        file.data = msgspec.json.encode(statements[: 2 * MAX_ROTATIONS])
        remove_leftovers(private_path.parent, name)
    # From here on the statement is on disk. It is about a key that nobody shows yet: a crash does no harm.
    kept_private, kept_public = key_paths(directory, kept)
    with locked_update(file.path):  # no other rotation comes between the look and the replacement
        _check_current(private_path, passphrase, old)
        if not exists(kept_private):  # it is there if the last try failed after this step
            content = read_file(private_path, MAX_KEY_FILE)
            create_files(
                [
                    NewFile(kept_private, content),
                    NewFile(kept_public, old.public.to_pem(), PUBLIC_MODE),
                ]
            )
        _refuse_links(private_path, public_path)
        _replace_pair(
            NewFile(private_path, new.to_pkcs8_pem(passphrase)),
            NewFile(public_path, new.public.to_pem(), PUBLIC_MODE),
        )
    return Rotated(old.public, new.public, kept_private, expires)


def _check_current(path: Path, passphrase: Passphrase, old: Identity) -> None:
    if Identity.load(path, passphrase).public != old.public:
        raise KeyFileError(f"{path} was replaced meanwhile", hint="try again")


def _refuse_links(*paths: Path) -> None:
    # A rename would put a file in the place of the link, and leave the old key in force where the link points to.
    for path in paths:
        if path.is_symlink():
            raise KeyFileError(
                f"{path} is a symbolic link, and what it points to may be used elsewhere",
                hint="rotate the key in the folder where it really is, or put a file in the place of the link",
            )


def _replace_pair(private: NewFile, public: NewFile) -> None:
    """
    Put a new pair in the place of the old one, the private key last. If that fails the old public file is put back.

    All of it is complete on disk before, so that nothing is left but renaming.
    """
    files = [private, public]
    if before := exists(public.path):
        files.append(NewFile(public.path, read_file(public.path, MAX_KEY_FILE), PUBLIC_MODE))
    written: list[Path] = []
    try:
        for file in files:
            with mapped_errors("replace", file.path):
                written.append(write_temporary(file))
        try:
            for file, source in ((public, written[1]), (private, written[0])):
                with mapped_errors("replace", file.path):
                    os.replace(source, file.path)
        except BaseException:  # a signal, too
            if written[0].exists():  # otherwise the new private key is in force already
                with contextlib.suppress(OSError):  # the next start sees to it
                    os.replace(written[2], public.path) if before else public.path.unlink()
            raise
    finally:
        for source in written:
            discard(source)
    sync_folder(private.path.parent)


def restore_public_file(directory: AnyPath, name: str, passphrase: Passphrase = None) -> bool:
    """
    See that the public file shows the key that is in force, as it may not after a rotation that was interrupted.

    Returns:
        Whether it showed another one, and was replaced.

    Raises:
        KeyFileError: It cannot be read or replaced, or is a symbolic link to another key.
    """
    private_path, public_path = key_paths(directory, name)

    def current() -> PublicKey | None:
        """The key in force, if the file shows another one."""
        key = Identity.load(private_path, passphrase).public
        return key if exists(public_path) and PublicKey.load(public_path) != key else None

    if current() is None:
        return False
    with locked_update(statements_path(directory, name)):  # otherwise a rotation may be under way
        key = current()
        if key is None:
            return False
        _refuse_links(public_path)
        with mapped_errors("replace", public_path):
            source = write_temporary(NewFile(public_path, key.to_pem(), PUBLIC_MODE))
            try:
                os.replace(source, public_path)
            finally:
                discard(source)
    sync_folder(public_path.parent)
    return True


def statements_path(directory: AnyPath, name: str) -> Path:
    """Where the statements about the keys of that name are. They are no secret."""
    private_path, _ = key_paths(directory, name)
    return private_path.with_name(f"{name}_rotation.json")


def load_statements(directory: AnyPath, name: str, key: PublicKey) -> tuple[Statement, ...]:
    """
    What earlier keys have said, from the one before `key` back; those that hold, and no more than may be shown.

    Raises:
        KeyFileError: The file is damaged, cannot be read, or could be changed by others.
    """
    path = statements_path(directory, name)
    return tuple(_chain(_decode(read_trust_file(path), path), key, time.time()))


def _chain(statements: Iterable[Statement], key: PublicKey, now: float) -> Iterator[Statement]:
    left = list(statements)
    for _ in range(MAX_ROTATIONS):
        for statement in left:
            try:
                signer = statement.signer(key)
            except ProtocolError:
                continue  # about another key: a rotation that was not finished, or a backup that was restored
            if now < statement.expires:
                yield statement
                left.remove(statement)
                key = signer
                break
        else:
            return


def _valid(statements: Iterable[Statement], now: float) -> list[Statement]:
    return [statement for statement in statements if now < statement.expires]


def _decode(data: bytes, path: Path) -> list[Statement]:
    if not data:
        return []
    try:
        return _Stored.decode(data)
    except msgspec.DecodeError as error:
        raise KeyFileError(
            f"{path} is damaged: {error}",
            hint="restore a copy, or remove it: clients that know an older key must then forget it",
        ) from None
