"""The planted faults: each fits the source, names a test that exists, and a few of them are tried here."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest
from planted import FAULTS, Fault
from programs import ROOT
from sabotage import Workbench, with_table

EVERY = 30  # one in so many is tried here; `make sabotage` tries all

pytestmark = pytest.mark.pure  # faults are planted in source, which a compiled build does not run


@functools.cache
def source(file: str) -> str:
    """A module of the package as it is."""
    return (ROOT / "securelink" / file).read_text()


@functools.cache
def functions_in(file: str) -> frozenset[str]:
    """The test functions of a file."""
    tree = ast.parse((ROOT / "tests" / file).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def named(fault: Fault) -> str:
    """How pytest shows a fault."""
    return fault.name.replace(" ", "-")


def test_there_are_many() -> None:
    """At least 150 faults, each with a name of its own."""
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 150


@pytest.mark.parametrize("fault", FAULTS, ids=named)
def test_a_fault_fits_the_source(fault: Fault) -> None:
    """The piece to replace stands in the source once, what replaces it is still Python, and the test exists."""
    planted = fault.plant(source(fault.file))
    assert planted != source(fault.file)
    ast.parse(planted)
    file, _, name = fault.test.partition("::")
    assert name in functions_in(file)


def test_a_fault_that_does_not_fit_is_said() -> None:
    """When the source has changed, planting fails loudly instead of testing the sound source."""
    with pytest.raises(ValueError, match=r"errors\.py: something: .* 0 times"):
        Fault("something", "errors.py", "no such line", "", "").plant(source("errors.py"))


def test_the_table_is_the_list() -> None:
    """SECURITY.md shows these faults; `python tests/sabotage.py --table` writes it."""
    text = (ROOT / "SECURITY.md").read_text()
    assert with_table(text) == text


@pytest.fixture(scope="module")
def workbench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """A copy of the project to break."""
    return Workbench(tmp_path_factory.mktemp("sabotage") / "copy")


@pytest.mark.parametrize("fault", FAULTS[::EVERY], ids=named)
def test_a_planted_fault_turns_its_test_red(fault: Fault, workbench: Workbench) -> None:
    """Green without the fault, red with it."""
    code, output = workbench.run([fault.test])
    assert code == 0, output
    noticed, output = workbench.notices(fault)
    assert noticed, output


def test_a_harmless_change_is_not_taken_for_a_fault(workbench: Workbench, tmp_path: Path) -> None:
    """What turns no test red is reported as missed, and so is a test that does not exist."""
    harmless = Fault("harmless", "text.py", "def escaped(", "\ndef escaped(", "test_jobs.py")
    assert not workbench.notices(harmless)[0]
    nowhere = Fault(
        "nowhere",
        "text.py",
        "        return text\n    return",
        "        return ''\n    return",
        "test_jobs.py::test_nothing",
    )
    assert not workbench.notices(nowhere)[0]
