"""Wraps long lines of the chat in a terminal between words, and indents the continuation."""

from __future__ import annotations

from ...text import columns_of

_CLOCK = 6  # columns of "12:30 ", after which a message begins
_SIGN = 2  # of "* ", "! " and the spaces before a list
_LEAST = 24  # columns; a narrower terminal breaks lines itself


def wrapped(text: str, columns: int) -> str:
    """
    Lines that fit into a terminal. Nothing inside a word is changed, whatever its length: an address can be copied.

    Args:
        text: Lines, without control characters.
        columns: The width of the terminal.
    """
    if columns < _LEAST:
        return text
    return "\n".join(_broken(line, columns) for line in text.split("\n"))


def _broken(line: str, columns: int) -> str:
    if columns_of(line) < columns:
        return line
    indent = " " * (_SIGN if line[:2] in ("* ", "! ", "  ") else _CLOCK)
    first, *words = line[len(line) - len(line.lstrip(" ")) :].split(" ")
    rows = [line[: len(line) - len(line.lstrip(" "))] + first]
    used = columns_of(rows[0])
    for word in words:
        size = columns_of(word)
        if used + 1 + size < columns:
            rows[-1] += " " + word
            used += 1 + size
        else:
            rows.append(indent + word)
            used = len(indent) + size
    return "\n".join(rows)
