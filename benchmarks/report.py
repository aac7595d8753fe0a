"""The figures as tables: for the terminal by rich, for files as Markdown."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from .catalogue import Peer, Workload
from .results import Results, Spread, Verdict

_HEADINGS = {
    "p50": "p50 µs",
    "p99": "p99 µs",
    "tail": "p99 / p50",
    "cpu": "CPU µs of both sides",
    "server_cpu": "server CPU µs",
    "load_cpu": "load CPU µs",
    "seconds": "s to open all",
    "attempts": "attempts",
    "back": "s until all are back",
    "median_worst": "median of worst, ms",
}

Row = tuple[Peer, list[str]]


def number(value: float) -> str:
    """Three significant digits or whole numbers."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _shown(spread: Spread | None) -> str:
    if spread is None:
        return ""
    if spread.low == spread.high:
        return number(spread.median)
    return f"{number(spread.median)} ({number(spread.low)}-{number(spread.high)})"


def heading(workload: Workload, figure: str) -> str:
    """The words above a column."""
    if figure in _HEADINGS:
        per = " per MB" if workload.method == "bulk" and figure.endswith("_cpu") else ""
        return _HEADINGS[figure] + per
    if figure.startswith("us_"):
        return f"µs at {int(figure[3:]):,}"
    return figure.replace("_us", " µs").replace("_", " ")


def _rows(results: Results, workload: Workload) -> list[Row]:
    best = results.best(workload)
    rows = []
    for peer, spread in results.ranking(workload):
        ratio = f"{spread.median / best[1].median:.2f}" if best else ""
        cells = [_shown(spread), ratio]
        cells += [_shown(results.spread(workload, peer.name, name)) for name in workload.columns]
        rows.append((peer, cells))
    return rows


def _name(peer: Peer) -> str:
    return f"{peer.title} (r)" if peer.reference else peer.title


def _columns(workload: Workload) -> list[str]:
    return [
        "peer", workload.unit, "of best", *(heading(workload, name) for name in workload.columns),
    ]  # fmt: skip


def verdict_text(verdict: Verdict) -> tuple[str, str, str, str]:
    """Goal, value, limit and result of one goal, as words."""
    sign = "<=" if verdict.lower_is_better else ">="
    figure = verdict.goal.figure
    if verdict.against:
        goal = f"{sign} {verdict.goal.factor:g} x {verdict.against}"
        if figure != "rate":
            goal = f"{_HEADINGS[figure]} {goal}"
    else:
        unit = verdict.workload.unit if figure == "rate" else _HEADINGS[figure]
        goal = f"{sign} {verdict.goal.factor:g} {unit}"
    if verdict.goal.subject != "securelink":
        goal += f" ({verdict.goal.subject})"
    result = "met" if verdict.met else f"{verdict.subject / verdict.limit:.2f} of it"
    return goal, number(verdict.subject), number(verdict.limit), result


_CHANGES = ["workload", "before", "figure", "was", "is", "is / was"]


def _changes(results: Results) -> list[list[str]]:
    rows = []
    for workload, peer, figure, was, now in results.changes():
        unit = workload.unit if figure == "rate" else heading(workload, figure)
        ratio = f"{now / was:.2f}"
        rows.append([workload.name, peer.title, unit, number(was), number(now), ratio])
    return rows


def to_terminal(results: Results, console: Console) -> None:
    """Tables, goals and failures."""
    for workload in results.workloads:
        rows = _rows(results, workload)
        if not rows:
            continue
        table = Table(title=f"{workload.name}: {workload.title}", title_justify="left")
        for index, title in enumerate(_columns(workload)):
            table.add_column(title, justify="right" if index else "left")
        for peer, cells in rows:
            ours = peer.name.startswith("securelink")
            style = "bold green" if ours else "dim" if peer.reference else ""
            table.add_row(_name(peer), *cells, style=style)
        console.print(table)
    verdicts = list(results.verdicts())
    if verdicts:
        table = Table(title="goals", title_justify="left")
        for title in ("workload", "goal", "value", "limit", "result"):
            table.add_column(title)
        for verdict in verdicts:
            style = "green" if verdict.met else "red"
            table.add_row(verdict.workload.name, *verdict_text(verdict), style=style)
        console.print(table)
    changes = _changes(results)
    if changes:
        table = Table(title="changes", title_justify="left")
        for title in _CHANGES:
            table.add_column(title)
        for row in changes:
            table.add_row(*row)
        console.print(table)
    for (workload_name, peer_name), reasons in results.failures.items():
        console.print(
            f"FAILED {workload_name} {peer_name}: {reasons[-1]}", style="red", markup=False
        )


def to_markdown(results: Results) -> str:
    """The same, and what each peer does and does not protect."""
    lines = ["# Benchmark", "", _about(results), ""]
    for workload in results.workloads:
        rows = _rows(results, workload)
        if rows:
            lines += [f"## {workload.name}: {workload.title}", ""]
            lines += markdown_table(
                _columns(workload), [[_emphasized(peer), *cells] for peer, cells in rows]
            )
    verdicts = list(results.verdicts())
    if verdicts:
        lines += ["## Goals", ""]
        lines += markdown_table(
            ["workload", "goal", "value", "limit", "result"],
            [[verdict.workload.name, *verdict_text(verdict)] for verdict in verdicts],
        )
    changes = _changes(results)
    if changes:
        lines += ["## Changes", "", *markdown_table(_CHANGES, changes)]
    lines += ["## What each peer does and does not protect", ""]
    lines += markdown_table(
        ["peer", "packets", "protects", "does not", "notes"],
        [[_name(p), p.packets, p.protects, p.lacks, p.notes] for p in results.peers],
    )
    if results.failures:
        lines += ["## Failed", ""]
        for (workload_name, peer_name), reasons in results.failures.items():
            lines.append(f"- {workload_name}, {peer_name}: {len(reasons)} times")
    return "\n".join(lines).rstrip() + "\n"


def _about(results: Results) -> str:
    about = dict(results.about)
    versions = about.pop("versions", {})
    facts = [f"{name} {value}" for name, value in about.items()]
    facts += [f"{name} {version}" for name, version in versions.items()]
    return (
        "Server and load in separate processes on loopback. Medians of the repetitions (least-greatest). (r): a "
        "reference that does not compete. CPU: user and system time for each operation. "
        + "; ".join(facts)
        + "."
    )


def _emphasized(peer: Peer) -> str:
    return f"**{_name(peer)}**" if peer.name.startswith("securelink") else _name(peer)


def markdown_table(titles: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a table, and an empty one."""
    lines = ["| " + " | ".join(titles) + " |", "|" + " --- |" * len(titles)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return [*lines, ""]
