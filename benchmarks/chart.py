"""The figures as one SVG picture: a panel for each workload, a bar for each peer, readable on light and dark pages."""

from __future__ import annotations

from xml.sax.saxutils import escape

from .catalogue import Peer, Workload
from .report import number
from .results import Results, Spread

PANELS = ("rtt", "pipeline", "many", "broadcast-100", "burst-100", "handshake-8", "bulk", "idle")
_WIDTH = 960
_COLUMN = 470
_LABEL = 190  # of a column: names of the peers
_BAR = 170  # the longest bar; what is left of a column is for the number
_ROW = 19
_TITLE = 40

_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600; font-size: 13px }
  .ours { fill: #1a7f37 } .peer { fill: #8c959f } .reference { fill: #d0d7de }
  .name-ours { font-weight: 600 }
  .range { stroke: #24292f; stroke-width: 1; opacity: .55 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .ours { fill: #3fb950 } .peer { fill: #6e7681 } .reference { fill: #30363d }
    .range { stroke: #e6edf3 }
  }
"""


def draw(results: Results, panels: tuple[str, ...] = PANELS) -> str:
    """The picture, as text."""
    chosen = [w for w in results.workloads if w.name in panels and results.ranking(w)]
    parts: list[str] = []
    heights = [0, 0]  # of the two columns so far
    for workload in chosen:
        column = heights.index(min(heights))
        panel, height = _panel(results, workload)
        parts.append(f'<g transform="translate({column * (_COLUMN + 20)},{heights[column]})">')
        parts += [*panel, "</g>"]
        heights[column] += height
    height = max(heights) + 24
    caption = (
        "loopback, server and load in separate processes; medians, lines: least to greatest. "
        "Pale: references (plaintext, or not comparable)."
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
            f'width="{_WIDTH}" height="{height}" role="img">',
            f"<title>{escape(_summary(results, chosen))}</title>",
            f"<style>{_STYLE}</style>",
            *parts,
            f'<text x="0" y="{height - 8}">{escape(caption)}</text>',
            "</svg>",
            "",
        ]
    )


def _panel(results: Results, workload: Workload) -> tuple[list[str], int]:
    ranking = results.ranking(workload)
    longest = max(spread.high for _, spread in ranking) or 1.0
    less = ", less is better" if workload.lower_is_better else ""
    parts = [
        f'<text class="title" x="0" y="24">{escape(workload.title)} ({escape(workload.unit)}{less})</text>'
    ]
    for index, (peer, spread) in enumerate(ranking):
        parts += _bar(peer, spread, longest, _TITLE + index * _ROW)
    return parts, _TITLE + len(ranking) * _ROW + 12


def _bar(peer: Peer, spread: Spread, longest: float, top: int) -> list[str]:
    ours = peer.name.startswith("securelink")
    kind = "reference" if peer.reference else "ours" if ours else "peer"
    scale = _BAR / longest
    end = _LABEL + spread.high * scale + 8
    middle = top + 6
    return [
        f'<text class="name-{kind}" x="{_LABEL - 8}" y="{top + 10}" text-anchor="end">{escape(_short(peer))}</text>',
        f'<rect class="{kind}" x="{_LABEL}" y="{top}" width="{max(1.0, spread.median * scale):.1f}" height="12"/>',
        f'<line class="range" x1="{_LABEL + spread.low * scale:.1f}" y1="{middle}" '
        f'x2="{_LABEL + spread.high * scale:.1f}" y2="{middle}"/>',
        f'<text class="name-{kind}" x="{end:.1f}" y="{top + 10}">{number(spread.median)}</text>',
    ]


def _short(peer: Peer) -> str:
    return peer.title if len(peer.title) <= 28 else peer.name


def _summary(results: Results, workloads: list[Workload]) -> str:
    """For those who cannot see the picture."""
    facts = []
    for workload in workloads:
        ours, best = results.spread(workload, "securelink"), results.best(workload)
        if ours is not None and best is not None:
            facts.append(
                f"{workload.title}: securelink {number(ours.median)}, best encrypted peer "
                f"{best[0].title} {number(best[1].median)} {workload.unit}"
            )
    return "; ".join(facts) or "benchmark"
