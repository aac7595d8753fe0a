"""The lines that a server logs when clients can connect."""

from __future__ import annotations

import logging

from ..wire.fields import Mode
from .own_key import OwnKey

log = logging.getLogger("securelink.server")


def announce(address: tuple[str, int], key: OwnKey, encryption: Mode, *, paused: bool) -> None:
    """Log where a server is, with which key, and what it does not protect."""
    log.info("Server IP: %s", address[0])
    log.info("Server PORT: %d", address[1])
    identity = key.identity
    if identity is not None and encryption != Mode.OFF:
        log.info("Key: %s (%s)", identity.fingerprint, identity.path or "kept in memory")
    if encryption != Mode.REQUIRED:
        log.warning(
            "encryption is %s: anyone on the path can read and change everything of plaintext sessions",
            "off" if encryption == Mode.OFF else "optional",
        )
    log.info("Status: Ready")
    log.info("New Connections: %s", "Deny" if paused else "Allow")
