"""The distribution: its name, what it depends on, and what our texts tell people to install."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from fnmatch import fnmatch
from pathlib import Path

import pytest
from helpers import WAIT
from programs import ROOT

import securelink

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


def files() -> list[Path]:
    """Every file of the project: what git tracks or would, or without git what lies here and is no product."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if listed.returncode == 0 and listed.stdout:
        names = [Path(name) for name in listed.stdout.split("\0") if name]
    else:
        found = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
        # A copy or an unpacked sdist; .gitignore names what is a product: folders end with "/", the rest are files.
        products = (ROOT / ".gitignore").read_text().split()
        names = [
            name
            for name in found
            if not any(
                fnmatch(part, product.rstrip("/"))
                for product in products
                for part in (name.parts[:-1] if product.endswith("/") else name.parts[-1:])
            )
        ]
    return [n for n in names if (ROOT / n).is_file() and ".egg-info" not in str(n)]


def texts() -> Iterator[tuple[Path, str]]:
    """Every text of the project but this one."""
    for name in files():
        if name == THIS_FILE:
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
        "uvx securelink serve",
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
        "securelink serve",
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


# --- what it depends on, and where it comes from ---------------------------------------------------------------


def test_every_dependency_has_an_upper_bound() -> None:
    """A new major version of somebody else is tried before users get it; docs/DESIGN.md has a line on each."""
    project = PROJECT["project"]
    wanted = [*project["dependencies"], *PROJECT["build-system"]["requires"]]
    for extra in project["optional-dependencies"].values():
        wanted += extra
    design = (ROOT / "docs" / "DESIGN.md").read_text()
    for requirement in wanted:
        if requirement.startswith(f"{NAME}["):
            continue
        bare = requirement.split(";")[0]
        assert re.search(r",<\d", bare), f"{requirement} has no upper bound"
        assert re.search(r">=\d", bare), f"{requirement} has no lower bound"
    bench = project["optional-dependencies"]["bench"]  # benchmarks/README.md has these
    for requirement in set(wanted) - set(bench):
        name = re.split(r"[\[<>=; ]", requirement)[0]
        assert name == NAME or f"`{name}`" in design, f"docs/DESIGN.md says nothing about {name}"


def test_where_to_report_is_in_the_package_and_in_the_document() -> None:
    """SECURITY.md and the metadata name the same address; no page sends a reader to a place that may be anybody's."""
    urls = PROJECT["project"]["urls"]
    assert set(urls) == {"Repository", "Documentation", "Changelog", "Security"}
    assert all(url.startswith(urls["Repository"]) for url in urls.values())
    text = (ROOT / "SECURITY.md").read_text()
    assert urls["Security"] in text
    reporting = text.partition("## Reporting")[2].partition("\n## ")[0]
    # What a stranger can do today, from an installation, a clone and a copy.
    assert f"pip show -v {NAME}" in reporting
    assert "git remote get-url origin" in reporting
    assert "asks for a private way" in " ".join(reporting.split())
    (command,) = re.findall(r'python -c "(.*)"\n', reporting)
    told = subprocess.run(
        [sys.executable, "-c", command],
        capture_output=True, text=True, timeout=WAIT, check=True,
    ).stdout  # fmt: skip
    assert f"Security, {urls['Security']}" in told


def test_nothing_is_published_while_the_address_is_a_placeholder() -> None:
    """Building for the package index is refused, and says what to do, until the repository has an address."""
    if ".example/" not in PROJECT["project"]["urls"]["Repository"]:
        assert "reserved for examples" not in (ROOT / "SECURITY.md").read_text()
        return
    ended = subprocess.run(
        [sys.executable, ROOT / ".ci" / "dist"], capture_output=True, text=True, timeout=WAIT
    )
    assert ended.returncode == 1
    assert "[project.urls]" in ended.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel, built from a copy of what is in the repository."""
    folder = tmp_path_factory.mktemp("built")
    for name in files():
        (folder / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / "copy" / name)
    ended = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, folder / "copy"],
        capture_output=True, text=True, timeout=5 * WAIT,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder


def metadata(built: Path) -> Message:
    """What an index shows of the wheel."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


