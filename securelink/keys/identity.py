"""Identities: an RSA private key, its files and its operations."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from .. import crypto
from ..errors import ConfigError, KeyFileError
from ..limits import DEFAULT_RSA_BITS, MAX_RSA_BITS, MIN_RSA_BITS, MIN_RSA_EXPONENT
from ..options import raw, whole
from ..text import kind_of, quoted
from .files import PUBLIC_MODE, AnyPath, NewFile, absolute, create_files, exists, make_folder
from .loaded import load_private_key
from .pkcs8 import encrypted_pem
from .private import MAKE_ANOTHER, Passphrase, checked_key, passphrase_bytes, pem_bytes, private_key
from .public import PublicKey
from .shapes import PrivateNumbers, PublicNumbers, UnfitKeyError

_NAME = re.compile(r"\w[\w.@-]{0,99}")  # a name becomes a file name: no separators, no leading dot


class Identity:
    """
    A private key, which proves our identity.

    Its bytes are in no repr, log or error, and it cannot be pickled. Only `save()`, `to_pkcs1_pem()`, `to_pkcs8_pem()`
    and `to_rsa()` give it out.

    Attributes:
        public: The key that others may see.
        path: The file it was loaded from or saved to, or None.
    """

    __slots__ = ("_key", "path", "public")

    def __init__(self, key: crypto.RSAPrivateKey, *, path: Path | None = None) -> None:
        if not isinstance(key, crypto.RSAPrivateKey):
            raise ConfigError(
                f"an Identity is not made of {kind_of(key)}",
                hint="use Identity.load(), generate(), from_pem() or from_rsa()",
            )
        self._key = key
        self.public = PublicKey(key.public_key())
        self.path = path

    @classmethod
    def generate(cls, bits: int = DEFAULT_RSA_BITS) -> Identity:
        """
        Make a new key. Takes up to a few seconds.

        Raises:
            ConfigError: The size is not from 2048 to 8192.
        """
        whole("bits", bits, MIN_RSA_BITS, MAX_RSA_BITS, unit="of an RSA key")
        return cls(generate_private_key(MIN_RSA_EXPONENT, bits))

    @classmethod
    def load(cls, path: AnyPath, passphrase: Passphrase = None) -> Identity:
        """
        Read a private key file. It is read again only if it has changed.

        Args:
            path: PKCS#8, PKCS#1 or OpenSSH.
            passphrase: Needed only if the file is encrypted.

        Raises:
            KeyFileError: It is missing, unreadable, readable by other users, damaged, encrypted with another
                passphrase, or not a usable key.
            ConfigError: The path or the passphrase is not valid.
        """
        path = absolute(path)
        return cls(load_private_key(path, passphrase), path=path)

    @classmethod
    def from_pem(
        cls, data: bytes | str, passphrase: Passphrase = None, *, source: str = "the key"
    ) -> Identity:
        """
        Read a private key in a file format.

        Args:
            data: PEM: PKCS#8 (`PRIVATE KEY`), PKCS#1 (`RSA PRIVATE KEY`) or OpenSSH.
            passphrase: Needed only if it is encrypted.
            source: Its name in an error.

        Raises:
            KeyFileError: It is none of these, the passphrase is wrong or missing, or the key is
                outside the key policy.
            ConfigError: `data` is neither bytes nor text, or the passphrase is not valid.
        """
        return cls(private_key(pem_bytes(data, source), passphrase, source))

    @classmethod
    def from_rsa(cls, key: rsa.PrivateKey) -> Identity:
        """
        Take over a key object of the python-rsa package.

        Raises:
            ConfigError: It is not one, its numbers do not fit together, or the policy forbids it.
        """
        if not isinstance(key, rsa.PrivateKey):
            raise ConfigError(f"from_rsa() takes an rsa.PrivateKey, not {type(key).__name__}")
        public = PublicNumbers(key.n, key.e)
        try:
            public.check()
        except UnfitKeyError as error:
            raise ConfigError(f"this key cannot be used: {error}", hint=MAKE_ANOTHER) from None
        numbers = PrivateNumbers(public, key.d, key.p, key.q, key.exp1, key.exp2, key.coef)
        private = checked_key(numbers)
        if private is None:
            raise ConfigError("the numbers of this rsa.PrivateKey do not fit together")
        return cls(private)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the public key, `SHA256:...`, exactly as `ssh-keygen -lf` prints it."""
        return self.public.fingerprint

    def save(
        self, directory: AnyPath, name: str, passphrase: Passphrase = None
    ) -> tuple[Path, Path]:
        """
        Write `<name>_private.pem` (PKCS#8, mode 0600) and `<name>_public.pem` into a folder.

        Both files appear complete or not at all. Existing ones are never overwritten. A folder that
        does not exist is created for its owner only.

        Args:
            directory: The folder.
            name: Letters, digits, and `_ . @ -` after the first.
            passphrase: Encrypts the private key.

        Returns:
            The paths of the private and of the public key.

        Raises:
            ConfigError: The name cannot be part of a file name, or the passphrase is empty.
            KeyFileError: One of the files exists, or they cannot be written.
        """
        private_path, public_path = key_paths(directory, name)
        _refuse_existing(private_path, public_path)
        pem = self.to_pkcs8_pem(passphrase)
        make_folder(private_path.parent)
        create_files(
            [NewFile(private_path, pem), NewFile(public_path, self.public.to_pem(), PUBLIC_MODE)]
        )
        return private_path, public_path

    def sign(self, message: bytes) -> bytes:
        """
        Sign a message (RSA-PSS, SHA-256, salt 32).

        Raises:
            ConfigError: The message is not bytes.
        """
        raw("the message", message)
        return crypto.pss_sign(self._key, message)

    def decrypt(self, ciphertext: bytes, label: bytes) -> bytes:
        """
        Undo `PublicKey.encrypt()`.

        Raises:
            UnsealError: Wrong key, label or content; it never says which.
            ConfigError: An argument is not bytes.
        """
        raw("the ciphertext", ciphertext)
        raw("the label", label)
        return crypto.oaep_decrypt(self._key, bytes(ciphertext), bytes(label))

    def to_pkcs1_pem(self) -> bytes:
        """PEM, `RSA PRIVATE KEY` (PKCS#1), not encrypted: the format of python-rsa."""
        return self._key.private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
        )

    def to_rsa(self) -> rsa.PrivateKey:
        """A key object of the python-rsa package, whose operations are not constant time."""
        numbers = self._key.private_numbers()
        public = numbers.public_numbers
        return rsa.PrivateKey(public.n, public.e, numbers.d, numbers.p, numbers.q)

    def to_pkcs8_pem(self, passphrase: Passphrase = None) -> bytes:
        """
        PEM, PKCS#8: the format of our own files, encrypted if there is a passphrase.

        Raises:
            ConfigError: The passphrase is not valid.
        """
        if passphrase is None:
            return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        secret = passphrase_bytes(passphrase)
        der = self._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return encrypted_pem(der, secret)

    def __reduce__(self) -> NoReturn:
        raise TypeError("an Identity holds a private key and cannot be pickled or copied")

    def __repr__(self) -> str:
        return f"<Identity {self.fingerprint}>"


