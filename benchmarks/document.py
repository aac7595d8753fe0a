"""
Puts results into the documents: python -m benchmarks.document [FOLDER]

The chart of the README (docs/benchmarks.svg) and the tables of docs/MEASUREMENTS.md, from `latest.json`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from . import chart
from .catalogue import WORKLOADS
from .report import markdown_table, number, verdict_text
from .results import Results

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "MEASUREMENTS.md"
PICTURE = ROOT / "docs" / "benchmarks.svg"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"

# In the order of the catalogue, in tables that fit a page.
_TABLES = (
    ("rtt", "pipeline", "pipeline-threads", "many", "handshake", "handshake-8", "resume"),
    ("broadcast-100", "broadcast-500", "burst-100", "burst-500", "bulk", "bulk-busy", "idle"),
    ("storm", "crowd", "fanout", "compute", "sleep", "greedy"),
)
#: In these rows the processor time of both sides and the median latency say as much as the rate.
_COSTS = ("rtt", "pipeline", "many", "broadcast-100", "broadcast-500")


def _matrix(results: Results, names: tuple[str, ...]) -> list[str]:
    """Medians: a line for each peer, a column for each workload."""
    workloads = [w for w in results.workloads if w.name in names]
    titles = ["", *(f"{w.title}, {w.unit}" for w in workloads)]
    rows = []
    for peer in results.peers:
        found = [results.spread(workload, peer.name) for workload in workloads]
        if any(found):
            title = f"{peer.title} (r)" if peer.reference else peer.title
            rows.append([title, *("" if f is None else number(f.median) for f in found)])
    return markdown_table(titles, rows) if rows else []


def _costs(results: Results) -> list[str]:
    """Processor time of both sides for each operation, and the median latency, in microseconds."""
    workloads = [w for w in results.workloads if w.name in _COSTS]
    columns = [(w, f) for w in workloads for f in ("cpu", "p50") if results.ranking(w, f)]
    titles = ["µs", *(f"{w.title}: {'both CPUs' if f == 'cpu' else 'p50'}" for w, f in columns)]
    rows = []
    for peer in results.peers:
        found = [results.spread(workload, peer.name, figure) for workload, figure in columns]
        if any(found):
            rows.append([peer.title, *("" if f is None else number(f.median) for f in found)])
    return markdown_table(titles, rows) if rows else []


def _goals(results: Results) -> list[str]:
    """One line for each goal, with what became of it as it is and compiled."""
    lines: dict[tuple[str, str], list[str]] = {}
    for verdict in results.verdicts():
        compiled = verdict.goal.subject.endswith("-compiled")
        goal, value, limit, result = verdict_text(verdict)
        goal = goal.replace(" (securelink-compiled)", "").replace("-compiled)", ")")
        line = lines.setdefault(
            (verdict.workload.name, goal), [verdict.workload.title, goal, limit, "", "", "", ""]
        )
        line[5 if compiled else 3 : 7 if compiled else 5] = [value, result]
    return markdown_table(
        ["workload", "goal", "that is", "securelink", "", "compiled", ""], list(lines.values())
    )


def measured(results: Results) -> str:
    """The tables, as Markdown."""
    about = results.about
    lines = [
        f"{about['date']}, {about['processors']}, Python {about['python']}, {about['build']}, "
        f"{about['repetitions']} interleaved repetitions in {about['minutes']:.0f} minutes.",
        "Medians; (r): a reference, in plaintext or not comparable.",
        "",
    ]
    for names in _TABLES:
        lines += _matrix(results, names)
    lines += _costs(results)
    return "\n".join([*lines, *_goals(results)])


def main() -> int:
    """The command."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "benchmarks" / "results"
    results = Results.from_json(json.loads((folder / "latest.json").read_text()))
    PICTURE.write_text(chart.draw(results))
    text = DOCUMENT.read_text()
    before, rest = text.split(BEGIN)
    DOCUMENT.write_text(before + BEGIN + measured(results) + END + rest.split(END)[1])
    known = {workload.name for workload in WORKLOADS}
    missing = known - {workload.name for workload in results.workloads if results.ranking(workload)}
    print(f"wrote {DOCUMENT.name} and {PICTURE.name}", *sorted(missing and {f"without {missing}"}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
