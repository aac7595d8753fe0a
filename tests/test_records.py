"""Record protection: keys and nonces are used once, and what was changed on the way is refused."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import nullcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inside import key_limit

from securelink import crypto
from securelink.errors import ProtocolError, RecordError
from securelink.limits import MAX_FRAME_BODY, TAG_SIZE
from securelink.protocol import key_schedule
from securelink.protocol.records import Opener, PlainReceiver, PlainSender, Sealer

SECRET = bytes(range(32))
TOKEN = bytes(range(16))


def opened(opener: Opener | PlainReceiver, frame: bytes) -> bytes:
    """Give one frame to a receiving half."""
    return opener.open(frame[:4], frame[4:])


class Spy:
    """An AEAD that notes key, nonce and AAD of every encryption."""

    used: list[tuple[bytes, bytes, bytes]]

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._real = crypto.AEAD(key)

    def encrypt(self, nonce: bytes, data: bytes, aad: bytes) -> bytes:
        Spy.used.append((self._key, nonce, aad))
        return self._real.encrypt(nonce, data, aad)

    def decrypt(self, nonce: bytes, data: bytes, aad: bytes) -> bytes:
        return self._real.decrypt(nonce, data, aad)


@pytest.fixture
def spied(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, bytes, bytes]]:
    """What the AEAD is called with, from now on."""
    Spy.used = []
    monkeypatch.setattr(crypto, "new_aead", Spy)
    return Spy.used


# --- encrypted ------------------------------------------------------------------------------------


def test_a_sealed_record_is_pinned() -> None:
    """Key and iv of the traffic secret, nonce = iv XOR counter, AAD = the header: worked out by hand."""
    key, iv = key_schedule.traffic_keys(SECRET)
    aead = crypto.AEAD(key)
    sealer = Sealer(SECRET)
    for counter, plaintext in enumerate((b"\x04first", b"\x04second", b"\x07" + bytes(8))):
        header = b"\x03" + (len(plaintext) + 16).to_bytes(3)
        nonce = bytes(a ^ b for a, b in zip(iv, counter.to_bytes(12), strict=True))
        assert sealer.seal(plaintext) == header + aead.encrypt(nonce, plaintext, header)


def test_the_nonce_is_iv_xor_counter(
    spied: list[tuple[bytes, bytes, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the counter has many digits; only its 64 bits of the nonce move."""
    key_limit(monkeypatch, "UPDATE_RECORDS", 2**63)
    _, iv = key_schedule.traffic_keys(SECRET)
    sealer = Sealer(SECRET)
    for counter in (0, 1, 255, 256, 2**20 + 7, 2**32, 2**63 + 5, 2**64 - 1):
        sealer._counter = counter  # noqa: SLF001  # nobody seals so many
        sealer.seal(b"x")
        _, nonce, _ = spied[-1]
        assert len(nonce) == 12
        assert nonce[:4] == iv[:4]
        assert int.from_bytes(nonce[4:]) ^ int.from_bytes(iv[4:]) == counter


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=10))
@settings(max_examples=50, deadline=None)
def test_records_come_back_in_order(plaintexts: list[bytes]) -> None:
    """What one half seals the other opens."""
    sealer, opener = Sealer(SECRET), Opener(SECRET)
    frames = [sealer.seal(plaintext) for plaintext in plaintexts]
    assert [opened(opener, frame) for frame in frames] == plaintexts
    assert all(len(f) == len(p) + 4 + TAG_SIZE for f, p in zip(frames, plaintexts, strict=True))


def test_every_flipped_bit_is_noticed() -> None:
    """One changed bit anywhere, header included, and the record is refused."""
    frame = Sealer(SECRET).seal(b"\x04some packets")
    for bit in range(8 * len(frame)):
        changed = bytearray(frame)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RecordError, match="failed authentication"):
            opened(Opener(SECRET), bytes(changed))


def test_every_truncation_is_noticed() -> None:
    """A record cut short or made longer is refused, also when its header is made to fit."""
    frame = Sealer(SECRET).seal(b"\x04some packets")
    for body in (*(frame[4:end] for end in range(4, len(frame))), frame[4:] + b"\0"):
        for header in (frame[:4], b"\x03" + len(body).to_bytes(3)):
            with pytest.raises(RecordError):
                Opener(SECRET).open(header, body)


def test_a_record_without_content_is_refused() -> None:
    """A tag over nothing, valid as it is, is no record: the content byte is missing."""
    with pytest.raises(RecordError, match="too short"):
        opened(Opener(SECRET), Sealer(SECRET).seal(b""))


def attack(name: str, frames: list[bytes]) -> list[bytes]:
    """What somebody in the path may do with sealed records."""
    first, second, third = frames
    return {
        "replay": [first, first],
        "replay later": [first, second, first],
        "reorder": [second],
        "drop": [first, third],
        "inject": [first, Sealer(bytes(32)).seal(b"\x04evil")],
        "reflect": [Sealer(bytes(31) + b"\1").seal(b"\x04own")],
    }[name]


