"""The benchmarks: every workload does its work against securelink, with tiny counts. Nothing here looks at a time."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import budget, catalogue, chart, document, pairs, process, report
from benchmarks.catalogue import Goal, Peer, Workload
from benchmarks.drivers import blocking
from benchmarks.drivers.blocking import Driver
from benchmarks.peers import ours
from benchmarks.results import Results, Spread
from benchmarks.target import PACKET, Target
from securelink import Refused, createEncryptKeys

ROOT = Path(__file__).resolve().parent.parent
TINY: dict[str, dict[str, Any]] = {
    "rtt": {"count": 20},
    "pipeline": {"count": 300},
    "pipeline-threads": {"count": 300},
    "pipeline-batch": {"count": 300},
    "many": {"clients": 5, "rounds_": 4},
    "broadcast-100": {"receivers": 6, "casts": 8},
    "broadcast-500": {"receivers": 3, "casts": 8},
    "burst-100": {"receivers": 4, "casts": 3},
    "burst-500": {"receivers": 2, "casts": 3},
    "handshake": {"count": 3},
    "handshake-8": {"count": 8},
    "resume": {"count": 8, "clients": 2},
    "storm": {"clients": 4, "processes": 2},
    "bulk": {"size": 2**21},
    "bulk-busy": {"size": 2**20},
    "idle": {"count": 10},
    "crowd": {"count": 20},
    "fanout": {"sizes": [2, 4], "deliveries": 16},
    "compute": {"handler_seconds": 0.05, "times": 2},
    "sleep": {"handler_seconds": 0.05},
    "greedy": {"clients": 2, "handler_seconds": 0.001, "seconds": 0.05},
}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A running server of the benchmarks, with identities on both sides, in this process."""
    folder = tmp_path_factory.mktemp("benchmarks")
    for name in ("server", "client"):
        createEncryptKeys(str(folder), name, 2048)
    target = Target("ours", "blocking", str(folder), "token", {"identity": "mutual"})
    server, info = ours.start(target)
    try:
        yield target.with_server(info | {"pid": os.getpid()})
    finally:
        assert server.stop()


@pytest.fixture(autouse=True)
def _short_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "SETTLE", 0.01)


def _workload(name: str) -> Workload:
    return next(workload for workload in catalogue.WORKLOADS if workload.name == name)


@pytest.mark.parametrize("name", TINY)
def test_each_workload_runs(target: Target, name: str) -> None:
    """Every workload completes against securelink and gives finite figures for each column of its table."""
    workload = _workload(name)
    parameters = workload.parameters | TINY[name]
    figures = getattr(Driver(ours.connect, target), workload.method)(**parameters)
    wanted = {"rate", *workload.columns}
    if workload.method == "fanout":
        wanted = {"rate", "us_2", "us_4"}
    if workload.holder:  # the other figures come from a third process, see below
        wanted -= {"beside", "without"}
    assert wanted <= figures.keys()
    assert all(math.isfinite(value) for value in figures.values())


def test_every_workload_of_securelink_has_a_smoke_run() -> None:
    """A workload added to the catalogue is run here as well."""
    peer = next(peer for peer in catalogue.PEERS if peer.name == "securelink")
    measured = {w.name for w in catalogue.WORKLOADS if catalogue.takes_part(peer, w)}
    assert measured == TINY.keys()


