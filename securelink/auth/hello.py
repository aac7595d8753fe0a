"""The argument and the return value of an `authenticate` hook, and the interface of ready-made hooks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..errors import ConfigError
from ..limits import MAX_USER_NAME
from ..signatures import checked
from ..text import kind_of, normalized
from .hold import Hold
from .lease import Lease, Renewal


@dataclass(frozen=True, slots=True)
class Hello:
    """
    A server's information on a client that wants to enter.

    Attributes:
        credentials: The client's credentials, decoded and untrusted; None if it sent none.
        fingerprint: The fingerprint of the client's key, whose signature is verified; None for a client without a key.
        address: The address of the client.
        dialled: The name or address under which the client reached this server.
        application: The name of the client's application.
        version: The version of that application.
        resumed: The session that the client has proved to own and is about to resume, else None. It is set only if
            accepting that session's user resumes it; then a hook should not charge the user again, for example a use
            of a join token.
        binding: The channel binding: 32 bytes that only the two ends of this connection know; None in plaintext.
        encrypted: False in plaintext, where all of this may have been changed on the way.
    """

    credentials: Any = field(repr=False)
    fingerprint: str | None
    address: tuple[str, int]
    dialled: str
    application: str
    version: str
    resumed: Any | None = field(repr=False)
    binding: bytes | None = field(repr=False)
    encrypted: bool
    _holds: list[Hold] | None = field(default=None, repr=False, compare=False)
    _leases: list[Lease] = field(default_factory=list, repr=False, compare=False)
    _runs: bool = field(default=True, repr=False, compare=False)  # the shell runs coroutines

    def hold(self, give_back: Callable[[], None]) -> Hold:
        """
        Register how to undo a charge of this client, such as a use of its token.

        It is called if the hook refuses after all, and if the connection ends before the client has shown that it is
        in. With a hold the session becomes public, and `on_connect` fires, at the first record of the client, which
        clients of this library send at once. Outside a server nothing is given back.

        Args:
            give_back: Called at most once, in any thread.

        Raises:
            ConfigError: It is no plain function, or takes arguments.
        """
        hold = Hold(give_back)
        if self._holds is None:
            hold.confirm()
        else:
            self._holds.append(hold)
        return hold

    @property
    def holds(self) -> tuple[Hold, ...]:
        """The registered holds, which are released if the client does not get in."""
        return tuple(self._holds or ())

    def expires(self, at: float, renew: Renewal | None = None) -> None:
        """
        Say when this login is over. Then the session ends with `Code.REFUSED`, within a second, also while its client
        is away. With `renew` it ends only while it has a connection: a client that comes back is asked for its
        credentials anyway.

        Args:
            at: In seconds since 1970.
            renew: f(session), called half a minute before, in the session's turn as a handler is; it may ask the
                client. It returns until when the login holds now, or raises `Refused`, which ends the session. When
                it fails the session ends at the time that was said before. In an `aio.Server` it may be a coroutine.

        Raises:
            ConfigError: One of the arguments is not valid.
        """
        if renew is not None:
            checked("renew", renew, ("session",), runs=self._runs)
        self._leases[:] = [Lease(at, renew)]

    @property
    def lease(self) -> Lease | None:
        """The time for which the client is let in; None: for the whole session."""
        return self._leases[0] if self._leases else None


Authenticate = Callable[[Hello], Any]
"""
Returns the user of the session; None and False refuse, and so does `Refused`, raised with a text. Every other value
is a user, also 0, "", {} and True, except values that are returned only by mistake: an error, a class, a function,
`NotImplemented`, `...`, a coroutine, future, thread, generator or other iterator, an object that is not a number and
whose `__bool__` gives False, a tuple or list that begins with one of these or with None or False. Such a value
refuses, and is an error in the log.
"""


class ReadyMade(Protocol):
    """
    An `authenticate` hook that knows its kind of credentials by their shape.

    Attributes:
        asks_for: The kind of credentials, as in "this server asks for ...".
    """

    asks_for: str

    def accepts(self, credentials: object) -> bool:
        """Whether these are credentials of its kind, correct or not."""

    def __call__(self, hello: Hello) -> Any:
        """Return the user, or raise `Refused`."""


def please(*hooks: ReadyMade) -> str:
    """The refusal of credentials of an unknown kind."""
    kinds = dict.fromkeys(hook.asks_for for hook in hooks)
    return f"this server asks for {', or '.join(kinds)}"


def text_fields(credentials: object, *names: str) -> list[str] | None:
    """The values of credentials that have exactly these fields, all of them text, or None."""
    if not isinstance(credentials, dict) or credentials.keys() != set(names):
        return None
    values = [credentials[name] for name in names]
    return values if all(isinstance(value, str) for value in values) else None


def user_name(name: str) -> str:
    """
    Check a user's name; it is kept in Unicode's composed form, as two keyboards may differ in that.

    Raises:
        ConfigError: It is not a text of 1 to 64 printable characters, or has spaces around it.
    """
    if not isinstance(name, str):
        raise ConfigError(f"a user's name is a text, not {kind_of(name)}")
    name = normalized("NFC", name)
    if 1 <= len(name) <= MAX_USER_NAME and name.isprintable() and name == name.strip():
        return name
    raise ConfigError(
        f"a user's name is 1 to {MAX_USER_NAME} printable characters without spaces around them"
    )
