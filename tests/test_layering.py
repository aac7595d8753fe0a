"""The architecture's rules about who may import whom, enforced."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "securelink"

# From the bottom up. A module imports from its own line or from lines above it in this list, never from below.
LAYERS = [
    {
        "codes", "errors", "limits", "floods", "text", "status", "native", "options", "answers", "signatures",
        "tracebacks", "signals", "addresses", "windows",
    },
    {"crypto", "walk", "frames", "events", "sendable", "payloads"},
    {"keys"},
    {"codec", "trust"},
    {"handshake", "invite", "sealed"},
    {"records", "session", "modes", "auth"},
    {"protocol", "received"},
    {"dispatch", "collect"},
    {"transport"},
    {"server", "client"},
]  # fmt: skip
SANS_IO = {
    "codes", "errors", "limits", "text", "crypto", "codec", "walk", "frames", "handshake", "records", "session",
    "protocol", "received", "modes", "sealed", "options", "answers", "signatures", "payloads", "sendable",
    "tracebacks", "addresses", "windows",
}  # fmt: skip
NO_IO = {"socket", "threading", "queue", "selectors", "select", "logging", "asyncio", "subprocess"}
ABOVE = {
    "cli",
    "demo",
    "compat",
    "chat",
    "console",
    "load",
    "bench",
    "metrics",
    "__main__",
    "__init__",
}


def modules() -> list[tuple[str, Path]]:
    """(top-level module name, file) of every file of the package."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        found.append((relative.parts[0].removesuffix(".py"), path))
    return found


def imports(path: Path) -> list[tuple[str, str]]:
    """(kind, top-level name) of each import at run time; kind is "own" or "outside"."""
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
            found += [("own", (*base, *name.split("."))[0]) for name in names]
    return found


def test_imports_point_downwards() -> None:
    """A module imports only from its own layer or from layers below it."""
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
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


def test_only_the_transport_opens_sockets() -> None:
    """`socket` and `selectors` are imported by the transport, the relay of the demo and the HTTP pages of metrics."""
    wrong = [
        str(path)
        for name, path in modules()
        for kind, target in imports(path)
        if kind == "outside"
        and target in ("socket", "selectors", "select")
        and name not in ("transport", "demo", "metrics")
    ]
    assert not wrong
