"""Join tokens: a uuid4 that admits its bearer, as often and for as long as its owner allows."""

from __future__ import annotations

import contextlib
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from .. import crypto, limits
from ..errors import ConfigError, LimitExceeded, Refused
from ..keys.files import AnyPath
from ..options import number
from ..text import kind_of, quoted
from .book import Book
from .hello import Hello, please, text_fields, user_name
from .hold import Hold

_ID_SIZE = 8  # hex digits of the hash; create() ensures that no two tokens share them
_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_NO_HASH = "0" * 64  # an unknown token is compared with this
_MAX_USES = 10**9  # None stands for larger numbers


class JoinToken(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """
    The entry of a join token.

    Attributes:
        hash: SHA-256 of the token's text, in hex.
        user: The user that it admits; None for a guest.
        note: Its purpose, in its owner's words.
        created: In seconds since 1970, like the other times.
        expires: When it expires; None for never.
        uses: The remaining uses; None for any number.
        used: The time of its last use, or of its first use if it has any number of uses; or None.
        revoked: When it was revoked, or None.
    """

    hash: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    created: float
    uses: Annotated[int, msgspec.Meta(ge=0)] | None
    expires: float | None = None
    user: str | None = None
    note: str = ""
    used: float | None = None
    revoked: float | None = None

    @property
    def id(self) -> str:
        """A short public name, useful only for `revoke()`."""
        return self.hash[:_ID_SIZE]

    @property
    def admits(self) -> str:
        """The user of a session that was opened with it."""
        return f"guest-{self.id}" if self.user is None else self.user

    def state(self, now: float) -> str:
        """One of "valid", "revoked", "expired", "used up"."""
        if self.revoked is not None:
            return "revoked"
        if self.expires is not None and now >= self.expires:
            return "expired"
        return "used up" if self.uses == 0 else "valid"

    def ended(self, now: float) -> float | None:
        """Since when it is not valid, or None while it is valid."""
        state = self.state(now)
        if state == "valid":
            return None
        ends = {"revoked": self.revoked, "expired": self.expires, "used up": self.used}
        return ends[state] or self.created


class JoinTokens:
    """
    Admits clients by join tokens: an `authenticate` hook for `Server`.

    A client sends `{"token": "<uuid4>"}`, as `Client(..., token=...)` and invites do. Safe to call
    from any thread; with a file, also while other processes use it.

    Args:
        path: Where to keep the hashes; None keeps them in memory, as long as this object lives.
        now: The clock, in seconds since 1970.
    """

    asks_for = "a join token"

    def __init__(
        self, path: AnyPath | None = None, *, now: Callable[[], float] = time.time
    ) -> None:
        self._book: Book[JoinToken] = Book(path, JoinToken, lambda entry: entry.id)
        self._now = now
        self._held_lock = threading.Lock()  # guards the next two
        self._owed: list[_Owed] = []  # uses to be given back, which are not in the book yet
        self._held: dict[
            str, list[_Held]
        ] = {}  # by id: logins whose client has not shown that it is in yet

    @property
    def path(self) -> Path | None:
        """The file, absolute, or None."""
        return self._book.path

    def create(
        self,
        user: str | None = None,
        *,
        uses: int | None = 1,
        lifetime: float | None = None,
        note: str = "",
    ) -> str:
        """
        Make a token. Only this call returns it: afterwards only its hash is known.

        Args:
            user: The user that it admits, 1 to 64 printable characters; None makes it `guest-<id>`.
            uses: The number of sessions that it opens; None for any number. Resuming one does not count.
            lifetime: In seconds; None forever.
            note: Its purpose, at most 200 printable characters.

        Returns:
            The token, a uuid4.

        Raises:
            ConfigError: One of the arguments is not valid.
            LimitExceeded: There are 10,000 valid tokens, or the file is full.
            KeyFileError: The file is damaged or cannot be written, or another program has kept it locked for 10 s.
        """
        if user is not None:
            user = user_name(user)
        _check_limits(uses, lifetime)
        if not isinstance(note, str) or len(note) > limits.MAX_TOKEN_NOTE or not note.isprintable():
            raise ConfigError(f"a note is up to {limits.MAX_TOKEN_NOTE} printable characters")
        now = self._now()
        expires = None if lifetime is None else now + lifetime
        with self._book.update() as entries:
            _make_room(entries, now)
            while True:
                token = str(uuid.uuid4())
                entry = JoinToken(
                    hash=_hash(token), created=now, uses=uses, expires=expires, user=user, note=note
                )
                if entry.id not in entries:
                    break
            entries[entry.id] = entry
        return token

    def revoke(self, token_or_id: str) -> bool:
        """
        End a token, given the token itself or its id: from now on it cannot open or resume a session. Open sessions
        stay open; `session.kick()` ends them.

        Returns:
            False if there is no such token, or it was revoked before.

        Raises:
            ConfigError: It is not a text.
            KeyFileError: The file is damaged or cannot be written, or another program has kept it locked for 10 s.
        """
        if not isinstance(token_or_id, str):
            raise ConfigError(f"a token or its id is a text, not {kind_of(token_or_id)}")
        wanted = _hash(token_or_id)[:_ID_SIZE] if _UUID4.fullmatch(token_or_id) else token_or_id
        with self._book.update() as entries:
            entry = entries.get(wanted)
            if entry is None or entry.revoked is not None:
                return False
            entries[wanted] = msgspec.structs.replace(entry, revoked=self._now())
            return True

    def entries(self) -> list[JoinToken]:
        """
        All known tokens, the oldest first; ended tokens are kept for a week.

        Raises:
            KeyFileError: The file is damaged or cannot be read.
        """
        return list(self._book.read().values())

    def accepts(self, credentials: object) -> bool:
        """Whether these credentials are a token, valid or not."""
        return text_fields(credentials, "token") is not None

    def __call__(self, hello: Hello) -> str:
        """
        Admit a client, and count the use. It is given back if the client does not get in after all. A client whose
        connection was cut may come again before the server has noticed: from the same address with the same key, or
        none, it takes over the use of its own earlier login that has waited for 3 seconds. The earlier login then
        fails.

        Returns:
            The user of the token, or `guest-<id>`.

        Raises:
            Refused: There is no token, or it is unknown, expired, used up or revoked.
            KeyFileError: The file is damaged or cannot be written, or another program has kept it locked for a second:
                others wait for this login. A server asks its client to try again then (`Code.BUSY`).
        """
        fields = text_fields(hello.credentials, "token")
        if fields is None:
            raise Refused(please(self))
        (token,) = fields
        if not _UUID4.fullmatch(token):
            raise Refused("this is not a whole join token; paste the invite again")
        wanted = _hash(token)
        try:
            entry = self._admit(wanted, hello)
        except Refused:
            key = wanted[:_ID_SIZE]
            if not (self._take_over(key, _who(hello)) or self._pay(key)):
                raise
            entry = self._admit(wanted, hello)
        return entry.admits

    def _admit(self, wanted: str, hello: Hello) -> JoinToken:
        """The valid token, its use counted and held. Raises `Refused`."""
        now = self._now()
        # First without the lock, so that floods of wrong tokens do not delay others.
        entry, counts = _judge(self._book.read(), wanted, hello.resumed, now)
        if counts:
            with self._changing() as entries:
                # Again, because another client may have taken the last use meanwhile.
                entry, counts = _judge(entries, wanted, hello.resumed, now)
                if counts:
                    left = None if entry.uses is None else entry.uses - 1
                    entries[entry.id] = msgspec.structs.replace(entry, uses=left, used=now)
            if counts:
                self._hold(hello, entry, now)
        return entry

    def _hold(self, hello: Hello, before: JoinToken, used: float) -> None:
        def give_back() -> None:
            self._forget(before.id, held)
            with self._held_lock:
                # Otherwise somebody tries, or has failed: the next change has all of them.
                first = not self._owed
                self._owed.append(_Owed(before, used))
            if first:
                with self._changing():
                    pass

        held = _Held(_who(hello), time.monotonic(), hello.hold(give_back))
        with self._held_lock:
            waiting = self._held.setdefault(before.id, [])
            waiting[:] = _still_open(waiting)
            waiting.append(held)
            if len(self._held) > limits.MAX_TOKENS:
                self._forget_closed()

    def _forget_closed(self) -> None:
        every = {key: _still_open(those) for key, those in self._held.items()}
        self._held = {key: left for key, left in every.items() if left}

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, JoinToken]]:
        """
        The entries, to be changed. Each change gives back what could not be given back before, in the same step.

        Raises:
            KeyFileError: The file is damaged, locked or cannot be written: what is owed stays so.
        """
        owed: list[_Owed] = []
        try:
            with self._book.update(hurry=True) as entries:
                with self._held_lock:
                    owed, self._owed = self._owed, []
                for use in owed:
                    use.give_back(entries)
                yield entries
        except BaseException:
            with self._held_lock:
                self._owed[:0] = owed
            raise

    def _pay(self, key: str) -> bool:
        """Give back what is owed to a token; False when that is nothing."""
        with self._held_lock:
            if all(use.before.id != key for use in self._owed):
                return False
        with self._changing():
            return True

    def _forget(self, key: str, held: _Held) -> None:
        with self._held_lock:
            waiting = self._held.get(key, [])
            if held in waiting:
                waiting.remove(held)
            if not waiting:
                self._held.pop(key, None)

    def _take_over(self, key: str, who: tuple[str, str | None]) -> bool:
        """Give back the use of an unconfirmed login of the same client; False if there is none."""
        late = time.monotonic() - limits.SIGN_SECONDS
        with self._held_lock:
            waiting = tuple(self._held.get(key, ()))
        return any(held.hold.release() for held in waiting if held.who == who and held.since < late)


