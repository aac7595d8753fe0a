"""benchmarks/survive.py --faults in short: processes that stand still."""

from __future__ import annotations

import pytest

from benchmarks.faults import ON_THIS_MACHINE, Fault, suffer

HEARTBEAT = 1.0  # seconds; a side is silent after 2.5 of them
SECONDS = 4.0


@pytest.mark.parametrize("fault", ON_THIS_MACHINE, ids=lambda fault: fault.__name__)
def test_a_session_outlives_what_happens_to_processes(fault: Fault) -> None:
    """It goes on, the same one; nothing is lost, doubled or out of order."""
    assert suffer(fault, SECONDS, HEARTBEAT) == []
