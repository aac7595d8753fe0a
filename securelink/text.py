"""Text from a peer, made safe to show in a log or a terminal."""

from __future__ import annotations

import unicodedata

_JOINER, _NON_JOINER = "\u200d", "\u200c"
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_JOINING_SCRIPTS = 0x0600  # Arabic, and after it the scripts of India, whose letters joiners shape


def escaped(text: str) -> str:
    """
    Control characters, newlines and what reorders text become visible escapes.

    Joiners stay where writing needs them: within an emoji of several parts, and between letters of scripts that
    are shaped by them. They are invisible, but a terminal obeys nothing in them.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or _joins(text, i) else c.encode("unicode_escape").decode()
        for i, c in enumerate(text)
    )


def escaped_lines(text: str) -> str:
    """As `escaped`, of a text that may have several lines: line feeds stay, tabs become spaces."""
    return "\n".join(map(escaped, text.expandtabs().split("\n")))


def folded(name: str) -> str:
    """What is equal for names that people take for the same one: without case, in Unicode's compatibility form."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _joins(text: str, place: int) -> bool:
    if text[place] not in (_JOINER, _NON_JOINER) or not 0 < place < len(text) - 1:
        return False
    before, after = text[place - 1], text[place + 1]
    if text[place] == _JOINER and unicodedata.category(after) == "So":
        tone = before == "\ufe0f" or ord(before) in _SKIN_TONES
        return tone or unicodedata.category(before) == "So"
    return all(
        ord(c) >= _JOINING_SCRIPTS and unicodedata.category(c)[0] in "LM" for c in (before, after)
    )