class _Owed(NamedTuple):
    """A use to be given back: the token before it, and when it was used."""

    before: JoinToken
    used: float

    def give_back(self, entries: dict[str, JoinToken]) -> None:
        """Undo it in the book."""
        entry = entries.get(self.before.id)
        if entry is not None:
            uses = None if entry.uses is None else entry.uses + 1
            last = self.before.used if entry.used == self.used else entry.used
            entries[entry.id] = msgspec.structs.replace(entry, uses=uses, used=last)


class _Held(NamedTuple):
    """A login that has taken its use, and whose client has not shown yet that it is in."""

    who: tuple[str, str | None]
    since: float
    hold: Hold


def _still_open(those: list[_Held]) -> list[_Held]:
    return [held for held in those if held.hold.open]


def _who(hello: Hello) -> tuple[str, str | None]:
    """Identifies a client: its address without the port, and its key."""
    return (hello.address[0], hello.fingerprint)


def _judge(
    entries: Mapping[str, JoinToken], token_hash: str, resumed: object, now: float
) -> tuple[JoinToken, bool]:
    """The valid token, and whether this use is to be stored. Raises `Refused`."""
    entry = entries.get(token_hash[:_ID_SIZE])
    known_hash = _NO_HASH if entry is None else entry.hash
    if not crypto.equal(known_hash.encode(), token_hash.encode()) or entry is None:
        raise Refused("this join token is not valid here; ask for a new invite")
    # A resumed session was counted when it was opened. The user is compared, so that no client resumes with the token
    # of another user.
    paid = entry.used is not None and getattr(resumed, "user", None) == entry.admits
    state = entry.state(now)
    if state == "revoked" or (state != "valid" and not paid):
        words = {"revoked": "was revoked", "expired": "has expired", "used up": "is used up"}
        raise Refused(f"this join token {words[state]}; ask for a new invite")
    # For a token with any number of uses only the first use is stored.
    return entry, not paid and (entry.uses is not None or entry.used is None)


def _make_room(entries: dict[str, JoinToken], now: float) -> None:
    """Forget tokens that ended long ago, and as many other ended ones as space requires."""
    ends = [(entry.ended(now), key) for key, entry in entries.items()]
    for end, key in sorted((end, key) for end, key in ends if end is not None):
        if now - end > limits.KEEP_DEAD_TOKENS or len(entries) >= limits.MAX_TOKENS:
            del entries[key]
    if len(entries) >= limits.MAX_TOKENS:
        raise LimitExceeded(
            f"there are {limits.MAX_TOKENS} valid join tokens",
            limit="MAX_TOKENS",
            hint="revoke those that are no longer needed",
        )


def _check_limits(uses: int | None, lifetime: float | None) -> None:
    if uses is not None and (type(uses) is not int or not 1 <= uses <= _MAX_USES):
        raise ConfigError(f"uses is 1 to {_MAX_USES}, or None for any number, not {quoted(uses)}")
    if lifetime is not None:
        number("lifetime", lifetime, 0, unit="seconds, or None forever")


def _hash(token: str) -> str:
    return crypto.sha256(token.encode()).hex()
