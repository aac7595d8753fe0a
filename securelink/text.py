"""Text from a peer, made safe to show in a log or a terminal."""

from __future__ import annotations


def escaped(text: str) -> str:
    """Control characters, newlines and what reorders text become visible escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