@pytest.mark.parametrize("name", ["replay", "replay later", "reorder", "drop", "inject", "reflect"])
def test_what_was_not_sent_next_is_refused(name: str) -> None:
    """Replayed, reordered, injected and reflected records fail, and so does the one after a dropped one."""
    sealer = Sealer(SECRET)
    *good, bad = attack(name, [sealer.seal(b"\x04%d" % n) for n in range(3)])
    opener = Opener(SECRET)
    for frame in good:
        opened(opener, frame)
    with pytest.raises(RecordError, match="failed authentication"):
        opened(opener, bad)


def test_the_first_bad_tag_ends_it() -> None:
    """After a failure even the right record is refused: there is no second guess."""
    sealer, opener = Sealer(SECRET), Opener(SECRET)
    first = sealer.seal(b"\x04one")
    with pytest.raises(RecordError, match="failed authentication"):
        opened(opener, first[:-1] + bytes([first[-1] ^ 1]))
    for frame in (first, sealer.seal(b"\x04two")):
        with pytest.raises(RecordError, match="after a failure"):
            opened(opener, frame)


def test_a_short_record_ends_it_too() -> None:
    """A body without room for a tag and one byte ends the opener as well."""
    opener = Opener(SECRET)
    with pytest.raises(RecordError, match="too short"):
        opener.open(b"\x03\0\0\x10", bytes(16))
    with pytest.raises(RecordError, match="after a failure"):
        opened(opener, Sealer(SECRET).seal(b"\x04one"))


def test_sizes_end_where_the_header_ends() -> None:
    """The largest record fits; one byte more is refused before its nonce is used."""
    sealer, opener = Sealer(SECRET), Opener(SECRET)
    with pytest.raises(RecordError, match="does not fit a frame"):
        sealer.seal(bytes(MAX_FRAME_BODY - TAG_SIZE + 1))
    largest = bytes(MAX_FRAME_BODY - TAG_SIZE)
    frame = sealer.seal(largest)
    assert frame[:4] == b"\x03\xff\xff\xff"
    assert opened(opener, frame) == largest


# --- key update -----------------------------------------------------------------------------------


def test_an_update_takes_the_next_key() -> None:
    """KEY_UPDATE is the last record under the old key; counters begin again, the old key opens nothing more."""
    sealer, opener = Sealer(SECRET), Opener(SECRET)
    opened(opener, sealer.seal(b"\x04old"))
    update = sealer.update()
    assert opened(opener, update) == b"\x09"
    opener.update(0.0)
    frame = sealer.seal(b"\x04new")
    assert frame == Sealer(key_schedule.next_traffic_secret(SECRET)).seal(b"\x04new")
    assert opened(opener, frame) == b"\x04new"
    stale = Sealer(SECRET)
    for _ in range(2):
        stale.seal(b"\x04old")
    for old in (Sealer(SECRET).seal(b"\x04old"), stale.seal(b"\x04old")):
        fresh = Opener(SECRET)
        fresh.update(0.0)
        with pytest.raises(RecordError):
            opened(fresh, old)


def test_an_update_that_did_not_come_is_noticed() -> None:
    """A receiver that misses the update cannot open what follows, nor one that updates unasked."""
    sealer, opener, hasty = Sealer(SECRET), Opener(SECRET), Opener(SECRET)
    hasty.update(0.0)
    update, after = sealer.update(), sealer.seal(b"\x04new")
    with pytest.raises(RecordError):
        opened(opener, after)
    with pytest.raises(RecordError):
        opened(hasty, update)


