"""The rules for code that Ctrl-C may interrupt, which keep what `test_interrupts.py` looks at so."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from programs import ROOT


def torn(source: str) -> list[str]:
    """What a signal could tear apart, see interrupts.py."""
    python = {f"threading.{name}" for name in ("Event", "Condition", "Semaphore", "Barrier")}
    return [
        called
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if (called := ast.unparse(node.func)).replace("Bounded", "") in python
        or node.func.attr == "acquire"
    ]


def test_nothing_is_taken_by_a_call() -> None:
    """Locks are taken by `with`, what is only tried is a Right, and who waits waits for a Sign."""
    assert torn("lock.acquire(False)\nthreading.Event()\nwith lock: pass") == [
        "lock.acquire",
        "threading.Event",
    ]
    package = ROOT / "securelink"
    found = {
        path.relative_to(package).as_posix(): calls
        for path in package.rglob("*.py")
        if (calls := sorted(set(torn(path.read_text()))))
    }
    assert found == {
        "interrupts.py": ["gate.acquire"],
        # By threads of the loop alone, in which no signal's handler runs.
        "threads/lead.py": ["self.token.acquire"],
        "threads/pool.py": ["threading.Condition"],
    }


def test_rights_are_taken_as_they_must_be() -> None:
    """Behind each `del right.free` there is at once a `try` that gives it back, before anything is called."""
    wrong, seen = [], 0
    for path in (ROOT / "securelink").rglob("*.py"):
        for block in _blocks(ast.parse(path.read_text())):
            for at, statement in enumerate(block):
                if isinstance(statement, ast.Try) and any(map(_takes, statement.body)):
                    seen += 1
                    if len(statement.body) != 1 or not _gives_back(block[at + 1 :]):
                        wrong.append(f"{path.name}:{statement.lineno}")
    assert wrong == []
    assert seen > 5


def _gives_back(block: list[ast.stmt]) -> bool:
    if not (block and isinstance(block[0], ast.Try)):
        return False
    for statement in block[0].finalbody:
        if ast.unparse(statement).endswith(".free = True"):
            return True
        if any(isinstance(node, ast.Call) for node in ast.walk(statement)):
            return False
    return False


def _blocks(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and block:
                yield block


def _takes(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Delete) and ast.unparse(statement).endswith(".free")
