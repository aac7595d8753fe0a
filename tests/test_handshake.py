"""The computations of the handshake: every bit is covered, every proof is bound to its own exchange."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import pytest
from engines import NOTHING

from securelink import crypto
from securelink.errors import ProtocolError, RecordError, SecureLinkError
from securelink.keys import Identity
from securelink.limits import MAX_CREDENTIALS, MAX_HANDSHAKE_BODY, MAX_NAME, TAG_SIZE
from securelink.protocol import key_schedule
from securelink.protocol.handshake_client import ClientHandshake, VerifiedServer
from securelink.protocol.handshake_server import ServerHandshake
from securelink.wire.fields import Mode, encode_field
from securelink.wire.messages import ServerAuth, Wanted

DETAILS: dict[str, Any] = {
    "dialled": "localhost", "application": "chat", "version": "1.0", "credentials": NOTHING
}  # fmt: skip


class Impostor:
    """An identity that shows one key and signs in its own way."""

    path = None

    def __init__(self, public: Any, sign: Callable[[bytes], bytes]) -> None:
        self.public = public
        self.sign = sign


class Shown:
    """A public key in other bytes."""

    def __init__(self, spki: bytes) -> None:
        self.spki = spki


def as_identity(impostor: Impostor) -> Identity:
    """An impostor, for a function that asks for an identity."""
    return cast(Identity, impostor)


def begun(
    identity: Identity, mode: Mode = Mode.REQUIRED
) -> tuple[ClientHandshake, ServerHandshake, bytes]:
    """Both halves after the hellos, and the server's proof."""
    client, server, _ = after_hellos(mode)
    auth = server.server_auth(identity, Wanted.WELCOME) if server.encrypted else b""
    return client, server, auth


def after_hellos(
    mode: Mode = Mode.REQUIRED,
) -> tuple[ClientHandshake, ServerHandshake, crypto.Transcript]:
    """Both halves after the hellos, and what anybody on the path has seen of them."""
    client, server, seen = ClientHandshake(mode), ServerHandshake(mode), crypto.Transcript()
    hello = client.hello()
    server.client_hello(hello[:4], hello[4:])
    answer = server.answer()
    client.server_hello(answer[:4], answer[4:])
    seen.update(hello)
    seen.update(answer)
    return client, server, seen


def proved(
    identity: Identity, client_identity: Identity | None
) -> tuple[ServerHandshake, bytes, VerifiedServer]:
    """The server's half, the client's proof, and what the client knows of the server."""
    client, server, auth = begun(identity)
    verified = client.server_auth(auth)
    return server, client.client_auth(identity=client_identity, **DETAILS), verified


def flipped(data: bytes, bit: int) -> bytes:
    """The same bytes but for one bit."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


# --- it works -------------------------------------------------------------------------------------


def test_both_sides_know_each_other(identity: Identity, other_identity: Identity) -> None:
    """Each side learns the other's key and words, and both derive the same secrets."""
    server, record, verified_server = proved(identity, other_identity)
    client = server.client_auth(record)
    assert verified_server.key == identity.public
    assert verified_server.wanted == Wanted.WELCOME
    assert dataclasses.asdict(client) == {
        "key": other_identity.public, "credentials": NOTHING, "binding": verified_server.binding,
        "dialled": "localhost", "application": "chat", "version": "1.0", "grant": None, "count": None,
    }  # fmt: skip
    assert len(verified_server.binding) == 32


def test_an_anonymous_client(identity: Identity) -> None:
    """Without a key there is no signature, but a Finished and a binding."""
    server, record, verified = proved(identity, None)
    client = server.client_auth(record)
    assert client.key is None
    assert client.binding == verified.binding


def test_plaintext_knows_nobody(identity: Identity) -> None:
    """Without encryption there are no keys, no secrets and no binding; an identity is not shown."""
    client, server, auth = begun(identity, Mode.OFF)
    assert auth == b""
    assert (client.encrypted, server.encrypted) == (False, False)
    assert client.handshake_secrets is server.handshake_secrets is None
    verified = server.client_auth(client.client_auth(identity=identity, **DETAILS))
    assert (verified.key, verified.binding, verified.dialled) == (None, None, "localhost")


