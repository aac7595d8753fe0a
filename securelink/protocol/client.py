"""The client's end of a connection."""

from __future__ import annotations

import os
from math import inf

from .. import crypto
from ..codes import CODE_TEXT, Code, code_text
from ..errors import ConfigError, HandshakeError, PeerIncompatible, ProtocolError, Refused
from ..keys import Identity
from ..limits import MAX_COUNT
from ..wire.fields import Content, Kind, Mode
from ..wire.messages import ANOTHER, NO_MEMORY, Welcome
from .acknowledgements import Numbering
from .call_order import made_before
from .connection import Connection, Takes
from .contents import SHARED_TAKES
from .events import Item, Opened, PlaintextChosen, ServerVerified
from .handshake_client import ClientHandshake, PlaintextServer, VerifiedServer
from .records import Opener, PlainReceiver, PlainSender, Sealer
from .resumption import Resumption, Returning
from .states import Input, State, Take


def refusal(code: int, text: str, seconds: int = 0) -> HandshakeError:
    """The error for a CLOSE or ALERT that ended the handshake; `text` is escaped peer text."""
    if code == Code.BLOCKED and seconds:
        text = f"the server has blocked this address for {seconds} s: too many handshakes from it failed"
    known = code in CODE_TEXT
    hint = _REFUSAL_HINTS.get(code, "") if known else "this side may be older: update securelink"
    text = text or code_text(code)
    if code in (Code.VERSION, Code.ENCRYPTION_REQUIRED, Code.ENCRYPTION_OFF, Code.APPLICATION):
        return PeerIncompatible(text, code=code, hint=hint)
    if code == Code.NORMAL or code >= Code.REFUSED:
        return Refused(text, code=code, hint=hint)
    return HandshakeError(text, code=code, hint=hint)


_REFUSAL_HINTS: dict[int, str] = {
    Code.PROTOCOL: "connect again; if it happens again, check that both sides run the same version of securelink",
    Code.VERSION: "update securelink on the older side",
    Code.ENCRYPTION_REQUIRED: "connect with encryption='required' (the default)",
    Code.ENCRYPTION_OFF: "nothing proves this answer: if the server used to encrypt, somebody may be in between; "
    "if not, only encryption='off' or 'optional' can reach it; anyone on the path could then read",
    Code.BUSY: "try again later",
    Code.BLOCKED: "wait until then; others behind the same router count with you",
    Code.TIMEOUT: "try again; if it happens again, the server or the network is overloaded",
    Code.INTERNAL: "the log of the peer says more",
    Code.APPLICATION: "use the same application and version on both sides",
    Code.CLIENT_KEY_REQUIRED: "make a key with 'securelink keys create --name client' and pass keys=",
    Code.CLIENT_KEY_UNKNOWN: "its operator can run 'securelink keys authorize' with this client's public key",
}


