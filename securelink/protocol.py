"""
The connection engine: bytes in, events out, bytes out. No socket, no thread, no clock of its own.

Feed what arrives to `receive_data` (b"" is end of stream); it returns what happened, in order. During the handshake
`data_to_send` has the answer; once OPEN, `sender` seals packets and control records. Any split of the input gives
the same events. An engine that met an error stays failed: its last event is `Failed`.

`TRANSITIONS` is the state machine: which frame or content may come in which state. A missing entry is the error.
The receiving half (`receive_data`) and the sending half (`sender`) may be used by two threads at once, each by one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from . import crypto
from .codec import join_packets
from .errors import HandshakeError, PeerIncompatible, ProtocolError, Refused, SecureLinkError
from .frames import FrameBuffer
from .handshake.client import ClientHandshake, VerifiedServer
from .handshake.messages import Close, Wanted, Welcome
from .handshake.server import ServerHandshake, VerifiedClient
from .handshake.wire import Code, Content, Kind, Mode, code_text
from .keys import Identity
from .limits import (
    HEADER_SIZE,
    MAGIC,
    MAX_HANDSHAKE_BODY,
    RECORD_TARGET,
)
from .records import (
    Opener,
    PlainReceiver,
    PlainSender,
    RecordReceiver,
    RecordSender,
    Sealer,
)
from .session import Numbering


class State(Enum):
    """Where a connection stands. The server's HELLO_RECEIVED and AUTHORIZING read nothing."""

    HELLO_SENT = "client: hello sent"
    WAIT_AUTH = "client: waiting for the server's proof"
    VERIFIED = "client: deciding whether to trust the server"
    AUTH_SENT = "client: waiting for WELCOME"
    START = "server: waiting for a hello"
    HELLO_RECEIVED = "server: computing its answer"
    WAIT_CLIENT = "server: waiting for the client's proof"
    AUTHORIZING = "server: deciding"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"
    FAILED = "failed"


_OPEN_CONTENTS = (
    Content.DATA,
    Content.DATA_ACK,
    Content.ACK,
    Content.PING,
    Content.PONG,
    Content.KEY_UPDATE,
    Content.CLOSE,
)

#: (state, frame kind or content) -> name of the method that takes it. Missing: the peer broke the protocol.
TRANSITIONS: dict[tuple[State, Kind | Content], str] = {
    (State.HELLO_SENT, Kind.SERVER_HELLO): "_server_hello",
    (State.HELLO_SENT, Kind.ALERT): "_alert",
    (State.WAIT_AUTH, Content.SERVER_AUTH): "_server_auth",
    (State.WAIT_AUTH, Content.CLOSE): "_close",
    (State.AUTH_SENT, Content.WELCOME): "_welcome",
    (State.AUTH_SENT, Content.CLOSE): "_close",
    (State.START, Kind.CLIENT_HELLO): "_client_hello",
    (State.WAIT_CLIENT, Content.CLIENT_AUTH): "_client_auth",
    (State.WAIT_CLIENT, Content.CLOSE): "_close",
    (State.WAIT_CLIENT, Kind.ALERT): "_alert",
    **{(State.OPEN, content): f"_{content.name.lower()}" for content in _OPEN_CONTENTS},
    **{(State.CLOSING, content): f"_{content.name.lower()}" for content in _OPEN_CONTENTS},
}

_DATA = Content.DATA.to_bytes(1)
_DATA_ACK = Content.DATA_ACK.to_bytes(1)
_COPY_BELOW = 4096  # bytes: a slice that copies is cheaper than a view up to about here


# --- events -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HelloReceived:
    """Server: call `answer_hello` (expensive) when a worker has time."""


@dataclass(frozen=True)
class AuthReceived:
    """Server: call `verify_client` (expensive), then `welcome` or `refuse`."""


@dataclass(frozen=True)
class ServerVerified:
    """Client: the server proved its key; decide on trust, then call `authenticate`."""

    server: VerifiedServer


@dataclass(frozen=True)
class PlaintextChosen:
    """Client: the server answered in plaintext, which our mode allows; call `authenticate`."""


@dataclass(frozen=True)
class Opened:
    """Client: the session exists."""

    welcome: Welcome


