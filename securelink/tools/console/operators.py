"""
Attaching to a running server, over securelink itself: the operator's client key must be in `authorized_operators`.

The right is checked at each command, so revoking a key ends it at once; its session ends within about two seconds.
An operator enters a server by that key alone: without a join token, and for any application.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...app.actions import OwnAction
from ...app.received import Received
from ...auth import Authenticate, Hello, checked_hook
from ...client import Client
from ...errors import Refused, RequestFailed
from ...logs.default import Forwarder
from ...server import Server
from ...session import Session, context_of
from ...text import escaped, shortened
from ...trust import AuthorizedClients
from .commands import Console

MAX_LINE = 4096  # characters of a log line of the server that are shown

COMMAND = OwnAction("~console")
LINE = OwnAction("~console-line")
_USER = "operator:"  # the user of a session that an operator's key opened begins so
COMMAND_SECONDS = 30.0
_WARNED = "~console warned"  # in the data of a session, as the next one is
_ATTACHED = "~console attached"

log = logging.getLogger("securelink.server")


class Operators:
    """
    Lets operators attach to a server.

    Args:
        authorized: The operators' keys.
    """

    def __init__(self, authorized: AuthorizedClients | str | Path) -> None:
        self._authorized = (
            authorized
            if isinstance(authorized, AuthorizedClients)
            else AuthorizedClients(authorized)
        )
        self._attached: dict[str, Session] = {}
        self._admitted: set[str] = set()  # keys that `admit` let in; no more than the file has
        self._lines = _LineSender(self._attached, self._name)

    def admit(self, otherwise: Authenticate) -> Authenticate:
        """
        An `authenticate` hook: operators enter by their key, others by `otherwise`.

        Raises:
            ConfigError: `otherwise` is not a valid hook.
        """
        checked_hook(otherwise)

        def authenticate(hello: Hello) -> Any:
            name, fingerprint = self._name(hello.fingerprint), hello.fingerprint
            if name is not None and fingerprint is not None:
                self._admitted.add(fingerprint)
                return f"{_USER}{name}"
            return otherwise(hello)

        return authenticate

    def _name(self, fingerprint: str | None) -> str | None:
        return self._authorized.allows(fingerprint) if fingerprint is not None else None

    def _is_here_as_operator(self, session: Session) -> bool:
        admitted = session.fingerprint in self._admitted and str(session.user).startswith(_USER)
        return session.operator or admitted or session.token in self._attached

    def _restored(self, session: Session) -> None:
        """A session of the process before: whoever was attached is so still. The key is looked at before each line."""
        if session.data.get(_ATTACHED):
            self._attached[session.token] = session

    def _detach(self, session: Session) -> None:
        self._attached.pop(session.token, None)

    def serve(self, server: Server, console: Console) -> None:
        """Answer the commands of attached operators."""

        def run(session: Session, packet: Received) -> str:
            name = self._name(session.fingerprint)
            if name is None:
                self._attached.pop(session.token, None)
                if not session.data.get(_WARNED):  # once, however often it tries
                    session.data[_WARNED] = True
                    log.warning(
                        "%s is no operator and tried a command; its key is %s",
                        context_of(session).name,
                        session.fingerprint,
                    )
                raise RequestFailed("this key is not authorised to operate the server")
            if not isinstance(packet.data, str):
                raise RequestFailed("a command is a text")
            if session.token not in self._attached:
                self._attached[session.token] = session
                session.data[_ATTACHED] = True
                log.info("operator %s attached", escaped(name))
            return console.execute(packet.data)

        server.admit_operators(self._name)
        server.on(COMMAND, run)
        server.on_restore.add_listener(self._restored)
        server.on_disconnect.add_listener(self._detach)
        server.end_when_revoked(
            self._authorized, self._is_here_as_operator, "this operator's key was revoked"
        )
        root = logging.getLogger("securelink")
        root.addHandler(self._lines)
        if root.level == logging.NOTSET:
            # Otherwise the default of Python's logging hides lines that operators want to see.
            root.setLevel(logging.INFO)
        server.on_stop.add_listener(
            lambda: logging.getLogger("securelink").removeHandler(self._lines)
        )


class _LineSender(Forwarder):
    """Sends the server's log lines to attached operators."""

    def __init__(
        self, attached: dict[str, Session], name: Callable[[str | None], str | None]
    ) -> None:
        super().__init__(logging.INFO)
        self._attached = attached
        self._operator = name
        self._busy = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        """Sending may log: such lines are not sent again."""
        if not self._attached or getattr(self._busy, "now", False):
            return
        self._busy.now = True
        try:
            text = f"[{record.levelname}] {record.getMessage()}"
            for session in tuple(self._attached.values()):
                self._show(session, text)
        finally:
            self._busy.now = False

    def _show(self, session: Session, text: str) -> None:
        try:
            # Its key may be revoked by now.
            allowed = self._operator(session.fingerprint) is not None
            if allowed:
                session.send(LINE, text, timeout=0.0)
        except Exception:
            # also from a before_send hook: never raise into the code that is logging
            allowed = False
        if not allowed:
            self._attached.pop(session.token, None)


class Attachment:
    """An operator's end of an attached console."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def execute(self, line: str) -> str:
        """
        Run one command on the server.

        Returns:
            Its output, unchanged: escape it before a terminal shows it.

        Raises:
            RequestFailed: This key is not authorised.
            ConnectionClosed: The server is gone.
        """
        return str(self._client.request(COMMAND, line, timeout=COMMAND_SECONDS))

    def on_line(self, show: Any) -> None:
        """Call show(text) for each log line of the server."""
        self._client.on(LINE, lambda packet: show(escaped(shortened(str(packet.data), MAX_LINE))))

    def close(self) -> None:
        """Leave the server running and go."""
        self._client.close()


def attach(client: Client, timeout: float = 10.0) -> Attachment:
    """
    Connect a client that has a key, unless it is connected, and check that the server accepts its commands.

    Raises:
        Refused: The server does not let this key in, or it is not an operator's key.
        SecureLinkError: As `Client.connect`.
    """
    if not client.connected:
        client.connect(timeout)
    attachment = Attachment(client)
    try:
        attachment.execute("")
    except RequestFailed as error:
        client.close()
        key = client.fingerprint or "FINGERPRINT"
        raise Refused(
            error.text or "this server has no console",
            hint="at the server, in the folder where it runs, somebody must run: "
            f"securelink keys authorize --operator {key} --as NAME",
        ) from None
    return attachment
