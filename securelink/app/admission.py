"""Decides who may enter a server."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from ..auth import Authenticate, Hello, Hold, Lease, NoAnswer, ask
from ..auth.hook import judged
from ..codes import Code
from ..errors import CodecError, PeerIncompatible, Refused, SecureLinkError
from ..protocol.handshake_server import VerifiedClient
from ..signatures import COROUTINE, lazy_kind, never_run
from ..text import escaped
from ..trust import AuthorizedClients
from ..trust.locking import LockTaken
from ..wire.packets import decode_value
from .pending import Pending, Runner

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


class Question:
    """
    What an `authenticate` that is a coroutine is asked about one client: no thread waits for the answer.

    Args:
        hook: The coroutine.
        hello: What it is asked.
        runner: Runs it.
        entry: Makes of an answer the grounds on which the client enters, or the error for one that does not.

    Attributes:
        called_off: Nobody waits for the answer any more.
    """

    def __init__(
        self,
        hook: Authenticate,
        hello: Hello,
        runner: Runner,
        entry: Callable[[Hello, Callable[[], Any]], Entry],
    ) -> None:
        self._hook = hook
        self._hello = hello
        self._runner = runner
        self._entry = entry
        self._pending: Pending | None = None
        self._answer: list[Any] = []
        self._error: BaseException | None = None
        self.called_off = False

    def begin(self, done: Callable[[], None]) -> None:
        """By the leader: ask. Then `done` is called, by the leader too."""
        self._pending = pending = self._runner(self._asked(), self._answer.append)
        assert pending is not None  # it is a coroutine
        pending.then(partial(self._over, done))

    async def _asked(self) -> Any:
        return await self._hook(self._hello)

    def _over(self, done: Callable[[], None], error: BaseException | None) -> None:
        self._error = error
        done()

    def call_off(self) -> bool:
        """By the leader: nobody waits any more. False if it is not under way."""
        pending = self._pending
        if pending is None or not pending.active or self.called_off:
            return False
        self.called_off = True
        pending.call_off()
        return True

    def entry(self) -> Entry:
        """
        In the pool, behind `done`.

        Raises:
            HandshakeError: The client does not get in.
        """
        return self._entry(self._hello, self._found)

    def _found(self) -> Any:
        if self.called_off:
            raise Refused("the server could not check the credentials in time", code=Code.TIMEOUT)
        if self._error is not None:
            raise self._error
        return judged(self._answer[0])


class Admission:
    """
    Decides who may enter: by operators' keys, by the application and its version, by known client keys, and by the
    application's `authenticate`. Called in the pool: `authenticate` may be slow.

    Args:
        application: A client must state the same, unless "".
        version: Likewise.
        known_clients: Client keys that may enter; None lets clients in with any key or without one.
        authenticate: The application's hook, or None.
        runner: Runs a hook that is a coroutine; None: there is none.

    Attributes:
        operator_name: None, or f(fingerprint) that returns the name of an operator, or None for others.
    """

    def __init__(
        self,
        application: str,
        version: str,
        known_clients: AuthorizedClients | None,
        authenticate: Authenticate | None,
        runner: Runner | None = None,
    ) -> None:
        self._application = application
        self._version = version
        self._known_clients = known_clients
        self._authenticate = authenticate
        self._runner = runner
        self.operator_name: Callable[[str], str | None] | None = None

    def admit(
        self,
        client: VerifiedClient,
        address: tuple[str, int],
        *,
        encrypted: bool,
        resumed: Any = None,
    ) -> Entry | Question:
        """
        Decide on a client, or find what the application has to be asked first.

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
    ) -> Entry | Question:
        hook, runner = self._authenticate, self._runner
        if hook is None:
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
            _runs=runner is not None,
        )
        if runner is not None and lazy_kind(hook) == COROUTINE:
            return Question(hook, hello, runner, self._entry)
        return self._entry(hello, partial(ask, hook, hello))

    def _entry(self, hello: Hello, user: Callable[[], Any]) -> Entry:
        try:
            return Entry(user(), hello.holds, lease=hello.lease)
        except LockTaken:
            release(hello.holds)
            raise  # nothing is wrong with the client, which may try again
        except BaseException as error:
            release(hello.holds)
            raise self._refusal(error, hello.address[0]) from None

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
