"""`securelink bench`: how fast it is on this machine, beside what a socket and TLS can do here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from ...bench.results import PEERS, Figures, Results
from .program import show_table, tell


@click.command("bench")
@click.option(
    "--seconds",
    type=click.FloatRange(0.01, 30),
    default=1.5,
    show_default=True,
    help="For each of 18 measurements.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def bench(seconds: float, as_json: bool) -> None:
    """
    Measure this library on this machine, in less than a minute.

    It starts servers of its own on 127.0.0.1, with a fresh RSA-3072 key in a temporary folder, and puts beside each
    number what a bare socket does, and what TLS 1.3 of the module ssl does with the same key. These two know no
    packets, bounds or acknowledgements: they are floors, not rivals. Only compare what is in one line: absolute numbers
    depend on the machine and on what else it does.
    """
    # Here, not above: every other command would start later by what these load.
    from ...bench.machine import facts
    from ...bench.run import run

    with status() as show:
        results = run(seconds, show)
    if as_json:
        click.echo(json.dumps(as_dict(results, facts()), indent=2))
        return
    show_table(("", *PEERS), list(rows(results)))
    click.echo()
    for line in remarks(facts()):
        click.echo(line)


@contextmanager
def status(console: Console | None = None) -> Iterator[Any]:
    """Gives a function that says what is being measured: in place in a terminal, else line by line."""
    console = console or Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield tell
        return
    with console.status(Text("")) as spinner:
        yield lambda text: spinner.update(Text(text))


def as_dict(results: Results, known: dict[str, Any]) -> dict[str, Any]:
    """Everything, as plain values: rates a second (bytes for bulk data), times in seconds, memory in bytes."""
    measured = {
        title: {peer: asdict(figures) for peer, figures in found.items()}
        for title, found in results.figures.items()
    }
    return {
        "machine": known,
        "seconds": results.seconds,
        "measured": measured,
        "idle session": results.idle,
    }


def rows(results: Results) -> Iterator[tuple[str, ...]]:
    """The table, line by line."""
    for title, figures in results.figures.items():
        found = [figures[peer] for peer in PEERS]
        bulk = title.startswith("bulk")
        yield (title, *(_megabytes(f) if bulk else f"{f.rate:,.0f}/s" for f in found))
        if found[0].p50 is not None:
            yield ("  half take up to", *(_milliseconds(f.p50) for f in found))
            yield ("  99 % take up to", *(_milliseconds(f.p99) for f in found))
    if results.idle is not None:
        yield ("memory of an idle session", f"{results.idle / 1024:.1f} KiB", "", "")


def _megabytes(figures: Figures) -> str:
    return f"{figures.rate / 1e6:,.0f} MB/s"


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.3f} ms"


def remarks(known: dict[str, Any]) -> Iterator[str]:
    """What has a part in the numbers."""
    modules = ", ".join(known["compiled"])
    how = f"compiled: {modules}" if modules else "pure Python"
    yield f"securelink {known['securelink']}, {how}; {known['python']}"
    yield (
        f"cryptography {known['cryptography']} with {known['openssl']}, msgspec {known['msgspec']}; "
        f"ssl with {known['openssl of ssl']}"
    )
    yield f"{known['system']}, {known['cores']} cores for this process; servers and clients shared them"
