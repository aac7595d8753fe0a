"""
Jumps at which Ctrl-C would leave a `with` or `try` without its `__exit__`, `except` or `finally`.

CPython looks for signals at each jump back. From 3.12 on its compiler leaves the jump back of a conditional loop out
of the exception table: a KeyboardInterrupt there skips the block around the loop, and a lock stays taken. `while True:`
with a `break` is not affected, nor is a loop in a function of its own.
"""

from __future__ import annotations

import ast
import dis
from collections.abc import Iterator
from pathlib import Path
from types import CodeType


def uncovered(path: Path) -> list[str]:
    """File, line and text of each such jump that this interpreter makes of a module."""
    source = path.read_text()
    guarded = _guarded(ast.parse(source))
    lines = {line for code in _codes(compile(source, str(path), "exec")) for line in _jumps(code)}
    texts = source.splitlines()
    return [f"{path}:{line}: {texts[line - 1].strip()}" for line in sorted(lines & guarded)]


def _guarded(tree: ast.Module) -> set[int]:
    """Lines in the body of a `with`, or of a `try` that does something when Ctrl-C comes."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.With) or (isinstance(node, ast.Try) and _notices(node)):
            for inner in node.body:
                found.update(range(inner.lineno, (inner.end_lineno or inner.lineno) + 1))
    return found


def _notices(node: ast.Try) -> bool:
    caught = [ast.unparse(handler.type) if handler.type else "" for handler in node.handlers]
    return bool(node.finalbody) or any(
        not name or "BaseException" in name or "KeyboardInterrupt" in name for name in caught
    )


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _jumps(code: CodeType) -> Iterator[int]:
    """Lines of jumps back that no handler covers, though one covers what they lead to."""
    if code.co_name == "<genexpr>":
        return  # a frame of its own, with a handler that only turns StopIteration into an error
    instructions = dis.Bytecode(code)
    covered = {
        offset
        for entry in vars(instructions)["exception_entries"]
        for offset in range(entry.start, entry.end)
    }
    for jump in instructions:
        if not jump.opname.startswith("JUMP_BACKWARD") or jump.opname.endswith("NO_INTERRUPT"):
            continue  # the jump of an `await` does not look for signals
        if jump.offset in covered:
            continue
        if (
            jump.argval in covered
            and jump.positions is not None
            and jump.positions.lineno is not None
        ):
            yield jump.positions.lineno