def test_a_wrong_echo_is_noticed(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that answers something else gives an error, not a figure."""
    monkeypatch.setattr(ours.Connection, "receive", lambda self: {"x": 0})
    with pytest.raises(AssertionError, match="echo differs"):
        Driver(ours.connect, target).rtt(1, 1.0)


def test_the_server_demands_the_token(target: Target) -> None:
    """What is measured is an authenticated session: a wrong join token is refused."""
    wrong = target.with_server(target.server | {"join": "00000000-0000-4000-8000-000000000000"})
    with pytest.raises(Refused):
        ours.connect(wrong)


def test_the_command_starts_and_ends_its_processes(tmp_path: Path) -> None:
    """The command measures two processes, saves JSON, tables and a chart, and leaves no process behind."""
    done = subprocess.run(
        [
            sys.executable, "-m", "benchmarks", "rtt", "bulk-busy", "crowd", "--quick", "--repeat", "1",
            "--bits", "2048", "--sessions", "8", "--peers", "securelink,raw", "--output", str(tmp_path),
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    saved = json.loads((tmp_path / "latest.json").read_text())
    measured = saved["workloads"]["rtt"]["peers"]
    assert measured["securelink"]["rate"]["median"] > 0
    assert measured["raw"]["rate"]["runs"]
    crowd = saved["workloads"]["crowd"]["peers"]["securelink"]
    assert crowd["rate"]["median"] == crowd["beside"]["median"] / crowd["without"]["median"]
    assert saved["workloads"]["bulk-busy"]["peers"]["securelink"]["rate"]["median"] > 0
    assert saved["about"]["versions"]["securelink"]
    assert saved["about"]["build"] in ("optimised (PGO)", "of the system", "without PGO")
    assert "| **securelink** |" in (tmp_path / "latest.md").read_text()
    assert (tmp_path / "latest.svg").read_text().startswith("<svg ")


def test_a_process_that_fails_says_why() -> None:
    """A child that dies gives its last words as the reason, and is gone."""
    with (
        process.Child("benchmarks.load", "{}", "rtt", "{}") as child,
        pytest.raises(process.RunFailed, match="TypeError"),
    ):
        child.line(120)
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


def test_a_silent_process_is_ended() -> None:
    """A child that says nothing in time fails, and is ended."""
    with process.Child("benchmarks.serve", Target("raw", "blocking", ".", "").to_json()) as child:
        child.line(120)
        with pytest.raises(process.RunFailed, match="no answer within"):
            child.line(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


# --- what becomes of figures --------------------------------------------------------------------------


def _results() -> Results:
    """Three peers, one workload with one goal, three repetitions."""
    peers = [
        Peer("securelink", "securelink", "", "", "", ""),
        Peer("fast", "fast <&> peer", "", "", "", "", compiled=True),
        Peer("slow", "slow peer", "", "", "", ""),
        Peer("floor", "floor", "", "", "", "", reference=True),
    ]
    workload = Workload(
        "rtt", "ping-pong", "rtt", "trips/s", {},
        goals=(Goal(1.5, "best"), Goal(1.5, "best-pure"), Goal(250.0), Goal(1.7, figure="tail")),
        columns=(),
    )  # fmt: skip
    results = Results(peers, [workload])
    for name, rates in {
        "securelink": [300.0, 290.0, 310.0],
        "fast": [250.0, 240.0, 260.0],
        "slow": [100.0, 10.0, 110.0],
        "floor": [900.0, 900.0, 900.0],
    }.items():
        for rate in rates:
            results.add(
                workload, next(p for p in peers if p.name == name), {"rate": rate, "tail": 2.0}
            )
    return results


def test_medians_and_goals() -> None:
    """Goals compare medians with the best encrypted peer, the best pure one, or a number; references do not count.

    A goal of another figure than the rate is a ceiling.
    """
    results = _results()
    workload = results.workloads[0]
    assert results.spread(workload, "slow") == Spread(100.0, 10.0, 110.0)
    verdicts = list(results.verdicts())
    assert [(v.against, v.limit, v.met) for v in verdicts] == [
        ("fast <&> peer", 375.0, False),
        ("slow peer", 150.0, True),
        ("", 250.0, True),
        ("", 1.7, False),
    ]


def test_costs_are_better_when_lower() -> None:
    """Where less is better the ranking turns round, and so does the goal."""
    results = _results()
    workload = replace(results.workloads[0], lower_is_better=True, goals=(Goal(250.0),))
    results.workloads[:] = [workload]
    assert [peer.name for peer, _ in results.ranking(workload)][:2] == ["slow", "fast"]
    assert [verdict.met for verdict in results.verdicts()] == [False]


def test_goals_of_other_figures_and_of_the_compiled_copy() -> None:
    """A latency is compared with the least of a peer, and processor time is that of both sides."""
    names = ("securelink", "securelink-compiled", "picows", "pyzmq")
    peers = [peer for name in names for peer in catalogue.PEERS if peer.name == name]
    workload = replace(
        _workload("rtt"),
        goals=(
            Goal(2.0, "best", compiled=3.0), Goal(1.5, "best", figure="p50"), Goal(1.0, "picows", figure="cpu"),
        ),
    )  # fmt: skip
    results = Results(peers, [workload])
    for peer, rate, p50 in zip(peers, (30.0, 30.0, 20.0, 10.0), (9.0, 7.0, 8.0, 6.0), strict=True):
        figures = {"rate": rate, "p50": p50, "server_cpu": p50, "load_cpu": 1.0}
        results.add(workload, peer, figures)
    subjects: dict[str, list[tuple[float, bool]]] = {}
    for verdict in results.verdicts():
        subjects.setdefault(verdict.goal.subject, []).append((verdict.limit, verdict.met))
    assert subjects == {
        "securelink": [(40.0, False), (9.0, True), (9.0, False)],
        "securelink-compiled": [(60.0, False), (9.0, True), (9.0, True)],
    }
    assert "| CPU µs of both sides <= 1 x picows on uvloop, TLS | 10 | 9 | 1.11 of it |" in (
        report.to_markdown(results)
    )
    results.about = {
        "date": "",
        "processors": "",
        "python": "",
        "build": "",
        "repetitions": 1,
        "minutes": 1.0,
    }
    assert "| one client, ping-pong: both CPUs |" in document.measured(results)


def test_chart_is_well_formed() -> None:
    """The chart is XML whatever titles contain, and shows every peer of a panel."""
    picture = ElementTree.fromstring(chart.draw(_results()))
    space = "{http://www.w3.org/2000/svg}"
    words = [node.text for node in picture.iter(f"{space}text")]
    assert "fast <&> peer" in words
    assert len(list(picture.iter(f"{space}rect"))) == 4


def test_failures_are_in_the_tables() -> None:
    """A run without figures is named in the report, not left out silently."""
    results = _results()
    results.fail(results.workloads[0], results.peers[2], "it ended early")
    assert "- rtt, slow: 1 times" in report.to_markdown(results)


def test_the_packet_is_the_agreed_one() -> None:
    """All peers encode the same small packet."""
    assert PACKET == {
        "action": "move",
        "data": {"x": 1.25, "y": -3.5, "hp": 97, "name": "player-17"},
    }


def test_an_earlier_state_is_compared() -> None:
    """Where an earlier state of securelink was measured in the same run, the tables show what changed."""
    now, before = (
        next(peer for peer in catalogue.PEERS if peer.name == name)
        for name in ("securelink", "securelink-before")
    )
    results = Results([now, before], [_workload("rtt")])
    for peer, rate in ((now, 300.0), (before, 200.0)):
        results.add(results.workloads[0], peer, {"rate": rate})
    assert [change[2:] for change in results.changes()] == [("rate", 200.0, 300.0)]
    assert "| securelink, before | round trips/s | 200 | 300 | 1.50 |" in report.to_markdown(
        results
    )


# --- what the documents say ---------------------------------------------------------------------------


def test_results_survive_a_file() -> None:
    """What was saved is what is read again, to the last run."""
    results = Results(catalogue.PEERS[:2], catalogue.WORKLOADS[:2], {"minutes": 1.0})
    for workload in results.workloads:
        for peer in results.peers:
            results.add(workload, peer, {"rate": 1.0, "p50": 2.0})
            results.add(workload, peer, {"rate": 3.0, "p50": 4.0})
    again = Results.from_json(json.loads(results.to_json()))
    assert again == results


def test_chart_and_tables_agree() -> None:
    """Every number of the README's picture stands in docs/MEASUREMENTS.md, in the line of its peer."""
    picture = ElementTree.fromstring(document.PICTURE.read_text())
    text = document.DOCUMENT.read_text()
    tables = text[text.index(document.BEGIN) : text.index(document.END)].splitlines()
    words = [node.text or "" for node in picture.iter("{http://www.w3.org/2000/svg}text")]
    names = {peer.title: peer.title for peer in catalogue.PEERS}
    names |= {peer.name: peer.title for peer in catalogue.PEERS}
    bars = [(names[name], shown) for name, shown in pairwise(words) if name in names]
    assert len(bars) > 50
    for title, shown in bars:
        lines = [line for line in tables if line.startswith((f"| {title} |", f"| {title} (r) |"))]
        assert any(f"| {shown} |" in line for line in lines), (title, shown)


def test_the_readme_shows_the_chart() -> None:
    """The picture of the README is the one that is written from results."""
    readme = (document.ROOT / "README.md").read_text()
    assert f"]({document.PICTURE.relative_to(document.ROOT)})" in readme


# --- the budget -----------------------------------------------------------------------------------------


def test_the_budget_is_kept() -> None:
    """A row may take up to 5 % more than is recorded, and a new row is no fault."""
    lines, kept = budget.compare({"echo": 1000.0}, {"echo": 1049.0, "new": 5.0})
    assert kept
    assert lines[1].split() == ["echo", "1,000", "1,049", "1.049"]


@pytest.mark.parametrize("now", [{"echo": 1051.0}, {}])
def test_what_takes_too_much_is_said(now: budget.Counts) -> None:
    """A row that takes more than that, or that is not measured any more, fails the check and is marked."""
    lines, kept = budget.compare({"echo": 1000.0}, now)
    assert not kept
    assert lines[1].endswith("too much")


def test_a_check_without_valgrind_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where it cannot count, the check does not pass for one that was done."""
    monkeypatch.setattr(sys, "argv", ["budget"])
    monkeypatch.setenv("PATH", "")
    assert budget.main() == 2
    assert "valgrind is missing: nothing was checked" in capsys.readouterr().out


def test_a_check_without_the_last_release_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Outside of a repository that has it nothing is compared, and that is no success."""
    monkeypatch.setattr(sys, "argv", ["budget"])
    monkeypatch.setattr(budget, "missing", lambda: "")
    monkeypatch.setattr(budget, "LAST_RELEASE", "0" * 40)
    assert budget.main() == 2
    said = capsys.readouterr().out
    assert "git does not have the last release" in said
    assert "--before TREE" in said


@pytest.mark.parametrize("row", ["cast-3-2", "echo-2-1"])
def test_two_trees_take_turns(row: str) -> None:
    """Each round has the figures of both; here of one tree twice."""
    found = list(pairs.pairs(ROOT, ROOT, row, 2))
    assert len(found) == 2
    for figures in (figures for round_ in found for figures in round_):
        assert figures.keys() == {"time", "load", "server"}
        assert all(value > 0 for value in figures.values())
    line = pairs.table(row, [({"time": 2.0}, {"time": 3.0}), ({"time": 2.0}, {"time": 1.0})])
    assert line.split() == [row, "time", "1.000", "(0.25-1.75)"]


def test_counts_are_read_from_what_callgrind_writes(tmp_path: Path) -> None:
    """The sum that callgrind states; a file without one is an error, not zero."""
    counted = tmp_path / "counted.1"
    counted.write_text("events: Ir\nfn=(1)\n0 5\n\ntotals: 12345\n")
    assert budget.total(counted) == 12345
    counted.write_text("events: Ir\n")
    with pytest.raises(RuntimeError, match="counted nothing"):
        budget.total(counted)


def test_every_row_is_measured() -> None:
    """The rows run to their end. In a process of its own: they stop the time."""
    code = (
        "from benchmarks import budget_rows as rows\n"
        "rows.control = lambda *words: None\n"
        f"rows.main({str(ROOT)!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    names = {line.split(" ", 1)[1] for line in done.stdout.splitlines()}
    assert names == {
        "64 KiB and an answer", "broadcast, a delivery", "burst, a delivery", "ping-pong",
        "ping-pong, handlers in update()", "pipelined by batch()", "pipelined by send()",
    }  # fmt: skip
