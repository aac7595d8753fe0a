"""
The handshake messages: frozen dataclasses that build and parse their bytes, and nothing else.

SERVER_AUTH and CLIENT_AUTH are built in steps by `protocol/handshake_server.py` and `protocol/handshake_client.py`,
because their signature and Finished cover the fields before them; this module has their field numbers and their
parsers.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

from ..codes import Code, has_delay
from ..errors import PeerIncompatible, ProtocolError
from ..limits import (
    AUTH_PADDING,
    BINDER_SIZE,
    MAGIC,
    MAX_CLOSE_TEXT,
    MAX_CREDENTIALS,
    MAX_FRAME_BODY,
    MAX_NAME,
    MIN_PACKET,
    PROTOCOL_VERSION,
    RANDOM_SIZE,
    TICKET_SIZE,
    TOKEN_SIZE,
)
from .fields import Content, Fields, Mode, encode_field, encode_fields

CLIENT_SHARE_SIZE = 1184 + 32  # ML-KEM-768 encapsulation key, X25519 public key
SERVER_SHARE_SIZE = 1088 + 32  # ML-KEM-768 ciphertext, X25519 public key
FINISHED_SIZE = 32  # HMAC-SHA-256
COUNT_SIZE = 8  # of records
NO_MEMORY = 2**64 - 1  # instead of a count: the client has no memory of the session
ANOTHER = 2**64 - 2  # likewise: the client wants another session in the place of that
FINISHED_FIELD_SIZE = 3 + FINISHED_SIZE

# Numbers of the fields that a message must have, and of those that it may have.
_HELLO = frozenset((1, 2))
_CLIENT_HELLO, _SERVER_HELLO = frozenset((3, 4, 5)), frozenset((3, 4))
_RESUMED_SERVER_AUTH = frozenset((4, 5))
_WELCOME, _MAYBE_WELCOME = frozenset((1, 4, 6, 7)), frozenset((2, 3, 5, 8))
_NONE: frozenset[int] = frozenset()


class VersionMismatch(PeerIncompatible):
    """The peer speaks another protocol version, which `version` holds."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"the peer speaks version {version} of the protocol, this one version "
            f"{PROTOCOL_VERSION}",
            code=Code.VERSION,
            hint="update securelink on the older side",
        )
        self.version = version


def _check_version(body: bytes, at: int) -> None:
    if len(body) <= at:
        raise ProtocolError("the hello is cut short before its version")
    if body[at] != PROTOCOL_VERSION:
        raise VersionMismatch(body[at])


@dataclass(frozen=True)
class ClientHello:
    """
    `magic 8 | version u8 | fields`, see docs/PROTOCOL.md section 5.

    Attributes:
        mode: The encryption mode that the client wants.
        random: 32 bytes.
        share: Its key share; None exactly if the mode is OFF.
        ticket: To resume a session; None to begin one.
        binder: Proof that the client holds the ticket's PSK; None with the ticket of a session in plaintext.
    """

    mode: Mode
    random: bytes
    share: bytes | None
    ticket: bytes | None = field(default=None, repr=False)
    binder: bytes | None = field(default=None, repr=False)

    def encode(self) -> bytes:
        """The body of the CLIENT_HELLO frame. The value of the binder, if there is one, is last in it."""
        ticket = [(4, self.ticket), (5, self.binder)]
        fields = [(1, self.mode.to_bytes(1)), (2, self.random), (3, self.share), *ticket]
        return MAGIC + PROTOCOL_VERSION.to_bytes(1) + encode_fields(fields)

    @classmethod
    def decode(cls, body: bytes) -> ClientHello:
        """Parse a CLIENT_HELLO body; the magic was checked before."""
        _check_version(body, len(MAGIC))
        fields = Fields(
            body[len(MAGIC) + 1 :], "ClientHello", required=_HELLO, optional=_CLIENT_HELLO
        )
        mode = fields.integer(1, 1)
        if mode not in (Mode.OFF, Mode.OPTIONAL, Mode.REQUIRED):
            raise ProtocolError(f"ClientHello names an unknown mode {mode}")
        if (mode == Mode.OFF) == (3 in fields):
            raise ProtocolError("ClientHello's key share does not fit its mode")
        if 5 in fields and (4 not in fields or mode == Mode.OFF):
            raise ProtocolError("ClientHello has a binder without a ticket, or without encryption")
        if mode == Mode.REQUIRED and (4 in fields) != (5 in fields):
            raise ProtocolError("ClientHello requires encryption and shows a ticket of plaintext")
        share = fields.sized(3, CLIENT_SHARE_SIZE) if 3 in fields else None
        ticket = fields.sized(4, TICKET_SIZE) if 4 in fields else None
        binder = fields.sized(5, BINDER_SIZE) if 5 in fields else None
        return cls(Mode(mode), fields.sized(2, RANDOM_SIZE), share, ticket, binder)


