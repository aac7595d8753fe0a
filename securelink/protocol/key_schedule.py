"""
Key schedule: RFC 9846 section 7.1 literally, with `securelink 1 ` as label prefix.

    0 -> Extract(0, PSK or 0) = early
         early   -> "derived" -> Extract(., ML-KEM secret || X25519 secret) = handshake
                    "c hs traffic", "s hs traffic"          over ClientHello..ServerHello
         handshake -> "derived" -> Extract(., 0) = master
                    "c ap traffic", "s ap traffic", "exp master"   over ClientHello..ServerAuth
                    "res master"                            over ClientHello..ClientAuth
         res master -> "resumption", ticket = PSK           of a session that is resumed with that ticket
         early   -> "res binder" -> the key of the binder   in a hello that shows a ticket

Python cannot wipe memory; secrets are only dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

from .. import crypto

_ZERO = bytes(32)
_EMPTY_HASH = crypto.sha256(b"")

SERVER_SIGNATURE = b"securelink 1, server signature"
CLIENT_SIGNATURE = b"securelink 1, client signature"


def next_traffic_secret(secret: bytes) -> bytes:
    """The secret after a KEY_UPDATE, RFC 9846 section 7.2."""
    return crypto.hkdf_expand_label(secret, b"traffic upd", b"", 32)


def traffic_keys(secret: bytes) -> tuple[bytes, bytes]:
    """Key (32 bytes) and iv (12 bytes) of a traffic secret, RFC 9846 section 7.3."""
    key = crypto.hkdf_expand_label(secret, b"key", b"", 32)
    return key, crypto.hkdf_expand_label(secret, b"iv", b"", 12)


def finished(secret: bytes, transcript_hash: bytes) -> bytes:
    """Finished, RFC 9846 section 4.5.3: HMAC under a key of the exchange; binds identity to session."""
    key = crypto.hkdf_expand_label(secret, b"finished", b"", 32)
    return crypto.hmac_sha256(key, transcript_hash)


@dataclass(frozen=True, repr=False)
class HandshakeSecrets:
    """Traffic secrets over ClientHello..ServerHello, and the handshake secret they came from."""

    client: bytes
    server: bytes
    handshake: bytes


@dataclass(frozen=True, repr=False)
class ApplicationSecrets:
    """Traffic secrets over ClientHello..ServerAuth, the channel binding, and the master secret."""

    client: bytes
    server: bytes
    binding: bytes
    master: bytes


def handshake_secrets(
    shared: bytes, transcript_hash: bytes, psk: bytes | None = None
) -> HandshakeSecrets:
    """From the 64-byte shared secret (ML-KEM || X25519), the hash of both hellos and, to resume, the PSK."""
    early = _early_secret(psk)
    derived = crypto.derive_secret(early, b"derived", _EMPTY_HASH)
    handshake = crypto.hkdf_extract(derived, shared)
    return HandshakeSecrets(
        client=crypto.derive_secret(handshake, b"c hs traffic", transcript_hash),
        server=crypto.derive_secret(handshake, b"s hs traffic", transcript_hash),
        handshake=handshake,
    )


def _early_secret(psk: bytes | None) -> bytes:
    return crypto.hkdf_extract(_ZERO, _ZERO if psk is None else psk)


def binder(psk: bytes, transcript_hash: bytes) -> bytes:
    """
    The binder: proof that a client holds the PSK of its ticket (RFC 9846 section 4.3.11.2).

    Args:
        psk: The PSK of the ticket.
        transcript_hash: The hash of the CLIENT_HELLO frame up to the value of the binder, which is last.
    """
    key = crypto.derive_secret(_early_secret(psk), b"res binder", _EMPTY_HASH)
    return finished(key, transcript_hash)


def resumption_secret(master: bytes, transcript_hash: bytes) -> bytes:
    """The secret of which the PSKs are derived, from the master secret and the hash of ClientHello..ClientAuth."""
    return crypto.derive_secret(master, b"res master", transcript_hash)


def ticket_psk(resumption: bytes, ticket: bytes) -> bytes:
    """The PSK of a ticket that this connection's server has made."""
    return crypto.hkdf_expand_label(resumption, b"resumption", ticket, 32)


def application_secrets(handshake: bytes, transcript_hash: bytes) -> ApplicationSecrets:
    """
    From the handshake secret and the hash of ClientHello..ServerAuth.

    The channel binding is the exporter of RFC 9846 section 7.5 with label "channel binding" and no context:
    32 bytes that only the two sides know and that no other session has.
    """
    derived = crypto.derive_secret(handshake, b"derived", _EMPTY_HASH)
    master = crypto.hkdf_extract(derived, _ZERO)
    exporter = crypto.derive_secret(master, b"exp master", transcript_hash)
    exported = crypto.derive_secret(exporter, b"channel binding", _EMPTY_HASH)
    return ApplicationSecrets(
        client=crypto.derive_secret(master, b"c ap traffic", transcript_hash),
        server=crypto.derive_secret(master, b"s ap traffic", transcript_hash),
        binding=crypto.hkdf_expand_label(exported, b"exporter", _EMPTY_HASH, 32),
        master=master,
    )
