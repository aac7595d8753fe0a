"""The server's half of the handshake: its computations, in their order."""

from __future__ import annotations

import os
from dataclasses import InitVar, dataclass, field

from .. import crypto
from ..codes import Code
from ..errors import ConfigError, PeerIncompatible, ProtocolError, RecordError
from ..keys import Identity, PublicKey
from ..limits import BINDER_SIZE, HEADER_SIZE, RANDOM_SIZE
from ..wire.fields import Content, Kind, Mode, encode_field
from ..wire.messages import (
    ANOTHER,
    NO_MEMORY,
    ClientAuth,
    ClientHello,
    ServerAuthField,
    ServerHello,
    pad,
)
from . import key_schedule
from .call_order import made_before
from .resumption import Grant

_MAKER = object()  # only this module has this object, so no other module can construct a proof


@dataclass(frozen=True)
class VerifiedClient:
    """
    The statements of a client, after its Finished (and signature, if any) was verified. In plaintext they are unproved.

    A client that resumes shows no key: `key` is the one that it proved when the session began. `grant` belongs to its
    ticket, and `count` is the number of the server's records that it has accepted, or `NO_MEMORY`, or `ANOTHER`; both
    are None in any other connection.

    Only `ServerHandshake.client_auth` makes one.

    Raises:
        ConfigError: Anything else constructs it.
    """

    key: PublicKey | None
    dialled: str
    application: str
    version: str
    credentials: bytes = field(repr=False)
    binding: bytes | None = field(repr=False)
    grant: Grant | None
    count: int | None
    maker: InitVar[object]

    def __post_init__(self, maker: object) -> None:
        if maker is not _MAKER:
            raise ConfigError(
                "only a handshake makes a proof of the client",
                hint="pass on the one that `verify_client()` returns",
            )

    @property
    def forgot(self) -> bool:
        """Whether it resumes a session of which it has no memory: the process that had it is gone."""
        return self.count == NO_MEMORY

    @property
    def begins_another(self) -> bool:
        """Whether the session of its ticket is over for it: it wants another one, behind what that one has left."""
        return self.grant is not None and self.count == ANOTHER


