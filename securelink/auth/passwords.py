"""User names and passwords, kept as salted scrypt hashes."""

from __future__ import annotations

import itertools
import os
import threading
from pathlib import Path
from typing import Annotated

import msgspec

from .. import crypto, limits
from ..errors import ConfigError, LimitExceeded, Refused
from ..keys import stretching
from ..keys.files import AnyPath
from ..text import normalized, quoted
from .book import Book
from .hello import Hello, please, text_fields, user_name
from .throttle import NameThrottle

# 32 MiB and about 0.2 s a guess: of the settings that OWASP's password storage cheat sheet calls
# equally strong, one whose memory a small server can spare for several logins at once.
COST = 2**15
_MAX_COST = 2**18  # 256 MiB, the most that stretching.scrypt() takes
_BLOCK_SIZE = 8
_PARALLEL = 3
_SALT_SIZE = 16
_HASH_SIZE = 32

_WRONG = "wrong user name or password"  # one text, so that it does not reveal which names exist

_TOO_OFTEN = "too many wrong passwords for this user name; try again in a minute"

# Each check takes 32 MiB: without a bound, logins that come together could take all memory.
# A lock for each place, and no semaphore: Ctrl-C could leave that one locked, see interrupts.py.
_CHECKS = itertools.cycle([threading.Lock() for _ in range(limits.MAX_PASSWORD_CHECKS)])

_Salt = Annotated[bytes, msgspec.Meta(min_length=_SALT_SIZE, max_length=_SALT_SIZE)]
_Hash = Annotated[bytes, msgspec.Meta(min_length=_HASH_SIZE, max_length=_HASH_SIZE)]
# Bounds of the computation that a damaged file can cause.
_Cost = Annotated[int, msgspec.Meta(ge=2, le=_MAX_COST)]
_Small = Annotated[int, msgspec.Meta(ge=1, le=32)]


