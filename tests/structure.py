"""
What the package is like as a structure, in numbers: sizes, foreign privates, circles, the calls of one packet.

    python tests/structure.py            of this checkout
    python tests/structure.py FOLDER     of another one, such as an older version

`test_layering.py` holds those that may not grow.
"""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LONG_FILE, LONG_FUNCTION = 400, 60

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One file of a package."""

    path: Path
    name: str  # dotted, below the package
    tree: ast.Module
    lines: int

    @property
    def room(self) -> str:
        """The folder or root module that it belongs to."""
        return self.name.partition(".")[0] or "__init__"


def modules(package: Path) -> list[Module]:
    """All modules below a folder."""
    found = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        found.append(Module(path, name, ast.parse(text), text.count("\n")))
    return found


def imports(module: Module, known: set[str], *, typing_too: bool) -> set[str]:
    """The modules of the package that one imports."""
    package = module.name.split(".") if module.name else []
    if module.path.name != "__init__.py":
        package = package[:-1]
    only_typing = {
        id(inner)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        if id(node) in only_typing and not typing_too:
            continue
        base = package[: len(package) - node.level + 1]
        target = [*base, *(node.module.split(".") if node.module else [])]
        for alias in node.names:
            inner = ".".join([*target, alias.name])
            found.add(inner if inner in known else ".".join(target))
    return found - {module.name}


def circles(found: list[Module], *, typing_too: bool = True) -> list[list[str]]:
    """Groups of modules that import each other, straight or through others (Tarjan). Packages' `__init__` left out."""
    known = {module.name for module in found}
    inits = {module.name for module in found if module.path.name == "__init__.py"}
    graph = {
        module.name: imports(module, known, typing_too=typing_too) - inits
        for module in found
        if module.name not in inits
    }
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in sorted(graph.get(name, ())):
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            group: list[str] = []
            while not group or group[-1] != name:
                group.append(stack.pop())
            if len(group) > 1:
                groups.append(sorted(group))

    for name in sorted(graph):
        if name not in index:
            visit(name)
    return groups


def foreign_privates(module: Module) -> list[tuple[int, str]]:
    """(line, name) of each private attribute of another object, as ruff's SLF001 counts them."""
    found = []
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Attribute) or not node.attr.startswith("_"):
            continue
        if node.attr.startswith("__") and node.attr.endswith("__"):
            continue
        owner = node.value
        own = isinstance(owner, ast.Name) and owner.id in ("self", "cls", "mcs")
        of_super = isinstance(owner, ast.Call) and ast.unparse(owner.func) in ("super", "type")
        if not (own or of_super):
            found.append((node.lineno, ast.unparse(node)))
    return found


def code_lines(module: Module) -> int:
    """Lines that hold code: neither blank, nor comment, nor docstring."""
    strings: set[int] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            strings.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    text = module.path.read_text(encoding="utf-8").splitlines()
    return sum(
        bool(line.strip()) and not line.lstrip().startswith("#") and number not in strings
        for number, line in enumerate(text, 1)
    )


def functions(module: Module) -> Iterator[tuple[str, int, int]]:
    """(name, lines with docstring, lines without it) of each function."""
    for node in ast.walk(module.tree):
        if isinstance(node, Function):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            words = node.body[0] if ast.get_docstring(node) is not None else None
            doc = (words.end_lineno or 0) - words.lineno + 1 if words is not None else 0
            yield f"{module.name}.{node.name}", size, size - doc


def classes(module: Module) -> Iterator[tuple[str, int, int]]:
    """(name, methods, fields) of each class; fields are what its own methods assign to self."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef):
            methods = [part for part in node.body if isinstance(part, Function)]
            fields = {
                target.attr
                for part in ast.walk(node)
                if isinstance(part, ast.Assign | ast.AnnAssign | ast.AugAssign)
                for target in (part.targets if isinstance(part, ast.Assign) else [part.target])
                if isinstance(target, ast.Attribute)
                and isinstance(target.value, ast.Name)
                and target.value.id == "self"
            }
            yield f"{module.name}.{node.name}", len(methods), len(fields)


# One warm packet each way: a client sends, a handler of the server runs. Counts calls of functions of the package.
CALLS = r"""
import sys, threading, tempfile, os
root = sys.argv[1]; sys.path.insert(0, root); os.chdir(tempfile.mkdtemp())
from securelink import Client, Identity, Server
import securelink
place = os.path.dirname(securelink.__file__) + os.sep
server = Server("127.0.0.1", 0, keys=Identity.generate(2048))
got = threading.Event()
recording = [None]
def handler(session, packet):
    recording[0] = None
    got.set()
