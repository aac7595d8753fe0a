"""
Everything that a network can do to two cores within small bounds breaks no promise, and the explorer finds faults.

`make explore` goes further (`tests/explorer`).
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from explorer.cloned import copied, digest
from explorer.faults import FAULTS, Fault
from explorer.search import Bounds, Explorer
from explorer.sides import repeatable

from securelink.keys import Identity
from securelink.wire.fields import Mode

pytestmark = pytest.mark.pure  # states are copied, and faults are planted in classes

#: A connection that breaks with a packet under way each way, and what may happen beside it.
WORLDS = {
    "plaintext": Bounds(Mode.OFF, lazy=True),
    "encrypted": Bounds(lazy=True),
    "drops": Bounds(drops=1, doubles=1),
    "replays": Bounds(down=0, replays=1),
    "restart": Bounds(cuts=0, restarts=1),
    "expiry": Bounds(down=0, expiries=1),
    "deaths": Bounds(Mode.OFF, cuts=0, deaths=1, lazy=True),
    "handover": Bounds(Mode.OFF, cuts=0, handovers=1, lazy=True),
    "another": Bounds(Mode.OFF, down=0, cuts=0, parts=1, lazy=True),
}
STATES = 400  # of each: the short way


@pytest.mark.parametrize("name", WORLDS)
def test_no_promise_is_broken(name: str, identity: Identity) -> None:
    """Once, in order, nothing lost, tickets used once, counts that never fall: in each state, and left alone then."""
    with repeatable():
        found = Explorer(replace(WORLDS[name], calm=16, most=STATES), identity).explore()
    assert found.broken is None, "\n".join([found.broken or "", *found.way])
    assert found.states == STATES


def test_a_world_that_is_explored_to_its_end() -> None:
    """Without packets, two connections that race have few states, and all of them are looked at."""
    with repeatable():
        found = Explorer(Bounds(Mode.OFF, up=0, down=0, cuts=0)).explore()
    assert found.broken is None, "\n".join([found.broken or "", *found.way])
    assert found.complete
    assert found.states > 100


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_it_finds(fault: Fault) -> None:
    """A fault of the core is found, with a way to it."""
    with repeatable(), fault.planted():
        found = Explorer(replace(fault.bounds, calm=fault.calm, most=6000)).explore()
    assert found.broken is not None, f"nothing in {found.states} states"
    assert found.way


def test_copies_are_equal_and_independent() -> None:
    """A copy has the digest of its original, until something is done to it."""
    explorer = Explorer(Bounds(Mode.OFF))
    with repeatable():
        side = explorer.client.side(explorer.client.first)
        other = copied(side)
        assert digest(other) == digest(side)
        other.act("say", "c0")
        assert digest(other) != digest(side)
        assert not side.said[-1]
        again = copied(side)
        again.act("say", "c0")
        assert digest(again) == digest(other)
