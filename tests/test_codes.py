"""The codes: public, complete, in words, the same in document and code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import securelink
from securelink import Code, ConnectionClosed, HandshakeError, ProtocolError, Refused
from securelink.codes import CODE_TEXT, code_text

PROTOCOL = Path(__file__).parent.parent / "docs" / "PROTOCOL.md"


def test_codes_are_public_and_those_of_the_document() -> None:
    """`securelink.Code` has the names and numbers of the table in PROTOCOL.md, and three that are never sent."""
    text = PROTOCOL.read_text()
    table = text[text.index("## 14. Codes") : text.index("## 15.")]
    documented = {
        name: int(number) for name, number in re.findall(r"^\| ([A-Z_]+) \| (\d+) \|", table, re.M)
    }
    assert {code.name: code.value for code in Code} == documented | {
        "BROKEN": 256,
        "EXPIRED": 257,
        "LOST": 258,
    }
    assert max(documented.values()) < 256  # what is sent is one byte
    assert "Code" in securelink.__all__


def test_each_code_has_words() -> None:
    """Every code is a sentence for the local user; a number from a newer peer is shown as it is."""
    assert set(CODE_TEXT) == set(Code)
    assert code_text(Code.KICKED) == "kicked"
    assert code_text(200) == "code 200"


@pytest.mark.parametrize("error", [ProtocolError, HandshakeError, Refused, ConnectionClosed])
def test_errors_have_members_as_codes(error: type[ConnectionClosed]) -> None:
    """The code of an error is a member of `Code`, also by default; an unknown number stays one."""
    assert isinstance(error("x").code, Code)
    assert repr(error("x", code=19).code) == "<Code.KICKED: 19>"
    assert error("x", code=200).code == 200
