"""Sealed packets: read by one key only, from one sender only, and any change is the same error."""

from __future__ import annotations

import struct
import time
import traceback
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import rsa
from forgery import NOW, refuse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from securelink import crypto, limits, sealed
from securelink.errors import CodecError, ConfigError, LimitExceeded, UnsealError
from securelink.keys import Identity, PublicKey, fingerprint_digest
from securelink.sealed import ANYONE, Unsealed, seal, unseal
from securelink.wire.packets import Packet, encode_packet

MODULUS = 256  # bytes of a 2048-bit key: the size of the secret and of a signature

# Where the regions of a blob for a 2048-bit key begin.
REGIONS = {
    "magic": 0,
    "version": 7,
    "recipient": 8,
    "size": 40,
    "secret": 42,
    "commitment": 42 + MODULUS,
    "ciphertext": 42 + MODULUS + 32,
}


def clock() -> float:
    return NOW


@pytest.fixture(scope="session")
def blob(key_pool: list[Identity]) -> bytes:
    alice, bob, _ = key_pool
    return seal(("mail", {"text": "meet at noon"}), bob.public, sender=alice, now=clock)


# --- what is accepted -----------------------------------------------------------------------------


def test_the_recipient_reads_it(key_pool: list[Identity], blob: bytes) -> None:
    """The recipient gets the packet, who sealed it, when, and its id."""
    alice, bob, _ = key_pool
    unsealed = unseal(blob, bob, sender=alice.public)
    assert unsealed.packet == Packet("mail", {"text": "meet at noon"}, created=NOW)
    assert (unsealed.sender, unsealed.created) == (alice.public, NOW)
    assert unsealed.id.version == 4
    assert unseal(blob, bob, sender=alice.public) == unsealed


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    data=st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=8,
    ),
    action=st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
    headers=st.none() | st.dictionaries(st.text(max_size=5), st.integers(0, 9), max_size=3),
)
def test_round_trip(
    key_pool: list[Identity], action: str, data: Any, headers: dict[str, Any] | None
) -> None:
    """Any packet that can be sent can be sealed, and comes out as it went in."""
    alice, bob, _ = key_pool
    packet = Packet(action, data, headers, created=1.5, id=7)
    sealed_bytes = seal(packet, bob.public, sender=alice)
    assert unseal(sealed_bytes, bob, sender=ANYONE, max_age=60).packet == packet


def test_every_spelling_of_the_expected_sender(key_pool: list[Identity], blob: bytes) -> None:
    """The sender may be expected as a key, a fingerprint, several of both, or as anyone."""
    alice, bob, eve = key_pool
    several: Iterator[Any] = iter([eve.public, alice.fingerprint])
    senders: tuple[Any, ...] = (
        alice.public,
        PublicKey.from_spki(alice.public.spki),
        alice.fingerprint,
        {alice.public},
        {eve.fingerprint, alice.fingerprint},
        [eve.public, alice.fingerprint],
        several,
        ANYONE,
    )
    for sender in senders:
        assert unseal(blob, bob, sender=sender).sender == alice.public


def test_keys_of_python_rsa(key_pool: list[Identity]) -> None:
    """Keys that come from python-rsa objects seal and unseal like any other."""
    alice, bob, _ = key_pool
    theirs = bob.public.to_rsa()
    assert isinstance(theirs, rsa.PublicKey)
    sealed_bytes = seal(("mail", b"hello"), theirs, sender=alice)
    bridge = Identity.from_rsa(bob.to_rsa())
    assert unseal(sealed_bytes, bridge, sender=alice.public).packet.data == b"hello"


def test_to_oneself(key_pool: list[Identity]) -> None:
    """Sealing to one's own key works: a note for later."""
    alice, _, _ = key_pool
    note = seal(("note", 1), alice.public, sender=alice)
    assert unseal(note, alice, sender=alice.public).packet.data == 1


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes(key_pool: list[Identity], blob: bytes, kind: Any) -> None:
    """A blob may be given as any of the types that hold bytes."""
    alice, bob, _ = key_pool
    assert unseal(kind(blob), bob, sender=alice.public).packet.action == "mail"


