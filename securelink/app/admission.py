"""Decides who may enter a server."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ..auth import Authenticate, Hello, Hold, Lease, NoAnswer, ask
from ..codes import Code
from ..errors import CodecError, PeerIncompatible, Refused, SecureLinkError
from ..protocol.handshake_server import VerifiedClient
from ..signatures import never_run
from ..text import escaped
from ..trust import AuthorizedClients
from ..trust.locking import LockTaken
from ..wire.packets import decode_value

log = logging.getLogger("securelink.server")

Holds = tuple[Hold, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """
    The grounds on which a client may enter.

    Attributes:
        user: The user of the new session.
        holds: Charges that are given back if the session does not come about.
        operator: Whether an operator's key was enough.
        lease: For how long it may stay; None: for the whole session.
    """

    user: Any
    holds: Holds = ()
    operator: bool = False
    lease: Lease | None = None


class Keyed(Protocol):
    """A session, as the check of its key needs it."""

    @property
    def operator(self) -> bool:
        """Whether it was let in by the key of an operator."""

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of its client's key."""


class Admission:
    """
    Decides who may enter: by operators' keys, by the application and its version, by known client keys, and by the
    application's `authenticate`. Called in the pool: `authenticate` may be slow.

    Args:
        application: A client must state the same, unless "".
        version: Likewise.
        known_clients: Client keys that may enter; None lets clients in with any key or without one.
        authenticate: The application's hook, or None.

    Attributes:
        operator_name: None, or f(fingerprint) that returns the name of an operator, or None for others.
    """

    def __init__(
        self,
        application: str,
        version: str,
        known_clients: AuthorizedClients | None,
        authenticate: Authenticate | None,
    ) -> None:
        self._application = application
        self._version = version
        self._known_clients = known_clients
        self._authenticate = authenticate
        self.operator_name: Callable[[str], str | None] | None = None

    def admit(
        self,
        client: VerifiedClient,
        address: tuple[str, int],
        *,
        encrypted: bool,
        resumed: Any = None,
    ) -> Entry:
        """
        Decide on a client.

        Args:
            client: Its verified statements.
            address: The address of its connection.
            encrypted: Whether the connection is encrypted.
            resumed: The session that it wants to go on with, if any.

        Raises:
            HandshakeError: It may not enter.
            KeyFileError: A file that says so is damaged, or another program has it locked.
        """
        fingerprint = client.key.fingerprint if client.key is not None else None
        operator = self._operator(fingerprint)
        if operator is not None:
            return Entry(f"operator:{operator}", operator=True)
        self._check_application(client)
        if self._known_clients is not None and (
            fingerprint is None or self._known_clients.allows(fingerprint) is None
        ):
            log.info("refused the unknown client key %s", fingerprint)
            raise Refused(
                "the server does not know this client's key", code=Code.CLIENT_KEY_UNKNOWN
            )
        return self._ask_authenticate(client, fingerprint, address, encrypted, resumed)

    def knows(self, session: Keyed) -> bool:
        """Whether the key by which it was let in is still authorized."""
        if self._known_clients is None or session.operator:
            return True
        try:
            key = session.fingerprint
            return key is not None and self._known_clients.allows(key) is not None
        except SecureLinkError as error:
            log.error("whether its key is authorized cannot be seen: %s", error)
            return False

    def _operator(self, fingerprint: str | None) -> str | None:
        """The name of the operator who has this key, or None."""
        if self.operator_name is None or fingerprint is None:
            return None
        # Without an answer there are no operators; others may enter as always.
        try:
            name = self.operator_name(fingerprint)
        except SecureLinkError as error:
            log.error("nobody is let in as an operator: %s", error)
            return None
        except Exception as error:
            log.error("nobody is let in as an operator", exc_info=error)
            return None
        if name is None or (isinstance(name, str) and name):
            return name
        never_run(name)  # otherwise Python warns that it was never awaited
        log.error(
            "nobody is let in as an operator: a %s is neither a name nor None", type(name).__name__
        )
        return None

    def _check_application(self, client: VerifiedClient) -> None:
        ours = (self._application, self._version)
        theirs = (client.application, client.version)
        for own, other in zip(ours, theirs, strict=True):
            if own and own != other:
                raise PeerIncompatible(
                    f"the server runs {_program(*ours)}, the client {_program(*theirs)}",
                    code=Code.APPLICATION,
                    hint="use the same application and version on both sides",
                )

    def _ask_authenticate(
        self,
        client: VerifiedClient,
        fingerprint: str | None,
        address: tuple[str, int],
        encrypted: bool,
        resumed: Any,
    ) -> Entry:
        if self._authenticate is None:
            return Entry(None)
        try:
            credentials = decode_value(client.credentials)
        except CodecError as error:
            raise Refused("the credentials cannot be read") from error
        hello = Hello(
            credentials=credentials,
            fingerprint=fingerprint,
            address=address,
            dialled=client.dialled,
            application=client.application,
            version=client.version,
            resumed=resumed,
            binding=client.binding,
            encrypted=encrypted,
            _holds=[],
        )
        try:
            user = ask(self._authenticate, hello)
        except LockTaken:
            release(hello.holds)
            raise  # nothing is wrong with the client, which may try again
        except BaseException as error:
            release(hello.holds)
            raise self._refusal(error, address[0]) from None
        return Entry(user, hello.holds, lease=hello.lease)

    def _refusal(self, error: BaseException, host: str) -> Refused:
        """The refusal for the client when the hook returned no user; the log gets the reason."""
        if isinstance(error, NoAnswer):
            log.error("authenticate %s; %s is refused", error.mistake, host)
            return error
        if isinstance(error, Refused):
            code, text = farewell(error)  # the listener logs it, with the text
            return Refused(text, code=code)
        # Also SystemExit, which would only end this thread.
        log.error("authenticate raised an error; %s is refused", host, exc_info=error)
        return Refused("the server could not check the credentials")


def release(holds: Holds) -> None:
    """Give back the charges of a client that has not got in."""
    for hold in holds:
        try:
            hold.release()
        except BaseException:  # also SystemExit, which would only end this thread
            log.exception("what a client did not use could not be given back")


def cannot_say(error: SecureLinkError) -> tuple[int, str]:
    """Code and text for a client of whom we cannot say whether it may enter: that is our trouble, not its own."""
    if isinstance(error, LockTaken):
        return Code.BUSY, "a file that says who may enter is being changed"
    return Code.INTERNAL, ""


def farewell(refusal: Refused) -> tuple[int, str]:
    """Code and text of a refusal by the application, cut and cleaned so that they can be sent."""
    try:
        code, text = refusal.code, str(refusal.text or "")
    except Exception:
        # The application's subclass did not call our __init__, or its text cannot be shown.
        return Code.REFUSED, ""
    possible = isinstance(code, int) and Code.NORMAL < code < 256
    return (code if possible else Code.REFUSED), text


def _program(application: str, version: str) -> str:
    return f"{escaped(application) or 'an unnamed application'} {escaped(version)}".rstrip()
