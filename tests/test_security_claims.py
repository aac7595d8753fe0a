"""SECURITY.md: every claim names tests that exist."""

from __future__ import annotations

import ast
import functools
import re

import pytest
from programs import ROOT

TEXT = (ROOT / "SECURITY.md").read_text()
CLAIM = re.compile(r"^- \*\*\[(S-\d\d)\]\*\* (.*?)(?=\n(?:- |\n|#)|\Z)", re.MULTILINE | re.DOTALL)
REFERENCE = re.compile(r"`(test_\w+\.py)::(test_\w+)`")

CLAIMS: dict[str, str] = dict(CLAIM.findall(TEXT))


@functools.cache
def functions_of(file: str) -> frozenset[str]:
    """The test functions of a file."""
    path = ROOT / "tests" / file
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def test_claims_are_numbered() -> None:
    """Every number stands at the beginning of a claim, once, in order and without a gap."""
    assert re.findall(r"\[(S-\d\d)\]\*\*", TEXT) == list(CLAIMS)
    assert list(CLAIMS) == [f"S-{number:02}" for number in range(1, len(CLAIMS) + 1)]
    assert len(CLAIMS) > 50


def test_no_promise_without_a_number() -> None:
    """Under the boundaries every point of a list is a claim: there is no other way to promise something."""
    promises = TEXT[TEXT.index("## Boundary 1") : TEXT.index("## What we do not promise")]
    points = re.findall(r"^- .*", promises, re.MULTILINE)
    assert len(points) == len(CLAIMS)
    assert all(point.startswith("- **[S-") for point in points)


@pytest.mark.parametrize("number", CLAIMS)
def test_a_claim_names_tests_that_exist(number: str) -> None:
    """A claim says something, and the tests that it names can be found under these names."""
    claim = CLAIMS[number]
    references = REFERENCE.findall(claim)
    assert references
    assert len(REFERENCE.sub("", claim).split()) >= 5
    missing = [f"{file}::{name}" for file, name in references if name not in functions_of(file)]
    assert not missing


def test_every_test_of_security_backs_a_claim() -> None:
    """The tests that were written for a promise are named beside it."""
    named = set(REFERENCE.findall(TEXT))
    files = sorted(path.name for path in (ROOT / "tests").glob("test_security_*.py"))
    files.remove("test_security_claims.py")
    tests = {
        (file, name) for file in files for name in functions_of(file) if name.startswith("test_")
    }
    assert tests <= named