def test_default_keys_and_overhead() -> None:
    """Keys of the default size work; the overhead is the documented 1,310 bytes."""
    alice, bob = Identity.generate(), Identity.generate()
    packet = Packet("mail", b"x" * 1000)
    sealed_bytes = seal(packet, bob.public, sender=alice)
    assert len(sealed_bytes) == len(encode_packet(packet)) + 1310
    assert unseal(sealed_bytes, bob, sender=alice.public).packet == packet


def test_nothing_repeats(key_pool: list[Identity], blob: bytes) -> None:
    """Sealing the same packet twice gives unrelated bytes and another id."""
    alice, bob, _ = key_pool
    again = seal(("mail", {"text": "meet at noon"}), bob.public, sender=alice, now=clock)
    start = REGIONS["secret"]
    assert again[:start] == blob[:start]
    equal = sum(a == b for a, b in zip(again[start:], blob[start:], strict=True))
    assert equal < len(blob) / 20
    ids = [unseal(one, bob, sender=ANYONE).id for one in (blob, again)]
    assert ids[0] != ids[1]


def test_nothing_of_the_inside_shows(key_pool: list[Identity], blob: bytes) -> None:
    """A relay sees neither the text nor who sent it, only for whom it is."""
    alice, bob, _ = key_pool
    for hidden in (b"noon", b"mail", b"text", alice.public.spki[30:60]):
        assert hidden not in blob
    assert fingerprint_digest(alice.fingerprint) not in blob
    assert fingerprint_digest(bob.fingerprint) in blob


def test_the_layout(key_pool: list[Identity]) -> None:
    """The bytes are the documented ones, read here without the module's own code."""
    alice, bob, _ = key_pool
    fixed = bytes(range(32))
    blob = seal(
        Packet("mail", 1), bob.public, sender=alice, now=clock, random=lambda size: fixed[:size]
    )
    head = b"SLSEAL\x1a\x01" + fingerprint_digest(bob.fingerprint) + (MODULUS).to_bytes(2)
    assert blob[:42] == head
    outside, commitment, ciphertext = blob[:298], blob[298:330], blob[330:]
    assert bob.decrypt(outside[42:], b"securelink 1, sealed packet secret") == fixed
    output = crypto.hkdf_expand(fixed, b"securelink 1, sealed packet key" + outside, 64)
    assert output[32:] == commitment
    inside = crypto.new_aead(output[:32]).decrypt(bytes(12), ciphertext, None)
    spki = alice.public.spki
    packet = encode_packet(Packet("mail", 1))
    packet_id = uuid.UUID(bytes=fixed[:16], version=4).bytes
    body = len(spki).to_bytes(2) + spki + struct.pack(">d", NOW) + packet_id
    body += len(packet).to_bytes(4) + packet
    assert inside[:-MODULUS] == body
    signed = b" " * 64 + b"securelink 1, sealed packet signature" + b"\0"
    alice.public.verify(inside[-MODULUS:], signed + crypto.sha256(outside + body))


# --- what is refused, always in the same words ----------------------------------------------------


