"""Run harnesses with atheris, one process each: python -m fuzz [--seconds N] [target ...]"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FOUND = (
    HERE.parents[1] / "build" / "fuzz"
)  # what atheris finds: its own corpus, and inputs that failed


def one(name: str, seconds: int) -> None:
    """Fuzz one harness in this process, which atheris ends."""
    import atheris

    with atheris.instrument_imports(include=["securelink"]):
        from fuzz.targets import BY_NAME, MOST, SLOWER

    target = BY_NAME[name]
    seeds = FOUND / "seeds" / name
    found = FOUND / "corpus" / name
    for folder in (seeds, found):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.corpus()):
        (seeds / f"{number:04}").write_bytes(seed[:MOST])
    options = [
        f"-max_total_time={seconds}", f"-max_len={MOST}", "-timeout=30", "-rss_limit_mb=2048", "-verbosity=0",
        "-print_final_stats=1", f"-artifact_prefix={FOUND}/{name}-",
    ]  # fmt: skip
    atheris.Setup(
        [sys.argv[0], *options, str(found), str(seeds)], lambda data: target.run(data, SLOWER)
    )
    atheris.Fuzz()


def main() -> int:
    """Divide the time among the harnesses; the exit code is the number of those that failed."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=300, help="for all of them together (300)")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", help="names of harnesses; all when there is none")
    options = parser.parse_args()
    if options.here:
        one(options.targets[0], options.seconds)
        return 0
    from fuzz.targets import BY_NAME

    unknown = set(options.targets) - set(BY_NAME)
    if unknown:
        parser.error(
            f"no harness is called {', '.join(sorted(unknown))}; there are: {', '.join(BY_NAME)}"
        )
    names = options.targets or list(BY_NAME)
    each = max(1, options.seconds // len(names))
    failed = []
    for name in names:
        print(f"--- {name}: {each} s", flush=True)
        command = [sys.executable, "-m", "fuzz", "--here", "--seconds", str(each), name]
        if subprocess.run(command, cwd=HERE.parent, timeout=each + 300, check=False).returncode:
            failed.append(name)
    print(f"{len(names)} harnesses, {len(failed)} failed", *failed)
    if failed:
        print(f"the inputs are in {FOUND}: put them into {HERE / 'corpus'} with the mending")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
