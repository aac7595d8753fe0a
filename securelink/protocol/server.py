"""The server's end of a connection."""

from __future__ import annotations

import math
import os
from math import inf
from typing import Any

from .. import crypto
from ..codes import Code
from ..errors import ConfigError, HandshakeError, PeerIncompatible, ProtocolError, SecureLinkError
from ..keys import Identity
from ..limits import HEADER_SIZE, MAGIC, TICKET_SIZE
from ..wire.fields import Content, Kind, Mode
from ..wire.messages import Wanted, Welcome
from .acknowledgements import Numbering
from .call_order import made_before
from .connection import Connection, Takes
from .contents import SHARED_TAKES
from .events import AuthReceived, Confirmed, Failed, HelloReceived, Item
from .handshake_server import ServerHandshake, VerifiedClient
from .records import Opener, PlainReceiver, PlainSender, Sealer
from .resumption import Grant
from .states import CONTENT_INPUTS, MOVES, Input, State, Take
from .strangers import ANSWERS, KNOCKS, knock_of
from .tickets import Issued, Resuming, ticket_digest


class ServerConnection(Connection):
    """
    The server's end of one connection.

    Args:
        policy: The server's encryption policy.
        wanted: A `Wanted` number: the server's demand for client keys.
        random: Source of random bytes; tests give recorded ones.
        succession: Statements of earlier keys of the server.
        deadline: When the handshake must be done, by the clock of `now`.
        resuming: The tickets and the key to resume sessions with; None: no session is resumed, and clients get no
            tickets.

    Attributes:
        heard: Whether the client has sent anything.
        knock: "HTTP", "TLS", "PROXY" or "noise" if the peer speaks another protocol.
    """

    __slots__ = (
        "_attempt", "_auth", "_client", "_first", "_handshake", "_next", "_random", "_recognised", "_resuming",
        "_succession", "_ticket", "_used", "_wanted", "heard", "knock",
    )  # fmt: skip
    __deletable__ = ("_handshake",)  # for mypyc: its secrets are forgotten once the session is open

    def __init__(
        self,
        policy: Mode,
        wanted: int,
        *,
        random: crypto.Random = os.urandom,
        succession: bytes = b"",
        deadline: float = inf,
        resuming: Resuming | None = None,
    ) -> None:
        super().__init__(State.START, _TAKES, pings=False, deadline=deadline)
        self._resuming, self._random = resuming, random
        self._attempt = 0
        self._used = b""  # digest of the ticket that the client has shown and that was accepted
        self._next = b""  # and of the one that it gets; empty once it has shown that it has it
        self._succession = succession
        self._handshake = ServerHandshake(policy, random=random)
        self._wanted = wanted
        self._client: VerifiedClient | None = None  # the proof that `welcome` demands
        self._auth = self._first = self._ticket = b""
        self.knock, self.heard, self._recognised = "", False, False

    def _receive_unopened(self, data: bytes) -> list[Item]:
        """As `Connection._receive_unopened`; the first 12 bytes tell whether the peer speaks securelink at all."""
        self.heard = self.heard or bool(data)
        if not self._recognised and self.state is State.START:
            self._first += data
            if data and len(self._first) < HEADER_SIZE + len(MAGIC):
                return []
            data, self._first = self._first, b""
            if not data:
                return super()._receive_unopened(data)
            if data[0] != Kind.CLIENT_HELLO or data[4:12] != MAGIC:
                return [self._stranger(data)]
            self._recognised = True
        return super()._receive_unopened(data)

    def _stranger(self, data: bytes) -> Failed:
        self.knock = knock_of(data)
        self._go(Input.FAULT)
        error = ProtocolError(f"the peer does not speak securelink: {KNOCKS[self.knock]}")
        return Failed(error, ANSWERS[self.knock])

    @property
    def resumes(self) -> bool:
        """Until WELCOME: whether the client's ticket was accepted."""
        return self._handshake.resumed

    def begin_answer(self) -> None:
        """
        Encapsulate and queue SERVER_HELLO. Takes a fraction of a millisecond: do not call it in the loop. Unless it
        resumes, send the output before `finish_answer`, whose signature takes longer: the client computes meanwhile.

        Raises:
            SecureLinkError: The client's key share is bad; `data_to_send` has a last message.
            ConfigError: No hello waits for an answer.
        """
        self._demand("begin_answer", Input.BEGIN_ANSWER)
        try:
            self._out.append(self._handshake.answer())
        except SecureLinkError as error:
            self._out.append(self._fail(error).answer)
            raise
        self._go(Input.BEGIN_ANSWER)

    def finish_answer(self, identity: Identity | None) -> None:
        """
        Sign and queue SERVER_AUTH; in plaintext there is none, and to resume nothing is signed. Takes about a
        millisecond: do not call it in the loop.

        Args:
            identity: The server's key; may be None in plaintext mode, or to resume.

        Raises:
            ConfigError: `begin_answer` was not called before, or the key is missing.
        """
        self._demand("finish_answer", Input.FINISH_ANSWER)
        if not self.encrypted:
            self._send, self._receive = PlainSender(), PlainReceiver()
        else:
            if identity is None and not self._handshake.resumed:
                raise ConfigError(
                    "an encrypted connection needs the server's key",
                    hint="pass an Identity to finish_answer()",
                )
            auth = self._handshake.server_auth(identity, self._wanted, self._succession)
            early = made_before(self._handshake.handshake_secrets, "finish_answer")
            late = made_before(self._handshake.application_secrets, "finish_answer")
            self._out.append(Sealer(early.server).seal(auth))
            self._send = Sealer(late.server)
            self._receive = Opener(early.client)
        self._go(Input.FINISH_ANSWER)

    def verify_client(self) -> VerifiedClient:
        """
        Verify CLIENT_AUTH, once: checks a signature if the client showed a key.

        Returns:
            The proof that `welcome` demands.

        Raises:
            SecureLinkError: It is not valid; `data_to_send` has a last message.
            ConfigError: No CLIENT_AUTH has come, or it was verified before.
        """
        self._demand("verify_client", Input.VERIFY_CLIENT)
        try:
            client = self._handshake.client_auth(self._auth)
            if self._wanted == Wanted.NO and client.key is not None:
                raise ProtocolError("the client shows a key that this server did not ask for")
            if self._wanted == Wanted.REQUIRED and client.key is None:
                raise PeerIncompatible(
                    "this server requires a client key, and the client showed none",
                    code=Code.CLIENT_KEY_REQUIRED,
                )
        except SecureLinkError as error:
            self._out.append(self._fail(error).answer)
            raise
        self._auth = b""
        self._client = client
        self._go(Input.VERIFY_CLIENT)
        return client

    def welcome(
        self,
        verified: VerifiedClient,
        token: bytes,
        max_packet: int,
        heartbeat: float,
        *,
        wait_for_sign: bool = False,
        session: Any = None,
    ) -> None:
        """
        Admit the client: queue WELCOME and open.

        Args:
            verified: The proof from `verify_client` of this connection. It can be used once.
            token: The session's token.
            max_packet: The longest frame body from now on.
            heartbeat: Proposed seconds between pings.
            wait_for_sign: Report `Confirmed` before the first record of the client.
            session: The session that can be resumed later, see `Grant`; None if it cannot.

        Raises:
            ConfigError: No client waits for it, or the proof belongs to another connection: this client has proved
                nothing.
        """
        given = Input.ADMIT_ON_TRIAL if wait_for_sign else Input.ADMIT
        self._demand_proof("welcome", given, verified)
        self._client = None
        ticket, lifetime = None, 0
        if session is not None and self._resuming is not None:
            ticket, digest, grant = self._new_ticket(verified, session, token, max_packet)
            lifetime = self._resuming.tickets.lifetime
            self._resuming.tickets.begin(digest, grant, self._attempt)
        self._say_welcome(Welcome(token, max_packet, heartbeat, ticket, lifetime))
        self._go(given)

    def may_resume(self, verified: VerifiedClient, numbering: Numbering) -> bool:
        """
        Check whether the session of the client's ticket can resume, and make its next ticket. Nothing else changes.
        It may resume only if the application accepts the client as the session's user. Call it in one step with
        `resume`, while no other connection of the session is read or written, see `SessionCore.resume`.

        Args:
            verified: The proof from `verify_client` of this connection, with a grant.
            numbering: The session's numbering.

        Returns:
            False if the session has ended meanwhile, or its ticket was used up: a new session may begin.

        Raises:
            SecureLinkError: The client's count is impossible, or a later attempt of it has resumed the session. The
                connection is over; `data_to_send` has a last message.
            ConfigError: There is nothing to resume, or the proof belongs to another connection.
        """
        self._demand_proof("may_resume", Input.RESUME, verified)
        was, resuming = verified.grant, self._resuming
        if was is None or resuming is None or verified.count is None or verified.begins_another:
            raise ConfigError(
                "may_resume() needs a grant of a session that shall go on",
                hint="ask for verified.grant and verified.begins_another before",
            )
        try:
            if not verified.forgot:
                numbering.outgoing.check_stated(verified.count)
        except SecureLinkError as error:
            self._out.append(self._fail(error).answer)
            raise
        ticket, digest, grant = self._new_ticket(verified, was.session, was.token, was.max_packet)
        issued = resuming.tickets.renew(digest, grant, self._attempt, self._used, self.now)
        if issued is Issued.OVERTAKEN:
            self._out.append(self._end(Input.REFUSE, Code.BUSY))
            raise HandshakeError("a later attempt of the client has resumed the session already")
        if issued is Issued.GONE:
            return False
        self._ticket, self._next = ticket, digest
        return True

    def resume(self, verified: VerifiedClient, heartbeat: float) -> None:
        """
        Resume the session: queue WELCOME and open. Call it after `may_resume`, and after the numbering was carried
        over.

        Args:
            verified: As there. It can be used once.
            heartbeat: Proposed seconds between pings.

        Raises:
            ConfigError: `may_resume` did not allow it, or no session is carried.
        """
        self._demand_proof("resume", Input.RESUME, verified)
        grant, resuming = verified.grant, self._resuming
        if not (self._next and self._carried and grant and resuming and verified.count is not None):
            raise ConfigError("resume() comes too early", hint="ask may_resume(), and attach()")
        self._client = None
        outgoing = self.numbering.outgoing
        acknowledged = outgoing.forget_stated() if verified.forgot else None
        outgoing.rewind(verified.count if acknowledged is None else acknowledged)
        ticket, self._ticket = self._ticket, b""
        lifetime, count = resuming.tickets.lifetime, self.numbering.incoming.accepted
        welcome = Welcome(
            grant.token, grant.max_packet, heartbeat, ticket, lifetime, count, acknowledged
        )
        self._say_welcome(welcome)
        self._go(Input.RESUME)

    def _demand_proof(self, step: str, given: Input, verified: VerifiedClient) -> None:
        self._demand(step, given)
        if verified is not self._client:
            raise ConfigError(
                f"{step}() would admit a client that has proved nothing",
                hint="pass the proof that verify_client() of this connection returned",
            )

    def _new_ticket(
        self, verified: VerifiedClient, session: Any, token: bytes, max_packet: int
    ) -> tuple[bytes, bytes, Grant]:
        """A ticket, its digest, and its grant."""
        resuming = made_before(self._resuming, "welcome")
        ticket = crypto.draw(self._random, TICKET_SIZE)
        grant = Grant(
            session=session,
            token=token,
            max_packet=max_packet,
            psk=self._handshake.ticket_psk(ticket),
            server=resuming.key if self.encrypted else None,
            client=verified.key,
            application=verified.application,
            version=verified.version,
        )
        return ticket, ticket_digest(ticket), grant

    def _say_welcome(self, welcome: Welcome) -> None:
        send = made_before(self._send, "welcome")
        self._out.append(send.seal(welcome.encode()))
        if isinstance(self._send, PlainSender) and isinstance(self._receive, PlainReceiver):
            self._send.token = self._receive.token = welcome.token
        else:
            late = made_before(self._handshake.application_secrets, "welcome")
            self._receive = Opener(late.client)
        del self._handshake
        self._open(welcome)

    def refuse(self, code: int, text: str = "") -> None:
        """
        Refuse the client, verified or not: queue CLOSE with the application's text.

        Raises:
            ConfigError: No client waits for an answer.
        """
        self._demand("refuse", Input.REFUSE)
        self._out.append(self._end(Input.REFUSE, code, text))

    def blocked(self, seconds: float) -> bytes:
        """End a handshake before it has begun, because its address is blocked; the last message says for how long."""
        self._go(Input.GIVE_UP)
        body = bytes((Code.BLOCKED, min(255, max(1, math.ceil(seconds)))))
        return Kind.ALERT.to_bytes(1) + len(body).to_bytes(HEADER_SIZE - 1) + body

    def overdue(self) -> bytes:
        """End a handshake that takes too long: a last message for a client, none for peers of other protocols."""
        word = self._end(Input.DEADLINE, Code.TIMEOUT)
        return word if self._recognised else b""

    def _client_hello(self, header: bytes, body: bytes, out: list[Item]) -> None:
        self._handshake.client_hello(header, body)
        self.encrypted = self._handshake.encrypted
        if self._wanted == Wanted.REQUIRED and not self.encrypted:
            raise PeerIncompatible(
                "this server demands client keys, and plaintext has none",
                code=Code.ENCRYPTION_REQUIRED,
            )
        if self._resuming is not None:
            self._look_at_ticket(self._resuming)
        out.append(HelloReceived())

    def _look_at_ticket(self, resuming: Resuming) -> None:
        """
        Accept the client's ticket if it is valid here; otherwise a full handshake follows.

        The binder is checked at once: a ticket crosses the network in clear, and an attacker who has seen one must
        not cause work.
        """
        self._attempt = resuming.tickets.attempt()
        ticket = self._handshake.ticket
        if ticket is None:
            return
        digest = ticket_digest(ticket)
        grant = resuming.tickets.find(digest, self.now)
        if grant is not None and self._suits(grant, resuming):
            self._handshake.resume(grant)
            self._used = digest

    def _suits(self, grant: Grant, resuming: Resuming) -> bool:
        """Whether this server would still accept the session: its mode, its key, the demand for client keys."""
        if grant.encrypted != self.encrypted:
            return False
        if grant.encrypted and grant.server != resuming.key:
            return False
        unwanted = Wanted.REQUIRED if grant.client is None else Wanted.NO
        return self._wanted != unwanted

    def _first_record(self, plaintext: bytes, out: list[Item]) -> None:
        if self.closing is None:
            self.deadline = inf
        # CLOSE does not confirm: a client that has given up may have sent it before WELCOME came.
        if plaintext[0] != Content.CLOSE:
            if self._resuming is not None and self._next:
                self._resuming.tickets.confirm(self._next)
                self._next = b""
            out.append(Confirmed())
        take = MOVES[State.OPEN, CONTENT_INPUTS[plaintext[0]]].take
        self._takes[made_before(take, "welcome")](self, plaintext, out)

    def _client_auth(self, plaintext: bytes, out: list[Item]) -> None:
        self._auth = bytes(plaintext)
        out.append(AuthReceived())


_TAKES: Takes = {
    **SHARED_TAKES,
    Take.CLIENT_HELLO: ServerConnection._client_hello,
    Take.CLIENT_AUTH: ServerConnection._client_auth,
    Take.FIRST_RECORD: ServerConnection._first_record,
}