@dataclass(frozen=True)
class Pinged:
    """Answer with `sender.control(Content.PONG, payload)`."""

    payload: bytes


@dataclass(frozen=True)
class Ponged:
    """The answer to our PING."""

    payload: bytes


@dataclass(frozen=True)
class Alerted:
    """The peer gave up before it had keys. Unauthenticated: it can end this attempt, nothing more."""

    code: int


@dataclass(frozen=True)
class Closed:
    """The peer's CLOSE. Nothing follows it."""

    code: int
    text: str


@dataclass(frozen=True)
class Ended:
    """End of stream without CLOSE."""


@dataclass(frozen=True)
class Failed:
    """The peer broke the protocol; `answer` is a last word for it, to be sent before the socket is closed."""

    error: SecureLinkError
    answer: bytes


Event = (
    HelloReceived
    | AuthReceived
    | ServerVerified
    | PlaintextChosen
    | Opened
    | Pinged
    | Ponged
    | Alerted
    | Closed
    | Ended
    | Failed
)
#: What `receive_data` returns: a record's `packets` array as bytes, or an event.
Item = bytes | memoryview | Event


# --- the sending half -----------------------------------------------------------------------------------------


class Sender:
    """
    The sending half of an open connection. One thread at a time, under the connection's send lock.

    Attributes:
        closed: True after `close`: nothing more may be sealed.
    """

    __slots__ = ("_incoming", "_outgoing", "closed", "max_packets", "records")

    def __init__(self, records: RecordSender, numbering: Numbering, max_packet: int) -> None:
        self.records = records
        self._outgoing = numbering.outgoing
        self._incoming = numbering.incoming
        self.closed = False
        # What fits beside content byte, acknowledgement and the largest array header.
        self.max_packets = max_packet - records.overhead - 8 - 5

    def packets(self, encoded: list[bytes]) -> bytes:
        """
        Number, keep and seal packets; as few records as RECORD_TARGET allows, a packet is never split.

        Args:
            encoded: Packets from `encode_packet`, each at most `max_packets` bytes.

        Returns:
            The frames, one after the other.
        """
        if len(encoded) == 1 or sum(map(len, encoded)) <= RECORD_TARGET:
            return self._data(join_packets(encoded))
        frames: list[bytes] = []
        batch: list[bytes] = []
        size = 0
        for packet in encoded:
            if batch and size + len(packet) > RECORD_TARGET:
                frames.append(self._data(join_packets(batch)))
                batch, size = [], 0
            batch.append(packet)
            size += len(packet)
        frames.append(self._data(join_packets(batch)))
        return b"".join(frames)

    def _data(self, packets: bytes) -> bytes:
        prefix = self.records.update() if self.records.update_due() else b""
        self._outgoing.keep(packets)
        incoming = self._incoming
        accepted = incoming.accepted
        if accepted != incoming.confirmed:
            incoming.confirmed = accepted
            frame = self.records.seal(_DATA_ACK + accepted.to_bytes(8) + packets)
        else:
            frame = self.records.seal(_DATA + packets)
        return prefix + frame if prefix else frame

    def control(self, content: Content, payload: bytes = b"") -> bytes:
        """A PING or PONG."""
        prefix = self.records.update() if self.records.update_due() else b""
        return prefix + self.records.seal(content.to_bytes(1) + payload)

    def ack(self) -> bytes:
        """An ACK of all accepted records, or b"" when the peer knows already."""
        accepted = self._incoming.accepted
        if accepted == self._incoming.confirmed:
            return b""
        self._incoming.confirmed = accepted
        return self.control(Content.ACK, accepted.to_bytes(8))

    def close(self, code: int, text: str = "") -> bytes:
        """The CLOSE, last in this direction; the acknowledgement that is due goes before it."""
        if self.closed:
            return b""
        ack = self.ack()
        self.closed = True
        return ack + self.records.seal(Close(code, self._outgoing.sent, text).encode())


# --- the engine -------------------------------------------------------------------------------------------------


