"""The client's half of the handshake: its computations, in their order."""

from __future__ import annotations

import os
from dataclasses import InitVar, dataclass, field

from .. import crypto
from ..codes import Code
from ..errors import ConfigError, PeerIncompatible, ProtocolError, RecordError
from ..keys import Identity, PublicKey
from ..keys.succession import Statement, decode_succession
from ..limits import BINDER_SIZE, HEADER_SIZE, RANDOM_SIZE
from ..wire.fields import Content, Kind, Mode, encode_field, encode_fields
from ..wire.messages import (
    COUNT_SIZE,
    ClientAuthField,
    ClientHello,
    ServerAuth,
    ServerHello,
    Welcome,
    pad,
)
from . import key_schedule
from .call_order import made_before
from .resumption import Resumption

_MAKER = object()  # only this module has this object, so no other module can construct a proof


def _check_maker(maker: object) -> None:
    if maker is not _MAKER:
        raise ConfigError(
            "only a handshake makes a proof of the server",
            hint="pass on the one that `ServerVerified` or `PlaintextChosen` brings",
        )


@dataclass(frozen=True)
class VerifiedServer:
    """
    A server that proved its key in this exchange. Only `ClientHandshake.server_auth` makes one.

    Raises:
        ConfigError: Anything else constructs it.
    """

    key: PublicKey
    wanted: int
    binding: bytes = field(repr=False)
    #: Statements of earlier keys, not verified.
    succession: tuple[Statement, ...]
    #: The session resumes, if the server's application agrees; the key was proved when the session began.
    resumed: bool
    maker: InitVar[object]

    def __post_init__(self, maker: object) -> None:
        _check_maker(maker)


@dataclass(frozen=True)
class PlaintextServer:
    """
    A server that answered in plaintext, as our mode allows: it has proved nothing.

    Only `ClientHandshake.server_hello` makes one.

    Raises:
        ConfigError: Anything else constructs it.
    """

    #: The session resumes, if the server's application agrees.
    resumed: bool
    maker: InitVar[object]

    def __post_init__(self, maker: object) -> None:
        _check_maker(maker)


