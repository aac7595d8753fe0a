"""Whole handshakes with somebody in the path, or with a peer that wants more than it may have."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from engines import Pair, Role, Tamper, other, split_frames
from vectors import load

from securelink import crypto
from securelink.codes import Code
from securelink.errors import PeerIncompatible, ProtocolError, RecordError
from securelink.keys import Identity
from securelink.protocol import (
    Alerted,
    AuthReceived,
    Ended,
    Failed,
    HelloReceived,
    PlaintextChosen,
    ServerVerified,
    State,
    refusal,
)
from securelink.wire.fields import Kind, Mode
from securelink.wire.messages import ClientHello, ServerHello, VersionMismatch

OFF, OPTIONAL, REQUIRED = Mode.OFF, Mode.OPTIONAL, Mode.REQUIRED
HELLO = 0  # number of the first frame of a direction
SMALL_ORDER = [bytes.fromhex(entry) for entry in load("x25519.json")["small_order"]]


def on(role: Role, number: int, change: Callable[[bytes], bytes]) -> Tamper:
    """Change one frame."""

    def tamper(sender: Role, count: int, frame: bytes) -> bytes:
        return change(frame) if (sender, count) == (role, number) else frame

    return tamper


def reframed(kind: Kind, body: bytes) -> bytes:
    """A frame with this body."""
    return kind.to_bytes(1) + len(body).to_bytes(3) + body


def client_hello(change: Callable[[ClientHello], ClientHello]) -> Callable[[bytes], bytes]:
    """Change what a ClientHello says."""
    return lambda frame: reframed(Kind.CLIENT_HELLO, change(ClientHello.decode(frame[4:])).encode())


def server_hello(change: Callable[[ServerHello], ServerHello]) -> Callable[[bytes], bytes]:
    """Change what a ServerHello says."""
    return lambda frame: reframed(Kind.SERVER_HELLO, change(ServerHello.decode(frame[4:])).encode())


def assert_nobody_was_let_in(pair: Pair) -> None:
    """No session, and the client has neither believed the server nor shown who it is."""
    assert not pair.is_open
    assert pair.verified is None
    assert not any(isinstance(item, ServerVerified) for item in pair.items["client"])
    assert not any(isinstance(item, AuthReceived) for item in pair.items["server"])


# --- downgrades -------------------------------------------------------------------------------------


def test_a_changed_mode_is_noticed(identity: Identity) -> None:
    """Making `required` look like `optional` changes the transcript: the client cannot open the proof."""
    tamper = on("client", HELLO, client_hello(lambda h: ClientHello(OPTIONAL, h.random, h.share)))
    pair = Pair(identity, server_mode=OPTIONAL, tamper=tamper).run()
    assert isinstance(pair.failure("client"), RecordError)
    assert_nobody_was_let_in(pair)


def test_a_stripped_key_share_does_not_fool_required(identity: Identity) -> None:
    """Making `required` look like `off` gets the client an answer in plaintext, which it refuses."""
    tamper = on("client", HELLO, client_hello(lambda h: ClientHello(OFF, h.random, None)))
    pair = Pair(identity, server_mode=OPTIONAL, tamper=tamper).run()
    error = pair.failure("client")
    assert isinstance(error, PeerIncompatible)
    assert error.code == Code.ENCRYPTION_REQUIRED
    assert_nobody_was_let_in(pair)


def test_a_forged_plaintext_answer(identity: Identity) -> None:
    """A ServerHello made to say plaintext is refused by `required`; `optional` says that it has no proof."""
    tamper = on("server", HELLO, server_hello(lambda h: ServerHello(False, h.random, None)))
    pair = Pair(identity, tamper=tamper).run()
    assert isinstance(pair.failure("client"), PeerIncompatible)
    assert_nobody_was_let_in(pair)
    pair = Pair(identity, client_mode=OPTIONAL, tamper=tamper).run()
    # Known and documented: with `optional` somebody in the path can have plaintext, never a proof. A client
    # that has a key to expect uses `required`.
    assert not any(isinstance(item, ServerVerified) for item in pair.items["client"])
    assert not pair.is_open


def test_off_takes_no_encrypted_answer(identity: Identity) -> None:
    """A client that offered no key share takes no answer with one."""
    encrypted = Pair(identity).run()
    answer = split_frames(bytes(encrypted.sent["server"]))[0]
    pair = Pair(
        identity, client_mode=OFF, server_mode=OFF, tamper=on("server", 0, lambda _: answer)
    )
    assert "although we offered no key share" in str(pair.run().failure("client"))


@pytest.mark.parametrize("version", [0, 2, 200])
def test_a_client_of_another_version(version: int, identity: Identity) -> None:
    """The server says which version it speaks; the client gets a code that it can explain."""
    at = 4 + 8
    tamper = on("client", HELLO, lambda f: f[:at] + bytes([version]) + f[at + 1 :])
    pair = Pair(identity, tamper=tamper).run()
    error = pair.failure("server")
    assert isinstance(error, VersionMismatch)
    assert isinstance(error, PeerIncompatible)
    assert f"version {version}" in str(error)
    assert pair.items["client"] == [Alerted(Code.VERSION)]
    assert "update securelink" in str(refusal(Code.VERSION, ""))


def test_a_server_of_another_version(identity: Identity) -> None:
    """An answer of another version ends the attempt with both numbers, and an ALERT."""
    tamper = on("server", HELLO, lambda frame: frame[:4] + b"\x02" + frame[5:])
    pair = Pair(identity, tamper=tamper).run()
    error = pair.failure("client")
    assert isinstance(error, VersionMismatch)
    assert "speaks version 2 of the protocol, this one version 1" in str(error)
    assert bytes(pair.sent["client"])[-5:].hex() == "0500000102"
    assert pair.items["server"][-1] == Alerted(Code.VERSION)


# --- every bit of the hellos ------------------------------------------------------------------------

STRUCTURE = 4 + 8 + 1 + 4 + 3 + 32 + 3  # bytes of a ClientHello before the key share


def bits(size: int, structure: int) -> list[int]:
    """Every bit of the structure, one bit of every second byte of the key share, and of its last."""
    source = random.Random(size)
    share = [*range(structure, size, 2), size - 1]
    return [*range(8 * structure), *(8 * byte + source.randrange(8) for byte in share)]


def flipping(bit: int) -> Callable[[bytes], bytes]:
    """Change one bit."""

    def flip(frame: bytes) -> bytes:
        changed = bytearray(frame)
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)

    return flip


def test_every_bit_of_the_client_hello(identity: Identity) -> None:
    """A ClientHello changed on the way never leads to a session, nor to a client that shows who it is."""
    for bit in bits(STRUCTURE + 1216, STRUCTURE):
        pair = Pair(identity, server_mode=OPTIONAL, tamper=on("client", HELLO, flipping(bit))).run()
        assert_nobody_was_let_in(pair)


def test_every_bit_of_the_server_hello(identity: Identity) -> None:
    """So does a changed ServerHello; a changed KEM answer shows when the proof cannot be opened."""
    structure = 4 + 1 + 4 + 3 + 32 + 3
    for bit in bits(structure + 1120, structure):
        pair = Pair(identity, tamper=on("server", HELLO, flipping(bit))).run()
        assert_nobody_was_let_in(pair)


@pytest.mark.parametrize(("role", "number"), [("server", 1), ("client", 1), ("server", 2)])
def test_sealed_handshake_frames(role: Role, number: int, identity: Identity) -> None:
    """A bit changed in the sealed proofs or in WELCOME, header included, ends the attempt for who receives it."""
    frame = split_frames(bytes(Pair(identity).run().sent[role]))[number]
    last = 8 * len(frame)
    source = random.Random(number)
    receiver = other(role)
    for bit in sorted({*range(32), *range(last - 32, last), *source.sample(range(last), 60)}):
        pair = Pair(identity, tamper=on(role, number, flipping(bit))).run()
        assert not pair.is_open
        if flipping(bit)(frame)[1:4] <= frame[1:4]:
            assert isinstance(pair.failure(receiver), ProtocolError)
        elif pair.engine(receiver).state is not State.FAILED:
            # It waits for the rest of a frame that was announced longer, and that never comes.
            assert pair.feed(receiver, b"") == [Ended()]


# --- key shares -------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_points_that_make_the_secret_zero(point: bytes, identity: Identity) -> None:
    """An X25519 key of small order, zero among them, is refused by both roles: it would fix the secret."""

    def share(old: bytes | None) -> bytes:
        assert old is not None
        return old[:-32] + point

    tamper = on(
        "client", HELLO, client_hello(lambda h: ClientHello(h.mode, h.random, share(h.share)))
    )
    pair = Pair(identity, tamper=tamper).run()
    assert "X25519" in str(pair.errors[0])
    assert pair.items["client"] == [Alerted(Code.PROTOCOL)]
    tamper = on(
        "server", HELLO, server_hello(lambda h: ServerHello(True, h.random, share(h.share)))
    )
    pair = Pair(identity, tamper=tamper).run()
    assert "X25519" in str(pair.failure("client"))


def test_an_invalid_kem_key(identity: Identity) -> None:
    """An ML-KEM key with a coefficient that is not reduced is refused (FIPS 203, 7.2)."""

    def change(hello: ClientHello) -> ClientHello:
        assert hello.share is not None
        return ClientHello(hello.mode, hello.random, b"\xff\xff" + hello.share[2:])

    pair = Pair(identity, tamper=on("client", HELLO, client_hello(change))).run()
    assert "ML-KEM" in str(pair.errors[0])
    assert pair.server.state is State.FAILED
    assert pair.items["client"] == [Alerted(Code.PROTOCOL)]


def test_a_changed_kem_answer(identity: Identity) -> None:
    """ML-KEM rejects silently with another secret; the first sealed record shows it."""

    def change(hello: ServerHello) -> ServerHello:
        assert hello.share is not None
        return ServerHello(True, hello.random, bytes(1088) + hello.share[1088:])

    pair = Pair(identity, tamper=on("server", HELLO, server_hello(change))).run()
    assert isinstance(pair.failure("client"), RecordError)


@pytest.mark.parametrize("part", [slice(0, 32), slice(32, 64)])
def test_both_secrets_count(
    part: slice, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who knows only the ML-KEM secret, or only the X25519 secret, cannot open the server's proof."""
    real = crypto.ClientShare.finish

    def known_in_part(share: crypto.ClientShare, answer: bytes) -> bytes:
        secret = bytearray(real(share, answer))
        secret[part] = bytes(32)
        return bytes(secret)

    monkeypatch.setattr(crypto.ClientShare, "finish", known_in_part)
    assert isinstance(Pair(identity).run().failure("client"), RecordError)


