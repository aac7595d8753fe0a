"""The distribution: its name, what it depends on, and what our texts tell people to install."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NAME = "securelink-sessions"
#: The name of the module, which on the package index is another project's distribution.
STRANGER = "securelink"
THIS_FILE = Path(__file__).relative_to(ROOT)

INSTALLERS = (
    r"(?:pip[\d.]*|pipx|uv|uvx|poetry|pdm|rye|hatch|conda|mamba|pixi|pipenv|easy_install|micropip)"
)
#: A command that installs or runs a distribution, with the rest of its line.
COMMAND = re.compile(
    rf"\b(?:{INSTALLERS}\b[^\n`]*?[\s.(\"',](?:install|add|download|wheel|inject|run|upgrade|show|requires?)"
    rf"|uvx|easy_install)\b(?P<arguments>[^\n`]*)",
    re.IGNORECASE,
)
#: A word that pip would read as the name of the stranger, with or without extras and versions.
WORD = re.compile(
    rf"(?<![\w./\\-]){STRANGER}(?:\[[^\]\n]*\])?(?=$|[\s'\"`,;)\]]|[=<>!~]=|[<>@])", re.IGNORECASE
)
FORBIDDEN = {
    "extras": re.compile(rf"(?<![\w.-]){STRANGER}\[\s*[a-z]", re.IGNORECASE),
    "requirement": re.compile(rf"(?<![\w./-]){STRANGER}\s*(?:==|>=|<=|~=|!=|===)\s*[\d*v]", re.IGNORECASE),
    "requirement by address": re.compile(rf"(?<![\w./-]){STRANGER}\s*@\s*(?:git\+|https?:|file:)", re.IGNORECASE),
    "entry of a list": re.compile(
        rf"""(?:dependencies|requires|install_requires|requirements)\W+\[?[^\]]*["']{STRANGER}["']""",
        re.IGNORECASE,
    ),
    "metadata": re.compile(
        rf"""\b(?:version|metadata|distribution|requires|files|from_name|get_distribution)"""
        rf"""\(\s*["']{STRANGER}["']""",
    ),
    "page": re.compile(rf"/(?:project|simple|p)/{STRANGER}(?![\w-])", re.IGNORECASE),
    "version option": re.compile(rf"""package_name\s*=\s*["']{STRANGER}["']"""),
    "name": re.compile(rf"""^\s*name\s*[=:]\s*["']{STRANGER}["']""", re.MULTILINE),
}  # fmt: skip


def texts() -> Iterator[tuple[Path, str]]:
    """Every text of the project: what git tracks, or without git what lies here and is no product."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0 and listed.stdout:
        names = [Path(name) for name in listed.stdout.split("\0") if name]
    else:
        found = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
        made = {"build", "dist", "site", "__pycache__", "node_modules"}
        names = [n for n in found if not any(p.startswith(".v") or p in made for p in n.parts)]
    for name in names:
        if name == THIS_FILE or not (ROOT / name).is_file() or ".egg-info" in str(name):
            continue
        try:
            yield name, (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture or a recorded stream


def joined(text: str) -> str:
    """A text whose continued lines and neighbouring string literals are one line, as their reader sees them."""
    text = re.sub(r"\\\n\s*", " ", text)
    return re.sub(r"""(["'])\s*\n\s*(?:#\s*)?[rRfFbB]{0,2}\1""", "", text)


def advice(text: str) -> list[str]:
    """What in a text would make its reader install, or look up, the stranger's distribution."""
    found = []
    for form in {text, joined(text)}:
        for command in COMMAND.finditer(form):
            found += [command[0] for _ in WORD.finditer(command["arguments"])]
        for kind, pattern in FORBIDDEN.items():
            found += [f"{kind}: {match[0]}" for match in pattern.finditer(form)]
    return found


@pytest.mark.parametrize(
    "text",
    [
        "pip install securelink",
        "`pip install 'securelink[console]'` gives editing",
        "python3 -m pip install --upgrade securelink",
        "pip install -U \\\n    securelink",
        "pip install rich securelink",
        "pip install SecureLink==0.1",
        'hint="pip install "\n     "securelink"',
        "uv add securelink",
        "uv pip install 'securelink>=0.1'",
        "uv tool install securelink",
        "uvx securelink demo",
        "pipx run securelink",
        "pipx install securelink",
        "poetry add securelink",
        "conda install -c conda-forge securelink",
        'subprocess.run([sys.executable, "-m", "pip", "install", "securelink"])',
        "securelink[metrics]",
        "securelink>=0.1,<1",
        "securelink == 0.1.0",
        "securelink @ git+https://host.example/x",
        'dependencies = ["rich", "securelink"]',
        'importlib.metadata.version("securelink")',
        'click.version_option(package_name="securelink")',
        '[project]\nname = "securelink"\n',
        "https://index.example/project/securelink/",
    ],
)
def test_wrong_advice_is_found(text: str) -> None:
    """The search below finds each way in which a text can send its reader to somebody else's package."""
    assert advice(text)


@pytest.mark.parametrize(
    "text",
    [
        "pip install 'securelink-sessions[console]'",
        "pip install securelink-sessions",
        ".venv/bin/pip install -e .",
        "pip install 'cryptography>=48'",
        "securelink demo",
        "from securelink import Server",
        "securelink-sessions>=0.1",
        'importlib.metadata.version("securelink-sessions")',
        "pip install ./securelink",
        "python -m securelink.compat.chat.server2",
    ],
)
def test_right_advice_is_left_alone(text: str) -> None:
    """The search takes neither the module, nor the command, nor our own distribution for the stranger's."""
    assert not advice(text)


def test_no_text_names_another_package_to_install() -> None:
    """No document, hint, comment, script or setting of ours makes anybody install another project's package."""
    searched = dict(texts())
    assert {Path("README.md"), Path("pyproject.toml"), Path("Makefile")} <= set(searched)
    assert len(searched) > 100
    wrong = {str(name): found for name, text in searched.items() if (found := advice(text))}
    assert not wrong


def test_the_name_of_the_distribution() -> None:
    """The distribution, and the extras that include each other, have our name; the import keeps its own."""
    project = PROJECT["project"]
    assert project["name"] == NAME
    named = [
        line
        for extra in project["optional-dependencies"].values()
        for line in extra
        if STRANGER in line.lower()
    ]
    assert named
    assert all(line.startswith(f"{NAME}[") for line in named)
    assert PROJECT["tool"]["setuptools"]["packages"]["find"]["include"] == [f"{STRANGER}*"]