class Engine:
    """
    What both roles share.

    Args:
        clock: Seconds, monotonic; read only when the peer updates its key.

    Attributes:
        state: A `State`.
        sender: The sending half; exists from OPEN on.
        numbering: The session's counters; given by the session that this connection carries.
        encrypted: Settled by the hellos.
    """

    def __init__(self, state: State, clock: Callable[[], float]) -> None:
        self.state = state
        self.encrypted = False
        self.numbering = Numbering()
        self.sender: Sender | None = None
        self._clock = clock
        self._frames = FrameBuffer(MAX_HANDSHAKE_BODY)
        self._out: list[bytes] = []
        self._send: RecordSender | None = None
        self._receive: RecordReceiver | None = None
        self._last_update = float("-inf")

    # Both directions during the handshake.

    def data_to_send(self) -> bytes:
        """What the handshake wants sent; empty once it was taken."""
        data = b"".join(self._out)
        self._out.clear()
        return data

    def receive_data(self, data: bytes) -> list[Item]:
        """
        Take bytes from the peer; b"" is end of stream.

        Returns:
            Records and events in order. Never raises for what a peer does: the last event is `Failed` then.
        """
        out: list[Item] = []
        if self.state in (State.CLOSED, State.FAILED):
            return out
        if not data:
            self.state = State.CLOSED
            return [Ended()]
        try:
            self._frames.feed(data)
            self._process(out)
        except SecureLinkError as error:
            out.append(self._fail(error))
        return out

    def reconsider(self) -> list[Item]:
        """Process what had arrived while the state read nothing. Same returns as `receive_data`."""
        out: list[Item] = []
        try:
            self._process(out)
        except SecureLinkError as error:
            out.append(self._fail(error))
        return out

    def _process(self, out: list[Item]) -> None:
        frames = self._frames
        while self.state not in _READS_NOTHING:
            frame = frames.next_frame()
            if frame is None:
                return
            header, body = frame
            if self.state is State.OPEN and header[0] == self._receive.kind:  # type: ignore[union-attr]
                plaintext = self._receive.open(header, body)  # type: ignore[union-attr]
                if plaintext[0] == Content.DATA:
                    self.numbering.incoming.accepted += 1
                    out.append(
                        plaintext[1:] if len(plaintext) < _COPY_BELOW else memoryview(plaintext)[1:]
                    )
                    continue
            else:
                plaintext = self._unprotect(header, body, out)
                if not plaintext:
                    continue
            self._dispatch(plaintext, out)

    def _unprotect(self, header: bytes, body: bytes, out: list[Item]) -> bytes:
        """The plaintext of a protected frame; a clear one is dispatched here and gives b""."""
        kind = header[0]
        if self._receive is not None and kind == self._receive.kind:
            return self._receive.open(header, body)
        try:
            name = TRANSITIONS[self.state, Kind(kind)]
        except (KeyError, ValueError):
            raise ProtocolError(f"a frame of type {kind} while {self.state.value}") from None
        getattr(self, name)(header, body, out)
        return b""

    def _dispatch(self, plaintext: bytes, out: list[Item]) -> None:
        try:
            name = TRANSITIONS[self.state, Content(plaintext[0])]
        except (KeyError, ValueError):
            raise ProtocolError(f"content {plaintext[0]} while {self.state.value}") from None
        getattr(self, name)(plaintext, out)

    def _fail(self, error: SecureLinkError) -> Failed:
        code = error.code if isinstance(error, ProtocolError | HandshakeError) else Code.PROTOCOL
        answer = self._last_word(int(code))
        self.state = State.FAILED
        return Failed(error, answer)

    def _last_word(self, code: int, text: str = "") -> bytes:
        """ALERT while this direction has sent nothing protected, else CLOSE."""
        if self.sender is not None:
            return b""  # the transport says CLOSE under its send lock
        if self._send is None:
            return Kind.ALERT.to_bytes(1) + (1).to_bytes(HEADER_SIZE - 1) + code.to_bytes(1)
        return self._send.seal(Close(code, 0, text).encode())

    def give_up(self, code: int, text: str = "") -> bytes:
        """End the handshake from our side; returns the last word for the peer."""
        word = self._last_word(code, text)
        self.state = State.FAILED
        return word

    def _open(self, max_packet: int) -> None:
        assert self._send is not None
        self._frames.limit = max_packet
        self.sender = Sender(self._send, self.numbering, max_packet)
        self.state = State.OPEN

    # Frames and contents that both roles take.

    def _alert(self, header: bytes, body: bytes, out: list[Item]) -> None:
        if len(body) != 1:
            raise ProtocolError("an ALERT of the wrong size")
        self.state = State.FAILED
        out.append(Alerted(body[0]))

    def _close(self, plaintext: bytes, out: list[Item]) -> None:
        close = Close.decode(plaintext)
        if close.sent != self.numbering.incoming.accepted:
            raise ProtocolError(
                f"CLOSE counts {close.sent} records, {self.numbering.incoming.accepted} arrived"
            )
        self.state = State.CLOSED
        out.append(Closed(close.code, close.text))

    def _data(self, plaintext: bytes, out: list[Item]) -> None:
        self.numbering.incoming.accepted += 1
        out.append(memoryview(plaintext)[1:])

    def _data_ack(self, plaintext: bytes, out: list[Item]) -> None:
        if len(plaintext) < 10:
            raise ProtocolError("a DATA_ACK record is too short")
        self.numbering.outgoing.acknowledge(int.from_bytes(plaintext[1:9]))
        self.numbering.incoming.accepted += 1
        out.append(plaintext[9:] if len(plaintext) < _COPY_BELOW else memoryview(plaintext)[9:])

    def _ack(self, plaintext: bytes, out: list[Item]) -> None:
        if len(plaintext) != 9:
            raise ProtocolError("an ACK record of the wrong size")
        self.numbering.outgoing.acknowledge(int.from_bytes(plaintext[1:]))

    def _ping(self, plaintext: bytes, out: list[Item]) -> None:
        if len(plaintext) != 9:
            raise ProtocolError("a PING record of the wrong size")
        out.append(Pinged(plaintext[1:]))

    def _pong(self, plaintext: bytes, out: list[Item]) -> None:
        if len(plaintext) != 9:
            raise ProtocolError("a PONG record of the wrong size")
        out.append(Ponged(plaintext[1:]))

    def _key_update(self, plaintext: bytes, out: list[Item]) -> None:
        assert self._receive is not None
        if len(plaintext) != 1:
            raise ProtocolError("a KEY_UPDATE record of the wrong size")
        enough_records = self._receive.update()
        now = self._clock()
        if not enough_records and now - self._last_update < 1.0:
            raise ProtocolError(
                "a flood of key updates: more than one per 1,000 records and second"
            )
        self._last_update = now


