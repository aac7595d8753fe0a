"""What people in the chat may be called."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from ...errors import RequestFailed
from ...text import folded

MAX_NAME_LENGTH = 24
_RESERVED = ("operator", "theoperator")  # what the chat calls whoever runs it
_ALPHABETS = (
    "LATIN",
    "CYRILLIC",
    "GREEK",
    "ARMENIAN",
    "CHEROKEE",
    "COPTIC",
)  # whose letters look alike
_DIGITS = str.maketrans("01345", "oieas")  # as people write them for letters
# Letters of other alphabets that look like a Latin one: enough to see through whole words in them.
_LOOKALIKES = str.maketrans(
    {
        "\u0430": "a", "\u0435": "e", "\u043e": "o", "\u0440": "p", "\u0433": "r", "\u0442": "t", "\u0456": "i",
        "\u0441": "c", "\u0443": "y", "\u0445": "x", "\u044f": "r", "\u03b1": "a", "\u03b5": "e", "\u03bf": "o",
        "\u03c1": "p", "\u03c4": "t", "\u03c3": "o", "\u03b9": "i", "\u0131": "i", "\u0280": "r", "\u00f8": "o",
        "\u0585": "o", "\u0581": "g",
    }
)  # fmt: skip


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
    name = " ".join(unicodedata.normalize("NFKC", wished).split())
    if not 0 < len(name) <= MAX_NAME_LENGTH or not name.isprintable():
        raise RequestFailed(f"a name has 1 to {MAX_NAME_LENGTH} printable characters")
    if not name[0].isalnum() or ":" in name:
        raise RequestFailed("a name begins with a letter or a digit, and has no colon")
    alphabets = {
        a for c in name if c.isalpha() for a in _ALPHABETS if unicodedata.name(c, "").startswith(a)
    }
    if len(alphabets) > 1:
        raise RequestFailed("the letters of a name are of one alphabet")
    if _skeleton(name).startswith(_RESERVED):
        raise RequestFailed("nobody can be called that: it would look like the chat's operator")
    return name


def _skeleton(name: str) -> str:
    """Letters alone, without what is written above or between them."""
    plain = unicodedata.normalize("NFKD", folded(name)).translate(_LOOKALIKES).translate(_DIGITS)
    return "".join(c for c in plain if c.isalpha())


def suggestion(name: str, taken: Callable[[str], bool]) -> str:
    """A name like that one which nobody has."""
    number = 2
    while True:
        end = str(number)
        other = name[: MAX_NAME_LENGTH - len(end)] + end
        if not taken(other):
            return other
        number += 1
