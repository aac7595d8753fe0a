"""What was measured."""

from __future__ import annotations

from dataclasses import dataclass, field

PEERS = ("securelink", "plain socket", "TLS")


@dataclass(frozen=True)
class Figures:
    """
    One measurement.

    Attributes:
        rate: Operations a second; bytes a second for bulk data.
        p50, p99: Seconds that one took, where that was measured.
    """

    rate: float
    p50: float | None = None
    p99: float | None = None


@dataclass
class Results:
    """
    All measurements.

    Attributes:
        seconds: How long each was to take.
        figures: By workload, then by peer.
        idle: Bytes of the server's memory for each idle session; None where the system does not tell.
    """

    seconds: float
    figures: dict[str, dict[str, Figures]] = field(default_factory=dict)
    idle: int | None = None