_READS_NOTHING = frozenset(
    (State.HELLO_RECEIVED, State.AUTHORIZING, State.VERIFIED, State.CLOSED, State.FAILED)
)


class ServerEngine(Engine):
    """
    The server's end of one connection.

    Args:
        policy: The server's encryption policy.
        wanted: A `Wanted` number: what it says about client keys.
        clock: Seconds, monotonic.
        random: Source of random bytes; tests give recorded ones.

    Attributes:
        knock: Before a hello was recognised: "HTTP", "TLS" or "noise" when something else knocked.
    """

    def __init__(
        self,
        policy: Mode,
        wanted: int,
        *,
        clock: Callable[[], float],
        random: crypto.Random = os.urandom,
    ) -> None:
        super().__init__(State.START, clock)
        self._handshake = ServerHandshake(policy, random=random)
        self._wanted = wanted
        self._auth = b""
        self._first = b""
        self._recognised = False
        self.knock = ""

    def receive_data(self, data: bytes) -> list[Item]:
        """As `Engine.receive_data`; the first 12 bytes decide whether this is securelink at all."""
        if not self._recognised and self.state is State.START:
            self._first += data
            if data and len(self._first) < HEADER_SIZE + len(MAGIC):
                return []
            data, self._first = self._first, b""
            if not data:
                return super().receive_data(data)
            if data[0] != Kind.CLIENT_HELLO or data[4:12] != MAGIC:
                return [self._stranger(data)]
            self._recognised = True
        return super().receive_data(data)

    def _stranger(self, data: bytes) -> Failed:
        self.knock = next((name for name, starts in _STRANGERS if data.startswith(starts)), "noise")
        self.state = State.FAILED
        error = ProtocolError(f"the other side does not speak securelink: {_KNOCKS[self.knock]}")
        return Failed(error, _ANSWERS[self.knock])

    def answer_hello(self, identity: Identity | None) -> None:
        """
        Encapsulate, sign and queue SERVER_HELLO and SERVER_AUTH. Takes about a millisecond: not for the loop.

        Raises:
            SecureLinkError: The client's key share is bad; `data_to_send` has the last word.
        """
        assert self.state is State.HELLO_RECEIVED
        try:
            frame, auth = self._handshake.answer(identity, self._wanted)
        except SecureLinkError as error:
            self._out.append(self._fail(error).answer)
            raise
        self._out.append(frame)
        if auth is None:
            self._send, self._receive = PlainSender(), PlainReceiver()
        else:
            assert self._handshake.handshake_secrets
            assert self._handshake.application_secrets
            self._out.append(Sealer(self._handshake.handshake_secrets.server).seal(auth))
            self._send = Sealer(self._handshake.application_secrets.server)
            self._receive = Opener(self._handshake.handshake_secrets.client)
        self.state = State.WAIT_CLIENT

    def verify_client(self) -> VerifiedClient:
        """
        Verify CLIENT_AUTH: a signature check when the client showed a key.

        Raises:
            SecureLinkError: It does not hold; `data_to_send` has the last word.
        """
        assert self.state is State.AUTHORIZING
        try:
            client = self._handshake.client_auth(self._auth)
            if self._wanted == Wanted.REQUIRED and client.key is None:
                raise PeerIncompatible(
                    "this server requires a client key, and the client showed none",
                    code=Code.CLIENT_KEY_REQUIRED,
                )
        except SecureLinkError as error:
            self._out.append(self._fail(error).answer)
            raise
        self._auth = b""
        return client

    def welcome(self, token: bytes, max_packet: int, heartbeat: float) -> None:
        """Admit the client: queue WELCOME and open."""
        assert self.state is State.AUTHORIZING
        assert self._send is not None
        self._out.append(self._send.seal(Welcome(token, max_packet, heartbeat).encode()))
        if isinstance(self._send, PlainSender) and isinstance(self._receive, PlainReceiver):
            self._send.token = self._receive.token = token
        else:
            assert self._handshake.application_secrets is not None
            self._receive = Opener(self._handshake.application_secrets.client)
        del self._handshake
        self._open(max_packet)

    def refuse(self, code: int, text: str = "") -> None:
        """Turn the client away: queue CLOSE with the application's words."""
        self._out.append(self.give_up(code, text))

    def _client_hello(self, header: bytes, body: bytes, out: list[Item]) -> None:
        self._handshake.client_hello(header, body)
        self.encrypted = self._handshake.encrypted
        if self._wanted == Wanted.REQUIRED and not self.encrypted:
            raise PeerIncompatible(
                "this server demands client keys, and plaintext has none",
                code=Code.ENCRYPTION_REQUIRED,
            )
        self.state = State.HELLO_RECEIVED
        out.append(HelloReceived())

    def _client_auth(self, plaintext: bytes, out: list[Item]) -> None:
        self._auth = bytes(plaintext)
        self.state = State.AUTHORIZING
        out.append(AuthReceived())


