"""Open sessions under attack: keys and nonces, records moved or changed, strangers, what is shown."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from engines import TOKEN, Pair, Role, actions, opened, other, sent, split_frames
from inside import bytes_below, handshake_of, key_limit, sealer_of

from securelink import crypto
from securelink.codes import Code
from securelink.errors import ProtocolError, RecordError
from securelink.keys import Identity
from securelink.protocol import Ended, Failed, State
from securelink.protocol.records import PlainSender, Sealer
from securelink.wire.fields import Content, Kind, Mode
from securelink.wire.messages import Close

OFF, REQUIRED = Mode.OFF, Mode.REQUIRED
ROLES: tuple[Role, ...] = ("client", "server")
both_roles = pytest.mark.parametrize("role", ROLES)


# --- key update ---------------------------------------------------------------------------------------


@both_roles
def test_keys_change_in_both_directions(
    role: Role, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session with a small limit updates its keys again and again, each direction by itself."""
    key_limit(monkeypatch, "UPDATE_RECORDS", 5)
    key_limit(monkeypatch, "UPDATE_FLOOD_RECORDS", 5)
    pair = opened(identity)
    before = len(pair.sent[role])
    for number in range(40):
        pair.post(role, sent(pair, role, str(number)))
        if number % 3 == 0:
            pair.post(role, pair.sender(role).control(Content.PING, bytes(8)))
    assert actions(pair, other(role)) == [[str(number)] for number in range(40)]
    updates = [f for f in split_frames(bytes(pair.sent[role][before:])) if len(f) == 4 + 1 + 16]
    assert len(updates) >= 54 // 6
    assert pair.is_open


