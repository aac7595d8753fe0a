"""The server's end of a connection."""

from __future__ import annotations

import math
import os
from math import inf

from .. import crypto
from ..codes import Code
from ..errors import ConfigError, PeerIncompatible, ProtocolError, SecureLinkError
from ..keys import Identity
from ..limits import HEADER_SIZE, MAGIC
from ..wire.fields import Content, Kind, Mode
from ..wire.messages import Wanted, Welcome
from .connection import SHARED_TAKES, Connection, Takes
from .events import AuthReceived, Confirmed, Failed, HelloReceived, Item
from .handshake_server import ServerHandshake, VerifiedClient
from .order import made_before
from .records import Opener, PlainReceiver, PlainSender, Sealer
from .states import CONTENT_INPUTS, MOVES, Input, State, Take

_KNOCKS = {
    "HTTP": "an HTTP client or web browser knocked",
    "TLS": "a TLS client knocked",
    "PROXY": "a PROXY header came from an address that is not in trusted_proxies",
    "noise": "its first 12 bytes are no hello",
}
_STRANGERS: tuple[tuple[str, tuple[bytes, ...]], ...] = (
    (
        "HTTP",
        (
            b"GET ", b"POST ", b"HEAD ", b"PUT ", b"OPTIONS ", b"CONNECT ", b"DELETE ", b"PATCH ",
            b"TRACE ", b"PRI * HTTP",
        ),
    ),
    ("TLS", (b"\x16\x03",)),
    ("PROXY", (b"\r\n\r\n\x00\r\nQUIT\n", b"PROXY TCP", b"PROXY UNKN")),
)  # fmt: skip
_HTTP_TEXT = b"This port speaks securelink, not HTTP.\n"
_ANSWERS = {
    "HTTP": b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_HTTP_TEXT), _HTTP_TEXT),
    "TLS": bytes((21, 3, 3, 0, 2, 2, 40)),  # fatal alert handshake_failure, RFC 9846 section 6
    "PROXY": b"",
    "noise": b"",
}


class ServerConnection(Connection):
    """
    The server's end of one connection.

    Args:
        policy: The server's encryption policy.
        wanted: A `Wanted` number: what it says about client keys.
        random: Source of random bytes; tests give recorded ones.
        succession: What earlier keys of the server said of its key.
        deadline: When the handshake must be done, as the time that is told to it.

    Attributes:
        heard: Whether the client has sent anything.
        knock: Before a hello was recognised: "HTTP", "TLS", "PROXY" or "noise" when something else knocked.
    """

    __deletable__ = ("_handshake",)  # for mypyc: its secrets are forgotten once the session is open

    def __init__(
        self,
        policy: Mode,
        wanted: int,
        *,
        random: crypto.Random = os.urandom,
        succession: bytes = b"",
        deadline: float = inf,
    ) -> None:
        super().__init__(State.START, _TAKES, pings=False, deadline=deadline)
        self._succession = succession
        self._handshake = ServerHandshake(policy, random=random)
        self._wanted = wanted
        self._auth = b""
        self._client: VerifiedClient | None = None  # what `welcome` demands
        self._first = b""
        self._recognised = False
        self.knock = ""
        self.heard = False

    def _receive_unopened(self, data: bytes) -> list[Item]:
        """As `Connection._receive_unopened`; the first 12 bytes decide whether this is securelink at all."""
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
        self.knock = next((name for name, starts in _STRANGERS if data.startswith(starts)), "noise")
        self._go(Input.FAULT)
        error = ProtocolError(f"the other side does not speak securelink: {_KNOCKS[self.knock]}")
        return Failed(error, _ANSWERS[self.knock])

    def begin_answer(self) -> None:
        """
        Encapsulate and queue SERVER_HELLO. Takes a fraction of a millisecond: not for the loop.

        Send it before `finish_answer`, whose signature takes longer: the client computes meanwhile.

        Raises:
            SecureLinkError: The client's key share is bad; `data_to_send` has the last word.
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
        Sign and queue SERVER_AUTH; in plaintext there is none. Takes about a millisecond: not for the loop.

        Args:
            identity: The server's key; may be None in plaintext mode only.

        Raises:
            ConfigError: `begin_answer` was not called before, or the key is missing.
        """
        self._demand("finish_answer", Input.FINISH_ANSWER)
        if not self.encrypted:
            self._send, self._receive = PlainSender(), PlainReceiver()
        else:
            if identity is None:
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
        Verify CLIENT_AUTH, once: a signature check when the client showed a key.

        Returns:
            The proof that `welcome` demands.

        Raises:
            SecureLinkError: It does not hold; `data_to_send` has the last word.
            ConfigError: No CLIENT_AUTH has come, or it was verified before.
        """
        self._demand("verify_client", Input.VERIFY_CLIENT)
        try:
            client = self._handshake.client_auth(self._auth)
            if self._wanted == Wanted.NO and client.key is not None:
                raise ProtocolError("the client shows a key that nobody asked for")
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
    ) -> None:
        """
        Admit the client: queue WELCOME and open.

        Args:
            verified: What `verify_client` of this very engine returned. It serves once.
            token: Of the session.
            max_packet: The longest frame body from now on.
            heartbeat: Proposed seconds between pings.
            wait_for_sign: Give `Confirmed` in front of the first record of the client.

        Raises:
            ConfigError: No client waits for it, or the proof is not of this connection: its client has proved nothing.
        """
        given = Input.ADMIT_ON_TRIAL if wait_for_sign else Input.ADMIT
        self._demand("welcome", given)
        if verified is not self._client:
            raise ConfigError(
                "welcome() would admit a client that has proved nothing",
                hint="pass on what verify_client() of this engine returned",
            )
        self._client = None
        send = made_before(self._send, "welcome")
        self._out.append(send.seal(Welcome(token, max_packet, heartbeat).encode()))
        if isinstance(self._send, PlainSender) and isinstance(self._receive, PlainReceiver):
            self._send.token = self._receive.token = token
        else:
            late = made_before(self._handshake.application_secrets, "welcome")
            self._receive = Opener(late.client)
        del self._handshake
        self._open(max_packet, heartbeat)
        self._go(given)

    def refuse(self, code: int, text: str = "") -> None:
        """
        Turn the client away, verified or not: queue CLOSE with the application's words.

        Raises:
            ConfigError: No client waits for an answer.
        """
        self._demand("refuse", Input.REFUSE)
        self._out.append(self._end(Input.REFUSE, code, text))

    def blocked(self, seconds: float) -> bytes:
        """End a handshake before it has begun, for its address is blocked; the last word says for how long."""
        self._go(Input.GIVE_UP)
        body = bytes((Code.BLOCKED, min(255, max(1, math.ceil(seconds)))))
        return Kind.ALERT.to_bytes(1) + len(body).to_bytes(HEADER_SIZE - 1) + body

    def overdue(self) -> bytes:
        """End a handshake that takes too long: a last word for a client of ours, none for whatever else it may be."""
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
        out.append(HelloReceived())

    def _first_record(self, plaintext: bytes, out: list[Item]) -> None:
        if self.closing is None:
            self.deadline = inf
        # CLOSE is no sign: a client that has given up may have sent it before WELCOME came.
        if plaintext[0] != Content.CLOSE:
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
