"""What the tests of sealed packets share: the one refusal, and a forger who can do everything."""

from __future__ import annotations

import struct
import uuid
from typing import Any

import pytest

from securelink import crypto, sealed
from securelink.errors import UnsealError
from securelink.keys import Identity, PublicKey, fingerprint_digest
from securelink.sealed import unseal
from securelink.wire.packets import Packet, encode_packet

NOW = 1_700_000_000.0
REFUSAL = (
    "this sealed packet is not for this key, not from an expected sender, too old, or was changed"
)


def refuse(blob: Any, identity: Identity, sender: Any, **more: Any) -> None:
    """The one refusal: always the same type, text and (absent) cause."""
    with pytest.raises(UnsealError) as caught:
        unseal(blob, identity, sender=sender, **more)
    error = caught.value
    assert (str(error), error.hint) == (REFUSAL, "")
    assert error.__cause__ is None
    assert error.__context__ is None


def forge(
    signer: Identity,
    recipient: PublicKey,
    *,
    shown: PublicKey | None = None,
    context: bytes = sealed.SIGNATURE_CONTEXT,
    created: float = NOW,
    packet_id: bytes | None = None,
    packet: bytes | None = None,
    packet_size: int | None = None,
    signed_outside: bytes | None = None,
    commitment: bytes | None = None,
    secret: bytes = b"s" * 32,
    label: bytes = sealed.SECRET_LABEL,
    tail: bytes = b"",
    head: bytes = b"SLSEAL\x1a\x01",
    addressed: PublicKey | None = None,
) -> bytes:
    """A sealed packet made by hand, genuine but for what is given."""
    spki = (shown or signer.public).spki
    content = encode_packet(Packet("mail", 1)) if packet is None else packet
    encrypted = recipient.encrypt(secret, label)
    outside = head + fingerprint_digest((addressed or recipient).fingerprint)
    outside += len(encrypted).to_bytes(2) + encrypted
    body = len(spki).to_bytes(2) + spki
    body += struct.pack(">d", created) + (packet_id or uuid.uuid4().bytes)
    body += (len(content) if packet_size is None else packet_size).to_bytes(4) + content
    digest = crypto.sha256((outside if signed_outside is None else signed_outside) + body)
    signature = signer.sign(crypto.signature_input(context, digest))
    output = crypto.hkdf_expand(secret, sealed.KEY_LABEL + outside, 64)
    inside = body + signature + tail
    ciphertext = crypto.new_aead(output[:32]).encrypt(bytes(12), inside, None)
    return outside + (commitment or output[32:]) + ciphertext
