"""
A budget for processor time: instructions for each operation, counted by callgrind, against those of the last release.

    make bench-check                                    fails when a row takes 5 % more than at the last release
    python -m benchmarks.budget --before TREE           compare with another checkout

Instructions do not depend on what else the machine does, but on the interpreter and the libraries, so both trees are
counted here and now. They leave out the kernel. Exit codes: 1 when a row takes too much, 2 when there is nothing to
compare or to measure with.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: The last commit before what CHANGELOG.md calls unreleased was redesigned; to be set at each release.
LAST_RELEASE = "e835c067510f31fc282ba339b53ce43abd018dd7"
ALLOWED = 1.05  # of what it took then
PATIENCE = 600.0  # seconds for all rows

Counts = dict[str, float]  # name of a row -> instructions for each operation


def missing() -> str:
    """What is not installed here, in words; "" when nothing is."""
    if shutil.which("valgrind") is None or shutil.which("callgrind_control") is None:
        return "valgrind is missing: nothing was checked. Install it (apt install valgrind) for this check"
    return ""


def measure(tree: Path) -> Counts:
    """
    Count one tree.

    Raises:
        RuntimeError: The rows did not run to their end.
    """
    with tempfile.TemporaryDirectory(prefix="budget-") as folder:
        counted = Path(folder, "counted")
        done = subprocess.run(
            [
                "valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={counted}",
                sys.executable, "-m", "benchmarks.budget_rows", str(tree),
            ],
            cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": "0"}, capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
        lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
        if done.returncode or not lines:
            raise RuntimeError(f"the rows ended with {done.returncode}:\n{done.stderr[-3000:]}")
        return {
            name: total(Path(f"{counted}.{number}")) / int(operations)
            for number, (operations, name) in enumerate(lines, 1)
        }


def unpack(commit: str, folder: Path) -> None:
    """
    Put the tree of a commit into a folder.

    Raises:
        RuntimeError: Git does not have it, as in a source archive.
    """
    archive = folder / "tree.tar"
    done = subprocess.run(
        ["git", "-C", str(ROOT), "archive", f"--output={archive}", commit],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"git does not have the last release: {done.stderr.strip()}")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    archive.unlink()


def total(counted: Path) -> int:
    """Instructions in a file that callgrind wrote."""
    found = re.search(r"^totals: (\d+)", counted.read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"callgrind counted nothing for {counted.name}")
    return int(found[1])


def compare(before: Counts, now: Counts) -> tuple[list[str], bool]:
    """A table, and whether every row keeps to its budget; one that is not there any more does not."""
    lines = [f"{'instructions for each operation':34} {'before':>10} {'now':>10}"]
    kept = True
    for name in before | now:
        old, new = before.get(name), now.get(name)
        shown = [f"{count:10,.0f}" if count is not None else f"{'-':>10}" for count in (old, new)]
        too_much = old is not None and (new is None or new > old * ALLOWED)
        kept = kept and not too_much
        ratio = f"{new / old:8.3f}" if old and new else ""
        lines.append(f"{name:34} {' '.join(shown)} {ratio}{'  too much' if too_much else ''}")
    return lines, kept


def main() -> int:
    """See above."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.budget")
    parser.add_argument("--before", type=Path, metavar="TREE", help="compare with this checkout")
    options = parser.parse_args()
    words = missing()
    if words:
        print(words)
        return 2
    with tempfile.TemporaryDirectory(prefix="budget-") as folder:
        if options.before is None:
            try:
                unpack(LAST_RELEASE, Path(folder))
            except (OSError, RuntimeError) as error:
                print(
                    f"{error}\ncompare with a checkout of it: python -m benchmarks.budget --before TREE"
                )
                return 2
        lines, kept = compare(measure(options.before or Path(folder)), measure(ROOT))
    print(*lines, sep="\n")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
