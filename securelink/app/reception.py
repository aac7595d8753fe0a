"""From a verified client to a public session, and from there to its end."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..auth import Authenticate, Hello, Hold, NoAnswer, ask
from ..codes import Code
from ..errors import CodecError, HandshakeError, PeerIncompatible, Refused, SecureLinkError
from ..protocol.handshake_server import VerifiedClient
from ..session import Session
from ..signatures import never_run
from ..streams.sockets import shown
from ..text import escaped
from ..threads.channel import Channel
from ..threads.listener import ServerLink
from ..trust import AuthorizedClients
from ..wire.packets import decode_value
from .handlers import STATE

if TYPE_CHECKING:
    from ..server import Server

log = logging.getLogger("securelink.server")

Holds = tuple[Hold, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """
    Why somebody may enter.

    Attributes:
        user: Of the new session.
        holds: What is given back if it does not come about.
        operator: Whether the key alone was enough, as an operator's.
    """

    user: Any
    holds: Holds = ()
    operator: bool = False


class Gate:
    """
    Decides who may enter. Called in the pool: `authenticate` may be slow.

    Args:
        application, version: What a client must say too, unless "".
        known_clients: Client keys that may enter; None lets every key, and none, in.
        authenticate: The application's hook, or None.

    Attributes:
        operator_name: None, or f(fingerprint) that gives the name of an operator, or None for all others.
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

    def admit(self, link: ServerLink, client: VerifiedClient) -> Entry:
        """Why this client may enter. Raises `HandshakeError` if it may not."""
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
        return self._ask_authenticate(link, client, fingerprint)

    def knows(self, session: Session) -> bool:
        """Whether the key by which it was let in is authorized still."""
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
        # Without an answer there are no operators; everybody else may enter as always.
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
        never_run(name)  # else Python says that it was never awaited
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
        self, link: ServerLink, client: VerifiedClient, fingerprint: str | None
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
            address=link.address,
            dialled=client.dialled,
            application=client.application,
            version=client.version,
            resumed=None,
            binding=client.binding,
            encrypted=link.engine.encrypted,
            _holds=[],
        )
        try:
            user = ask(self._authenticate, hello)
        except BaseException as error:
            _release(hello.holds)
            raise self._refusal(error, link) from None
        return Entry(user, hello.holds)

    def _refusal(self, error: BaseException, link: ServerLink) -> Refused:
        """What the client is told when the hook gave no user; the log is told why."""
        if isinstance(error, NoAnswer):
            log.error("authenticate %s; %s is refused", error.mistake, link.address[0])
            return error
        if isinstance(error, Refused):
            code, text = _farewell(error)  # the listener logs it, with the words
            return Refused(text, code=code)
        # Also SystemExit, which would only end this thread.
        log.error("authenticate raised an error; %s is refused", link.address[0], exc_info=error)
        return Refused("the server could not check the credentials")


def _release(holds: Holds) -> None:
    for hold in holds:
        try:
            hold.release()
        except BaseException:  # also SystemExit, which would only end this thread
            log.exception("what a client did not use could not be given back")


def _holds(link: ServerLink) -> Holds:
    session = link.channel
    assert isinstance(session, Session)
    return session._holds


def _farewell(refusal: Refused) -> tuple[int, str]:
    """Code and text of a refusal in the application's words; whatever is in it, it can be sent."""
    try:
        code, text = refusal.code, str(refusal.text or "")
    except (
        Exception
    ):  # a class of the application's that did not call ours, or words that cannot be shown
        return Code.REFUSED, ""
    possible = isinstance(code, int) and Code.NORMAL < code < 256
    return (code if possible else Code.REFUSED), text


def _program(application: str, version: str) -> str:
    return f"{escaped(application) or 'an unnamed application'} {escaped(version)}".rstrip()


class _Hangup:
    """Says that a session is over, outside of its order: handlers may still be busy with what it sent before."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def run(self) -> bool:
        """By the loop."""
        self._session._server.on_hangup.fire(self._session)
        return False


class Reception:
    """What the listener tells and asks: the `Host` of threads/listener.py."""

    def __init__(self, server: Server, gate: Gate) -> None:
        self._server = server
        self._gate = gate

    def authorize(self, link: ServerLink, client: VerifiedClient) -> Session:
        """In the pool: a session for this client, not yet public. Raises `HandshakeError` to refuse."""
        try:
            entry = self._gate.admit(link, client)
        except HandshakeError:
            self.note("logins_refused")
            raise
        link.token = uuid.uuid4().bytes
        session = Session(self._server, link.loop, link, client, entry.user)
        session.operator = entry.operator
        session._holds = entry.holds
        link.provisional = bool(entry.holds)
        return session

    def confirmed(self, link: ServerLink) -> bool:
        """By the leader: the client has WELCOME, so what was held for it is used now. False: it must not stay."""
        session = link.channel
        assert isinstance(session, Session)
        if not self._gate.knows(session):
            log.info("%s: its key was revoked while it came in", link.address[0])
            return False
        if all(hold.confirm() for hold in _holds(link)):
            return True
        log.info("%s came in twice with what admits once; the later one stays", link.address[0])
        return False

    def not_entered(self, link: ServerLink, *, at_once: bool) -> None:
        """By the leader: nobody got in. It may take a file, so the pool does it, unless the server is stopping."""
        holds = _holds(link)
        if at_once or not link.loop.submit(link.network, lambda: _release(holds)):
            _release(holds)

    def opened(self, channel: Channel) -> None:
        """By the leader: the session is public from now on."""
        assert isinstance(channel, Session)
        session, server = channel, self._server
        server._sessions[session.token] = session
        server._changes += 1
        server._counts.note("sessions")
        if server._state is not None:
            session._post(server._state, timeout=None, latest=STATE, wait=False)
        log.info("%s connected from %s", session._name(), shown(*session.address))
        session._note(lambda: self._welcome(session))

    def _welcome(self, session: Session) -> None:
        """First of all in its inbox: the application greets it, or refuses it after all."""
        try:
            self._server.on_connect.fire(session)
        except Refused as refusal:
            code, text = _farewell(refusal)
            self.note("logins_refused")
            log.info("on_connect refused %s: %s", session._name(), escaped(text))
            session._end(code, text)

    def ended(self, channel: Channel) -> None:
        """By the leader: the session is over; its disconnect event comes after its last packet."""
        assert isinstance(channel, Session)
        session, server = channel, self._server
        if not server._counts.leave(server._sessions, session):
            return
        server._changes += 1
        server._all_sessions = (-1, ())  # it would keep this one until somebody asks again
        server._rooms.leave_all(session)
        if server.on_hangup._listeners:
            session._loop.schedule(_Hangup(session))
        log.info("%s disconnected: %s", session._name(), session._closed_error().message)
        session._note(lambda: self._goodbye(session))

    def _goodbye(self, session: Session) -> None:
        """Last of all in its inbox."""
        try:
            self._server.on_disconnect.fire(session)
        finally:
            self._server._counts.left(session)

    def note(self, event: str) -> None:
        """Something happened that is counted."""
        self._server._counts.note(event)
