"""What an `authenticate` hook is given, what it may answer, and how ready-made hooks combine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..errors import ConfigError
from ..limits import MAX_USER_NAME
from ..text import normalized
from .hold import Hold


@dataclass(frozen=True, slots=True)
class Hello:
    """
    What a server knows of a client that asks to enter.

    Attributes:
        credentials: What the client sent, decoded and untrusted; None when it sent nothing.
        fingerprint: Of the client's key, its signature verified; None for a client without one.
        address: Where the connection comes from.
        dialled: The name or address under which the client reached this server.
        application: What the client's application calls itself.
        version: The version of that application.
        resumed: The session that the client has proved to own and is about to resume, else None. It
            is set only when accepting that session's user resumes it, so a hook may then leave out
            what costs the user something, such as a use of a join token.
        binding: 32 bytes that only the two ends of this connection know; None in plaintext.
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

    def hold(self, give_back: Callable[[], None]) -> Hold:
        """
        Say how to undo what a hook has taken from this client, such as one of its tries or uses.

        It is called when the hook refuses after all, and when the connection ends before the client has shown that it
        is in. With a hold the session is public, and `on_connect` fires, at that sign: the first record of the client,
        which this library's clients send at once. Outside of a server nothing is given back.

        Args:
            give_back: Called at most once, in any thread.
        """
        hold = Hold(give_back)
        if self._holds is None:
            hold.confirm()
        else:
            self._holds.append(hold)
        return hold

    @property
    def holds(self) -> tuple[Hold, ...]:
        """What is undone if the client does not get in."""
        return tuple(self._holds or ())


Authenticate = Callable[[Hello], Any]
"""
Returns the user of the session; None and False refuse, and so does `Refused`, raised with a text.

Every other value is a user, also 0, "", {} and True. Not among them is what nobody returns on purpose: an error, a
class, a function, `NotImplemented`, `...`, a coroutine, future, thread, generator or other iterator, an object that is
no number and whose `__bool__` says False, a tuple or list that begins with one of these or with None or False. Such an
answer refuses, and is an error in the log.
"""


class ReadyMade(Protocol):
    """
    An `authenticate` hook that knows its kind of credentials by their shape.

    Attributes:
        asks_for: What it wants, as in "this server asks for ...".
    """

    asks_for: str

    def accepts(self, credentials: object) -> bool:
        """Whether these are credentials of its kind, right or wrong."""

    def __call__(self, hello: Hello) -> Any:
        """Return the user, or raise `Refused`."""


def please(*hooks: ReadyMade) -> str:
    """The refusal of credentials that are of no known kind."""
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
        ConfigError: It is no text of 1 to 64 printable characters, or has spaces around it.
    """
    if not isinstance(name, str):
        raise ConfigError(f"a user's name is a text, not a {type(name).__name__}")
    name = normalized("NFC", name)
    if 1 <= len(name) <= MAX_USER_NAME and name.isprintable() and name == name.strip():
        return name
    raise ConfigError(
        f"a user's name is 1 to {MAX_USER_NAME} printable characters without spaces around them"
    )
