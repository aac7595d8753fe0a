"""docs/MIGRATING.md and its tables: complete, and every claim has a test that exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from programs import ROOT

DOCS = ROOT / "docs"
DOCUMENT = DOCS / "MIGRATING.md"
PROJECTS = ("lakeserver", "simpleserver", "pnetwork", "simplesockets", "chat")

#: Rows that are answered in words: what they ask for is a defect, or contradicts the design.
IN_WORDS = {
    2: "Standard library only",
    13: "Receive buffer size selectable",
    20: "One thread per client",
    21: "Replaceable per-client handler",
    52: "Frame header size selectable",
    53: "Text encoding selectable",
}


def cells(line: str) -> list[str]:
    """The cells of a table's row."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def rows() -> dict[int, list[str]]:
    """The table of features, by number."""
    found = [cells(line) for line in DOCUMENT.read_text().splitlines() if line.startswith("| ")]
    return {int(row[0]): row for row in found if row[0].isdigit()}


@cache
def functions_in(file: Path) -> set[str]:
    """The names of the tests in a file."""
    tree = ast.parse(file.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_feature_is_there() -> None:
    """138 rows without a gap, each with all columns."""
    table = rows()
    assert list(table) == list(range(1, 139))
    for row in table.values():
        assert len(row) == 8
        assert all(cell in ("yes", "partial", "no") for cell in row[2:7])
        assert row[7]


def test_every_feature_has_its_test() -> None:
    """A feature is there, with tests that exist; the few that are not wanted are named, and say why."""
    for number, row in rows().items():
        links = re.findall(r"\[tests/([\w/]+\.py)::(test_\w+)\]\(\.\./tests/([\w/]+\.py)\)", row[7])
        if number in IN_WORDS:
            assert row[1] == IN_WORDS[number]
            assert re.match(r"(no|not needed): \w+ ", row[7])
            continue
        assert re.match(r"(yes|in the adapter)", row[7]), row
        assert links, row
        assert row[7].count("](") == len(links), row
        for file, test, target in links:
            assert file == target
            assert test in functions_in(ROOT / "tests" / file), (number, file, test)


@pytest.mark.parametrize("project", PROJECTS)
def test_every_project_has_a_table_of_calls(project: str) -> None:
    """Old call, adapter, native: three columns everywhere; the adapter exists, and the intro links the table."""
    text = (DOCS / "migrating" / f"{project}.md").read_text()
    table = [cells(line) for line in text.splitlines() if line.startswith("| ")]
    assert len(table) > 10
    assert all(len(row) == 3 and all(row) for row in table)
    assert f"securelink.compat.{project}" in text
    assert (ROOT / "securelink" / "compat" / project).is_dir()
    assert f"(migrating/{project}.md)" in DOCUMENT.read_text()


@pytest.mark.parametrize("project", PROJECTS)
def test_what_the_tables_name_exists(project: str) -> None:
    """Native names in the third column are names of the library."""
    sources = "\n".join(
        file.read_text()
        for folder in ("", "app", "threads")
        for file in (ROOT / "securelink" / folder).glob("*.py")
    )
    text = (DOCS / "migrating" / f"{project}.md").read_text()
    table = [cells(line) for line in text.splitlines() if line.startswith("| ")][2:]
    for row in table:
        for name in re.findall(r"\b(?:server|client|session|packet|room)\.([a-z_]+)", row[2]):
            assert re.search(rf"\b(def {name}\b|self\.{name}\b|{name}:)", sources), (row, name)