def test_every_session_is_another(identity: Identity) -> None:
    """Two handshakes of the same keys share no secret, no binding, no random, no key share."""
    one, two = begun(identity), begun(identity)
    bindings = [client.server_auth(auth).binding for client, _, auth in (one, two)]
    assert bindings[0] != bindings[1]
    assert one[2] != two[2]
    first, second = ClientHandshake(Mode.REQUIRED).hello(), ClientHandshake(Mode.REQUIRED).hello()
    start = 4 + 8 + 1 + 4 + 3  # header, magic, version, mode; the random begins
    assert first[:start] == second[:start]
    assert first[start : start + 32] != second[start : start + 32]
    assert first[-32:] != second[-32:]


def test_the_directions_have_different_keys(identity: Identity) -> None:
    """No secret serves two purposes: a record sent back to its sender opens nothing."""
    client, server, auth = begun(identity)
    client.server_auth(auth)
    early, late = server.handshake_secrets, server.application_secrets
    assert early is not None
    assert late is not None
    secrets = [early.client, early.server, early.handshake]
    secrets += [late.client, late.server, late.binding, late.master]
    assert len(set(secrets)) == 7
    assert client.handshake_secrets == early
    assert client.application_secrets == late


# --- every bit is covered ---------------------------------------------------------------------------


def test_every_bit_of_the_servers_proof(identity: Identity) -> None:
    """Whatever bit of SERVER_AUTH is changed, the client refuses it, and nothing of it is kept."""
    client, _, auth = begun(identity)
    for bit in range(8 * len(auth)):
        with pytest.raises(ProtocolError):
            client.server_auth(flipped(auth, bit))
    assert client.application_secrets is None
    assert client.server_auth(auth).key == identity.public


@pytest.mark.parametrize("anonymous", [False, True])
def test_every_bit_of_the_clients_proof(
    anonymous: bool, identity: Identity, other_identity: Identity
) -> None:
    """Whatever bit of CLIENT_AUTH is changed, names and credentials included, the server refuses it."""
    server, record, _ = proved(identity, None if anonymous else other_identity)
    for bit in range(8 * len(record)):
        with pytest.raises(ProtocolError):
            server.client_auth(flipped(record, bit))
    assert server.client_auth(record).dialled == "localhost"


def test_every_truncation_of_a_proof(identity: Identity, other_identity: Identity) -> None:
    """A proof cut short anywhere, or with a byte more, is refused."""
    client, server, auth = begun(identity)
    for cut in (*(auth[:size] for size in range(1, len(auth))), auth + b"\0"):
        with pytest.raises(ProtocolError):
            client.server_auth(cut)
    client.server_auth(auth)
    record = client.client_auth(identity=other_identity, **DETAILS)
    for cut in (*(record[:size] for size in range(1, len(record))), record + b"\0"):
        with pytest.raises(ProtocolError):
            server.client_auth(cut)
    assert server.client_auth(record).key == other_identity.public


# --- proofs of others -------------------------------------------------------------------------------


def test_a_signature_by_another_key(identity: Identity, other_identity: Identity) -> None:
    """Who shows a key must hold it: both roles refuse the signature of another one."""
    impostor = as_identity(Impostor(identity.public, other_identity.sign))
    client, _, auth = begun(impostor)
    with pytest.raises(ProtocolError, match="signature is not valid"):
        client.server_auth(auth)
    server, record, _ = proved(other_identity, impostor)
    with pytest.raises(ProtocolError, match="signature is not valid"):
        server.client_auth(record)


def test_a_signature_for_the_other_role(identity: Identity, other_identity: Identity) -> None:
    """A server's signature is none of a client, even over the same transcript: the context keeps them apart."""

    def confused(key: Identity) -> Identity:
        def sign(message: bytes) -> bytes:
            assert (b"server signature" in message) != (b"client signature" in message)
            swapped = message.replace(b"server", b"SERVER").replace(b"client", b"server")
            return key.sign(swapped.replace(b"SERVER", b"client"))

        return as_identity(Impostor(key.public, sign))

    client, _, auth = begun(confused(identity))
    with pytest.raises(ProtocolError, match="signature is not valid"):
        client.server_auth(auth)
    server, record, _ = proved(identity, confused(other_identity))
    with pytest.raises(ProtocolError, match="signature is not valid"):
        server.client_auth(record)


