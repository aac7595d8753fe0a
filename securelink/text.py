"""Text from a peer, made safe to show in a log or a terminal."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from .errors import ConfigError
from .limits import MAX_NORMALIZED

_VOWELS = tuple("aeioAEIO")
_SHOWN = 60  # characters of a value in an error
# The forms of a join token, an invite or a private key, whole or in part.
_SECRET = re.compile(
    r"-----BEGIN|://|SHA256:[\w+/-]{43}.|[0-9a-f]{8}-[0-9a-f]|[0-9a-f]{4}-[0-9a-f]{4}|[0-9a-f]-[0-9a-f]{12}",
    re.IGNORECASE,
)

_LOOKALIKES = str.maketrans(
    {
        "\u0430": "a", "\u0435": "e", "\u043e": "o", "\u0440": "p", "\u0433": "r", "\u0442": "t", "\u0456": "i",
        "\u0441": "c", "\u0443": "y", "\u0445": "x", "\u044f": "r", "\u03b1": "a", "\u03b5": "e", "\u03bf": "o",
        "\u03c1": "p", "\u03c4": "t", "\u03c3": "o", "\u03b9": "i", "\u0131": "i", "\u0280": "r", "\u00f8": "o",
        "\u0585": "o", "\u0581": "g",
    }
)  # fmt: skip

_JOINER, _NON_JOINER = "\u200d", "\u200c"
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_JOINING_SCRIPTS = 0x0600  # Arabic, and after it the scripts of India, whose letters joiners shape


def shortened(text: str, most: int) -> str:
    """
    A text cut to `most` characters. Texts of peers without a bound of their own are cut before they are escaped:
    escaping takes a microsecond a character, and makes up to ten of one.
    """
    return text if len(text) <= most else text[: most - 1] + "…"


def escaped(text: str) -> str:
    """
    Control characters, newlines and characters that reorder text become visible escapes.

    Joiners stay where writing needs them: within an emoji of several parts, and between letters of scripts that
    are shaped by them. They are invisible, but terminals do not interpret them.
    """
    if not isinstance(text, str):
        raise ConfigError(f"escaped() takes a text, not {kind_of(text)}")
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or _joins(text, i) else c.encode("unicode_escape").decode()
        for i, c in enumerate(text)
    )


def kind_of(value: object) -> str:
    """The class of a value, with its article: "a str", "an int"."""
    name = type(value).__name__
    return f"{'an' if name.startswith(_VOWELS) else 'a'} {name}"


def quoted(value: object, most: int = _SHOWN) -> str:
    """
    A given value, as an error shows it: escaped and cut.

    A value that looks like a token, an invite or a key is not shown: people mix up arguments, and errors are logged
    and sent around.
    """
    if isinstance(value, str | bytes) and len(value) > 4096:
        return f"{kind_of(value)} that may hold a secret"  # and it takes long to check
    try:
        shown = escaped(repr(value))
    except Exception:  # a repr() that fails must not hide what is wrong
        return kind_of(value)
    if _SECRET.search(shown[:4096]) or len(shown) > 4096:
        return f"{kind_of(value)} that may hold a secret"
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def without_secrets(text: str) -> str:
    """A foreign sentence in which each word that looks like a token, an invite or a key is replaced."""
    return re.sub(r"\S+", lambda word: "(hidden)" if _SECRET.search(word[0]) else word[0], text)


def escaped_lines(text: str) -> str:
    """As `escaped`, of a text that may have several lines: line feeds stay, tabs become spaces."""
    return "\n".join(map(escaped, text.expandtabs().split("\n")))


def normalized(form: Literal["NFC", "NFKC", "NFKD"], text: str, most: int = MAX_NORMALIZED) -> str:
    """
    A text in one of Unicode's forms (UAX #15). A text of more than `most` characters is returned unchanged.

    Normalizing sorts a run of combining marks by insertion, with the interpreter's lock held: 60,000 marks take 15 s.
    No other function in the package calls `unicodedata.normalize`.
    """
    return text if len(text) > most else unicodedata.normalize(form, text)


def folded(name: str) -> str:
    """
    A form that is equal for names that look the same to people: without case, in Unicode's compatibility form, and
    without the difference between letters of two alphabets that look alike.

    A name of more than MAX_NORMALIZED characters equals only itself.
    """
    if len(name) > MAX_NORMALIZED:
        return name
    return normalized("NFKC", normalized("NFKC", name).casefold()).translate(_LOOKALIKES)


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


def columns_of(text: str) -> int:
    """Columns that a text takes in a terminal: two for East Asian letters, none for combining marks."""
    if text.isascii():
        return len(text)
    return sum(column_of(c) for c in text)


def column_of(character: str) -> int:
    """Columns of one character."""
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
