"""docs/SURVIVING.md: each row of its tables has a test, and the page can be found."""

from __future__ import annotations

import re

import pytest
from programs import ROOT
from test_security_claims import REFERENCE, functions_of

from securelink import Code

TEXT = (ROOT / "docs/SURVIVING.md").read_text()
ROWS: list[str] = re.findall(r"^\| (?!---|what happens)(.*) \|$", TEXT, re.MULTILINE)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split(" |")[0][:40])
def test_a_row_has_a_test(row: str) -> None:
    """The last column names tests that exist, and codes in capitals are codes."""
    *cells, tests = row.split(" | ")
    references = REFERENCE.findall(tests)
    assert references
    assert [name for file, name in references if name not in functions_of(file)] == []
    said = set(re.findall(r"\b[A-Z][A-Z_]{2,}\b", " ".join(cells))) - {"SIGTERM"}
    assert said <= set(Code.__members__)


def test_the_page_is_complete_and_found() -> None:
    """It has its four tables, and README and the site lead to it."""
    assert len(ROWS) > 30
    assert re.findall(r"^## The (\w+)", TEXT, re.MULTILINE) == [
        "network",
        "client",
        "server",
        "disk",
    ]
    assert "docs/SURVIVING.md" in (ROOT / "README.md").read_text()
    assert "docs/SURVIVING.md" in (ROOT / "mkdocs.yml").read_text()
