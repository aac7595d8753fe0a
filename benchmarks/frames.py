"""JSON with a 4-byte length prefix: what people write who have only a byte stream."""

from __future__ import annotations

import hmac
import json
from typing import Any

from .target import Target


def encode(packet: Any) -> bytes:
    """One frame."""
    body = json.dumps(packet).encode()
    return len(body).to_bytes(4, "big") + body


def frame(blob: bytes) -> bytes:
    """A frame of bytes that are not JSON: the bulk workload."""
    return len(blob).to_bytes(4, "big") + blob


decode = json.loads
WELCOME = encode({"action": "welcome", "data": None})


def login(target: Target) -> bytes:
    """The client's first frame."""
    return encode({"action": "login", "data": {"token": target.token}})


def accepts(target: Target, packet: dict[str, Any]) -> bool:
    """Whether a first frame has the right token; constant time."""
    return hmac.compare_digest(str(packet["data"]["token"]), target.token)