# --- who is in the middle ---------------------------------------------------------------------------


def test_who_answers_with_its_own_key_is_seen(identity: Identity, other_identity: Identity) -> None:
    """Somebody in the middle can only show a key of its own: that is what the client then judges."""
    pair = Pair(other_identity).until("client", State.VERIFIED)
    verified = pair.items["client"][-1]
    assert isinstance(verified, ServerVerified)
    assert verified.server.key == other_identity.public != identity.public


def test_bindings_of_two_halves_differ(identity: Identity, other_identity: Identity) -> None:
    """Two sessions joined by somebody in the middle have different bindings: credentials bound to one fail."""
    near, far = Pair(other_identity).run(), Pair(identity).run()
    seen = near.items["client"][0]
    assert isinstance(seen, ServerVerified)
    assert far.verified is not None
    assert seen.server.binding != far.verified.binding
    assert near.verified is not None
    assert seen.server.binding == near.verified.binding


def test_the_binding_is_known_before_the_client_speaks(identity: Identity) -> None:
    """Credentials can be made from the binding: the client has it when it has sent nothing but its hello."""
    pair = Pair(identity).until("client", State.VERIFIED)
    assert len(split_frames(bytes(pair.sent["client"]))) == 1
    verified = pair.items["client"][-1]
    assert isinstance(verified, ServerVerified)
    binding = verified.server.binding
    pair.run()
    assert pair.verified is not None
    assert pair.verified.binding == binding