def createEncryptKeys(  # noqa: N802  # the public name of this function and of the command
    directory: AnyPath = "keys",
    name: str = "server",
    bits: int = DEFAULT_RSA_BITS,
    passphrase: Passphrase = None,
) -> Identity:
    """
    Make a new key pair and store it: `keys/server_private.pem` and `keys/server_public.pem`.

    Args:
        directory: The folder; created for its owner only if it does not exist.
        name: The prefix of the file names. Server and clients need separate keys.
        bits: Size of the key, 2048 to 8192.
        passphrase: Encrypts the private key.

    Raises:
        ConfigError: The name, the size or the passphrase cannot be used.
        KeyFileError: Such files exist already (they are never overwritten), or cannot be written.
    """
    _refuse_existing(*key_paths(directory, name))  # before the seconds for a large key
    identity = Identity.generate(bits)
    private_path, _ = identity.save(directory, name, passphrase)
    return Identity(identity._key, path=private_path)


def load_or_create(
    directory: AnyPath = "keys", name: str = "server", passphrase: Passphrase = None
) -> tuple[Identity, bool]:
    """
    Load the identity of this name, or make one if there is none.

    Two programs that start at the same time end up with the same key.

    Returns:
        The identity, and whether it is new.

    Raises:
        ConfigError: The name cannot be part of a file name.
        KeyFileError: It can neither be loaded nor created. A public key without its private key
            is not replaced: others may have written its fingerprint down.
    """
    private_path, _ = key_paths(directory, name)
    if not exists(private_path):
        try:
            return createEncryptKeys(directory, name, passphrase=passphrase), True
        except KeyFileError:
            if not exists(private_path):
                raise
            # Another program was faster: use its key.
    return Identity.load(private_path, passphrase), False


def key_paths(directory: AnyPath, name: str) -> tuple[Path, Path]:
    """
    The paths of the private and the public key of this name.

    Raises:
        ConfigError: The name cannot be part of a file name.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(
            f"{quoted(name)} cannot be the name of a key",
            hint="use letters and digits, and _ . @ - after the first",
        )
    folder = absolute(directory)
    return folder / f"{name}_private.pem", folder / f"{name}_public.pem"


def _refuse_existing(private_path: Path, public_path: Path) -> None:
    if exists(private_path):
        raise KeyFileError(
            f"{private_path} exists already and is never overwritten",
            hint="load it with Identity.load(), or choose another name",
        )
    if exists(public_path):
        raise KeyFileError(
            f"{public_path} exists already, but its private key {private_path.name} is missing",
            hint="put the private key back, or remove the public key to start with a new one",
        )