server.on("x", handler); server.start()
client = Client("127.0.0.1", server.address[1], pin=server.fingerprint).connect()
def profiler(calls, begins):
    def watch(frame, event, argument):
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(place):
            if frame.f_code.co_name in begins:
                calls.clear(); recording[0] = calls
            if recording[0] is calls:
                calls.append((name[len(place):], frame.f_code.co_name))
    return watch
received = []
def shown(title, calls):
    files = [name for name, _ in calls]
    changes = sum(a != b for a, b in zip(files, files[1:]))
    print(f"{title}: {len(calls)} calls, {len(set(files))} files, {changes} changes of file")
    for name, function in calls:
        print(f"    {name:34} {function}")
for _ in range(20):
    got.clear(); client.send("x", 1); got.wait(5)
sent = []
watch = profiler(sent, {"send"})
sys.setprofile(watch)
client.send("x", 1)
sys.setprofile(None)
recording[0] = None
got.wait(5)
arrived = []
threading.setprofile_all_threads(profiler(arrived, {"on_io"})) if hasattr(threading, "setprofile_all_threads") else None
if not hasattr(threading, "setprofile_all_threads"):
    # 3.11 has no way into running threads: a handler sets it in the leader's own.
    def enter(session, packet):
        sys.setprofile(profiler(arrived, {"on_io"})); got.set()
    server.on("enter", enter)
    got.clear(); client.send("enter", 1); got.wait(5)
for _ in range(5):
    got.clear(); client.send("x", 1); got.wait(5)
    inbound = list(arrived)
shown("out: client.send()", sent)
shown("in: bytes to handler", inbound)
client.close(); server.stop()
"""

ENDINGS = {
    "abandon", "begin_closing", "break_off", "close", "closed", "closing", "cut", "dead", "drop", "drop_oldest", "end",
    "ended", "end_of_stream", "fail", "finish", "finished", "finish_channel", "finish_raw", "give_up", "gone",
    "hang_up", "lapse", "lost", "orphaned", "overdue", "peer_closed", "refuse", "release", "released", "said_all",
    "send_dead", "shut", "stop", "terminate", "turn_away", "write_failed",
}  # fmt: skip


def ending_words(found: list[Module]) -> Counter[str]:
    """Names in the transport that say that something ends, as methods, fields and states."""
    words: Counter[str] = Counter()
    for module in found:
        if module.room not in ("threads", "transport"):
            continue
        for node in ast.walk(module.tree):
            name = (
                node.name
                if isinstance(node, Function)
                else node.attr
                if isinstance(node, ast.Attribute)
                else ""
            )
            if name.strip("_") in ENDINGS:
                words[name] += 1
    return words


def report(root: Path) -> None:
    """Print everything of one checkout."""
    found = modules(root / "securelink")
    print(f"{sum(m.lines for m in found):,} lines in {len(found)} modules")
    for room in sorted({m.room for m in found}):
        inside = [m for m in found if m.room == room]
        privates, code = sum(len(foreign_privates(m)) for m in inside), sum(map(code_lines, inside))
        lines = sum(m.lines for m in inside)
        rate = f"{1000 * privates / code:.1f} per 1,000" if code else ""
        print(
            f"    {room:12} {lines:6,} lines {code:6,} of code {privates:4} foreign privates {rate}"
        )
    code = sum(map(code_lines, found))
    privates = sum(len(foreign_privates(m)) for m in found)
    print(
        f"foreign privates: {privates} in {code:,} lines of code, {1000 * privates / code:.1f} per 1,000"
    )
    for title, typing_too in (("circles at run time", False), ("circles with TYPE_CHECKING", True)):
        groups = circles(found, typing_too=typing_too)
        print(f"{title}: {len(groups)}", *(f"\n    {', '.join(group)}" for group in groups))
    print(f"files over {LONG_FILE} lines:")
    for module in sorted(found, key=lambda m: -m.lines):
        if module.lines > LONG_FILE:
            print(f"    {module.lines:5} {module.name}")
    sizes = [entry for module in found for entry in functions(module)]
    print(
        f"functions: {len(sizes):,}, median {statistics.median(size for _, size, _ in sizes):.0f} lines; the longest:"
    )
    for name, size, plain in sorted(sizes, key=lambda entry: -entry[1])[:6]:
        print(f"    {size:5} ({plain} without docstring) {name}")
    kinds = [entry for module in found for entry in classes(module)]
    print("classes with most methods:")
    for name, methods, fields in sorted(kinds, key=lambda entry: -entry[1])[:8]:
        print(f"    {methods:5} methods {fields:3} fields {name}")
    words = ending_words(found)
    print(f"words for ending in the shell: {len(words)} ({', '.join(sorted(words))})")
    sys.stdout.flush()
    subprocess.run([sys.executable, "-c", CALLS, str(root)], check=True)


if __name__ == "__main__":
    report(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT)