@dataclass(frozen=True)
class ServerHello:
    """
    `version u8 | fields`, see docs/PROTOCOL.md section 5.

    Attributes:
        encrypted: Whether the server has chosen encryption.
        random: 32 bytes.
        share: Its key share; None exactly if not encrypted.
        resumed: Whether the client's ticket is accepted; None exactly if the client has shown none.
    """

    encrypted: bool
    random: bytes
    share: bytes | None
    resumed: bool | None = None

    def encode(self) -> bytes:
        """The body of the SERVER_HELLO frame."""
        resumed = None if self.resumed is None else self.resumed.to_bytes(1)
        fields = [(1, self.encrypted.to_bytes(1)), (2, self.random), (3, self.share), (4, resumed)]
        return PROTOCOL_VERSION.to_bytes(1) + encode_fields(fields)

    @classmethod
    def decode(cls, body: bytes) -> ServerHello:
        """Parse a SERVER_HELLO body. Only the client knows whether `resumed` may be present."""
        _check_version(body, 0)
        fields = Fields(body[1:], "ServerHello", required=_HELLO, optional=_SERVER_HELLO)
        encrypted = fields.integer(1, 1)
        if encrypted > 1 or bool(encrypted) != (3 in fields):
            raise ProtocolError("ServerHello's key share does not fit its mode")
        resumed = fields.integer(4, 1) if 4 in fields else None
        if resumed is not None and resumed > 1:
            raise ProtocolError(f"ServerHello says {resumed} to a ticket, not 0 or 1")
        share = fields.sized(3, SERVER_SHARE_SIZE) if 3 in fields else None
        random = fields.sized(2, RANDOM_SIZE)
        return cls(bool(encrypted), random, share, None if resumed is None else bool(resumed))


class ServerAuthField:
    """Field numbers of SERVER_AUTH."""

    KEY, SIGNATURE, WANTED, PADDING, FINISHED, SUCCESSION = 1, 2, 3, 4, 5, 7


class ClientAuthField:
    """Field numbers of CLIENT_AUTH."""

    KEY, SIGNATURE, DIALLED, APPLICATION, VERSION, COUNT, CREDENTIALS, PADDING, FINISHED = (
        1, 2, 3, 4, 5, 6, 7, 8, 9,
    )  # fmt: skip


def pad(body: bytes, number: int, after: int = 0) -> bytes:
    """
    The padding field that makes `body`, itself, a Finished field and `after` more bytes a multiple of AUTH_PADDING.

    Otherwise the size of the message would reveal the size of the key and so the class of the peer (RFC 9846 F.1).
    """
    size = len(body) + 3 + FINISHED_FIELD_SIZE + after
    return encode_field(number, bytes(-size % AUTH_PADDING))


def _check_padding(body: bytes, fields: Fields, number: int) -> None:
    padding = fields[number]
    if len(body) % AUTH_PADDING or padding != bytes(len(padding)):
        raise ProtocolError("the padding of an authentication message is wrong")


class Wanted:
    """What a server says about client keys in SERVER_AUTH."""

    NO, WELCOME, REQUIRED = 0, 1, 2