class ClientConnection(Connection):
    """
    The client's end of one connection. `data_to_send` has the hello at once.

    Args:
        mode: The client's encryption policy.
        random: Source of random bytes; tests give recorded ones.
        max_packet: The largest frame body that this client lets a server announce.
        deadline: When the handshake must be done, by the clock of `now`.
        resumption: To resume a session, which has to be attached: the resumption from its last connection. It stays
            usable for another attempt if this one ends before `Opened`.
        returning: What it has of that session. Without memory the connection has a numbering of its own, if the session
            goes on, and waits until one with that is attached; another session is attached later, too.

    Raises:
        ConfigError: The session to resume has another mode.
    """

    __slots__ = ("_asked", "_handshake", "_max_packet", "_returning", "_server")
    __deletable__ = ("_handshake",)  # for mypyc: its secrets are forgotten once the session is open

    def __init__(
        self,
        mode: Mode,
        *,
        max_packet: int,
        random: crypto.Random = os.urandom,
        deadline: float = inf,
        resumption: Resumption | None = None,
        returning: Returning = Returning.TO_GO_ON,
    ) -> None:
        super().__init__(State.HELLO_SENT, _TAKES, pings=True, deadline=deadline)
        self._handshake = ClientHandshake(mode, random=random, resumption=resumption)
        self._asked = resumption
        self._returning = returning
        self._max_packet = max_packet
        # The proof that `authenticate` demands.
        self._server: VerifiedServer | PlaintextServer | None = None
        self._out.append(self._handshake.hello())

    @property
    def resumes(self) -> bool:
        """Once the server has answered, and before WELCOME: whether it knows the session that it was asked for."""
        return self._handshake.resumed

    def authenticate(
        self,
        server: VerifiedServer | PlaintextServer,
        *,
        identity: Identity | None,
        dialled: str,
        application: str,
        version: str,
        credentials: bytes,
    ) -> None:
        """
        Queue CLIENT_AUTH.

        Args:
            server: The proof from `ServerVerified` or `PlaintextChosen` of this connection. It can be used once.
            identity: The key to show, or None to stay anonymous. Never shown in plaintext mode.
            dialled: The host name or address that the user asked for.
            application: Name of the application.
            version: The version of the application.
            credentials: One MessagePack value.

        Raises:
            ConfigError: Called too early, a second time, or with a proof of another connection: the credentials would
                go to a server that has proved nothing. Or the session to resume is not attached.
        """
        self._demand("authenticate", Input.AUTHENTICATE)
        if self._handshake.resumed and self._remembers and not self._carried:
            raise ConfigError(
                "authenticate() has no session to resume",
                hint="attach() it to this connection before",
            )
        if server is not self._server:
            raise ConfigError(
                "authenticate() needs the proof of this connection's own server",
                hint="pass the proof from `ServerVerified` or `PlaintextChosen` of this connection",
            )
        self._server = None
        record = self._handshake.client_auth(
            identity=identity,
            dialled=dialled,
            application=application,
            version=version,
            credentials=credentials,
            count=self._count,
        )
        if not self.encrypted:
            self._send, self._receive = PlainSender(), PlainReceiver()
            self._out.append(self._send.seal(record))
        else:
            secrets = made_before(self._handshake.application_secrets, "authenticate")
            self._out.append(made_before(self._send, "authenticate").seal(record))
            self._send = Sealer(secrets.client)
            self._receive = Opener(secrets.server)
        self._go(Input.AUTHENTICATE)

    @property
    def _count(self) -> int:
        if self._returning is Returning.FOR_ANOTHER:
            return ANOTHER
        return self.numbering.incoming.accepted if self._remembers else NO_MEMORY

    @property
    def _remembers(self) -> bool:
        """Whether the session to resume is attached."""
        return self._returning is Returning.TO_GO_ON

    def _receive_unopened(self, data: bytes) -> list[Item]:
        """As `Connection._receive_unopened`; the error names an answer that is not a securelink frame."""
        if (
            self.state is State.HELLO_SENT
            and data
            and not self._frames.pending
            and data[0] not in (Kind.SERVER_HELLO, Kind.ALERT)
        ):
            error = ProtocolError("the peer is not a securelink server", hint="check host and port")
            return [self._fail(error)]
        return super()._receive_unopened(data)

    def _server_hello(self, header: bytes, body: bytes, out: list[Item]) -> None:
        plaintext = self._handshake.server_hello(header, body)
        self.encrypted = self._handshake.encrypted
        if plaintext is not None:
            self._server = plaintext
            out.append(PlaintextChosen(plaintext))
            return
        secrets = made_before(self._handshake.handshake_secrets, "server_hello")
        self._send = Sealer(secrets.client)
        self._receive = Opener(secrets.server)

    def _server_auth(self, plaintext: bytes, out: list[Item]) -> None:
        server = self._server = self._handshake.server_auth(plaintext)
        out.append(ServerVerified(server))

    def _welcome(self, plaintext: bytes, out: list[Item]) -> None:
        welcome = Welcome.decode(plaintext)
        if welcome.max_packet > self._max_packet:
            raise ProtocolError(
                f"the server wants packets of {welcome.max_packet} bytes, over our {self._max_packet}",
                hint="raise max_packet= of the client, or lower it on the server",
            )
        asked, self._asked = self._asked, None
        if welcome.count is not None:
            self._check_goes_on(welcome, asked)
        if welcome.count is not None and self._remembers:
            self.numbering.outgoing.rewind(welcome.count)
        elif asked is not None:
            # The attached session is not the one that begins, or was begun by another process. Records wait until a
            # session with this numbering is attached.
            self.numbering = Numbering()
            self.more = True
            if welcome.count is not None and welcome.acknowledged is not None:
                self.numbering.outgoing.go_on_from(welcome.count)
                self.numbering.incoming.go_on_from(welcome.acknowledged)
        if isinstance(self._send, PlainSender) and isinstance(self._receive, PlainReceiver):
            self._send.token = self._receive.token = welcome.token
        resumption = self._handshake.resumption(welcome)
        del self._handshake
        self._open(welcome)
        out.append(Opened(welcome, welcome.count is not None, resumption))
        if resumption is not None:
            self.control(Content.PING, bytes(8))  # shows that the ticket has arrived

    def _check_goes_on(self, welcome: Welcome, asked: Resumption | None) -> None:
        """WELCOME resumes a session: check that it is the one that was asked for, and unchanged."""
        another = self._returning is Returning.FOR_ANOTHER
        if asked is None or another or not self._handshake.resumed:
            raise ProtocolError("WELCOME resumes a session that we did not ask for")
        if not crypto.equal(welcome.token, asked.token) or welcome.max_packet != asked.max_packet:
            raise ProtocolError("WELCOME resumes another session than the one that we asked for")
        if self._remembers != (welcome.acknowledged is None):
            raise ProtocolError("WELCOME's counts do not fit what we said of our memory")
        if max(welcome.count or 0, welcome.acknowledged or 0) > MAX_COUNT:
            raise ProtocolError("WELCOME states a count that no session has")


_TAKES: Takes = {
    **SHARED_TAKES,
    Take.SERVER_HELLO: ClientConnection._server_hello,
    Take.SERVER_AUTH: ClientConnection._server_auth,
    Take.WELCOME: ClientConnection._welcome,
}
