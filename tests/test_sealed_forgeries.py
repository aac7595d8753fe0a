"""Sealed packets made by hand with a real sender's key, each wrong in one thing."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from forgery import NOW, forge, refuse

from securelink import crypto, sealed
from securelink.keys import Identity, fingerprint_digest
from securelink.sealed import ANYONE, seal, unseal


@pytest.fixture(scope="session")
def blob(key_pool: list[Identity]) -> bytes:
    alice, bob, _ = key_pool
    return seal(("mail", {"text": "meet at noon"}), bob.public, sender=alice)


def test_a_forgery_that_is_wrong_in_nothing(key_pool: list[Identity]) -> None:
    """The forger of these tests can make a good one: each refusal below is for its own reason."""
    alice, bob, _ = key_pool
    assert unseal(forge(alice, bob.public), bob, sender=alice.public).packet.data == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"context": b"securelink 1, server signature"},
        {"context": b"securelink 1, client signature"},
        {"context": b""},
        {"signed_outside": b""},
        {"commitment": bytes(32)},
        {"secret": b"s" * 31},
        {"secret": b"s" * 33},
        {"secret": b""},
        {"label": b""},
        {"label": b"securelink 1, sealed packet"},
        {"created": float("nan")},
        {"created": float("inf")},
        {"created": float("-inf")},
        {"packet_id": bytes(16)},
        {"packet_id": uuid.UUID(int=0, version=1).bytes},
        {"packet_size": 2**32 - 1},
        {"packet_size": 0},
        {"packet": b""},
        {"packet": b"\xc1"},
        {"packet": b"\xa4mail"},
        {"packet": b"\x91\xa4mail\x91\xa4mail"},
        {"packet": b"\x92\xa4mail" + b"\x91" * 100_000},
        {"packet": b"\x92\xa4mail\xd4\x01\x00"},
        {"tail": b"\0"},
        {"head": b"SLSEAL\x1a\x02"},
        {"head": b"SLSEAL\x1a\x00"},
        {"head": b"SLSEAM\x1a\x01"},
    ],
    ids=str,
)
def test_forgeries(key_pool: list[Identity], wrong: dict[str, Any]) -> None:
    """What a real sender could do wrong on purpose gets the same refusal, and no other error."""
    alice, bob, _ = key_pool
    refuse(forge(alice, bob.public, **wrong), bob, alice.public)


def test_a_forged_date_is_refused_with_and_without_max_age(key_pool: list[Identity]) -> None:
    """A date that is no number compares with nothing: it never passes for fresh."""
    alice, bob, _ = key_pool
    for created in (float("nan"), float("inf")):
        blob = forge(alice, bob.public, created=created)
        refuse(blob, bob, ANYONE, max_age=60, now=lambda: NOW)


def test_somebody_elses_name(key_pool: list[Identity]) -> None:
    """Eve cannot show Alice's key: the signature is not Alice's."""
    alice, bob, eve = key_pool
    refuse(forge(eve, bob.public, shown=alice.public), bob, alice.public)
    refuse(forge(eve, bob.public, shown=alice.public), bob, ANYONE)


def test_a_key_that_breaks_the_policy(key_pool: list[Identity]) -> None:
    """A sender's key in another encoding, or none at all, is refused also from anyone."""
    alice, bob, _ = key_pool

    class Shown:
        def __init__(self, spki: bytes) -> None:
            self.spki = spki

    for spki in (alice.public.spki + b"\0", b"", b"\x30\x00", alice.public.to_pkcs1_pem()):
        shown: Any = Shown(spki)
        refuse(forge(alice, bob.public, shown=shown), bob, ANYONE)


def test_a_wrong_address(key_pool: list[Identity]) -> None:
    """A packet that Bob could open but that is addressed to Eve is not for Bob."""
    alice, bob, eve = key_pool
    refuse(forge(alice, bob.public, addressed=eve.public), bob, alice.public)


def test_forwarding_in_the_senders_name(key_pool: list[Identity], blob: bytes) -> None:
    """Bob cannot make Eve believe that Alice wrote to her, with what Alice wrote to him."""
    alice, bob, eve = key_pool
    outside, ciphertext = blob[:298], blob[330:]
    secret = bob.decrypt(outside[42:], sealed.SECRET_LABEL)
    key = crypto.hkdf_expand(secret, sealed.KEY_LABEL + outside, 64)[:32]
    inside = crypto.new_aead(key).decrypt(bytes(12), ciphertext, None)
    encrypted = eve.public.encrypt(secret, sealed.SECRET_LABEL)
    head = b"SLSEAL\x1a\x01" + fingerprint_digest(eve.fingerprint) + len(encrypted).to_bytes(2)
    output = crypto.hkdf_expand(secret, sealed.KEY_LABEL + head + encrypted, 64)
    resealed = head + encrypted + output[32:]
    resealed += crypto.new_aead(output[:32]).encrypt(bytes(12), inside, None)
    refuse(resealed, eve, alice.public)
    refuse(resealed, eve, ANYONE)


def test_one_ciphertext_for_two_secrets(key_pool: list[Identity], blob: bytes) -> None:
    """A ciphertext under another secret fails at the commitment, before it is decrypted."""
    alice, bob, _ = key_pool
    other = bob.public.encrypt(b"t" * 32, sealed.SECRET_LABEL)
    refuse(blob[:42] + other + blob[298:], bob, alice.public)