class ClientEngine(Engine):
    """
    The client's end of one connection. `data_to_send` has the hello at once.

    Args:
        mode: The client's encryption policy.
        clock: Seconds, monotonic.
        random: Source of random bytes; tests give recorded ones.
        max_packet: The largest frame body that this client lets a server announce.
    """

    def __init__(
        self,
        mode: Mode,
        *,
        clock: Callable[[], float],
        max_packet: int,
        random: crypto.Random = os.urandom,
    ) -> None:
        super().__init__(State.HELLO_SENT, clock)
        self._handshake = ClientHandshake(mode, random=random)
        self._max_packet = max_packet
        self._out.append(self._handshake.hello())

    def authenticate(
        self,
        *,
        identity: Identity | None,
        dialled: str,
        application: str,
        version: str,
        credentials: bytes,
    ) -> None:
        """Queue CLIENT_AUTH. Called once, after `ServerVerified` or `PlaintextChosen`."""
        assert self.state is State.VERIFIED
        record = self._handshake.client_auth(
            identity=identity,
            dialled=dialled,
            application=application,
            version=version,
            credentials=credentials,
        )
        if not self.encrypted:
            self._send, self._receive = PlainSender(), PlainReceiver()
            self._out.append(self._send.seal(record))
        else:
            assert self._send is not None
            assert self._handshake.application_secrets is not None
            self._out.append(self._send.seal(record))
            self._send = Sealer(self._handshake.application_secrets.client)
            self._receive = Opener(self._handshake.application_secrets.server)
        self.state = State.AUTH_SENT

    def receive_data(self, data: bytes) -> list[Item]:
        """As `Engine.receive_data`; an answer that is no securelink frame is named for what it is."""
        if (
            self.state is State.HELLO_SENT
            and data
            and not self._frames.pending
            and data[0] not in (Kind.SERVER_HELLO, Kind.ALERT)
        ):
            error = ProtocolError("the other side is not a securelink server; is the port right?")
            return [self._fail(error)]
        return super().receive_data(data)

    def _server_hello(self, header: bytes, body: bytes, out: list[Item]) -> None:
        self._handshake.server_hello(header, body)
        self.encrypted = self._handshake.encrypted
        if not self.encrypted:
            self.state = State.VERIFIED
            out.append(PlaintextChosen())
            return
        assert self._handshake.handshake_secrets is not None
        self._send = Sealer(self._handshake.handshake_secrets.client)
        self._receive = Opener(self._handshake.handshake_secrets.server)
        self.state = State.WAIT_AUTH

    def _server_auth(self, plaintext: bytes, out: list[Item]) -> None:
        server = self._handshake.server_auth(plaintext)
        self.state = State.VERIFIED
        out.append(ServerVerified(server))

    def _welcome(self, plaintext: bytes, out: list[Item]) -> None:
        welcome = Welcome.decode(plaintext)
        if welcome.max_packet > self._max_packet:
            raise ProtocolError(
                f"the server wants packets of {welcome.max_packet} bytes, over our {self._max_packet}",
                hint="raise max_packet= of the client, or lower it on the server",
            )
        if isinstance(self._send, PlainSender) and isinstance(self._receive, PlainReceiver):
            self._send.token = self._receive.token = welcome.token
        del self._handshake
        self._open(welcome.max_packet)
        out.append(Opened(welcome))