@both_roles
def test_no_nonce_is_used_twice_in_a_session(
    role: Role, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first proof to CLOSE, over key updates: no key ever sees a nonce again."""
    used: list[tuple[bytes, bytes]] = []

    class Spy:
        def __init__(self, key: bytes) -> None:
            self.key, self.real = key, crypto.AEAD(key)

        def encrypt(self, nonce: bytes, data: bytes, aad: bytes) -> bytes:
            used.append((self.key, nonce))
            return self.real.encrypt(nonce, data, aad)

        def decrypt(self, nonce: bytes, data: bytes, aad: bytes) -> bytes:
            return self.real.decrypt(nonce, data, aad)

    monkeypatch.setattr(crypto, "new_aead", Spy)
    key_limit(monkeypatch, "UPDATE_RECORDS", 4)
    key_limit(monkeypatch, "UPDATE_FLOOD_RECORDS", 4)
    pair = opened(identity, client_identity=identity)
    for number in range(30):
        for sender in (role, other(role)):
            pair.post(sender, sent(pair, sender, str(number)))
    pair.post(role, pair.sender(role).close(Code.NORMAL))
    assert len(used) == len(set(used))
    assert len({key for key, _ in used}) > 10
    frames = split_frames(bytes(pair.sent["client"])) + split_frames(bytes(pair.sent["server"]))
    assert len(used) == sum(frame[0] == Kind.SEALED for frame in frames)


@both_roles
def test_an_hour_changes_the_key(role: Role, identity: Identity) -> None:
    """A timer may ask for the next key: KEY_UPDATE goes before whatever is sent next."""
    pair = opened(identity)
    pair.post(role, sent(pair, role, "before"))
    sender = pair.sender(role)
    sender.records.want_update()
    sender.records.want_update()
    update, ping = split_frames(sender.control(Content.PING, bytes(8)))
    assert (len(update), len(ping)) == (4 + 1 + 16, 4 + 9 + 16)
    pair.post(role, update + ping + sent(pair, role, "after"))
    assert actions(pair, other(role)) == [["before"], ["after"]]
    pair = opened(identity, OFF)
    pair.sender(role).records.want_update()
    pair.sender(role).records.want_update()
    assert len(split_frames(sent(pair, role, "no key"))) == 1


def test_an_hour_soon_after_an_automatic_update(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The timer lets a new key be: a second update within a second would be a flood."""
    key_limit(monkeypatch, "UPDATE_BYTES", 5000)
    pair = opened(identity)
    sender = pair.sender("client")
    sender.records.want_update()
    for _ in range(31):
        pair.post("client", sent(pair, "client", "b" * 200))
    pair.now += 0.5
    sender.records.want_update()
    pair.post("client", sent(pair, "client", "c"))
    assert pair.is_open


def test_the_old_key_is_gone(identity: Identity) -> None:
    """After KEY_UPDATE a record under the old key fails, even with the right counter."""
    pair = Pair(identity).until("server", State.AUTH_RECEIVED)
    secrets = handshake_of(pair.server).application_secrets
    assert secrets is not None
    old = Sealer(secrets.server)
    assert pair.run().is_open
    old.seal(b"in place of WELCOME")
    update = pair.sender("server").records.update()
    assert old.seal(bytes([Content.KEY_UPDATE])) == update
    pair.post("server", update)
    pair.feed("client", old.seal(b"\x04\x90"))
    assert isinstance(pair.failure("client"), RecordError)


def test_an_update_out_of_order(identity: Identity) -> None:
    """A record under the next key that comes before its KEY_UPDATE fails."""
    pair = opened(identity)
    records_ = pair.sender("server").records
    update, after = records_.update(), records_.seal(b"\x04\x90")
    pair.feed("client", after + update)
    assert isinstance(pair.failure("client"), RecordError)


@pytest.mark.parametrize(
    ("between", "seconds", "allowed"),
    [(0, 0.999, False), (0, 1.0, True), (998, 0.0, False), (999, 0.0, True)],
)
def test_a_flood_of_updates(
    between: int, seconds: float, allowed: bool, identity: Identity
) -> None:
    """The first update is free; later ones need 1,000 records under the key or a second since the last."""
    pair = opened(identity)
    update = pair.sender("client").records.update
    pair.feed("server", update())
    assert pair.server.state is State.OPEN
    pair.now += seconds
    filling = b"".join(pair.forge("server", b"\x04\x90") for _ in range(between))
    pair.feed("server", filling + update())
    if allowed:
        assert pair.server.state is State.OPEN
        pair.feed("server", update())
    assert "flood of key updates" in str(pair.failure("server"))


# --- in the path --------------------------------------------------------------------------------------


def changes(pair: Pair, role: Role) -> dict[str, bytes]:
    """What somebody in the path may make of three records."""
    first, second, third = (sent(pair, role, name) for name in "abc")
    own = sent(pair, other(role), "own")
    return {
        "replay": first + first,
        "reorder": second + first,
        "drop": first + third,
        "reflect": own,
        "inject": b"\x03\0\0\x20" + bytes(32),
    }


@pytest.mark.parametrize("attack", ["replay", "reorder", "drop", "reflect", "inject"])
@both_roles
def test_records_cannot_be_moved(attack: str, role: Role, identity: Identity) -> None:
    """Sealed records come once, in order, complete and from the peer, or the connection fails."""
    pair = opened(identity)
    items = pair.feed(other(role), changes(pair, role)[attack])
    assert isinstance(pair.failure(other(role)), RecordError)
    assert len(items) <= 2
    assert actions(pair, other(role)) in ([], [["a"]])


@both_roles
def test_every_bit_of_a_record(role: Role, identity: Identity) -> None:
    """One changed bit in a record or its header: an error, or waiting for a longer frame; never a packet."""
    size = len(sent(opened(identity), role, "a"))
    for bit in range(8 * size):
        pair = opened(identity)
        frame = bytearray(sent(pair, role, "a"))
        frame[bit // 8] ^= 1 << bit % 8
        pair.feed(other(role), bytes(frame))
        engine = pair.engine(other(role))
        assert engine.numbering.incoming.accepted == 0
        if engine.state is not State.FAILED:
            assert int.from_bytes(frame[1:4]) > size - 4
            pair.feed(other(role), bytes(2**21))
        assert isinstance(pair.failure(other(role)), ProtocolError)


@both_roles
def test_a_wrong_token_ends_plaintext(role: Role, identity: Identity) -> None:
    """In plaintext a record with another session's token, or with none, ends the connection."""
    for token in (bytes(16), TOKEN[:-1] + b"\0", bytes(reversed(TOKEN))):
        pair = opened(identity, OFF)
        stranger = PlainSender()
        stranger.token = token
        pair.feed(other(role), stranger.seal(b"\x04\x90"))
        assert "token of another session" in str(pair.failure(other(role)))


@both_roles
def test_the_token_is_zero_before_welcome(role: Role, identity: Identity) -> None:
    """Before there is a session a token is an error, after WELCOME its absence is."""
    state = State.WAIT_CLIENT if role == "server" else State.AUTH_SENT
    pair = Pair(identity, client_mode=OFF, server_mode=OFF).until(role, state)
    early = PlainSender()
    early.token = TOKEN
    pair.feed(role, early.seal(Close(0, 0).encode()))
    assert isinstance(pair.failure(role), RecordError)
    pair = opened(identity, OFF)
    for sender in ROLES:
        frames = split_frames(bytes(pair.sent[sender]))
        assert all(frame[4:20] == bytes(16) for frame in frames[1:])
        assert sent(pair, sender, "a")[4:20] == TOKEN


# --- strangers ------------------------------------------------------------------------------------------

HTTP = b"GET / HTTP/1.1\r\nHost: example\r\n\r\n"
TLS = bytes.fromhex("160301020001 0001fc0303") + bytes(100)
KNOCKS: list[tuple[bytes, str, Callable[[bytes], bool]]] = [
    (HTTP, "HTTP", lambda answer: answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP", lambda answer: b"speaks securelink" in answer),
    (b"POST /x HTTP/1.1\r\n", "HTTP", lambda answer: answer.endswith(b"not HTTP.\n")),
    (TLS, "TLS", lambda answer: answer.hex() == "15030300020228"),
    (b"SSH-2.0-OpenSSH_9.9\r\n", "noise", lambda answer: answer == b""),
    (bytes(12), "noise", lambda answer: answer == b""),
    (b"\x01\0\0\x40SECLINK\x1b" + bytes(60), "noise", lambda answer: answer == b""),
    (b"\x02\0\0\x40SECLINK\x1a" + bytes(60), "noise", lambda answer: answer == b""),
]


@pytest.mark.parametrize(("data", "what", "fits"), KNOCKS)
@pytest.mark.parametrize("piece", [1, 5, 1000])
def test_strangers_are_recognised(
    data: bytes, what: str, fits: Callable[[bytes], bool], piece: int, identity: Identity
) -> None:
    """HTTP and TLS clients get an answer of their own kind, noise gets silence, however the bytes arrive."""
    pair = Pair(identity)
    items = []
    for start in range(0, len(data), piece):
        items += pair.server.receive_data(data[start : start + piece], 0.0)
    (failed,) = items
    assert isinstance(failed, Failed)
    assert fits(failed.answer)
    assert pair.server.knock == what
    assert "does not speak securelink" in str(failed.error)


def test_the_http_answer_is_complete(identity: Identity) -> None:
    """Its length is the one that it announces, so a browser shows the sentence."""
    (failed,) = Pair(identity).feed("server", HTTP)
    assert isinstance(failed, Failed)
    head, _, text = failed.answer.partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % len(text) in head.split(b"\r\n")
    assert text == b"This port speaks securelink, not HTTP.\n"


def test_fewer_than_12_bytes(identity: Identity) -> None:
    """A stranger that leaves early is no hello; one that said nothing just ended."""
    pair = Pair(identity)
    pair.feed("server", b"GET")
    pair.feed("server", b"")
    assert isinstance(pair.failure("server"), ProtocolError)
    assert Pair(identity).feed("server", b"") == [Ended()]


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x03", b"SSH-2.0"]
)
def test_a_client_at_the_wrong_port(answer: bytes, identity: Identity) -> None:
    """A client that reached something else says so."""
    pair = Pair(identity)
    pair.feed("client", answer)
    assert "not a securelink server" in str(pair.failure("client"))


# --- what is shown --------------------------------------------------------------------------------------


def test_no_engine_shows_a_secret(identity: Identity, other_identity: Identity) -> None:
    """Neither engines, halves, events nor errors show a secret or a credential in their text."""
    words = b"\xb0correct horse 42"
    pair = Pair(identity, client_identity=other_identity, credentials=words)
    pair.until("server", State.AUTH_RECEIVED)
    handshakes = (handshake_of(pair.client), handshake_of(pair.server))
    secrets = [words]
    for handshake in handshakes:
        early, late = handshake.handshake_secrets, handshake.application_secrets
        assert early is not None
        assert late is not None
        secrets += [early.client, early.server, early.handshake]
        secrets += [late.client, late.server, late.binding, late.master]
    shown: list[object] = [*handshakes, pair.verified]
    pair.run()
    pair.feed("server", b"\x03\0\0\x20" + bytes(32))
    error = pair.failure("server")
    shown += [
        pair.client,
        pair.server,
        pair.sender("client"),
        sealer_of(pair.client),
        pair.verified,
    ]
    shown += [*pair.items["client"], *pair.items["server"], error, error.__dict__]
    for thing in shown:
        for text in (repr(thing), str(thing)):
            for secret in secrets:
                assert repr(secret)[2:-1] not in text
                assert secret.hex() not in text


def test_the_handshake_is_forgotten(identity: Identity) -> None:
    """Once the session is open the secrets of the handshake are gone: who reads memory later finds fewer."""
    pair = opened(identity, credentials=b"\xb0correct horse 42")
    assert not hasattr(pair.client, "_handshake")
    assert not hasattr(pair.server, "_handshake")
    for engine in (pair.client, pair.server):
        assert b"horse" not in bytes_below(engine)
