"""The data that both sides keep to resume a session: a client its `Resumption`, a server a `Grant` per ticket."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ..errors import ConfigError
from ..keys import PublicKey
from ..wire.fields import Mode


class Returning(Enum):
    """What a client that shows the ticket of a session has of it, and wants."""

    TO_GO_ON = "it has all, and goes on with the session"
    WITHOUT_MEMORY = "its process has nothing but the resumption, and goes on where the server is"
    FOR_ANOTHER = "the session is over, and another one is to begin in its place"


@dataclass(frozen=True)
class Resumption:
    """
    The data with which a client resumes its session. Each connection brings a new one.

    An attacker who has it can take over the session, so keep it like a password.

    Attributes:
        token: Names the session.
        ticket: The ticket that the client presents.
        psk: The proof of its right; None for a session in plaintext, where the ticket alone is enough.
        lifetime: Seconds that the server keeps the session after its connection is lost.
        max_packet: The longest frame body of the session.
        server: The key that the server has proved; None in plaintext.
        offered: The client's own key that it would have shown, or None.
        application: Name of the application.
        version: Of the application.
    """

    token: bytes
    ticket: bytes = field(repr=False)
    psk: bytes | None = field(repr=False)
    lifetime: int
    max_packet: int
    server: PublicKey | None
    offered: PublicKey | None
    application: str
    version: str

    @property
    def encrypted(self) -> bool:
        """The mode of the session, which never changes."""
        return self.psk is not None

    def suits(self, mode: Mode, identity: PublicKey | None, application: str, version: str) -> bool:
        """Whether the session belongs to a client with these options. Without encryption no key is ever shown."""
        same_key = not self.encrypted or identity == self.offered
        same_application = (application, version) == (self.application, self.version)
        return self.allows(mode) and same_key and same_application

    def allows(self, mode: Mode) -> bool:
        """Whether a client with this mode may resume it."""
        return mode != (Mode.OFF if self.encrypted else Mode.REQUIRED)

    def check_mode(self, mode: Mode) -> None:
        """
        Check that a session resumes in its own mode.

        Raises:
            ConfigError: A client with this mode cannot resume it.
        """
        if not self.allows(mode):
            raise ConfigError(
                "a session never changes its mode: encrypted or not, it resumes as it began",
                hint="begin a new session, without a resumption",
            )


@dataclass(frozen=True)
class Grant:
    """
    The right that a ticket gives to its owner.

    Attributes:
        session: The session to resume, as the server's shell knows it.
        token: Names the session.
        max_packet: The longest frame body of the session.
        psk: None exactly for a session in plaintext.
        server: The server's key; None in plaintext.
        client: The key that the client has proved; None for an anonymous one.
        application: Name of the client's application.
        version: Of the client's application.
    """

    session: Any = field(repr=False)
    token: bytes
    max_packet: int
    psk: bytes | None = field(repr=False)
    server: PublicKey | None
    client: PublicKey | None
    application: str
    version: str

    @property
    def encrypted(self) -> bool:
        """The mode of the session."""
        return self.psk is not None
