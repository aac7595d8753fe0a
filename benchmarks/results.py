"""What was measured: medians with their spread, ratios, goals; as JSON."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import ssl
import statistics
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.backends.openssl import backend

from .catalogue import PEERS, WORKLOADS, Goal, Peer, Workload, competes
from .measure import Figures


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest of the repetitions."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Verdict:
    """One goal and what became of it."""

    workload: Workload
    goal: Goal
    subject: float
    limit: float
    against: str  # title of the peer, or ""

    @property
    def lower_is_better(self) -> bool:
        """Whether the goal is a ceiling."""
        return self.workload.lower_is_better or self.goal.figure != "rate"

    @property
    def met(self) -> bool:
        """Whether the medians reach it."""
        if self.lower_is_better:
            return self.subject <= self.limit
        return self.subject >= self.limit


@dataclass
class Results:
    """
    All runs of one call.

    Attributes:
        peers, workloads: Those selected, in order.
        runs: (workload, peer) -> figures of each repetition.
        failures: (workload, peer) -> reasons.
    """

    peers: list[Peer]
    workloads: list[Workload]
    about: dict[str, Any] = field(default_factory=dict)
    runs: dict[tuple[str, str], list[Figures]] = field(default_factory=dict)
    failures: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def add(self, workload: Workload, peer: Peer, figures: Figures) -> None:
        """One repetition."""
        self.runs.setdefault((workload.name, peer.name), []).append(figures)

    def fail(self, workload: Workload, peer: Peer, reason: str) -> None:
        """One repetition without figures."""
        self.failures.setdefault((workload.name, peer.name), []).append(reason)

    def spread(self, workload: Workload, peer: str, figure: str = "rate") -> Spread | None:
        """Of one figure; None when it was not measured."""
        runs = self.runs.get((workload.name, peer), [])
        if figure == "cpu":  # of both sides
            runs = [
                run | {"cpu": run["server_cpu"] + run["load_cpu"]}
                for run in runs
                if "server_cpu" in run
            ]
        values = [run[figure] for run in runs if figure in run]
        return Spread.of(values) if values else None

    def ranking(self, workload: Workload, figure: str = "rate") -> list[tuple[Peer, Spread]]:
        """Best first."""
        found = [
            (peer, spread)
            for peer in self.peers
            if (spread := self.spread(workload, peer.name, figure)) is not None
        ]
        costs = workload.lower_is_better or figure != "rate"
        return sorted(found, key=lambda item: item[1].median, reverse=not costs)

    def best(
        self, workload: Workload, figure: str = "rate", *, pure: bool = False
    ) -> tuple[Peer, Spread] | None:
        """The best encrypted peer in one figure, or the best of those without compiled protocol code."""
        for peer, spread in self.ranking(workload, figure):
            if competes(peer) and not (pure and peer.compiled):
                return peer, spread
        return None

    def verdicts(self) -> Iterator[Verdict]:
        """Every goal whose two sides were measured."""
        titles = {peer.name: peer.title for peer in self.peers}
        for workload in self.workloads:
            for goal in _with_copies(workload.goals):
                subject = self.spread(workload, goal.subject, goal.figure)
                if subject is None:
                    continue
                if not goal.against:
                    yield Verdict(workload, goal, subject.median, goal.factor, "")
                    continue
                if goal.against.startswith("best"):
                    pure = goal.against == "best-pure"
                    other = self.best(workload, goal.figure, pure=pure)
                else:
                    spread = self.spread(workload, goal.against, goal.figure)
                    other = None if spread is None else (_named(self.peers, goal.against), spread)
                if other is not None:
                    peer, spread = other
                    limit = goal.factor * spread.median
                    yield Verdict(workload, goal, subject.median, limit, titles[peer.name])

    def changes(self) -> Iterator[tuple[Workload, Peer, str, float, float]]:
        """Workload, peer, figure, its median before and now, where an earlier state was measured too."""
        for workload in self.workloads:
            for peer in self.peers:
                if not peer.copy.startswith("before"):
                    continue
                for figure in ("rate", "server_cpu", "load_cpu"):
                    now = self.spread(workload, _successor(peer), figure)
                    before = self.spread(workload, peer.name, figure)
                    if now is not None and before is not None and before.median:
                        yield workload, peer, figure, before.median, now.median

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Results:
        """What `to_json` wrote; peers and workloads are those of the catalogue."""
        measured = document["workloads"]
        peers = [peer for peer in PEERS if peer.name in document["peers"]]
        workloads = [workload for workload in WORKLOADS if workload.name in measured]
        results = cls(peers, workloads, document["about"])
        for workload in workloads:
            for name, figures in measured[workload.name]["peers"].items():
                runs = [figures[figure]["runs"] for figure in figures]
                results.runs[workload.name, name] = [
                    dict(zip(figures, run, strict=True)) for run in zip(*runs, strict=True)
                ]
        return results

    def to_json(self) -> str:
        """Everything, with the single runs."""
        document = {
            "about": self.about,
            "workloads": {
                workload.name: {
                    "title": workload.title,
                    "unit": workload.unit,
                    "lower_is_better": workload.lower_is_better,
                    "parameters": workload.parameters,
                    "peers": self._peers_of(workload),
                }
                for workload in self.workloads
            },
            "peers": {
                peer.name: {
                    "title": peer.title,
                    "packets": peer.packets,
                    "protects": peer.protects,
                    "lacks": peer.lacks,
                    "notes": peer.notes,
                    "reference": peer.reference,
                }
                for peer in self.peers
            },
            "goals": [
                {
                    "workload": verdict.workload.name,
                    "subject": verdict.goal.subject,
                    "figure": verdict.goal.figure,
                    "value": verdict.subject,
                    "factor": verdict.goal.factor,
                    "against": verdict.against,
                    "limit": verdict.limit,
                    "met": verdict.met,
                }
                for verdict in self.verdicts()
            ],
            "failures": [
                {"workload": workload, "peer": peer, "reasons": reasons}
                for (workload, peer), reasons in self.failures.items()
            ],
        }
        return json.dumps(document, indent=1)

    def _peers_of(self, workload: Workload) -> dict[str, Any]:
        measured = {}
        for peer in self.peers:
            runs = self.runs.get((workload.name, peer.name))
            if runs:
                names = runs[0].keys()
                spreads = {name: Spread.of([run[name] for run in runs]) for name in names}
                measured[peer.name] = {
                    name: {
                        "median": spread.median,
                        "min": spread.low,
                        "max": spread.high,
                        "runs": [run[name] for run in runs],
                    }
                    for name, spread in spreads.items()
                }
        return measured


def _with_copies(goals: tuple[Goal, ...]) -> Iterator[Goal]:
    for goal in goals:
        yield goal
        factor = goal.factor if goal.compiled is None else goal.compiled
        yield replace(goal, subject=f"{goal.subject}-compiled", factor=factor)


def _successor(peer: Peer) -> str:
    """The name of the peer that `peer` is an earlier state of."""
    return peer.name.replace("-before", "")


def _named(peers: list[Peer], name: str) -> Peer:
    return next(peer for peer in peers if peer.name == name)


def environment(peers: list[Peer], repetitions: int) -> dict[str, Any]:
    """Date, machine and versions."""
    names = sorted({package for peer in peers for package in peer.packages})
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "python": platform.python_version(),
        "build": _build(),
        "system": f"{platform.system()} {platform.release()}",
        "processors": f"{os.cpu_count()} x {_processor()}",
        "OpenSSL of ssl": ssl.OPENSSL_VERSION,
        "OpenSSL of cryptography": backend.openssl_version_text(),
        "repetitions": repetitions,
        "versions": versions,
    }


def _build() -> str:
    """How the interpreter was compiled: without the optimisation that distributions use, all our ratios are worse."""
    arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
    if "--enable-optimizations" in arguments:
        return "optimised (PGO)"
    # Distributions optimise theirs by means of their own, of which its configuration does not know.
    return "of the system" if sys.base_prefix == "/usr" else "without PGO"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
