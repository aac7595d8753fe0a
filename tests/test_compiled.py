"""Compiling is a choice, complete or not at all, and changes nothing that a program can see."""

from __future__ import annotations

import ast
import importlib
import re
import runpy
import shlex
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import COMPILED
from programs import ROOT, Program

from securelink import Identity

HARMLESS = {"len", "min", "max"}

WAITING = """
from pathlib import Path
from securelink import Client, Identity, Server

server = Server("127.0.0.1", 0, keys=Identity.load("server_private.pem"), resume=0)
server.on("never", lambda session, packet: packet.defer() and None)
server.start()
client = Client("127.0.0.1", server.address[1], pin=server.fingerprint).connect()
try:
    print("waiting")
    {call}
except KeyboardInterrupt:
    print("interrupted")
client.close()
server.stop()
print("closed")
"""


def built(monkeypatch: pytest.MonkeyPatch, wanted: str | None, mypyc: ModuleType | None) -> Any:
    """What setup.py gives to setuptools, with that value of SECURELINK_COMPILE and that mypyc."""
    given: dict[str, Any] = {}
    setuptools = ModuleType("setuptools")
    setuptools.setup = given.update  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "setuptools", setuptools)
    monkeypatch.setitem(sys.modules, "mypyc", mypyc)
    monkeypatch.setitem(sys.modules, "mypyc.build", mypyc)
    if wanted is None:
        monkeypatch.delenv("SECURELINK_COMPILE", raising=False)
    else:
        monkeypatch.setenv("SECURELINK_COMPILE", wanted)
    runpy.run_path(str(ROOT / "setup.py"))
    return given["ext_modules"]


@pytest.fixture
def hot(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The modules that are compiled."""
    mypyc = ModuleType("mypyc")
    mypyc.mypycify = lambda paths, **_: paths  # type: ignore[attr-defined]
    silent, *paths = built(monkeypatch, "1", mypyc)
    assert (
        silent == "--follow-imports=silent"
    )  # what only an extra brings may be missing where it is built
    return [ROOT / path for path in paths]


@pytest.mark.parametrize("wanted", [None, "", "0"])
def test_nothing_is_compiled_unasked(monkeypatch: pytest.MonkeyPatch, wanted: str | None) -> None:
    """Without SECURELINK_COMPILE there are no extension modules, and no mypyc is needed."""
    assert built(monkeypatch, wanted, None) == []


def test_compiling_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for it and has no mypyc is told what to install, and gets no half-hearted build."""
    with pytest.raises(SystemExit, match="pip install mypy setuptools"):
        built(monkeypatch, "1", None)


def test_all_or_nothing(hot: list[Path]) -> None:
    """The modules that are imported here are all compiled or all not: a mixed build would be neither."""
    assert len(hot) == len(set(hot)) > 10
    for path in hot:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        file = importlib.import_module(name).__file__ or ""
        assert file.endswith(".py") != COMPILED, name


def effects_in_slices(source: str) -> list[int]:
    """Lines with a slice whose bounds do more than compute."""
    return [
        inner.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Slice)
        for inner in ast.walk(node)
        if isinstance(inner, ast.NamedExpr | ast.Await | ast.Yield)
        or (
            isinstance(inner, ast.Call)
            and not (isinstance(inner.func, ast.Name) and inner.func.id in HARMLESS)
        )
    ]


def test_slices_have_no_side_effects(hot: list[Path]) -> None:
    """Compiled, the bounds of a slice may be computed twice: a send() there would send twice."""
    assert effects_in_slices("a = 1\nb = b[sock.send(b) :]\nc = c[: len(c)]") == [2]
    found = {path.name: lines for path in hot if (lines := effects_in_slices(path.read_text()))}
    assert found == {}


def unbuildable(source: str) -> list[str]:
    """Functions that mypyc cannot describe: of a float with a default it makes all parameters positional ones."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            a = node.args
            named = list(zip(a.kwonlyargs, a.kw_defaults, strict=True))
            plain = [*a.posonlyargs, *a.args]
            given = [*plain[len(plain) - len(a.defaults) :], *(p for p, value in named if value)]
            floats = any(p.annotation and ast.unparse(p.annotation) == "float" for p in given)
            order = [*map(bool, a.defaults), *(value is not None for _, value in named)]
            if floats and order != sorted(order):
                found.append(node.name)
    return found


def test_signatures_can_be_built(hot: list[Path]) -> None:
    """A required parameter behind `*` and one with a default before it, beside `x: float = 0.0`: no build ends well."""
    assert unbuildable("def f(a, b='', *, c: int, d: float = 0.0): ...") == ["f"]
    assert unbuildable("def f(a, b='', *, c: int, d: float | None = None): ...") == []
    assert unbuildable("def f(a, b: float = 0.0, *, c=1): ...") == []
    found = {path.name: names for path in hot if (names := unbuildable(path.read_text()))}
    assert found == {}


@pytest.mark.parametrize(
    "call",
    [
        "client.receive(None)",
        "client.request('never', timeout=60)",
        "client.wait_for('never', timeout=60)",
        "list(iter(lambda: client.receive(0.0), 'never'))",
    ],
)
def test_ctrl_c_while_waiting(tmp_path: Path, identity: Identity, call: str) -> None:
    """Ctrl-C gets through to a program that waits in a call of ours, and it can still close and end."""
    identity.save(tmp_path, "server")
    program = tmp_path / "program.py"
    program.write_text(WAITING.format(call=call))
    with Program(program, folder=tmp_path) as running:
        running.prints("waiting\n")
        running.interrupt()
        assert running.ends() == 0, running.output
        said = [line for line in running.output.splitlines() if not line.startswith("[Server")]
        assert said == ["waiting", "interrupted", "closed"]


def test_wheels_are_built_with_what_the_build_asks_for() -> None:
    """What cibuildwheel installs and sets for other platforms is what `make wheels` has here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheels = project["tool"]["cibuildwheel"]
    extras = project["project"]["optional-dependencies"]
    needed = {
        *extras["compile"],
        *(line for line in extras["wheels"] if not line.startswith("securelink")),
    }
    assert wheels["environment"] == {"SECURELINK_COMPILE": "1"}
    assert set(shlex.split(wheels["before-build"])) == {"pip", "install", *needed}
    assert needed >= set(project["build-system"]["requires"])
    versions = [
        line.rpartition(" ")[2]
        for line in project["project"]["classifiers"]
        if re.search(r":: 3\.\d+$", line)
    ]
    assert wheels["build"] == [f"cp{version.replace('.', '')}-*" for version in versions]
    for source in wheels["test-sources"]:
        assert (ROOT / source).exists()
