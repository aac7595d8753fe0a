"""PEM: finds and writes one block (RFC 7468, with the headers of RFC 1421)."""

from __future__ import annotations

import base64
import binascii
import re
import textwrap
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Block:
    """
    One block of a PEM file.

    Attributes:
        label: What stands between its dashes.
        der: Its content.
        headers: What stands above it, such as `DEK-Info: AES-256-CBC,...`; empty in modern files.
    """

    label: str
    der: bytes = field(repr=False)
    headers: bytes


def find_block(data: bytes, ends_with: str) -> Block | None:
    """
    The first block whose label ends with `kind`; text around it is ignored.

    Raises:
        ValueError: There is such a block, and it is damaged.
    """
    # One search in C, even if many other beginnings precede it.
    begin = re.search(rb"-----BEGIN ((?:[A-Z0-9]{1,20} ){0,3}%s)-----" % ends_with.encode(), data)
    if begin is None:
        return None
    name = begin[1]
    end = data.find(b"-----END " + name + b"-----", begin.end())
    if end < 0:
        raise ValueError("the block has no end")
    body = data[begin.end() : end]
    headers = b""
    if b":" in body:  # they end at an empty line
        headers, *rest = re.split(rb"\n[ \t\r]*\n", body, maxsplit=1)
        body = b"".join(rest)
    try:
        der = base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error:
        raise ValueError("the block is not base64") from None
    return Block(name.decode(), der, headers)


def write_block(label: str, der: bytes) -> bytes:
    """A file of one block."""
    lines = textwrap.wrap(base64.b64encode(der).decode(), 64)
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()
