"""Who may enter a server, as an application says it: join tokens, invites, operators, keys that are revoked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic

from .app.admission import Admission
from .app.invitations import Invitations
from .app.own_key import OwnKey
from .app.revocation import Revocations
from .session import Member
from .signatures import checked
from .trust import AuthorizedClients


class Admitting(Generic[Member]):
    """The methods of `Server` that say who may enter: a facade of its `Invitations`, `Admission` and `Revocations`."""

    _key: OwnKey
    _invitations: Invitations
    _admission: Admission
    _revocations: Revocations[Member]

    @property
    def fingerprint(self) -> str | None:
        """Of the server's key, `SHA256:...`, as `ssh-keygen -lf` prints it; None in plaintext."""
        return self._key.fingerprint

    def create_token(
        self, user: str | None = None, *, uses: int | None = 1, lifetime: float | None = None
    ) -> str:
        """
        Make a join token: whoever has it may enter.

        Args:
            user: Becomes `session.user`.
            uses: How often it admits; None for any number.
            lifetime: Seconds; None forever.

        Returns:
            A uuid4. It is kept only as a hash: this is the one time that it is shown.

        Raises:
            ConfigError: This server does not ask for tokens.
        """
        return self._invitations.create_token(user, uses, lifetime)

    def invite(
        self,
        host: str | None = None,
        *,
        user: str | None = None,
        uses: int | None = 1,
        lifetime: float | None = None,
    ) -> str:
        """
        A link that has all a client needs: address, the server's fingerprint and, if the server asks for tokens, a
        new one.

        Args:
            host: The name or address under which clients reach this server; needed when it listens on all.
            user: As for `create_token`.
            uses: As for `create_token`.
            lifetime: As for `create_token`.

        Raises:
            ConfigError: The host is missing, or the server has no key (encryption="off").
        """
        return self._invitations.invite(host, user, uses, lifetime)

    def admit_operators(self, name_of: Callable[[str], str | None]) -> None:
        """
        Let operators in by their key alone: whatever application they run, and without asking `authenticate` or
        `client_keys`. Their user is "operator:NAME".

        Args:
            name_of: f(fingerprint) gives the name of an operator, or None for everybody else's key. It is called in
                the pool, and may be slow. An error of it, and an answer that is neither a text nor None, are logged,
                and make nobody an operator.

        Raises:
            ConfigError: `name_of` is no plain function of one argument.
        """
        self._admission.operator_name = checked("name_of", name_of, ("fingerprint",))

    def end_when_revoked(
        self, authorized: AuthorizedClients, concerns: Callable[[Member], bool], reason: str
    ) -> None:
        """
        End sessions within about two seconds when their key is taken out of a file.

        With `client_keys="known"` that is done for `authorized_clients`. While the file is damaged, sessions stay.

        Args:
            authorized: The file.
            concerns: Whether a session is there because its key was in the file. When it fails, the log says so, the
                session stays, and it is asked again a second later.
            reason: What the client is told.
        """
        self._revocations.watch(authorized, concerns, reason)
