"""`Utilities`: packets as bytes and dicts, and sealing them to a key."""
# ruff: noqa: N802, N803, N999  # the names are pnetwork's

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from ...keys import Identity, PublicKey, load_or_create
from ...sealed import ANYONE, Senders, seal, unseal
from ...wire.packets import Packet
from ..settings import keys_folder

log = logging.getLogger("securelink")


class Utilities:
    """Base of server and client."""

    token: Any = None
    _key_name = "server"

    def createPacket(
        self, name: str = "undefined-packet", data: Any = None, asbytes: bool = True
    ) -> Any:
        """A full packet, as JSON in bytes or as a dict."""
        packet = {"action": name, "data": data, "packet-created": time.time(), "token": self.token}
        return json.dumps(packet).encode() if asbytes else packet

    def decodePacket(self, packet: Any, asdict: bool = True) -> Any:
        """A packet (bytes, text or dict) as a dict, or as text; False when it is none."""
        try:
            full = packet if isinstance(packet, dict) else json.loads(packet)
        except (ValueError, TypeError, RecursionError):
            full = None
        if not isinstance(full, dict) or not isinstance(full.get("action"), str):
            log.warning("Failed to decode packet")
            return False
        return full if asdict else json.dumps(full)

    @cached_property
    def _identity(self) -> Identity:
        return load_or_create(keys_folder(), self._key_name)[0]

    def createEncryptKeys(self, save: bool = True) -> Any:
        """Make the own key, unless it is there; gives its public half, an `rsa.PublicKey`."""
        return self._identity.public.to_rsa()

    def encryptPacket(self, packet: Any, publicKey: Any) -> Any:
        """Seal a packet's data to a key and sign it; gives bytes for bytes, a dict for a dict, changed in place."""
        full = self.decodePacket(packet)
        full["packet-created"] = float(full.get("packet-created") or time.time())
        inside = Packet(full["action"], full.get("data"), None, full["packet-created"])
        sealed = seal(inside, publicKey, sender=self._identity)
        full.update(data=base64.b64encode(sealed).decode(), token=None)
        return full if isinstance(packet, dict) else json.dumps(full).encode()

    def decryptPacket(
        self, packet: Any, decryptableKeys: Any = (), privateKey: Any = None, sender: Any = ANYONE
    ) -> dict[str, Any]:
        """
        Undo `encryptPacket`, in place; `UnsealError` when it is not for this key, not of that sender, or changed.

        The sender is a key as `createEncryptKeys` gives it, one of ours, a fingerprint, or several of these.
        """
        full = self.decodePacket(packet) or {}
        key = privateKey or self._identity
        identity = key if isinstance(key, Identity) else Identity.from_rsa(key)
        try:
            blob = base64.b64decode(full.get("data", ""), validate=True)
        except (TypeError, ValueError):
            blob = b""  # which is no sealed packet
        inside = unseal(blob, identity, sender=_senders(sender)).packet
        full["packet-created"] = inside.created
        full.update(action=inside.action, data=inside.data)
        return full


def _senders(sender: Any) -> Senders:
    if sender is ANYONE or isinstance(sender, PublicKey | str):
        return sender
    if isinstance(sender, Iterable):
        return [
            one if isinstance(one, PublicKey | str) else PublicKey.from_rsa(one) for one in sender
        ]
    return PublicKey.from_rsa(sender)


def createEncryptKeys(save: bool = True) -> Any:
    """The same, of the server's key."""
    return Utilities().createEncryptKeys(save)
