"""Text of a peer: what a terminal would obey is visible, what people write stays as it is."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

import securelink
from securelink.limits import MAX_NORMALIZED
from securelink.text import escaped, escaped_lines, kind_of, normalized


@pytest.mark.parametrize(
    "text",
    [
        "family \U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
        "coder \U0001f469\U0001f3fd\u200d\U0001f4bb",
        "rainbow \U0001f3f3\ufe0f\u200d\U0001f308",
        "heart \u2764\ufe0f\u200d\U0001f525",
        "he \U0001f9d4\u200d\u2642\ufe0f",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian: a non-joiner within a word
        "\u0915\u094d\u200d\u0937",  # Devanagari: a half letter
        "\u05e9\u05dc\u05d5\u05dd",
        "na\u00efve caf\u00e9 \u4f60\u597d",
    ],
)
def test_what_people_write_is_left_alone(text: str) -> None:
    """Emoji of several parts and shaped letters are not taken apart."""
    assert escaped(text) == text


@pytest.mark.parametrize(
    "text",
    ["a\u200db", "\u200d", "x\u200d\U0001f600", "\U0001f600\u200d", "\U0001f600\u200d\u200d\U0001f600",
     "ann\u200c", "\u200b", "\u0645\u200cx"],
)  # fmt: skip
def test_a_joiner_that_joins_nothing_is_visible(text: str) -> None:
    """Two texts that look alike are not told apart by invisible characters."""
    assert "\\u200" in escaped(text)


def test_nothing_that_a_terminal_obeys_is_left() -> None:
    """Of all characters, alone and between emoji or letters, only joiners pass that are not printable."""
    for number in range(0x11_0000):
        character = chr(number)
        if character.isprintable():
            continue
        for around in ("", "x", "\U0001f600", "\u0645"):
            left = {c for c in escaped(f"{around}{character}{around}") if not c.isprintable()}
            assert left <= {"\u200c", "\u200d"}, hex(number)
            assert all(unicodedata.category(c) == "Cf" for c in left)


def test_lines_stay_lines() -> None:
    """A text of several lines keeps them, and nothing else that moves the cursor."""
    assert escaped_lines("a\tb\n\x1b[2Jc\r\n") == "a       b\n\\x1b[2Jc\\r\n"


def test_nothing_is_normalized_at_any_length() -> None:
    """Normalizing costs the square of a run of combining marks: one function bounds it, and nobody goes around it."""
    package = Path(securelink.__file__).parent
    found = {
        str(f.relative_to(package))
        for f in package.rglob("*.py")
        if "unicodedata.normalize" in f.read_text()
    }
    assert found == {"text.py"}
    marks = "a" + "\u0334\u0301" * MAX_NORMALIZED
    assert normalized("NFC", marks) == marks
    assert normalized("NFC", "e\u0301") == "\u00e9"
    assert normalized("NFKC", marks, most=2 * MAX_NORMALIZED + 1) == unicodedata.normalize(
        "NFKC", marks
    )


def test_articles() -> None:
    """A class is named with the article that its name has, whatever that is."""
    values: tuple[object, ...] = (1, "x", OSError(), {})
    assert [kind_of(value) for value in values] == ["an int", "a str", "an OSError", "a dict"]
    assert kind_of(type("", (), {})()) == "a "
