"""Who the two sides of a client's session are, as an application asks."""

from __future__ import annotations

from .threads.connecting import Connector


class Introduced:
    """The properties of `Client` that name the session and its sides."""

    _connector: Connector
    _token: str
    _encrypted: bool
    _resumed: bool

    @property
    def token(self) -> str:
        """The uuid4 that names the session; "" before the first one."""
        return self._token

    @property
    def encrypted(self) -> bool:
        """Whether the session is encrypted."""
        return self._encrypted

    @property
    def resumed(self) -> bool:
        """Whether the last `connect()` went on with the session of an earlier process (`session=`)."""
        return self._resumed

    @property
    def fingerprint(self) -> str | None:
        """Of this client's key, `SHA256:...`; None for a client that has none."""
        identity = self._connector.introduction.identity
        return identity.fingerprint if identity is not None else None

    @property
    def server_fingerprint(self) -> str | None:
        """Of the server's key, `SHA256:...`; None before the first connection and in plaintext."""
        return self._connector.server_fingerprint