@pytest.mark.parametrize("region", REGIONS)
def test_a_flipped_bit_in_each_region(key_pool: list[Identity], blob: bytes, region: str) -> None:
    """One changed bit at the beginning or end of any region is noticed."""
    alice, bob, _ = key_pool
    starts = [*REGIONS.values(), len(blob)]
    start = REGIONS[region]
    end = starts[starts.index(start) + 1]
    for position in {start, (start + end) // 2, end - 1}:
        for bit in (0x01, 0x80):
            changed = bytearray(blob)
            changed[position] ^= bit
            refuse(bytes(changed), bob, alice.public)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_changed_byte(key_pool: list[Identity], blob: bytes, data: st.DataObject) -> None:
    """No byte of a sealed packet can be changed, whatever sender is expected."""
    _, bob, _ = key_pool
    position = data.draw(st.integers(0, len(blob) - 1))
    changed = bytearray(blob)
    changed[position] ^= data.draw(st.integers(1, 255))
    refuse(bytes(changed), bob, ANYONE)


def test_truncations_and_additions(key_pool: list[Identity], blob: bytes) -> None:
    """A blob that ends early, at any boundary or near it, or goes on too long, is refused."""
    _, bob, _ = key_pool
    ends = {0, 1, len(blob) - 1, len(blob) - 16}
    ends |= {start + more for start in REGIONS.values() for more in (-1, 0, 1, 15, 16)}
    for end in sorted(end for end in ends if 0 <= end < len(blob)):
        refuse(blob[:end], bob, ANYONE)
    refuse(blob + b"\0", bob, ANYONE)
    refuse(b"\0" + blob, bob, ANYONE)
    refuse(blob + blob, bob, ANYONE)


@pytest.mark.parametrize("other", [None, "text", 7, [], {}, object(), ["SLSEAL"]])
def test_what_is_not_even_bytes(key_pool: list[Identity], other: Any) -> None:
    """Whatever a peer put where a sealed packet should be is refused like a damaged one."""
    _, bob, _ = key_pool
    refuse(other, bob, ANYONE)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=600))
def test_noise(key_pool: list[Identity], noise: bytes) -> None:
    """Random bytes, alone or behind a right beginning, are refused."""
    _, bob, _ = key_pool
    head = b"SLSEAL\x1a\x01" + fingerprint_digest(bob.fingerprint)
    for candidate in (noise, head + noise, head + b"\x01\x00" + noise):
        refuse(candidate, bob, ANYONE)


def test_another_recipient(key_pool: list[Identity], blob: bytes) -> None:
    """Nobody else reads it, also not when the recipient outside is replaced by them."""
    alice, _, eve = key_pool
    refuse(blob, eve, alice.public)
    readdressed = blob[:8] + fingerprint_digest(eve.fingerprint) + blob[40:]
    refuse(readdressed, eve, alice.public)


def test_another_sender(key_pool: list[Identity], blob: bytes) -> None:
    """A packet from somebody who is not expected is refused, though it is genuine."""
    alice, bob, eve = key_pool
    nobody: list[PublicKey] = []
    for sender in (eve.public, eve.fingerprint, {eve.public, bob.public}, nobody):
        refuse(blob, bob, sender)
    assert unseal(blob, bob, sender=alice.public).sender == alice.public


def test_age(key_pool: list[Identity], blob: bytes) -> None:
    """With max_age a packet is refused once it is too old, and when it is from the future."""
    alice, bob, _ = key_pool
    for age, fresh in (
        (0.0, True),
        (60.0, True),
        (60.1, False),
        (-limits.SEALED_SKEW, True),
        (-limits.SEALED_SKEW - 0.1, False),
    ):
        if fresh:
            unseal(blob, bob, sender=alice.public, max_age=60, now=lambda age=age: NOW + age)  # type: ignore[misc]
        else:
            refuse(blob, bob, alice.public, max_age=60, now=lambda age=age: NOW + age)
        assert unseal(blob, bob, sender=alice.public, now=lambda: NOW + 10**9).created == NOW


def test_it_is_dated_by_the_clock(key_pool: list[Identity]) -> None:
    """Without a clock of the caller's the time is that of the system, on both sides."""
    alice, bob, _ = key_pool
    fresh = seal(("mail", 1), bob.public, sender=alice)
    assert abs(unseal(fresh, bob, sender=ANYONE, max_age=60).created - time.time()) < 60


# --- bounds and misuse ----------------------------------------------------------------------------


