"""`python -m benchmarks`: run, show, save. See README.md in this folder."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from . import chart, credentials, report
from .catalogue import COPIES, PEERS, WORKLOADS, Peer, Workload, takes_part
from .process import RunFailed, run
from .results import Results, environment

Named = TypeVar("Named", Peer, Workload)
_DEFAULT_OUTPUT = Path(__file__).resolve().parent / "results"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure securelink beside what people would use instead.",
    )
    parser.add_argument("workloads", nargs="*", metavar="workload", help="default: all")
    parser.add_argument("--peers", help="names, separated by commas; default: all")
    parser.add_argument("--repeat", type=int, help="repetitions, interleaved (5; quick: 1)")
    parser.add_argument("--quick", action="store_true", help="small counts: does it work?")
    parser.add_argument("--sessions", type=int, help="idle sessions in 'idle' and 'crowd'")
    parser.add_argument("--bits", type=int, default=3072, help="of RSA keys (3072)")
    parser.add_argument("--pin", action="store_true", help="server and load each on one processor")
    for copy, what in COPIES.items():
        parser.add_argument(f"--{copy}", type=Path, metavar="FOLDER", help=f"measured too: {what}")
    parser.add_argument("--output", type=Path, default=_DEFAULT_OUTPUT, help="folder for results")
    parser.add_argument("--list", action="store_true", help="show workloads and peers")
    return parser


def _chosen(
    parser: argparse.ArgumentParser, known: Sequence[Named], names: Sequence[str]
) -> list[Named]:
    by_name = {item.name: item for item in known}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(by_name)}")
    return [item for item in known if not names or item.name in names]


def _copies(parser: argparse.ArgumentParser, options: argparse.Namespace) -> dict[str, Path]:
    """The other trees that are measured too, by the names of their options."""
    given = {copy: getattr(options, copy.replace("-", "_")) for copy in COPIES}
    copies = {copy: folder.resolve() for copy, folder in given.items() if folder is not None}
    for copy, folder in copies.items():
        if not (folder / "benchmarks" / "serve.py").exists():
            parser.error(f"{folder} is no tree of securelink")
        if copy.endswith("compiled") and not list(folder.glob("securelink/**/records.*.so")):
            parser.error(f"{folder} has no compiled securelink: see .ci/compiled-copy")
    return copies


def main() -> int:
    """The command; 1 when a run failed."""
    parser = _parser()
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 150)
    if options.list:
        for workload in WORKLOADS:
            console.print(f"{workload.name:16} {workload.title}", highlight=False)
        for peer in PEERS:
            console.print(f"{peer.name:22} {peer.title}", highlight=False)
        return 0
    workloads = _chosen(parser, WORKLOADS, options.workloads)
    peers = _chosen(parser, PEERS, options.peers.split(",") if options.peers else [])
    copies = _copies(parser, options)
    peers = [peer for peer in peers if not peer.copy or peer.copy in copies]
    repetitions = options.repeat or (1 if options.quick else 5)
    began = time.monotonic()
    results = Results(
        peers,
        workloads,
        environment(peers, repetitions) | {"pinned": options.pin, "RSA bits": options.bits},
    )
    progress = Console(stderr=True)
    try:
        with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
            credentials.make(Path(folder), options.bits)
            for repetition in range(1, repetitions + 1):
                for workload in workloads:
                    for peer in peers:
                        if takes_part(peer, workload):
                            _measure(results, workload, peer, Path(folder), options, copies)
                            progress.print(
                                f"{repetition}/{repetitions} {workload.name} {peer.name}",
                                style="dim",
                            )
    except KeyboardInterrupt:
        progress.print("interrupted; what was measured so far:", style="red")
    results.about["minutes"] = round((time.monotonic() - began) / 60, 1)
    report.to_terminal(results, console)
    _save(results, options.output)
    console.print(f"saved in {options.output}")
    return 1 if results.failures else 0


def _measure(
    results: Results,
    workload: Workload,
    peer: Peer,
    folder: Path,
    options: argparse.Namespace,
    copies: dict[str, Path],
) -> None:
    parameters = dict(workload.parameters)
    if options.quick:
        parameters |= workload.quick
    if options.sessions and workload.name == "idle":
        parameters["count"] = options.sessions
    if workload.holder:
        parameters["holder"] = options.sessions or (500 if options.quick else workload.holder)
    try:
        token = secrets.token_urlsafe(24)
        figures = run(peer, workload, folder, token, parameters, pin=options.pin, copies=copies)
        results.add(workload, peer, figures)
    except RunFailed as failure:
        results.fail(workload, peer, str(failure))


def _save(results: Results, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "latest.json").write_text(results.to_json())
    (folder / "latest.md").write_text(report.to_markdown(results))
    (folder / "latest.svg").write_text(chart.draw(results))


if __name__ == "__main__":
    sys.exit(main())
