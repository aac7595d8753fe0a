"""What documents say of the code is so: files, objects and modules that they name are there."""

import ast
import re
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "securelink"


def _way(text: str) -> str:
    return text.split("### The way of a packet")[1].split("### Objects")[0]


def test_the_design_document_names_what_there_is() -> None:
    """Each object of the table, and each function on the way of a packet, stands in the file that is given for it."""
    text = (PACKAGE.parent / "docs" / "DESIGN.md").read_text(encoding="utf-8")
    named = re.findall(r"([a-z_]+(?:/[a-z_]+)?\.py) +([a-z_]+)(?= |$)", _way(text), re.MULTILINE)
    rows = re.findall(
        r"^\| (.*?) \| ((?:app|threads|streams)/\S+\.py.*?) \| .* \|$", text, re.MULTILINE
    )
    assert len(named) > 15
    assert len(rows) > 30
    for objects, files in rows:
        sources = "\n".join((PACKAGE / file).read_text() for file in re.split(", ", files))
        for name in re.findall(r"`(\w+)`", objects):
            assert re.search(rf"^(class|def) {name}\b", sources, re.MULTILINE), (name, files)
    for file, function in named:
        assert re.search(rf"def {function}\b", (PACKAGE / file).read_text()), (file, function)


def test_documents_name_files_that_exist() -> None:
    """Each file of Python that a document names with its folder is there."""
    root = PACKAGE.parent
    places = (root, PACKAGE, root / "tests")
    folders = {path.name for place in places for path in place.iterdir() if path.is_dir()}
    found = 0
    for document in (*root.glob("*.md"), *root.glob("docs/*.md"), *root.glob("*/README.md")):
        text = document.read_text(encoding="utf-8")
        for name in re.findall(r"(?<![\w/.])(?:\.\./)?([a-z_]+(?:/[\w]+)+\.py)\b", text):
            if name.split("/")[0] in folders:
                assert any((place / name).exists() for place in places), (document, name)
                found += 1
    assert found > 100


def test_documents_name_members_that_exist() -> None:
    """Each `Class.member` of ours that a document about the code names is one: assigned, defined or inherited."""
    members: dict[str, set[str]] = {}
    bases: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                inside = re.findall(
                    r"def (\w+)|self\.(\w+)|^    (\w+)(?: = |: )", ast.unparse(node), re.MULTILINE
                )
                members.setdefault(node.name, set()).update(*inside)
                names = {ast.unparse(base).partition("[")[0].split(".")[-1] for base in node.bases}
                bases.setdefault(node.name, set()).update(names)

    def has(kind: str, name: str) -> bool:
        inherited = any(has(base, name) for base in bases.get(kind, ()))
        return inherited or name in members.get(kind, ())

    found = 0
    for document in (*PACKAGE.parent.glob("docs/*.md"), PACKAGE.parent / "SECURITY.md"):
        text = document.read_text(encoding="utf-8")
        for kind, name in re.findall(r"`([A-Z]\w+)\.(\w+)(?:\([^`]*\))?`", text):
            if kind in members:
                assert has(kind, name), (document, kind, name)
                found += 1
    assert found > 30


def test_the_changelog_says_a_thing_once() -> None:
    """No two entries of what is unreleased share ten words in a row, as those do that a merge has kept twice."""
    text = (PACKAGE.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    entries = re.findall(r"^- (.*)$", text.split("\n## ")[1], re.MULTILINE)
    assert len(entries) > 10
    seen: dict[tuple[str, ...], str] = {}
    for entry in entries:
        words = entry.split()
        for place in range(len(words) - 9):
            before = seen.setdefault(tuple(words[place : place + 10]), entry)
            assert before == entry, (before, entry)
    assert len(set(entries)) == len(entries)


def test_a_package_names_its_modules() -> None:
    """A docstring that lists the modules of a package, which is where a stranger looks first, lists each of them."""
    listed = 0
    for file in PACKAGE.rglob("__init__.py"):
        words = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        lines = re.findall(r"^    (\w+\.py(?:, \w+\.py)*)  ?", words, re.MULTILINE)
        named = {name for line in lines for name in line.split(", ")}
        there = {module.name for module in file.parent.glob("*.py")} - {file.name}
        assert not named or named == there, (file, named ^ there)
        listed += bool(named)
    assert listed > 6