def test_plaintext_has_no_binding(identity: Identity) -> None:
    """In plaintext mode there is nothing to bind to."""
    pair = Pair(identity, client_mode=OFF, server_mode=OFF).run()
    assert isinstance(pair.items["client"][0], PlaintextChosen)
    assert pair.verified is not None
    assert pair.verified.binding is None


def test_a_handshake_cannot_be_replayed(identity: Identity) -> None:
    """All that a client sent, sent again to the same server, ends at the client's proof."""
    pair = Pair(identity).run()
    hello, auth, *_ = split_frames(bytes(pair.sent["client"]))
    again = Pair(identity, tamper=on("client", HELLO, lambda _: hello))
    again.until("server", State.WAIT_CLIENT)
    items = again.feed("server", auth)
    assert isinstance(items[-1], Failed)
    assert isinstance(items[-1].error, RecordError)


def test_only_the_hello_is_in_clear(identity: Identity, other_identity: Identity) -> None:
    """Keys, names and credentials are on the wire in no direction; sizes do not tell the size of the key."""
    words = b"\xb0correct horse 42"
    options: dict[str, Any] = {"dialled": "play.example", "application": "my game"}
    pair = Pair(identity, client_identity=other_identity, credentials=words, **options).run()
    wire = bytes(pair.sent["client"] + pair.sent["server"])
    hidden = [words, b"play.example", b"my game"]
    hidden += [key.public.spki[-270:] for key in (identity, other_identity)]
    assert not any(value in wire for value in hidden)
    for role in pair.sent:
        assert len(split_frames(bytes(pair.sent[role]))[1]) == 4 + 1 + 1024 + 16


def test_the_first_event_of_a_server_costs_nothing(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before `begin_answer` no RSA and no KEM work is done: a flood of hellos can be dropped cheaply."""

    def expensive(*_: object) -> tuple[bytes, bytes]:
        raise AssertionError("too early")

    pair = Pair(identity)
    monkeypatch.setattr(crypto, "answer_key_share", expensive)
    monkeypatch.setattr(crypto, "pss_sign", expensive)
    assert pair.feed("server", bytes(pair.sent["client"])) == [HelloReceived()]
    assert pair.server.state is State.HELLO_RECEIVED
