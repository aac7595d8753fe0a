"""The architecture's rules about who may import whom, enforced."""

import ast
import re
from pathlib import Path

import structure

PACKAGE = Path(__file__).parent.parent / "securelink"

# From the bottom up. A module imports from its own line or from lines above it in this list, never from below. A room
# is a folder or a module at the root; a module inside a folder that stands elsewhere has an entry of its own.
LAYERS = [
    {"codes", "errors", "limits", "text", "_mypyc", "options", "signatures", "signals", "interrupts", "logs"},
    {"window_counts"},
    {"crypto", "wire", "streams"},
    {"keys"},
    {"protocol", "invite", "sealed"},
    {"trust", "state"},
    {"auth"},
    {"app"},
    {"threads"},
    {"peer", "runnable"},
    {"session", "receiver", "introduced"},
    {"admitting", "send_policies", "dispatching", "reporting"},
    {"hosting", "visiting"},
    {"server", "client"},
    {"aio"},
]  # fmt: skip
SANS_IO = {
    "codes", "errors", "limits", "text", "options", "signatures", "crypto", "wire", "protocol", "sealed",
    "app.answers", "app.payloads", "app.received", "logs.tracebacks", "streams.addresses",
}  # fmt: skip
NO_IO = {"socket", "threading", "queue", "selectors", "select", "logging", "asyncio", "subprocess"}
ABOVE = {"tools", "testing", "compat", "metrics", "__main__", "__init__"}
ROOMS = {room for layer in LAYERS for room in layer}


def room(parts: tuple[str, ...]) -> str:
    """The entry of the table that a module belongs to."""
    inner = ".".join(parts[:2])
    return inner if inner in ROOMS | SANS_IO else parts[0]


def modules() -> list[tuple[str, Path]]:
    """(room, file) of every file of the package."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found.append((room(parts), path))
    return found


def imports(path: Path) -> list[tuple[str, str]]:
    """(kind, room or top-level name) of each import at run time; kind is "own" or "outside"."""
    relative = path.relative_to(PACKAGE)
    found: list[tuple[str, str]] = []
    tree = ast.parse(path.read_text())
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            found += [("outside", alias.name.split(".")[0]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0:
                found.append(("outside", (node.module or "").split(".")[0]))
                continue
            base = relative.parts[: len(relative.parts) - node.level]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found += [("own", room((*base, *name.split(".")))) for name in names]
    return found


def test_imports_point_downwards() -> None:
    """A module imports only from its own layer or from layers below it."""
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    level |= {name: level[name.partition(".")[0]] for name in SANS_IO if name not in level}
    wrong = []
    for name, path in modules():
        if name in ABOVE:
            continue
        assert name in level, f"{name} has no layer: add it to LAYERS"
        for kind, target in imports(path):
            if kind == "own" and target != name and level.get(target, 99) > level[name]:
                wrong.append(f"{path.name} imports {target}")
    assert not wrong


def test_below_the_line_there_is_no_io() -> None:
    """Sans-I/O modules import no socket, thread, queue or log."""
    wrong = [
        f"{path} imports {target}"
        for name, path in modules()
        if name in SANS_IO
        for kind, target in imports(path)
        if kind == "outside" and target in NO_IO
    ]
    assert not wrong


def test_only_the_bridge_and_keys_know_the_crypto_libraries() -> None:
    """`cryptography` is imported by crypto.py and keys, `rsa` by keys alone."""
    wrong = [
        f"{path} imports {target}"
        for name, path in modules()
        for kind, target in imports(path)
        if kind == "outside"
        and (
            (target == "cryptography" and name not in ("crypto", "keys"))
            or (target == "rsa" and name != "keys")
        )
    ]
    assert not wrong


def test_links_know_no_socket() -> None:
    """In threads/ only the loop's wake-up, its poller and the check for gevent know sockets; all else knows streams."""
    found = {
        path.name
        for path in (PACKAGE / "threads").glob("*.py")
        for kind, target in imports(path)
        if kind == "outside" and target in ("socket", "selectors", "select")
    }
    assert found == {"waker.py", "poller.py", "patched.py"}
    for path in (PACKAGE / "threads").glob("*.py"):
        if path.name not in found:
            assert not re.search(r"\bsock\.", path.read_text()), path.name


