"""Names of people in the chat."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from ...errors import RequestFailed
from ...text import folded, normalized

MAX_NAME_LENGTH = 24
_RESERVED = ("operator", "theoperator")  # the chat's name for its operator
# Alphabets with letters that look alike: a name has letters of at most one of them.
_ALIKE = ("LATIN", "CYRILLIC", "GREEK", "ARMENIAN")
# Alphabets in which people write names today. Many letters of other alphabets look like letters of these.
_ALPHABETS = (
    *_ALIKE, "GEORGIAN", "HEBREW", "ARABIC", "DEVANAGARI", "BENGALI", "GURMUKHI", "GUJARATI", "ORIYA", "TAMIL",
    "TELUGU", "KANNADA", "MALAYALAM", "SINHALA", "THAI", "LAO", "TIBETAN", "MYANMAR", "KHMER", "ETHIOPIC",
    "HANGUL SYLLABLE", "HIRAGANA", "KATAKANA", "CJK UNIFIED", "BOPOMOFO",
)  # fmt: skip
# Letters above that are shaped differently and read as one of these: small capitals, phonetic letters and the like.
_PHONETIC = (
    range(0x01DD, 0x01DE),
    range(0x0250, 0x0370),
    range(0x1D00, 0x1E00),
    range(0x2C60, 0x2C80),
    range(0xA720, 0xAB70),
)
# Of printable characters those that draw nothing (Default_Ignorable_Code_Point of UAX #44, and an empty Braille cell).
_INVISIBLE = frozenset(
    chr(c)
    for c in (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0,
              *range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
)  # fmt: skip
_DIGITS = str.maketrans("01345", "oieas")  # as people write them for letters


def checked_name(wished: object) -> str:
    """
    A name as it is shown: in Unicode's compatibility form, with single spaces.

    It begins with a letter or digit, so that no line of a person looks like one of the chat's own (`*`, `!`, a time),
    it has no colon, which ends a name, and its letters are of one alphabet, so that none looks like a letter of
    another.

    Raises:
        RequestFailed: It cannot be a name.
    """
    if not isinstance(wished, str) or len(wished) > 10 * MAX_NAME_LENGTH:
        raise RequestFailed(f"a name is a text of 1 to {MAX_NAME_LENGTH} printable characters")
    name = " ".join(normalized("NFKC", wished).split())
    if not 0 < len(name) <= MAX_NAME_LENGTH or not name.isprintable():
        raise RequestFailed(f"a name has 1 to {MAX_NAME_LENGTH} printable characters")
    if not name[0].isalnum() or ":" in name:
        raise RequestFailed("a name begins with a letter or a digit, and has no colon")
    if any(c in _INVISIBLE for c in name):
        raise RequestFailed("every character of a name can be seen")
    _check_alphabet(name)
    if any(_skeleton(part).startswith(_RESERVED) for part in (name, *name.split())):
        raise RequestFailed("nobody can be called that: it would look like the chat's operator")
    return name


def _check_alphabet(name: str) -> None:
    alphabets = set()
    base = ""  # the alphabet of the last letter
    for c in name:
        if c.isalpha():
            called = unicodedata.name(c, "")
            base = next((a for a in _ALPHABETS if called.startswith(a)), "")
            if not base or any(ord(c) in block for block in _PHONETIC):
                raise RequestFailed(f"the letter {c} cannot be in a name: it may look like another")
            alphabets.add(base)
        elif unicodedata.category(c).startswith("M") and (not base or base in _ALIKE):
            # Such letters have their accents in them, in the composed form.
            raise RequestFailed("a letter of a name has no marks of its own above or below")
    if len(alphabets.intersection(_ALIKE)) > 1:
        raise RequestFailed("the letters of a name are of one alphabet")


def _skeleton(name: str) -> str:
    """Only the letters, without marks above or between them."""
    apart = normalized("NFKD", folded(name)).translate(_DIGITS)
    return folded("".join(c for c in apart if c.isalpha()))


def suggestion(name: str, taken: Callable[[str], bool]) -> str:
    """A similar name that is free."""
    number = 2
    while True:
        end = str(number)
        other = name[: MAX_NAME_LENGTH - len(end)] + end
        if not taken(other):
            return other
        number += 1