def test_a_signature_of_another_session(identity: Identity, other_identity: Identity) -> None:
    """
    A signature that somebody made for us is worth nothing elsewhere.

    The attacker is the server of one session, where a client shows its key, and a client in another: it cannot
    show that key there. Nor can a client pass a server's signature on.
    """
    kept: list[bytes] = []

    def keeping(key: Identity) -> Identity:
        def sign(message: bytes) -> bytes:
            kept.append(key.sign(message))
            return kept[-1]

        return as_identity(Impostor(key.public, sign))

    proved(keeping(identity), keeping(other_identity))
    of_server, of_client = kept
    client, _, auth = begun(as_identity(Impostor(identity.public, lambda _: of_server)))
    with pytest.raises(ProtocolError, match="signature is not valid"):
        client.server_auth(auth)
    thief = as_identity(Impostor(other_identity.public, lambda _: of_client))
    server, record, _ = proved(identity, thief)
    with pytest.raises(ProtocolError, match="signature is not valid"):
        server.client_auth(record)


def test_the_proof_of_another_session(identity: Identity) -> None:
    """A whole proof from another session of the same two keys is refused."""
    _, _, other_auth = begun(identity)
    client, _, auth = begun(identity)
    assert len(auth) == len(other_auth)
    with pytest.raises(RecordError, match="Finished is wrong"):
        client.server_auth(other_auth)
    server, _, _ = proved(identity, None)
    _, other_record, _ = proved(identity, None)
    with pytest.raises(RecordError, match="client's Finished is wrong"):
        server.client_auth(other_record)


def test_finished_of_another_session(identity: Identity, other_identity: Identity) -> None:
    """With a right signature and another session's Finished, a proof fails on Finished."""
    _, _, other_auth = begun(identity)
    client, server, auth = begun(identity)
    with pytest.raises(RecordError, match="server's Finished is wrong"):
        client.server_auth(auth[:-32] + other_auth[-32:])
    client.server_auth(auth)
    record = client.client_auth(identity=other_identity, **DETAILS)
    _, other_record, _ = proved(identity, other_identity)
    with pytest.raises(RecordError, match="client's Finished is wrong"):
        server.client_auth(record[:-32] + other_record[-32:])


def test_finished_is_never_left_out(identity: Identity) -> None:
    """A proof without Finished is refused: the signature alone does not bind the key to the session."""
    client, server, auth = begun(identity)
    shortened = ServerAuth.decode(auth).finished_over
    padding = shortened.rindex(encode_field(3, b"\x01")) + 4
    without = shortened[:padding] + encode_field(4, bytes(1 + 1024 - padding - 3))
    assert len(without) == len(auth)
    with pytest.raises(ProtocolError, match="lacks field 5"):
        client.server_auth(without)
    client.server_auth(auth)
    record = client.client_auth(identity=None, **DETAILS)
    end = record.index(encode_field(7, NOTHING)) + 3 + len(NOTHING)
    without = record[:end] + encode_field(8, bytes(1 + 1024 - end - 3))
    with pytest.raises(ProtocolError, match="lacks field 9"):
        server.client_auth(without)


def test_a_key_cannot_be_bound_to_anothers_exchange(
    identity: Identity, other_identity: Identity
) -> None:
    """
    Identity misbinding: without the exchange's secret nobody can put a key of their own into it.

    The attacker signs the right transcript with its own key but has to guess Finished.
    """
    client, server, transcript = after_hellos()
    parsed = ServerAuth.decode(server.server_auth(identity, Wanted.WELCOME))
    record = b"\x01" + encode_field(1, other_identity.public.spki)
    transcript.update(record)
    message = crypto.signature_input(key_schedule.SERVER_SIGNATURE, transcript.digest())
    record += encode_field(2, other_identity.sign(message)) + encode_field(3, b"\x01")
    record += encode_field(4, bytes(1 + 1024 - len(record) - 3 - 35))
    for guess in (parsed.finished, bytes(32), crypto.sha256(record)):
        with pytest.raises(RecordError, match="Finished is wrong"):
            client.server_auth(record + encode_field(5, guess))