def test_links_of_the_description_work_outside_of_the_repository(built: Path) -> None:
    """The README's links are relative; those of the description on an index say where the file is."""
    found = metadata(built)
    assert found["Name"] == NAME
    description = found.get_payload()
    assert isinstance(description, str)
    targets = re.findall(r"\]\(([^)]+)\)", description)
    assert len(targets) > 5
    assert all(re.match(r"https://|#", target) for target in targets)
    repository = PROJECT["project"]["urls"]["Repository"]
    assert f"{repository}/raw/v{PROJECT['project']['version']}/docs/benchmarks.svg" in targets


def test_the_wheel_has_the_package_and_nothing_else(built: Path) -> None:
    """No test, no document, no key."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert all(re.match(r"securelink/|securelink_sessions-[\d.]+\.dist-info/", n) for n in names)
    assert "securelink/py.typed" in names


def test_the_tests_of_an_unpacked_sdist_start(built: Path, tmp_path: Path) -> None:
    """It has all files of the repository; the tests are found, and some run, with its own package."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    missing = [str(name) for name in files() if not (folder / name).is_file()]
    assert not missing
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    some = ["tests/test_frames.py", "tests/test_layering.py", "tests/test_protocol_document.py"]
    for arguments in (["--collect-only", "-q"], ["-q", *some]):
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", *arguments],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=5 * WAIT,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr
    shown = subprocess.run(
        [sys.executable, "-c", "import securelink; print(securelink.__file__)"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=WAIT,
    )  # fmt: skip
    assert shown.stdout.startswith(str(folder))


# --- the site ----------------------------------------------------------------------------------------------


def test_every_page_and_every_public_name_is_on_the_site() -> None:
    """The site's menu has all documents, and its reference all that can be imported from `securelink`."""
    menu = re.findall(r"^ +- [^:]+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    pages = {str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")}
    assert pages | {"README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"} == set(menu)
    reference = re.findall(
        r"^::: securelink\.(\w+)$", (ROOT / "docs/API.md").read_text(), re.MULTILINE
    )
    assert sorted(reference) == sorted({*securelink.__all__, "metrics"} - {"__version__"})


def _documented(file: Path) -> Iterator[tuple[str, str, ast.arguments]]:
    """The name, docstring and arguments of each function, and of each class that has an `__init__`."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, ast.get_docstring(node) or "", node.args
        elif isinstance(node, ast.ClassDef):
            for made in node.body:
                if isinstance(made, ast.FunctionDef) and made.name == "__init__":
                    yield node.name, ast.get_docstring(node) or "", made.args


def test_docstrings_name_one_argument_a_line() -> None:
    """The reference shows each argument with its type, which it finds only if a line has one that the function has."""
    wrong = []
    for file in sorted((ROOT / "securelink").rglob("*.py")):
        for owner, text, given in _documented(file):
            found = re.search(r"\n *Args:\n(.*?)(?:\n\n|\Z)", text, re.DOTALL)
            documented = re.findall(r"^    (\S[^:\n]*):", found[1], re.MULTILINE) if found else []
            names = {arg.arg for arg in (*given.posonlyargs, *given.args, *given.kwonlyargs)}
            names |= {arg.arg for arg in (given.vararg, given.kwarg) if arg is not None}
            wrong += [
                f"{file.relative_to(ROOT)}, {owner}: {name}"
                for name in documented
                if name.lstrip("*") not in names
            ]
    assert not wrong


def test_a_program_beside_a_clone_of_the_same_name_imports_the_library(tmp_path: Path) -> None:
    """
    An editable install is found before a folder `securelink` that is no package: the clone, in the folder above it.

    It is a line in a .pth file for that. A finder of setuptools is asked last, after the folder of the program.
    """
    built = tmp_path / "wheel"
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", "editable_wheel", "--dist-dir", built],
        cwd=ROOT, check=True, capture_output=True, timeout=WAIT * 4,
    )  # fmt: skip
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if "dist-info" not in name]
        assert [Path(name).suffix for name in names] == [".pth"], names
        assert archive.read(names[0]).decode().strip() == str(ROOT)
