"""What the adapters share: hints in the words of their users."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from programs import ROOT

from securelink import LimitExceeded
from securelink.compat.settings import own_hint, own_words

PROGRAMS = {"cli", "chat", "console", "demo", "load", "bench", "compat"}


def hints() -> Iterator[str]:
    """Every hint that the library itself writes as a text; what is filled in stands as X."""
    for file in sorted((ROOT / "securelink").rglob("*.py")):
        if file.relative_to(ROOT / "securelink").parts[0] in PROGRAMS:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "hint":
                if isinstance(node.value, ast.Constant):
                    yield str(node.value.value)
                elif isinstance(node.value, ast.JoinedStr):
                    parts = node.value.values
                    yield "".join(
                        str(part.value) if isinstance(part, ast.Constant) else "X" for part in parts
                    )


def test_no_hint_names_an_option_that_adapters_do_not_have() -> None:
    """An adapter has no `max_packet=` and no `encryption=`: whoever uses it is told what can be done there."""
    found = [hint for hint in hints() if hint]
    assert len(found) > 50
    assert any("encryption=" in hint for hint in found)
    for hint in found:
        assert not re.search(r"\b\w+=|max_packet", own_hint(hint)), hint


@pytest.mark.parametrize(
    ("hint", "own"),
    [
        ("use the same encryption= on both sides", "SECURELINK_ENCRYPTION"),
        ("send it in pieces, or raise max_packet= of the server", "in several pieces"),
        ("is the peer reading? send less, or give send() a longer timeout=", "send less"),
        ("check host and port, and that no firewall is between", "check host and port"),
    ],
)
def test_hints_speak_the_adapters_words(hint: str, own: str) -> None:
    """What the hint advises is there: an environment variable, or something that the program itself can do."""
    with pytest.raises(LimitExceeded) as caught, own_words():
        raise LimitExceeded("no", limit="", hint=hint)
    assert own in caught.value.hint
    assert str(caught.value) == f"no; {caught.value.hint}"