@pytest.mark.parametrize("role", ["server", "client"])
def test_finished_is_compared_in_constant_time(
    role: str, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison goes through `crypto.equal`, once, with the computed and the received value."""
    compared: list[tuple[bytes, bytes]] = []

    def equal(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return a == b

    monkeypatch.setattr(crypto, "equal", equal)
    client, server, auth = begun(identity)
    client.server_auth(auth)
    if role == "client":
        compared.clear()
        auth = client.client_auth(identity=None, **DETAILS)
        server.client_auth(auth)
    assert compared == [(auth[-32:], auth[-32:])]


# --- keys on the wire -------------------------------------------------------------------------------


def test_a_key_in_other_bytes(identity: Identity, other_identity: Identity) -> None:
    """A key must come in the one encoding that it has: other bytes for the same key are refused by both roles."""
    spki = identity.public.spki
    assert spki[:2] == b"\x30\x82"
    long_length = b"\x30\x83\x00" + spki[2:]
    pss = spki.replace(bytes.fromhex("2a864886f70d010101"), bytes.fromhex("2a864886f70d01010a"))
    for der in (spki + b"\0", spki[:-1], long_length, pss, b""):
        forged = as_identity(Impostor(Shown(der), identity.sign))
        client, _, auth = begun(forged)
        with pytest.raises(ProtocolError, match="the peer's key"):
            client.server_auth(auth)
        server, record, _ = proved(other_identity, forged)
        with pytest.raises(ProtocolError, match="the peer's key"):
            server.client_auth(record)


def test_finished_is_checked_before_the_key(identity: Identity, other_identity: Identity) -> None:
    """Who cannot compute Finished makes neither role look at a key or a signature, however bad they are."""
    for der in (b"no key at all", identity.public.spki):
        forged = as_identity(Impostor(Shown(der), lambda _: b"no signature"))
        client, _, auth = begun(forged)
        with pytest.raises(ProtocolError, match=r"the peer's key|the signature"):
            client.server_auth(auth)
        with pytest.raises(RecordError, match="Finished is wrong"):
            client.server_auth(flipped(auth, 8 * len(auth) - 1))
        server, record, _ = proved(other_identity, forged)
        with pytest.raises(ProtocolError, match=r"the peer's key|the signature"):
            server.client_auth(record)
        with pytest.raises(RecordError, match="Finished is wrong"):
            server.client_auth(flipped(record, 8 * len(record) - 1))


def test_the_largest_proofs_fit_a_frame() -> None:
    """With keys of 8,192 bits, the longest names and full credentials both proofs stay below the frame cap."""
    spki = bytes(1062)  # a modulus and a signature of 1,024 bytes, a long exponent
    giant = as_identity(Impostor(Shown(spki), lambda _: bytes(1024)))
    client, _, auth = begun(giant)
    assert len(auth) == 1 + 3072
    record = client.client_auth(
        identity=giant,
        dialled="d" * MAX_NAME,
        application="a" * MAX_NAME,
        version="v" * MAX_NAME,
        credentials=bytes(MAX_CREDENTIALS),
    )
    assert len(record) + TAG_SIZE == 7185 <= MAX_HANDSHAKE_BODY


# --- secrets stay inside ----------------------------------------------------------------------------


def test_no_secret_is_shown(identity: Identity) -> None:
    """Neither a half of the handshake nor what it verified shows a secret, a binding or a credential."""
    secret_words = b"\xb0correct horse 42"
    details = DETAILS | {"credentials": secret_words}
    client, server, auth = begun(identity)
    verified_server = client.server_auth(auth)
    record = client.client_auth(identity=None, **details)
    verified_client = server.client_auth(record)
    early, late = client.handshake_secrets, client.application_secrets
    assert early is not None
    assert late is not None
    secrets = [early.client, early.server, early.handshake, late.client, late.server]
    secrets += [late.master, late.binding, secret_words]
    shown = [repr(x) + str(x) for x in (client, server, verified_server, verified_client, early)]
    errors = [error_of(lambda: client.server_auth(auth[:-1] + b"\0"))]
    errors.append(error_of(lambda: server.client_auth(record[:-1] + bytes([record[-1] ^ 1]))))
    for text in shown + errors:
        for secret in secrets:
            assert repr(secret)[2:-1] not in text
            assert secret.hex() not in text


def error_of(action: Callable[[], object]) -> str:
    """The text of the error that an action must raise."""
    with pytest.raises(SecureLinkError) as error:
        action()
    return f"{error.value} {error.value!r} {error.value.__dict__}"
