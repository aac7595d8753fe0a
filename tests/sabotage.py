"""
Sabotage: plant one fault at a time in a copy of the package, and see that the test named for it turns red.

A test that stays green whatever is broken proves nothing. Each fault of `planted/` replaces one piece of source by a
wrong one and names the test that must notice. Run as a program, from the repository:

    python tests/sabotage.py               all faults, two at a time
    python tests/sabotage.py tokens keys   those whose file, name or test has one of these words
    python tests/sabotage.py --table       write the table of SECURITY.md anew

`make sabotage` runs all of them; `test_sabotage.py` runs a few, and checks that each still fits the source.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

from planted import FAULTS, Fault

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 300.0  # seconds that one test may take; a fault that makes it hang longer has not been noticed by the test
COPIED = (
    "securelink",
    "tests",
    "docs",
    "examples",
    "keys",
    "README.md",
    "SECURITY.md",
    "pyproject.toml",
    "Makefile",
    ".ci",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "setup.py",
    "benchmarks",
)
BEGIN = "<!-- sabotage: written by tests/sabotage.py --table -->"
END = "<!-- end of sabotage -->"


class Workbench:
    """
    A copy of the project in which one fault at a time is planted.

    Args:
        folder: Where to put it; does not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700)
        ignore = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd", ".git")
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=ignore)
            elif source.exists():
                shutil.copy2(source, folder / name)

    @contextmanager
    def planted(self, fault: Fault) -> Iterator[None]:
        """The fault is in the copy while the block runs."""
        path = self._folder / "securelink" / fault.file
        sound = path.read_text()
        path.write_text(fault.plant(sound))
        try:
            yield
        finally:
            path.write_text(sound)

    def run(self, tests: Iterable[str]) -> tuple[int, str]:
        """Run tests against the copy. Returns pytest's exit code (-1: it took too long) and what it printed."""
        command = [
            sys.executable,
            "-B",
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "--tb=line",
        ]
        command += [f"tests/{test}" for test in tests]
        # Programs that a test starts in other folders must find the copy as well, not the installed package.
        environment = os.environ | {"PYTHONPATH": str(self._folder)}
        try:
            done = subprocess.run(
                command,
                cwd=self._folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return -1, f"took longer than {LIMIT:g} s"
        return done.returncode, done.stdout + done.stderr

    def notices(self, fault: Fault) -> tuple[bool, str]:
        """Plant a fault and run its test. Returns whether the test failed, and what was printed."""
        with self.planted(fault):
            code, output = self.run([fault.test])
        # 1 is "tests failed". Any other code says that nothing was tested: a wrong name, an import that broke.
        return code == 1, output


def matching(words: Sequence[str]) -> list[Fault]:
    """The faults that one of the words finds; all of them without words."""
    found = [
        fault
        for fault in FAULTS
        if not words
        or any(word in text for word in words for text in (fault.file, fault.name, fault.test))
    ]
    if not found:
        raise SystemExit(f"no planted fault has {' or '.join(words)} in its file, name or test")
    return found


def run_all(faults: Sequence[Fault], workers: int) -> int:
    """Run faults, show progress, and return how many no test noticed."""
    missed: list[str] = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sabotage-") as folder:
        benches: SimpleQueue[Workbench] = SimpleQueue()
        for number in range(workers):
            benches.put(Workbench(Path(folder) / str(number)))
        bench = benches.get()
        code, output = bench.run(dict.fromkeys(fault.test for fault in faults))
        benches.put(bench)
        if code != 0:
            print(output)
            raise SystemExit("the tests fail before anything is planted")

        def one(fault: Fault) -> tuple[bool, str]:
            bench = benches.get()
            try:
                return bench.notices(fault)
            finally:
                benches.put(bench)

        with ThreadPoolExecutor(workers) as pool:
            for number, (fault, result) in enumerate(
                zip(faults, pool.map(one, faults), strict=True), 1
            ):
                noticed, output = result
                print(
                    f"[{number}/{len(faults)}] {'red ' if noticed else 'MISSED'} {fault.file}: {fault.name}",
                    flush=True,
                )
                if not noticed:
                    missed.append(fault.name)
                    print(output[-2000:], flush=True)
    seconds = time.monotonic() - started
    print(
        f"{len(faults) - len(missed)} of {len(faults)} planted faults turned their test red, in {seconds:.0f} s"
    )
    for name in missed:
        print(f"  missed: {name}")
    return len(missed)


def table() -> str:
    """The table of SECURITY.md."""
    rows = ["| broken on purpose | in | noticed by |", "| --- | --- | --- |"]
    rows += [f"| {fault.name} | `{fault.file}` | `{fault.test}` |" for fault in FAULTS]
    return "\n".join([BEGIN, "", *rows, "", END])


def with_table(text: str) -> str:
    """SECURITY.md with the table as it must be now."""
    before, rest = text.split(BEGIN, 1)
    return before + table() + rest.split(END, 1)[1]


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(
        description="Plant faults one at a time; the test of each must turn red."
    )
    parser.add_argument(
        "words", nargs="*", help="only faults with one of these in their file, name or test"
    )
    parser.add_argument(
        "--table", action="store_true", help="write the table of SECURITY.md and stop"
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="faults at the same time"
    )
    options = parser.parse_args()
    if options.table:
        document = ROOT / "SECURITY.md"
        document.write_text(with_table(document.read_text()))
        return
    raise SystemExit(1 if run_all(matching(options.words), max(1, options.workers)) else 0)


if __name__ == "__main__":
    main()