class ClientHandshake:
    """
    One attempt. The methods are called in the order of their definition, each once.

    Args:
        mode: The encryption mode that this client wants.
        random: Source of random bytes; tests give recorded ones.
        resumption: From the last connection of a session, to resume it.

    Raises:
        ConfigError: That session has another mode.
    """

    def __init__(
        self,
        mode: Mode,
        *,
        random: crypto.Random = os.urandom,
        resumption: Resumption | None = None,
    ) -> None:
        if resumption is not None:
            resumption.check_mode(mode)
        self._mode = mode
        self._random = random
        self._asked = resumption
        self._share: crypto.ClientShare | None = None
        self._settled = False  # whether the hellos have decided `encrypted`
        self._transcript = crypto.Transcript()
        self._server: PublicKey | None = None
        self._said: tuple[PublicKey | None, str, str] | None = None
        self.encrypted = False
        self.resumed = False  # whether the ticket was accepted; decided with `encrypted`
        self.handshake_secrets: key_schedule.HandshakeSecrets | None = None
        self.application_secrets: key_schedule.ApplicationSecrets | None = None

    def hello(self) -> bytes:
        """The CLIENT_HELLO frame."""
        random = self._random(RANDOM_SIZE)
        if self._mode != Mode.OFF:
            self._share = crypto.ClientShare(self._random)
        share = self._share.public if self._share else None
        asked = self._asked
        ticket = asked.ticket if asked else None
        psk = asked.psk if asked else None
        binder = bytes(BINDER_SIZE) if psk is not None else None
        body = ClientHello(self._mode, random, share, ticket, binder).encode()
        frame = Kind.CLIENT_HELLO.to_bytes(1) + len(body).to_bytes(HEADER_SIZE - 1) + body
        if psk is not None:
            frame = frame[:-BINDER_SIZE]
            frame += key_schedule.binder(psk, crypto.sha256(frame))
        self._transcript.update(frame)
        return frame

    def server_hello(self, header: bytes, body: bytes) -> PlaintextServer | None:
        """
        Take the SERVER_HELLO frame; afterwards `encrypted` is decided and the handshake secrets exist.

        Returns:
            In plaintext the proof that `client_auth` needs; None if the server still has to prove itself.

        Raises:
            PeerIncompatible: The server's mode is not one that we offered, or it speaks another version.
            ProtocolError: The message or its key share is invalid.
        """
        hello = ServerHello.decode(body)
        if self._mode == Mode.REQUIRED and not hello.encrypted:
            raise PeerIncompatible(
                "the server answered in plaintext, and encryption is required here",
                code=Code.ENCRYPTION_REQUIRED,
                hint="somebody may be in between: a server of ours would not have answered so",
            )
        if self._mode == Mode.OFF and hello.encrypted:
            raise ProtocolError("the server answered encrypted although we offered no key share")
        if (hello.resumed is None) != (self._asked is None):
            raise ProtocolError("SERVER_HELLO answers a ticket that was not shown, or not at all")
        if hello.resumed and self._asked and self._asked.encrypted != hello.encrypted:
            raise ProtocolError("the server resumes a session in another mode than its own")
        self.encrypted = hello.encrypted
        self.resumed = bool(hello.resumed)
        self._settled = True
        if not hello.encrypted:
            return PlaintextServer(self.resumed, _MAKER)
        ours = made_before(self._share, "server_hello")
        if hello.share is None:
            raise ProtocolError("SERVER_HELLO has no key share")
        self._transcript.update(header)
        self._transcript.update(body)
        shared = ours.finish(hello.share)
        self._share = None
        psk = self._asked.psk if self._asked and self.resumed else None
        self.handshake_secrets = key_schedule.handshake_secrets(
            shared, self._transcript.digest(), psk
        )
        return None

    def server_auth(self, plaintext: bytes) -> VerifiedServer:
        """
        Verify SERVER_AUTH: Finished, then key and signature. The caller then decides whether to trust the key. In a
        resumed connection there is only Finished: a server that can compute it has the PSK of the session, whose key
        was proved.

        Raises:
            ProtocolError: Malformed, a key outside the policy, or not its signature.
            RecordError: Finished is wrong: it belongs to another exchange, or a message was changed.
        """
        early = made_before(self.handshake_secrets, "server_auth")
        auth = ServerAuth.decode(plaintext, resumed=self.resumed)
        proved = self._transcript.copy()
        proved.update(auth.finished_over)
        expected = key_schedule.finished(early.server, proved.digest())
        # Checked first: a peer that cannot compute it is rejected before we parse its key.
        if not crypto.equal(expected, auth.finished):
            raise RecordError("the server's Finished is wrong: the handshake was tampered with")
        key = self._known_key() if self.resumed else self._proved_key(auth)
        self._transcript.update(plaintext)
        secrets = key_schedule.application_secrets(early.handshake, self._transcript.digest())
        self.application_secrets = secrets
        statements = () if self.resumed else decode_succession(auth.succession)
        self._server = key
        return VerifiedServer(key, auth.wanted, secrets.binding, statements, self.resumed, _MAKER)

    def _known_key(self) -> PublicKey:
        asked = made_before(self._asked, "server_auth")
        return made_before(asked.server, "server_auth")

    def _proved_key(self, auth: ServerAuth) -> PublicKey:
        key = PublicKey.from_spki(auth.key)
        signed = self._transcript.copy()
        signed.update(auth.signed)
        key.verify(
            auth.signature, crypto.signature_input(key_schedule.SERVER_SIGNATURE, signed.digest())
        )
        return key

    def client_auth(
        self,
        *,
        identity: Identity | None,
        dialled: str,
        application: str,
        version: str,
        credentials: bytes,
        count: int = 0,
    ) -> bytes:
        """
        The CLIENT_AUTH record, `content u8 | fields`.

        Args:
            identity: The key to show, or None to stay anonymous. Never shown in plaintext mode or to resume.
            dialled: The host name or address that the user asked for (RFC 9846 F.9, misbinding).
            credentials: One MessagePack value.
            count: To resume: how many records of the server the session has accepted.

        Raises:
            ConfigError: The hellos were not exchanged before.
        """
        made_before(self._settled or None, "client_auth")
        f = ClientAuthField
        record = Content.CLIENT_AUTH.to_bytes(1)
        self._said = identity.public if identity else None, application, version
        if self.encrypted and identity is not None and not self.resumed:
            record += encode_field(f.KEY, identity.public.spki)
            signed = self._transcript.copy()
            signed.update(record)
            message = crypto.signature_input(key_schedule.CLIENT_SIGNATURE, signed.digest())
            record += encode_field(f.SIGNATURE, identity.sign(message))
        record += encode_fields(
            [
                (f.DIALLED, dialled.encode()),
                (f.APPLICATION, application.encode()),
                (f.VERSION, version.encode()),
                (f.COUNT, count.to_bytes(COUNT_SIZE) if self.resumed else None),
                (f.CREDENTIALS, credentials),
            ]
        )
        if not self.encrypted:
            return record
        early = made_before(self.handshake_secrets, "client_auth")
        record += pad(record[1:], f.PADDING)
        proved = self._transcript.copy()
        proved.update(record)
        record += encode_field(f.FINISHED, key_schedule.finished(early.client, proved.digest()))
        self._transcript.update(record)
        return record

    def resumption(self, welcome: Welcome) -> Resumption | None:
        """
        The resumption for this session; None if the server does not allow it.

        Raises:
            ConfigError: `client_auth` was not called before.
        """
        offered, application, version = made_before(self._said, "resumption")
        if welcome.ticket is None:
            return None
        if welcome.count is not None and self._asked is not None:
            offered = self._asked.offered  # no key was shown again
        psk = None
        if self.encrypted:
            late = made_before(self.application_secrets, "resumption")
            secret = key_schedule.resumption_secret(late.master, self._transcript.digest())
            psk = key_schedule.ticket_psk(secret, welcome.ticket)
        return Resumption(
            token=welcome.token,
            ticket=welcome.ticket,
            psk=psk,
            lifetime=welcome.lifetime,
            max_packet=welcome.max_packet,
            server=self._server,
            offered=offered,
            application=application,
            version=version,
        )