def refusal(code: int, text: str) -> HandshakeError:
    """The error for a CLOSE or ALERT that ended the handshake; `text` is escaped peer text."""
    if code in (Code.VERSION, Code.ENCRYPTION_REQUIRED, Code.ENCRYPTION_OFF, Code.APPLICATION):
        hint = _REFUSAL_HINTS.get(code, "")
        return PeerIncompatible(text or code_text(code), code=code, hint=hint)
    if code == Code.NORMAL or code >= Code.REFUSED:
        return Refused(text or code_text(code), code=code, hint=_REFUSAL_HINTS.get(code, ""))
    return HandshakeError(text or code_text(code), code=code, hint=_REFUSAL_HINTS.get(code, ""))


_REFUSAL_HINTS: dict[int, str] = {
    Code.VERSION: "update securelink on the older side",
    Code.ENCRYPTION_REQUIRED: "connect with encryption='required' (the default)",
    Code.ENCRYPTION_OFF: "only encryption='off' or 'optional' can reach it; anyone on the path could then read",
    Code.BUSY: "try again later",
    Code.CLIENT_KEY_REQUIRED: "make a key with 'securelink keys create --name client' and pass keys=",
    Code.CLIENT_KEY_UNKNOWN: "its operator can run 'securelink keys authorize' with this client's public key",
}

_KNOCKS = {
    "HTTP": "an HTTP client or web browser knocked",
    "TLS": "a TLS client knocked",
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
)  # fmt: skip
_HTTP_TEXT = b"This port speaks securelink, not HTTP.\n"
_ANSWERS = {
    "HTTP": b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_HTTP_TEXT), _HTTP_TEXT),
    "TLS": bytes((21, 3, 3, 0, 2, 2, 40)),  # fatal alert handshake_failure, RFC 9846 section 6
    "noise": b"",
}