class _Account(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The entry of one user. It includes the parameters of the hash, so defaults may change."""

    user: str
    salt: _Salt
    hash: _Hash
    n: _Cost
    r: _Small
    p: _Small

    def matches(self, password: bytes) -> bool:
        """Compare in constant time, after the same work for each account of the same settings."""
        with _a_place():
            computed = stretching.scrypt(password, self.salt, self.n, self.r, self.p)
        return crypto.equal(computed, self.hash)

    def __repr__(self) -> str:
        return f"<account {self.user!r}>"


class Passwords:
    """
    Admits clients by user name and password: an `authenticate` hook for `Server`.

    A client sends `{"user": "...", "password": "..."}`. Safe to call from any thread; with a file,
    also while other processes use it. In plaintext mode passwords can be read on the way.

    Args:
        path: Where to keep the hashes; None keeps them in memory, as long as this object lives.
        cost: scrypt's N for passwords that are added from now on, a power of two; memory is 1 KiB
            times this. Unknown names cost the same, so change it only together with all passwords: otherwise the time
            reveals names with an older cost.

    Raises:
        ConfigError: The cost is not a power of two from 2 to 2^18, or the path is not valid.
    """

    asks_for = "a user name and password"

    def __init__(self, path: AnyPath | None = None, *, cost: int = COST) -> None:
        self._book: Book[_Account] = Book(path, _Account, lambda account: account.user)
        if type(cost) is not int or not 2 <= cost <= _MAX_COST or cost & (cost - 1):
            raise ConfigError(
                f"the cost is a power of two from 2 to {_MAX_COST}, not {quoted(cost)}"
            )
        self._cost = cost
        self._throttle = NameThrottle()
        # Unknown names are checked against this account, whose password is unknown.
        self._nobody = self._account("", os.urandom(_HASH_SIZE), os.urandom(_SALT_SIZE))

    @property
    def path(self) -> Path | None:
        """The file, absolute, or None."""
        return self._book.path

    def add(self, user: str, password: str, *, replace: bool = False) -> None:
        """
        Add a user.

        Args:
            user: 1 to 64 printable characters; upper and lower case differ.
            password: 8 to 1024 characters.
            replace: Change the password of an existing user.

        Raises:
            ConfigError: Name or password is not valid, or the user exists.
            LimitExceeded: There are 10,000 users, or the file is full.
            KeyFileError: The file is damaged or cannot be written.
        """
        user = user_name(user)
        if not isinstance(password, str) or not (
            limits.MIN_PASSWORD <= len(password) <= limits.MAX_PASSWORD
        ):
            raise ConfigError(
                f"a password has {limits.MIN_PASSWORD} to {limits.MAX_PASSWORD} characters"
            )
        salt = os.urandom(_SALT_SIZE)
        secret = _password_bytes(password)
        with _a_place():
            computed = stretching.scrypt(secret, salt, self._cost, _BLOCK_SIZE, _PARALLEL)
        account = self._account(user, computed, salt)
        with self._book.update() as accounts:
            if user in accounts and not replace:
                raise ConfigError(
                    f"the user {user!r} exists already", hint="replace=True changes the password"
                )
            if user not in accounts and len(accounts) >= limits.MAX_USERS:
                raise LimitExceeded(
                    f"there are {limits.MAX_USERS} users",
                    limit="MAX_USERS",
                    hint="remove those that no longer come",
                )
            accounts[user] = account

    def remove(self, user: str) -> bool:
        """
        Remove a user. Open sessions stay open; `session.kick()` ends them.

        Returns:
            False if there is no such user.

        Raises:
            ConfigError: It cannot be a name.
            KeyFileError: The file is damaged or cannot be written.
        """
        name = user_name(user)
        with self._book.update() as accounts:
            return accounts.pop(name, None) is not None

    def users(self) -> list[str]:
        """
        The names of all users, in the order in which they were added.

        Raises:
            KeyFileError: The file is damaged or cannot be read.
        """
        return list(self._book.read())

    def accepts(self, credentials: object) -> bool:
        """Whether these credentials are a name and a password, correct or not."""
        return text_fields(credentials, "user", "password") is not None

    def __call__(self, hello: Hello) -> str:
        """
        Admit a client. The work is the same for an unknown name.

        Returns:
            The user's name.

        Raises:
            Refused: There is no name and password, or one of them is wrong (it never says which); or more than 20
                wrong passwords came for this name within a minute: from this address, if the user was let in from
                there before, otherwise from all other addresses together. An address that has not tried yet has one
                more attempt, up to 100 together.
            KeyFileError: The file is damaged or cannot be read.
        """
        fields = text_fields(hello.credentials, "user", "password")
        if fields is None:
            raise Refused(please(self))
        user, password = fields
        name, host = normalized("NFC", user), hello.address[0]
        tried = self._throttle.charge(name, host)
        if tried is None:
            raise Refused(_TOO_OFTEN)
        account = self._book.read().get(name)
        if not (account or self._nobody).matches(_password_bytes(password)) or account is None:
            raise Refused(_WRONG)
        self._throttle.right(tried, host)
        return account.user

    def _account(self, user: str, computed: bytes, salt: bytes) -> _Account:
        return _Account(
            user=user, salt=salt, hash=computed, n=self._cost, r=_BLOCK_SIZE, p=_PARALLEL
        )


def _a_place() -> threading.Lock:
    """A free place for a check, so that no check waits for a slow one while others are free."""
    some = itertools.islice(_CHECKS, limits.MAX_PASSWORD_CHECKS)
    return next((place for place in some if not place.locked()), None) or next(_CHECKS)


def _password_bytes(password: str) -> bytes:
    # Composed, because two keyboards may send one letter differently. A lone surrogate cannot come over the wire; one
    # from a caller is just a wrong password.
    return normalized("NFC", password, limits.MAX_PASSWORD).encode("utf-8", "surrogatepass")
