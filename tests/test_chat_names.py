"""What people in the chat may be called."""

from __future__ import annotations

import pytest

from securelink import RequestFailed
from securelink.tools.chat.names import checked_name

#: Neither the operator, in whatever letters, nor what a line of the chat itself begins with.
FORBIDDEN = [
    "operator", "Operator", "OPERATOR", "operators", "Operator 2", "o.p.e.r.a.t.o.r", "0perator",
    "oper4t0r", "\uff4f\uff50\uff45\uff52\uff41\uff54\uff4f\uff52",
    "\U0001d5c8\U0001d5c9\U0001d5be\U0001d5cb\U0001d5ba\U0001d5cd\U0001d5c8\U0001d5cb",
    "\u043eperator", "op\u0435rator", "\u03bfperator",
    "\u043e\u0440\u0435\u0433\u0430\u0442\u043e\u0433", "\u00f3p\u00e9rator", "o\u0301perator",
    "operator\u200b", "o\u00adperator", "* ann", "*", "! ann", "\uff0aann", "\u2217 ann",
    "\u2731ann", "/who", "> ann", "\u203cann", ":ann", "ann: hi", "ann\uff1a hi", "12:30 ann", "",
    "1 operator", "chat operator", "\u3164operator", "\u1160", "ann\u2800", "ann\ufe0f", "a\u034fnn", "ann\u17b4",
    "ann\u180b", "\u1d0f\u1d18\u1d07\u0280\u1d00\u1d1b\u1d0f\u0280", "\ua4f3\ua4d1\ua4f0\ua4e3\ua4ee\ua4d4\ua4f3\ua4e3",
    "oper\u0251tor", "op\u01ddrator", "operat\u2c9fr", "q\u0301", "a\u0336nn\u0336",
    "   ", "x" * 25, "\x1b[2J", "a\u202eb", "\u0430nn", "@ann", "\U0001f600",
]  # fmt: skip


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_nobody_is_called(name: str) -> None:
    """Neither the operator, in any letters that look so, nor what a line of the chat itself begins with."""
    with pytest.raises(RequestFailed):
        checked_name(name)


@pytest.mark.parametrize(
    ("wished", "name"),
    [
        ("ann", "ann"),
        (" Ann  Lee ", "Ann Lee"),
        ("\u4e2d\u6587", "\u4e2d\u6587"),
        ("\u0430\u043d\u043d\u0430", "\u0430\u043d\u043d\u0430"),
        ("7of9", "7of9"),
        ("frog \U0001f438", "frog \U0001f438"),
        ("\uff21nn", "Ann"),
        ("cooperator", "cooperator"),
        ("opera", "opera"),
        ("Zo\u00eb", "Zo\u00eb"),
        ("Zoe\u0308", "Zo\u00eb"),
        ("Nguy\u1ec5n \u01a0n", "Nguy\u1ec5n \u01a0n"),
        ("\u05d3\u05d5\u05d3", "\u05d3\u05d5\u05d3"),
        ("\u0930\u093e\u092e", "\u0930\u093e\u092e"),  # vowel signs are marks
        ("\u3055\u304f\u3089", "\u3055\u304f\u3089"),
        ("\uae40\ubbfc", "\uae40\ubbfc"),
    ],
)
def test_what_people_are_called(wished: str, name: str) -> None:
    """Names of all alphabets, one at a time."""
    assert checked_name(wished) == name