class ServerHandshake:
    """
    One attempt. The methods are called in the order of their definition, each once.

    `client_hello` is cheap. `answer` encapsulates, `server_auth` signs, `client_auth` verifies: these belong into a
    worker thread, not into the thread that reads sockets.
    """

    def __init__(self, policy: Mode, *, random: crypto.Random = os.urandom) -> None:
        self._policy = policy
        self._random = random
        self._hello: ClientHello | None = None
        self._before_binder = b""  # hash of the hello up to it
        self._grant: Grant | None = None
        self._transcript = crypto.Transcript()
        self.encrypted = False
        self.handshake_secrets: key_schedule.HandshakeSecrets | None = None
        self.application_secrets: key_schedule.ApplicationSecrets | None = None

    def client_hello(self, header: bytes, body: bytes) -> None:
        """
        Take the CLIENT_HELLO frame and decide `encrypted`.

        Raises:
            ProtocolError: Malformed.
            PeerIncompatible: Another version, or the two encryption policies contradict each other.
        """
        hello = ClientHello.decode(body)
        if self._policy == Mode.REQUIRED and hello.mode == Mode.OFF:
            raise PeerIncompatible(
                "the client has encryption switched off, and this server requires it",
                code=Code.ENCRYPTION_REQUIRED,
                hint="use the same encryption= on both sides",
            )
        if self._policy == Mode.OFF and hello.mode == Mode.REQUIRED:
            raise PeerIncompatible(
                "the client requires encryption, and this server has it switched off",
                code=Code.ENCRYPTION_OFF,
                hint="use the same encryption= on both sides",
            )
        self.encrypted = hello.mode != Mode.OFF and self._policy != Mode.OFF
        self._hello = hello
        if self.encrypted:
            self._transcript.update(header)
            self._transcript.update(body)
            if hello.binder is not None:
                self._before_binder = crypto.sha256(header + body[:-BINDER_SIZE])

    @property
    def ticket(self) -> bytes | None:
        """The ticket that the client shows."""
        return self._hello.ticket if self._hello else None

    @property
    def resumed(self) -> bool:
        """Whether the ticket was accepted."""
        return self._grant is not None

    def resume(self, grant: Grant) -> None:
        """
        Accept the client's ticket, which has this grant, after `client_hello` and before any key exchange.

        Raises:
            RecordError: The binder does not match the ticket: its sender does not have the PSK.
            ConfigError: The session has the other mode, or no hello has come.
        """
        hello = made_before(self._hello, "resume")
        if grant.encrypted != self.encrypted:
            raise ConfigError("a ticket of one mode is unknown in the other", hint="do not take it")
        if grant.psk is not None:
            expected = key_schedule.binder(grant.psk, self._before_binder)
            if hello.binder is None or not crypto.equal(expected, hello.binder):
                raise RecordError("the binder of the client's hello is not that of its ticket")
        self._grant = grant

    def answer(self) -> bytes:
        """
        The SERVER_HELLO frame. When encrypted, `server_auth` comes next.

        Raises:
            ProtocolError: The client's key share is not valid.
            ConfigError: No hello has come.
        """
        hello = made_before(self._hello, "answer")
        random = self._random(RANDOM_SIZE)
        resumed = None if hello.ticket is None else self.resumed
        if not self.encrypted:
            return self._frame(ServerHello(False, random, None, resumed).encode())
        if hello.share is None:
            raise ProtocolError("CLIENT_HELLO has no key share")
        share, shared = crypto.answer_key_share(hello.share, self._random)
        frame = self._frame(ServerHello(True, random, share, resumed).encode())
        self._transcript.update(frame)
        psk = self._grant.psk if self._grant else None
        self.handshake_secrets = key_schedule.handshake_secrets(
            shared, self._transcript.digest(), psk
        )
        return frame

    @staticmethod
    def _frame(body: bytes) -> bytes:
        return Kind.SERVER_HELLO.to_bytes(1) + len(body).to_bytes(HEADER_SIZE - 1) + body

    def server_auth(self, identity: Identity | None, wanted: int, succession: bytes = b"") -> bytes:
        """
        The SERVER_AUTH record (`content u8 | fields`).

        Args:
            identity: The server's key. To resume no key is shown, and it may be None.
            wanted: A `Wanted` number: whether a client key is wanted.
            succession: Statements of earlier keys of this server (keys/succession.py).

        Raises:
            ConfigError: `answer` was not called before, or chose plaintext; or the key is missing.
        """
        early = made_before(self.handshake_secrets, "server_auth")
        f = ServerAuthField
        record = Content.SERVER_AUTH.to_bytes(1)
        after = b""
        if not self.resumed:
            record += self._proof(made_before(identity, "server_auth"), wanted)
            after = encode_field(f.SUCCESSION, succession) if succession else b""
        record += pad(record[1:], f.PADDING, len(after))
        proved = self._transcript.copy()
        proved.update(record)
        verify_data = key_schedule.finished(early.server, proved.digest())
        record += encode_field(f.FINISHED, verify_data) + after
        self._transcript.update(record)
        self.application_secrets = key_schedule.application_secrets(
            early.handshake, self._transcript.digest()
        )
        return record

    def _proof(self, identity: Identity, wanted: int) -> bytes:
        """Key, signature, and whether a client key is wanted."""
        f = ServerAuthField
        key = encode_field(f.KEY, identity.public.spki)
        signed = self._transcript.copy()
        signed.update(Content.SERVER_AUTH.to_bytes(1) + key)
        message = crypto.signature_input(key_schedule.SERVER_SIGNATURE, signed.digest())
        signature = encode_field(f.SIGNATURE, identity.sign(message))
        return key + signature + encode_field(f.WANTED, wanted.to_bytes(1))

    def client_auth(self, plaintext: bytes) -> VerifiedClient:
        """
        Verify CLIENT_AUTH: Finished, then key and signature if there are any.

        Raises:
            ProtocolError: Malformed, a key outside the policy, or not its signature.
            RecordError: Finished is wrong.
            ConfigError: The hellos were not exchanged before, or `server_auth` was not called.
        """
        made_before(self._hello, "client_auth")
        auth = ClientAuth.decode(plaintext, encrypted=self.encrypted, resumed=self.resumed)
        key = binding = None
        if self.encrypted:
            early = made_before(self.handshake_secrets, "client_auth")
            late = made_before(self.application_secrets, "client_auth")
            proved = self._transcript.copy()
            proved.update(auth.finished_over)
            expected = key_schedule.finished(early.client, proved.digest())
            # First: a peer that cannot compute it is not listened to any further, and makes us look at no key.
            if not crypto.equal(expected, auth.finished):
                raise RecordError("the client's Finished is wrong: the handshake was tampered with")
            binding = late.binding
        if auth.key is not None and auth.signature is not None:
            key = PublicKey.from_spki(auth.key)
            signed = self._transcript.copy()
            signed.update(auth.signed)
            message = crypto.signature_input(key_schedule.CLIENT_SIGNATURE, signed.digest())
            key.verify(auth.signature, message)
        if self.encrypted:
            self._transcript.update(plaintext)
        grant = self._grant
        if grant is not None:
            key = grant.client
            if (auth.application, auth.version) != (grant.application, grant.version):
                grant = None  # another program of the same user, which does not own the session
        return VerifiedClient(
            key=key,
            dialled=auth.dialled,
            application=auth.application,
            version=auth.version,
            credentials=auth.credentials,
            binding=binding,
            grant=grant,
            count=auth.count,
            maker=_MAKER,
        )

    def ticket_psk(self, ticket: bytes) -> bytes | None:
        """
        The PSK with which a client resumes with this ticket; None in plaintext. Call it after `client_auth`.

        Raises:
            ConfigError: The connection is encrypted, and has no secrets yet.
        """
        if not self.encrypted:
            return None
        late = made_before(self.application_secrets, "ticket_psk")
        secret = key_schedule.resumption_secret(late.master, self._transcript.digest())
        return key_schedule.ticket_psk(secret, ticket)