def test_no_nonce_is_used_twice(
    spied: list[tuple[bytes, bytes, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a session with many updates no key sees a nonce again, and every AAD is the record's header."""
    key_limit(monkeypatch, "UPDATE_RECORDS", 7)
    sealer, opener = Sealer(SECRET), Opener(SECRET)
    source = random.Random(1)
    frames = []
    for _ in range(200):
        if sealer.due:
            frames.append(sealer.update())
        frames.append(sealer.seal(b"\x04" + source.randbytes(source.randrange(50))))
    assert len({(key, nonce) for key, nonce, _ in spied}) == len(spied) == len(frames)
    assert len({key for key, _, _ in spied}) == 200 // 7 + 1
    assert [aad for _, _, aad in spied] == [frame[:4] for frame in frames]
    for now, frame in enumerate(frames):
        if opened(opener, frame) == b"\x09":
            opener.update(now)


@pytest.mark.parametrize(
    ("limit", "value", "records_before"),
    [("UPDATE_RECORDS", 10, 10), ("UPDATE_BYTES", 100, 10), ("UPDATE_BYTES", 101, 11)],
)
def test_when_an_update_is_due(
    limit: str, value: int, records_before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update is due at the first of so many records and so many bytes, not before."""
    key_limit(monkeypatch, limit, value)
    sealer = Sealer(SECRET)
    for _ in range(records_before):
        assert not sealer.due
        sealer.seal(bytes(10))
    assert sealer.due
    sealer.update()
    assert not sealer.due


def test_a_timer_may_ask_for_an_update() -> None:
    """Asked twice, `want_update` makes one due, unless the key has sealed nothing yet or is a new one."""
    sealer = Sealer(SECRET)
    sealer.want_update()
    sealer.want_update()
    assert not sealer.due
    sealer.seal(b"\x04x")
    sealer.want_update()
    assert sealer.due
    sealer.update()
    assert not sealer.due
    sealer.seal(b"\x04x")
    sealer.want_update()
    assert not sealer.due


@pytest.mark.parametrize(
    ("limit", "value", "size", "allowed"),
    [("UPDATE_RECORDS", 5, 1, 10), ("UPDATE_BYTES", 50, 10, 11)],
)
def test_a_missed_update_is_refused(
    limit: str, value: int, size: int, allowed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond twice the limit the key seals nothing more, not even an update."""
    key_limit(monkeypatch, limit, value)
    sealer = Sealer(SECRET)
    for _ in range(allowed):
        sealer.seal(bytes(size))
    with pytest.raises(RecordError, match="has reached its limit"):
        sealer.seal(bytes(size))
    with pytest.raises(RecordError, match="has reached its limit"):
        sealer.update()


@pytest.mark.parametrize(
    ("limit", "value", "count", "size", "enough"),
    [
        ("UPDATE_FLOOD_RECORDS", 5, 4, 1, False),
        ("UPDATE_FLOOD_RECORDS", 5, 5, 1, True),
        ("UPDATE_BYTES", 100, 2, 20, False),
        ("UPDATE_BYTES", 100, 3, 20, True),
    ],
)
def test_which_update_needs_no_excuse(
    limit: str, value: int, count: int, size: int, enough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many records or so many bytes under one key excuse an update, however fast they came."""
    key_limit(monkeypatch, limit, value)
    sealer, opener = Sealer(SECRET), Opener(SECRET)
    opener.update(0.0)  # the first is free
    sealer.update()
    for _ in range(count):
        opened(opener, sealer.seal(bytes(size)))
    with nullcontext() if enough else pytest.raises(ProtocolError, match="a flood"):
        opener.update(0.5)
    if enough:
        with pytest.raises(ProtocolError, match="a flood"):
            opener.update(1.0)
        opener.update(1.5)


# --- plaintext ------------------------------------------------------------------------------------


def test_a_plain_record_is_pinned() -> None:
    """Header, token, content, body; the token is zero until there is one."""
    sender = PlainSender()
    assert sender.seal(b"\x04ab").hex() == "04000013" + "00" * 16 + "046162"
    sender.token = TOKEN
    assert sender.seal(b"\x04ab") == bytes.fromhex("04000013") + TOKEN + b"\x04ab"
    receiver = PlainReceiver()
    receiver.token = TOKEN
    assert opened(receiver, sender.seal(b"\x04ab")) == b"\x04ab"


def test_every_wrong_token_is_refused() -> None:
    """Each bit of the token counts; a record cut short inside it, or with nothing behind it, is refused."""
    sender, receiver = PlainSender(), PlainReceiver()
    sender.token = receiver.token = TOKEN
    frame = sender.seal(b"\x04ab")
    for bit in range(128):
        changed = bytearray(frame)
        changed[4 + bit // 8] ^= 1 << bit % 8
        with pytest.raises(RecordError, match="token of another session"):
            opened(receiver, bytes(changed))
    for size in range(17):
        with pytest.raises(RecordError):
            receiver.open(frame[:4], frame[4 : 4 + size])


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison goes through `crypto.equal`, with all 16 bytes."""
    compared: list[tuple[bytes, bytes]] = []

    def equal(a: bytes, b: bytes) -> bool:
        compared.append((bytes(a), b))
        return True

    monkeypatch.setattr(crypto, "equal", equal)
    receiver = PlainReceiver()
    opened(receiver, PlainSender().seal(b"\x04"))
    assert compared == [(bytes(16), bytes(16))]


def test_plaintext_has_no_key_to_update() -> None:
    """The sender never wants an update and sends none; the receiver calls one an error."""
    sender = PlainSender()
    sender.want_update()
    assert not sender.due
    assert sender.update() == b""
    with pytest.raises(ProtocolError, match="key update in plaintext"):
        PlainReceiver().update(0.0)


def test_the_largest_plain_record() -> None:
    """It fits exactly; one byte more is refused."""
    sender = PlainSender()
    frame = sender.seal(bytes(MAX_FRAME_BODY - 16))
    assert frame[:4] == b"\x04\xff\xff\xff"
    with pytest.raises(RecordError, match="does not fit a frame"):
        sender.seal(bytes(MAX_FRAME_BODY - 15))


@pytest.mark.parametrize("make", [Sealer, Opener])
def test_keys_are_not_shown(make: Callable[[bytes], object]) -> None:
    """A half that holds keys shows none of them."""
    half = make(SECRET)
    key, iv = key_schedule.traffic_keys(SECRET)
    for secret in (SECRET, key, iv):
        for text in (repr(half), str(half)):
            assert secret.hex() not in text
            assert repr(secret)[2:-1] not in text
            assert str(int.from_bytes(secret)) not in text