def test_the_bound(key_pool: list[Identity], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is exactly as large as allowed can be sealed and unsealed, one byte more neither."""
    alice, bob, _ = key_pool
    packet = Packet("mail", b"x" * 1000)
    blob = seal(packet, bob.public, sender=alice)
    monkeypatch.setattr(sealed, "MAX_SEALED", len(blob))
    assert unseal(seal(packet, bob.public, sender=alice), bob, sender=ANYONE).packet == packet
    monkeypatch.setattr(sealed, "MAX_SEALED", len(blob) - 1)
    refuse(blob, bob, ANYONE)
    with pytest.raises(LimitExceeded) as caught:
        seal(packet, bob.public, sender=alice)
    assert caught.value.limit == "MAX_SEALED"


@pytest.mark.parametrize("recipient", [None, "SHA256:x", b"key", rsa.PublicKey(15, 65537)])
def test_impossible_recipients(key_pool: list[Identity], recipient: Any) -> None:
    """Sealing to what is no key, or a key that is too small, is an error of the caller."""
    with pytest.raises(ConfigError):
        seal(("mail", 1), recipient, sender=key_pool[0])


def test_impossible_packets(key_pool: list[Identity]) -> None:
    """What cannot be sent cannot be sealed."""
    alice, bob, _ = key_pool
    for packet in (("", 1), ("mail", object()), ("mail", 2**70)):
        with pytest.raises(CodecError):
            seal(packet, bob.public, sender=alice)


@pytest.mark.parametrize(
    "sender", [None, 7, "alice", "SHA256:", [None], [ANYONE], b"SHA256:", ["alice"], object()]
)
def test_impossible_senders(key_pool: list[Identity], blob: bytes, sender: Any) -> None:
    """Who is expected must be said in a form that can match: None or a typing slip is no ANYONE."""
    with pytest.raises(ConfigError):
        unseal(blob, key_pool[1], sender=sender)


def test_the_sender_must_be_said(key_pool: list[Identity], blob: bytes) -> None:
    """There is no default for the expected sender."""
    with pytest.raises(TypeError):
        unseal(blob, key_pool[1])  # type: ignore[call-arg]


@pytest.mark.parametrize("max_age", [0, -1, float("nan"), float("inf")])
def test_impossible_ages(key_pool: list[Identity], blob: bytes, max_age: float) -> None:
    """An age that accepts nothing or everything is a mistake."""
    with pytest.raises(ConfigError):
        unseal(blob, key_pool[1], sender=ANYONE, max_age=max_age)


def test_what_is_shown(key_pool: list[Identity], blob: bytes) -> None:
    """The repr of what was unsealed names the sender and leaves the packet out; so do errors."""
    alice, bob, eve = key_pool
    unsealed = unseal(blob, bob, sender=alice.public)
    assert isinstance(unsealed, Unsealed)
    assert alice.fingerprint in repr(unsealed)
    assert "noon" not in repr(unsealed)
    with pytest.raises(UnsealError) as caught:
        unseal(blob, bob, sender=eve.public)
    assert "noon" not in "".join(traceback.format_exception(caught.value))


def test_the_commitment_is_compared_in_constant_time(
    key_pool: list[Identity], blob: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commitment is compared by `crypto.equal` and by nothing else."""
    alice, bob, _ = key_pool
    compared: list[tuple[bytes, bytes]] = []

    def differ(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return False

    monkeypatch.setattr(crypto, "equal", differ)
    refuse(blob, bob, alice.public)
    start = REGIONS["commitment"]
    assert compared == [(blob[start : start + 32], blob[start : start + 32])]


def test_arguments_of_another_type(identity: Identity) -> None:
    """What is no packet, no sender or no recipient is named, before anything is computed."""
    wrong: Any
    for wrong in (5, None, ("a",), ("a", 1, 2)):
        with pytest.raises(ConfigError, match="give a Packet"):
            seal(wrong, identity.public, sender=identity)
    for wrong in (None, "me", identity.public):
        with pytest.raises(ConfigError, match="not an Identity"):
            seal(("a", 1), identity.public, sender=wrong)
        with pytest.raises(ConfigError, match="not an Identity"):
            unseal(b"", wrong, sender=ANYONE)
