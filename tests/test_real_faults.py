"""benchmarks/survive.py --faults in short: processes that stand still, networks that fail, cables that are pulled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import pytest
from helpers import WAIT

from benchmarks.faults import (
    BETWEEN_NETWORKS,
    OF_A_RELAY,
    OF_PROCESSES,
    Fault,
    suffer,
    suffer_apart,
    way_to_networks,
)

HEARTBEAT = 1.0  # seconds; a side is silent after 2.5 of them
SECONDS = 3.5
AT_ONCE = 5  # they wait most of the time

Suffer = Callable[[Fault], list[str]]
Results = dict[Fault, Future[list[str]]]


@pytest.fixture(scope="module")
def results() -> Iterator[Results]:
    """What each fault has done; they happen at the same time, to servers and clients of their own."""
    before, reason = way_to_networks()
    here: Suffer = partial(suffer, seconds=SECONDS, heartbeat=HEARTBEAT)
    apart: Suffer = partial(suffer_apart, seconds=SECONDS, heartbeat=HEARTBEAT, before=before)
    ways = dict.fromkeys(OF_A_RELAY + OF_PROCESSES, here)
    if not reason:
        ways |= dict.fromkeys(BETWEEN_NETWORKS, apart if before else here)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {fault: pool.submit(way, fault) for fault, way in ways.items()}


@pytest.mark.parametrize(
    "fault", OF_A_RELAY + OF_PROCESSES + BETWEEN_NETWORKS, ids=lambda fault: fault.__name__
)
def test_a_session_outlives_it(fault: Fault, results: Results) -> None:
    """It goes on, the same one; nothing is lost, doubled or out of order."""
    if fault not in results:
        pytest.skip(f"no network namespaces: {way_to_networks()[1]}")
    assert results[fault].result(2 * WAIT) == []
