"""PEM: finding and writing the one block that is meant (RFC 7468, with the headers of RFC 1421)."""

from __future__ import annotations

import base64
import binascii
import textwrap
from dataclasses import dataclass, field

_BEGIN, _END, _DASHES = b"-----BEGIN ", b"-----END ", b"-----"


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a PEM file: `label` stands between the dashes, `headers` tells whether lines like `DEK-Info:` do."""

    label: str
    der: bytes = field(repr=False)
    headers: bool
    text: bytes = field(repr=False)


def find_block(data: bytes, ends_with: str) -> Block | None:
    """
    The first block whose label ends so; what stands around it is passed over.

    Raises:
        ValueError: There is such a block, and it is damaged.
    """
    at = 0
    while (start := data.find(_BEGIN, at)) >= 0:
        at = start + len(_BEGIN)
        name, dashes, _ = data[at : at + 80].partition(_DASHES)
        if not dashes or b"\n" in name or not name.endswith(ends_with.encode()):
            continue
        at += len(name) + len(_DASHES)
        closing = _END + name + _DASHES
        end = data.find(closing, at)
        if end < 0:
            raise ValueError("the block has no end")
        body = data[at:end]
        headers = b":" in body
        if headers:  # they end at an empty line
            body = body.replace(b"\r", b"").partition(b"\n\n")[2]
        try:
            der = base64.b64decode(b"".join(body.split()), validate=True)
        except binascii.Error:
            raise ValueError("the block is not base64") from None
        return Block(
            name.decode("ascii", "replace"), der, headers, data[start : end + len(closing)]
        )
    return None


def write_block(label: str, der: bytes) -> bytes:
    """A file of one block."""
    lines = textwrap.wrap(base64.b64encode(der).decode(), 64)
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()
