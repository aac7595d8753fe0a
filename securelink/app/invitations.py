"""The join tokens and invites of a server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..auth import Authenticate, JoinTokens, checked_hook
from ..errors import ConfigError
from ..invite import Invite
from ..text import quoted
from .own_key import OwnKey


def chosen_hook(
    authenticate: Authenticate | str | None, folder: Path | None, *, runs: bool
) -> Authenticate | None:
    """
    The hook that a server's option `authenticate` stands for.

    Args:
        authenticate: The option: a hook, "tokens" or None.
        folder: The keys folder; None keeps join tokens in memory.
        runs: Whether the server runs coroutines.

    Raises:
        ConfigError: It is another word, or no function of one argument that the server can run.
    """
    if authenticate == "tokens":
        return JoinTokens(folder / "join_tokens.json" if folder is not None else None)
    if isinstance(authenticate, str):
        raise ConfigError(
            f"authenticate={quoted(authenticate)} is not possible",
            hint="use a function, an object such as Passwords(file), 'tokens', or None",
        )
    return None if authenticate is None else checked_hook(authenticate, runs=runs)


class Invitations:
    """
    Makes what a client needs to come in.

    Args:
        authenticate: The server's hook; one of `JoinTokens` makes tokens.
        key: The server's key, whose fingerprint stands in an invite.
        where: Returns (host, port) of the server; the host is "" if it listens on all addresses.

    Attributes:
        tokens: The join tokens; None if the server does not ask for any.
    """

    def __init__(
        self, authenticate: Authenticate | None, key: OwnKey, where: Callable[[], tuple[str, int]]
    ) -> None:
        self.tokens = authenticate if isinstance(authenticate, JoinTokens) else None
        self._key = key
        self._where = where

    def create_token(self, user: str | None, uses: int | None, lifetime: float | None) -> str:
        """See `Server.create_token`."""
        if self.tokens is None:
            raise ConfigError(
                "this server does not ask for join tokens",
                hint="create it with authenticate='tokens'",
            )
        return self.tokens.create(user, uses=uses, lifetime=lifetime)

    def invite(
        self, host: str | None, user: str | None, uses: int | None, lifetime: float | None
    ) -> str:
        """See `Server.invite`."""
        own_host, port = self._where()
        host = host or own_host
        if not host:
            raise ConfigError(
                "an invite must say where the server is, and this one listens on all addresses",
                hint="call invite(host='the address that clients use')",
            )
        fingerprint = self._key.fingerprint
        if fingerprint is None:
            raise ConfigError("a server without encryption has no key to invite to")
        token = None
        if self.tokens is not None:
            token = self.create_token(user, uses, lifetime)
        return str(Invite(host, port, fingerprint, token))