@dataclass(frozen=True)
class ServerAuth:
    """
    SERVER_AUTH, parsed but not verified; the two proofs cover `signed` and `finished_over`.

    In a resumed connection key, signature and succession are empty, and no client key is wanted.
    """

    key: bytes
    signature: bytes
    wanted: int
    finished: bytes = field(repr=False)
    signed: bytes = field(repr=False)
    finished_over: bytes = field(repr=False)
    succession: bytes = field(repr=False)

    @classmethod
    def decode(cls, plaintext: bytes, *, resumed: bool = False) -> ServerAuth:
        """Parse the record `content u8 | fields`."""
        return cls._resumed(plaintext) if resumed else cls._full(plaintext)

    @classmethod
    def _resumed(cls, plaintext: bytes) -> ServerAuth:
        f, body = ServerAuthField, plaintext[1:]
        fields = Fields(body, "ServerAuth", required=_RESUMED_SERVER_AUTH, optional=_NONE)
        _check_padding(body, fields, f.PADDING)
        finished = fields.sized(f.FINISHED, FINISHED_SIZE)
        return cls(b"", b"", Wanted.NO, finished, b"", plaintext[:-FINISHED_FIELD_SIZE], b"")

    @classmethod
    def _full(cls, plaintext: bytes) -> ServerAuth:
        body = plaintext[1:]
        f = ServerAuthField
        numbers = frozenset((f.KEY, f.SIGNATURE, f.WANTED, f.PADDING, f.FINISHED))
        optional = frozenset((f.SUCCESSION,))
        fields = Fields(body, "ServerAuth", required=numbers, optional=optional)
        _check_padding(body, fields, f.PADDING)
        wanted = fields.integer(f.WANTED, 1)
        if wanted > Wanted.REQUIRED:
            raise ProtocolError(f"ServerAuth wants an unknown kind {wanted} of client key")
        succession = fields.get(f.SUCCESSION)
        if succession == b"":
            raise ProtocolError("ServerAuth has an empty succession")
        return cls(
            key=fields[f.KEY],
            signature=fields[f.SIGNATURE],
            wanted=wanted,
            finished=fields.sized(f.FINISHED, FINISHED_SIZE),
            signed=plaintext[: 1 + fields.offset(f.SIGNATURE)],
            finished_over=plaintext[: 1 + fields.offset(f.FINISHED)],
            succession=succession or b"",
        )


@functools.cache
def _fields_of_client_auth(
    *, encrypted: bool, resumed: bool
) -> tuple[frozenset[int], frozenset[int]]:
    """Those that it must have, and those that it may have."""
    f = ClientAuthField
    required = {f.DIALLED, f.APPLICATION, f.VERSION, f.CREDENTIALS}
    optional: set[int] = set()
    if encrypted:
        required |= {f.PADDING, f.FINISHED}
    if resumed:
        required |= {f.COUNT}
    elif encrypted:
        optional |= {f.KEY, f.SIGNATURE}
    return frozenset(required), frozenset(optional)


@dataclass(frozen=True)
class ClientAuth:
    """
    CLIENT_AUTH, parsed but not verified. In plaintext mode without key, signature, padding, Finished.

    `count` is that of a resumed connection, which has no key and no signature, or `NO_MEMORY`; None in any other.
    """

    key: bytes | None
    signature: bytes | None
    dialled: str
    application: str
    version: str
    count: int | None
    credentials: bytes = field(repr=False)
    finished: bytes = field(repr=False)
    signed: bytes = field(repr=False)
    finished_over: bytes = field(repr=False)

    @classmethod
    def decode(cls, plaintext: bytes, *, encrypted: bool, resumed: bool = False) -> ClientAuth:
        """Parse the record `content u8 | fields`."""
        body = plaintext[1:]
        f = ClientAuthField
        required, optional = _fields_of_client_auth(encrypted=encrypted, resumed=resumed)
        fields = Fields(body, "ClientAuth", required=required, optional=optional)
        if (f.KEY in fields) != (f.SIGNATURE in fields):
            raise ProtocolError("ClientAuth has a key without a signature, or the other way round")
        if encrypted:
            _check_padding(body, fields, f.PADDING)
        if len(fields[f.CREDENTIALS]) > MAX_CREDENTIALS:
            raise ProtocolError(f"the credentials are larger than {MAX_CREDENTIALS} bytes")
        return cls(
            key=fields.get(f.KEY),
            signature=fields.get(f.SIGNATURE),
            dialled=fields.text(f.DIALLED, MAX_NAME),
            application=fields.text(f.APPLICATION, MAX_NAME),
            version=fields.text(f.VERSION, MAX_NAME),
            count=fields.integer(f.COUNT, COUNT_SIZE) if resumed else None,
            credentials=fields[f.CREDENTIALS],
            finished=fields.sized(f.FINISHED, FINISHED_SIZE) if encrypted else b"",
            signed=plaintext[: 1 + fields.offset(f.SIGNATURE)] if f.KEY in fields else b"",
            finished_over=plaintext[:-FINISHED_FIELD_SIZE] if encrypted else b"",
        )