def test_only_streams_and_threads_open_sockets() -> None:
    """`socket` and `selectors` are imported by streams, threads, the relay of the demo and the pages of metrics."""
    wrong = [
        str(path)
        for name, path in modules()
        for kind, target in imports(path)
        if kind == "outside"
        and target in ("socket", "selectors", "select")
        and name not in ("streams", "threads", "demo", "metrics")
    ]
    assert not wrong


def names(path: Path) -> set[str]:
    """The modules of the package that one imports, also those that only a type checker does."""
    base = path.relative_to(PACKAGE).parts
    known = {file.relative_to(PACKAGE).with_suffix("").parts for file in PACKAGE.rglob("*.py")}
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            start = (*base[: len(base) - node.level], *(node.module or "").split("."))
            start = tuple(part for part in start if part)
            for alias in node.names:
                whole = ((*start, alias.name), start, (*start, "__init__"))
                found |= {".".join(parts) for parts in whole[:1] if parts in known}
                if whole[0] not in known:
                    found |= {".".join(parts) for parts in whole[1:] if parts in known}
    return found - {".".join(path.relative_to(PACKAGE).with_suffix("").parts)}


def circles() -> set[str]:
    """The modules that import themselves by way of others."""
    graph = {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): names(path)
        for path in PACKAGE.rglob("*.py")
    }

    def reached(name: str) -> set[str]:
        seen: set[str] = set()
        ahead = list(graph[name])
        while ahead:
            if (other := ahead.pop()) not in seen:
                seen.add(other)
                ahead += graph[other]
        return seen

    return {name for name in graph if name in reached(name)}


def test_there_is_no_circle() -> None:
    """No module imports itself by way of others, not even for type checkers."""
    assert not circles()


def test_the_application_side_types_no_thread() -> None:
    """`app` imports neither sockets nor shells; of `threading` it has locks, which no thread waits in."""
    wrong = []
    for path in (PACKAGE / "app").glob("*.py"):
        text = path.read_text()
        wrong += [
            f"{path.name} uses {use}" for use in re.findall(r"threading\.(?!Lock\b)\w+", text)
        ]
        for kind, target in imports(path):
            if target in {"socket", "selectors", "asyncio"} or (kind, target) == ("own", "threads"):
                wrong.append(f"{path.name} imports {target}")
        wrong += [
            f"{path.name} imports {name}" for name in names(path) if name == "streams.sockets"
        ]
    assert not wrong


# Files and functions that are longer than the rest may be, and how long. They only shrink.
# A connection is one state machine: receiving, sending and time, which may be three threads, change the same fields.
LONG_FILES = {"protocol.connection": 500}
LONG_FUNCTIONS = {
    "hosting.__init__": 70, "wire.scan.go_on": 62,
}  # fmt: skip


def test_nothing_grows_too_long() -> None:
    """A file has at most 400 lines and a function 60 beside its docstring, but for those that are listed."""
    found = structure.modules(PACKAGE)
    files = {
        m.name: m.lines for m in found if m.lines > LONG_FILES.get(m.name, structure.LONG_FILE)
    }
    assert not files
    longer = {
        name: plain
        for module in found
        for name, _, plain in structure.functions(module)
        if plain > LONG_FUNCTIONS.get(name, structure.LONG_FUNCTION)
    }
    assert not longer


def test_a_bound_has_one_value() -> None:
    """A second one of the same name would replace the first without a word."""
    assigned = re.findall(
        r"^([A-Z_0-9]+)\b.*? = ", (PACKAGE / "limits.py").read_text(), re.MULTILINE
    )
    assert len(assigned) > 100
    assert len(assigned) == len(set(assigned))


def test_objects_keep_to_themselves() -> None:
    """Of a thousand lines fewer than three use a private attribute of another object."""
    found = structure.modules(PACKAGE)
    privates = [place for module in found for place in structure.foreign_privates(module)]
    assert 1000 * len(privates) < 3 * sum(map(structure.code_lines, found))
