"""An old key names the one that comes after it: what a statement says, and what it cannot be made to say."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from hypothesis import given
from hypothesis import strategies as st

from securelink import Identity, ProtocolError, crypto
from securelink.keys import PublicKey
from securelink.keys.succession import (
    CONTEXT,
    Statement,
    decode_succession,
    encode_succession,
    follows,
)
from securelink.limits import (
    AUTH_PADDING,
    MAX_HANDSHAKE_BODY,
    MAX_ROTATION_SECONDS,
    MAX_ROTATIONS,
    MAX_SUCCESSION,
)
from securelink.protocol import key_schedule
from securelink.protocol.handshake_client import ClientHandshake
from securelink.protocol.handshake_server import ServerHandshake
from securelink.wire.fields import Fields, Mode
from securelink.wire.messages import FINISHED_FIELD_SIZE, ServerAuth, ServerAuthField, Wanted, pad

NOW = 1_800_000_000.0
LATER = 1_800_001_000


@pytest.fixture
def statement(identity: Identity, other_identity: Identity) -> Statement:
    """`identity` names `other_identity`."""
    return Statement.sign(identity, other_identity.public, LATER)


def test_who_trusted_the_old_key_follows(
    identity: Identity, other_identity: Identity, statement: Statement
) -> None:
    """A statement leads from the key that signed it to the one that it names, and not back."""
    assert follows([statement], other_identity.public, identity.fingerprint, NOW)
    assert not follows([statement], identity.public, other_identity.fingerprint, NOW)
    assert not follows([], other_identity.public, identity.fingerprint, NOW)


def test_a_chain(key_pool: list[Identity]) -> None:
    """Who missed a rotation follows over the keys between; a chain with a gap, or out of order, leads nowhere."""
    oldest, middle, newest = key_pool
    chain = [
        Statement.sign(middle, newest.public, LATER),
        Statement.sign(oldest, middle.public, LATER),
    ]
    for trusted in (oldest, middle):
        assert follows(chain, newest.public, trusted.fingerprint, NOW)
    assert not follows(chain[1:], newest.public, oldest.fingerprint, NOW)
    assert not follows(chain[::-1], newest.public, oldest.fingerprint, NOW)


@pytest.mark.parametrize(
    ("now", "valid"),
    [
        (NOW, True),
        (LATER - 1, True),
        (LATER, False),
        (LATER + 1, False),
        (LATER - MAX_ROTATION_SECONDS, True),
        (LATER - MAX_ROTATION_SECONDS - 1, False),
    ],
)
def test_it_ends(
    identity: Identity, other_identity: Identity, statement: Statement, now: float, valid: bool
) -> None:
    """It holds until it expires; one that claims to hold for longer than anybody may say never does."""
    assert follows([statement], other_identity.public, identity.fingerprint, now) == valid


def test_an_expired_statement_breaks_the_chain(key_pool: list[Identity]) -> None:
    """Every step must hold."""
    oldest, middle, newest = key_pool
    chain = [
        Statement.sign(middle, newest.public, LATER),
        Statement.sign(oldest, middle.public, int(NOW) - 1),
    ]
    assert follows(chain, newest.public, middle.fingerprint, NOW)
    assert not follows(chain, newest.public, oldest.fingerprint, NOW)


def test_nothing_of_it_can_be_changed(
    identity: Identity, other_identity: Identity, statement: Statement
) -> None:
    """Another end, another old key, another signature: none of them leads anywhere."""
    forged = [
        replace(statement, expires=LATER + 1),
        replace(statement, old=other_identity.public.spki),
        replace(statement, signature=bytes(len(statement.signature))),
        replace(statement, signature=b""),
        replace(statement, old=b""),
        replace(statement, old=statement.old + b"\0"),
    ]
    for one in forged:
        for trusted in (identity, other_identity):
            assert not follows([one], other_identity.public, trusted.fingerprint, NOW)


def test_no_other_signature_is_a_statement(
    identity: Identity, other_identity: Identity, statement: Statement
) -> None:
    """What a key signs in handshakes cannot be passed off as a statement: the contexts differ."""
    contexts = {CONTEXT, key_schedule.SERVER_SIGNATURE, key_schedule.CLIENT_SIGNATURE}
    assert len(contexts) == 3
    data = bytes(3000)
    for context in contexts - {CONTEXT}:
        digest = crypto.sha256(data)
        signature = identity.sign(crypto.signature_input(context, digest))
        one = replace(statement, signature=signature)
        assert not follows([one], other_identity.public, identity.fingerprint, NOW)


def test_as_the_document_says(
    identity: Identity, other_identity: Identity, statement: Statement
) -> None:
    """A second implementation, from docs/PROTOCOL.md section 8, verifies it."""
    data = encode_succession([statement])
    expires, data = data[:8], data[8:]
    size, data = int.from_bytes(data[:2]), data[2:]
    old, data = data[:size], data[size:]
    size, signature = int.from_bytes(data[:2]), data[2:]
    assert size == len(signature)
    new = other_identity.public.spki
    hashed = hashlib.sha256(
        expires + len(old).to_bytes(2) + old + len(new).to_bytes(2) + new
    ).digest()
    key = load_der_public_key(old)
    key.verify(  # type: ignore[union-attr,call-arg]
        signature,
        b" " * 64 + b"securelink 1, key rotation" + b"\0" + hashed,
        padding.PSS(padding.MGF1(SHA256()), 32),  # type: ignore[arg-type]
        SHA256(),
    )


def test_reading_and_writing(statement: Statement) -> None:
    """What was written is read back; every truncation, and more than may be, is the peer's fault."""
    for count in range(MAX_ROTATIONS + 1):
        data = encode_succession([statement] * count)
        assert decode_succession(data) == (statement,) * count
        ends = {len(encode_succession([statement] * number)) for number in range(count)}
        for cut in set(range(len(data))) - ends:
            with pytest.raises(ProtocolError, match="cut short"):
                decode_succession(data[:cut])
    assert decode_succession(encode_succession([statement] * 10)) == (statement,) * MAX_ROTATIONS
    with pytest.raises(ProtocolError, match="keys, at most"):
        decode_succession(bytes(12) * (MAX_ROTATIONS + 1))
    with pytest.raises(ProtocolError, match="bytes, at most"):
        decode_succession(bytes(MAX_SUCCESSION + 1))


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Any bytes are statements, or the one error."""
    try:
        statements = decode_succession(data)
    except ProtocolError:
        return
    assert b"".join(one.encode() for one in statements) == data


def shake(
    server_identity: Identity, succession: bytes, change: Callable[[bytes], bytes] = bytes
) -> tuple[ClientHandshake, ServerHandshake, bytes]:
    """A handshake up to SERVER_AUTH."""
    client, server = ClientHandshake(Mode.REQUIRED), ServerHandshake(Mode.REQUIRED)
    hello = client.hello()
    server.client_hello(hello[:4], hello[4:])
    answer = server.answer()
    client.server_hello(answer[:4], answer[4:])
    return client, server, change(server.server_auth(server_identity, Wanted.NO, succession))


def test_in_a_handshake(identity: Identity, other_identity: Identity, statement: Statement) -> None:
    """A client sees the statements; the message stays padded, and fits below the limit at its largest."""
    client, server, auth = shake(other_identity, encode_succession([statement]))
    verified = client.server_auth(auth)
    assert verified.succession == (statement,)
    assert verified.key == other_identity.public
    assert (len(auth) - 1) % AUTH_PADDING == 0
    assert client.application_secrets == server.application_secrets
    large = Identity.generate(8192)
    full = encode_succession([Statement.sign(large, large.public, LATER)] * MAX_ROTATIONS)
    client, _, auth = shake(large, full)
    assert len(auth) + 16 <= MAX_HANDSHAKE_BODY
    assert len(client.server_auth(auth).succession) == 1


def test_without_one_nothing_changes(identity: Identity) -> None:
    """A server whose key was never rotated sends what it always sent: no such field."""
    client, _, auth = shake(identity, b"")
    assert client.server_auth(auth).succession == ()
    assert auth[-35:-32] == b"\x05\x00\x20"


def test_an_empty_one_is_an_error(identity: Identity) -> None:
    """A field that says nothing is not sent."""
    _, _, auth = shake(identity, b"")
    f = ServerAuthField
    numbers = frozenset((f.KEY, f.SIGNATURE, f.WANTED, f.PADDING, f.FINISHED))
    fields = Fields(auth[1:], "ServerAuth", required=numbers, optional=frozenset())
    before, finished = auth[: 1 + fields.offset(f.PADDING)], auth[-FINISHED_FIELD_SIZE:]
    changed = before + pad(before[1:], f.PADDING, 3) + finished + bytes((f.SUCCESSION, 0, 0))
    with pytest.raises(ProtocolError, match="empty succession"):
        ServerAuth.decode(changed)


def test_a_damaged_one_ends_the_attempt(identity: Identity, statement: Statement) -> None:
    """A field that is cut short breaks the protocol, whoever sealed it."""
    client, _, auth = shake(identity, encode_succession([statement])[:-1])
    with pytest.raises(ProtocolError, match="cut short"):
        client.server_auth(auth)


def test_the_longest_chain_costs_little(
    key_pool: list[Identity], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who made many keys can make a client verify four signatures, and no more; who forged one, a single one."""
    verified = []
    verify = PublicKey.verify

    def counting(key: PublicKey, signature: bytes, message: bytes) -> None:
        verified.append(key)
        verify(key, signature, message)

    monkeypatch.setattr(PublicKey, "verify", counting)
    keys = [key_pool[number % 3] for number in range(2 * MAX_ROTATIONS)]
    chain = [Statement.sign(old, new.public, LATER) for new, old in itertools.pairwise(keys)]
    shown = decode_succession(encode_succession(chain))
    nobody = "SHA256:" + "A" * 43
    assert not follows(shown, keys[0].public, nobody, NOW)
    assert len(verified) == MAX_ROTATIONS
    verified.clear()
    assert not follows(shown, keys[1].public, nobody, NOW)
    assert len(verified) == 1