@dataclass(frozen=True)
class Welcome:
    """
    See docs/PROTOCOL.md section 10.

    Attributes:
        token: 16 bytes that name the session.
        max_packet: The longest frame body from now on.
        heartbeat: Proposed seconds between pings.
        ticket: Resumes this session; None when it cannot be resumed.
        lifetime: Seconds that the server keeps the session after its connection is lost; 0 without a ticket.
        count: Of a resumed session: how many records of the client the server has accepted; otherwise None.
        acknowledged: If its client has no memory: how many of the server's it has acknowledged; otherwise None.
    """

    token: bytes
    max_packet: int
    heartbeat: float
    ticket: bytes | None = field(default=None, repr=False)
    lifetime: int = 0
    count: int | None = None
    acknowledged: int | None = None

    def encode(self) -> bytes:
        """The record `content u8 | fields`."""
        ticket, count, handled = self.ticket, self.count, self.acknowledged
        return Content.WELCOME.to_bytes(1) + encode_fields(
            [
                (1, self.token),
                (2, ticket),
                (3, None if ticket is None else self.lifetime.to_bytes(4)),
                (4, (count is not None).to_bytes(1)),
                (5, None if count is None else count.to_bytes(COUNT_SIZE)),
                (6, self.max_packet.to_bytes(4)),
                (7, round(self.heartbeat * 1000).to_bytes(4)),
                (8, None if handled is None else handled.to_bytes(COUNT_SIZE)),
            ]
        )

    @classmethod
    def decode(cls, plaintext: bytes) -> Welcome:
        """Parse the record. Only the client knows whether the session may resume."""
        fields = Fields(plaintext[1:], "Welcome", required=_WELCOME, optional=_MAYBE_WELCOME)
        resumed = fields.integer(4, 1)
        if resumed > 1 or bool(resumed) != (5 in fields) or (8 in fields and not resumed):
            raise ProtocolError("Welcome's count does not fit what it says of the session")
        if (2 in fields) != (3 in fields):
            raise ProtocolError("Welcome has a ticket without a lifetime, or the other way round")
        max_packet = fields.integer(6, 4)
        if not MIN_PACKET <= max_packet <= MAX_FRAME_BODY:
            raise ProtocolError(f"Welcome announces an impossible packet limit of {max_packet}")
        token = fields.sized(1, TOKEN_SIZE)
        if not any(token):
            raise ProtocolError("Welcome carries an empty token")
        return cls(
            token,
            max_packet,
            fields.integer(7, 4) / 1000,
            ticket=fields.sized(2, TICKET_SIZE) if 2 in fields else None,
            lifetime=fields.integer(3, 4) if 3 in fields else 0,
            count=fields.integer(5, COUNT_SIZE) if resumed else None,
            acknowledged=fields.integer(8, COUNT_SIZE) if 8 in fields else None,
        )


@dataclass(frozen=True)
class Close:
    """The reason, the number of records sent in this direction, the application's text, milliseconds to stay away."""

    code: int
    sent: int
    text: str = ""
    delay: int = 0

    def encode(self) -> bytes:
        """The record `content u8 | body`; the text is cut at MAX_CLOSE_TEXT bytes, between characters."""
        text = self.text.encode(errors="replace")[:MAX_CLOSE_TEXT].decode(errors="ignore").encode()
        delay = self.delay.to_bytes(4) if has_delay(self.code) else b""
        return (
            Content.CLOSE.to_bytes(1) + self.code.to_bytes(1) + self.sent.to_bytes(8) + delay + text
        )

    @classmethod
    def decode(cls, plaintext: bytes) -> Close:
        """Parse the record."""
        begin = 14 if len(plaintext) > 1 and has_delay(plaintext[1]) else 10
        if not begin <= len(plaintext) <= begin + MAX_CLOSE_TEXT:
            raise ProtocolError("a CLOSE record has an impossible length")
        try:
            text = plaintext[begin:].decode()
        except UnicodeDecodeError:
            raise ProtocolError("a CLOSE record has bad UTF-8") from None
        delay = int.from_bytes(plaintext[10:begin])
        return cls(plaintext[1], int.from_bytes(plaintext[2:10]), text, delay)
